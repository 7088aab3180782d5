from slide._base.signals cimport Watch
from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint32_t
from slide._engine.layer cimport LayerView

# The settings of a solver, as `set_solver` writes them, and of one micro-batch.
cdef struct SolverView:
    int kind
    float32_t learning_rate
    float32_t beta_1           # decay of the first moment
    float32_t beta_2           # decay of the second moment, Adam only
    float32_t epsilon
    # The penalty's gradient is decay * w, where decay is alpha / samples of the micro-batch.
    float32_t decay
    int64_t update_cost        # multiplications of one step on one weight
    const float32_t *corrections  # (CORRECTED, 2) bias corrections by number of steps
    uint32_t seed              # decides the random rounding of bfloat16 in this micro-batch
    # Checked between rows so that Ctrl-C works: the first access to new memory may take seconds.
    Watch *watch

cdef int set_solver(SolverView *solver, dict settings, list keep_alive) except -1

cdef void prefetch_update(const LayerView *layer, int64_t row) noexcept nogil

cdef void update_row(LayerView *layer, const SolverView *solver, int64_t row,
                     float32_t *gradient) noexcept nogil

cdef float32_t row_step(LayerView *layer, const SolverView *solver, int64_t row,
                        float32_t *gradient) noexcept nogil

cdef void move_row(LayerView *layer, const SolverView *solver, int64_t row,
                   const float32_t *gradient, float32_t step) noexcept nogil

cdef void update_elements(LayerView *layer, const SolverView *solver, int64_t row,
                          const int32_t *columns, int64_t n, float32_t *gradient) noexcept nogil

cdef int64_t update_some(LayerView *layer, const SolverView *solver, int64_t row,
                         float32_t *gradient) noexcept nogil

cdef void update_biases(LayerView *layer, const SolverView *solver, int64_t first_bias, int64_t n,
                        int32_t steps, const float32_t *gradient) noexcept nogil
