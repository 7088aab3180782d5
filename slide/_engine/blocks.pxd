from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint64_t
from slide._engine.model cimport ModelView

cdef int64_t n_blocks_kept(const ModelView *model, int64_t i, float32_t rate) noexcept nogil

cdef void keep_blocks(ModelView *model, const int64_t *n_kept, int32_t **starts, int32_t **kept,
                      uint64_t *rng) noexcept nogil
