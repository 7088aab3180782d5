from slide._base.signals cimport Watch
from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint32_t
from slide._engine.layer cimport LayerView

cdef enum Solver:
    ADAM = 0
    SGD = 1
    ADAGRAD = 2

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
