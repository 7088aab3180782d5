from slide._base.typedefs cimport float32_t, float64_t, int32_t, int64_t

cdef float64_t loss_gradient(int loss, float32_t *z, int64_t n, int64_t n_exact,
                             float32_t tail_weight, const int32_t *labels, int64_t n_labels,
                             float32_t scale) noexcept nogil
