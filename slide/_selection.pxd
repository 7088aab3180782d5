from slide._typedefs cimport float32_t, int32_t, int64_t, uint32_t

cdef int64_t largest(const float32_t *scores, int64_t n, int64_t k, uint32_t *keys,
                     int32_t *out) noexcept nogil
