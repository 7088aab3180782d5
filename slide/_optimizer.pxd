from slide._retrieval cimport SearchView
from slide._signals cimport Watch
from slide._typedefs cimport float32_t, int32_t, int64_t, uint32_t
from slide._weights cimport Weights

cdef enum Solver:
    ADAM = 0
    SGD = 1
    ADAGRAD = 2

# What an update changes beside the weights: of a row its second moment and its count of updates,
# of a neuron its bias's moments. Side by side, so that it is one cache line.
cdef struct Progress:
    float32_t w_v
    int32_t steps
    float32_t b_m
    float32_t b_v

# A layer's arrays. Shared by all threads and raced on purpose (HOGWILD).
# A dense first layer keeps a row for each input feature (rows = n_in, of n_out weights),
# every other layer a row for each neuron (rows = n_out, of n_in weights).
cdef struct LayerView:
    int64_t n_in
    int64_t n_out
    int64_t width              # weights in a row
    int64_t n_active           # neurons computed for a sample; 0: all of them (dense)
    const SearchView *search   # what finds them, or NULL
    Weights w                  # (rows, width)
    float32_t *b               # (n_out,)
    Weights w_m                # (rows, width) first moment
    Progress *rows             # (rows + 1,), the last one counts the updates of a shared bias
    Progress *biases           # (n_out,); where a row is a neuron, `rows`
    float32_t rate             # factors of the learning rate: weights and biases
    float32_t bias_rate

cdef struct SolverView:
    int kind
    float32_t learning_rate
    float32_t beta_1           # Adam's first decay, or SGD's momentum; 0 for Adagrad
    float32_t beta_2
    float32_t epsilon
    float32_t decay            # alpha / rows of the micro-batch: gradient of the penalty
    int64_t update_cost        # multiplications of one step on one weight
    const float32_t *corrections  # (CORRECTIONS, 2), see adam_corrections
    uint32_t seed              # of the rounding of bfloat16 in this micro-batch
    Watch *watch               # what stops updates: memory that is touched first may take seconds

cdef enum:
    CORRECTIONS = 8192         # steps whose corrections stand in a table

cdef void adam_corrections(float32_t beta_1, float32_t beta_2, float32_t *out) noexcept nogil

cdef void prefetch_update(const LayerView *layer, int64_t row) noexcept nogil

cdef void update_row(LayerView *layer, const SolverView *solver, int64_t row,
                     float32_t *gradient) noexcept nogil

cdef float32_t row_step(LayerView *layer, const SolverView *solver, int64_t row,
                        float32_t *gradient) noexcept nogil

cdef void move_row(LayerView *layer, const SolverView *solver, int64_t row,
                   const float32_t *gradient, float32_t step) noexcept nogil

cdef void update_elements(LayerView *layer, const SolverView *solver, int64_t row,
                          const int32_t *columns, int64_t n, float32_t *gradient) noexcept nogil

cdef void update_biases(LayerView *layer, const SolverView *solver, int64_t first_bias, int64_t n,
                        int32_t steps, const float32_t *gradient) noexcept nogil
