from slide._base.typedefs cimport int64_t
from slide._engine.model cimport ModelView
from slide._engine.workspace cimport TrainView

cdef int64_t dense_cost(const ModelView *model, const TrainView *train, int64_t first,
                        int64_t n) noexcept nogil
