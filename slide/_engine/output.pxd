from slide._base.typedefs cimport int64_t
from slide._engine.model cimport ModelView
from slide._engine.optimizer cimport SolverView
from slide._engine.workspace cimport TrainView, Workspace

cdef int64_t output_step(ModelView *model, const TrainView *train, const SolverView *solver,
                         Workspace *ws, int64_t first, int64_t n, int64_t n_exact,
                         int64_t n_active) noexcept nogil

cdef void output_loss(const ModelView *model, const TrainView *train, Workspace *ws, int64_t first,
                      int64_t n, int64_t n_together, int64_t n_exact,
                      int64_t n_active) noexcept nogil

cdef void add_losses(const TrainView *train, Workspace *ws, int64_t first,
                     int64_t n) noexcept nogil
