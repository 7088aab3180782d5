from slide._base.typedefs cimport int64_t, uint64_t
from slide._engine.model cimport ModelView
from slide._engine.workspace cimport TrainView, Workspace

cdef int64_t choose_active(const ModelView *model, const TrainView *train, Workspace *ws,
                           int64_t first, int64_t n, uint64_t *rng, int64_t *n_exact,
                           int64_t *n_active_out) noexcept nogil
