from slide._base.typedefs cimport float32_t, int64_t, uint64_t

cdef void activate(int activation, float32_t *z, int64_t n) noexcept nogil

cdef void activate_backward(int activation, const float32_t *a, float32_t *delta,
                            float32_t keep, const float32_t *mask, int64_t n) noexcept nogil

cdef void drop(float32_t *a, float32_t *mask, int64_t start, int64_t n, float32_t rate,
               uint64_t rng) noexcept nogil

cdef void scale(float32_t *a, int64_t n, float32_t factor) noexcept nogil
