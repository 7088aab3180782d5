from libc.string cimport memcpy

from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint32_t


cdef inline uint32_t sortable(float32_t x) noexcept nogil:
    # An integer that rises with x. The integers of NaNs lie beyond those of the infinities.
    cdef uint32_t bits
    memcpy(&bits, &x, sizeof(bits))
    return ~bits if bits >> 31 else bits | <uint32_t>0x80000000


cdef int64_t largest(const float32_t *scores, int64_t n, int64_t k, uint32_t *keys,
                     int32_t *out) noexcept nogil

cdef void offer(const float32_t *z, const int32_t *z_ids, int64_t offset, int64_t n, float32_t *s,
                int32_t *ids, int64_t k) noexcept nogil

cdef void sort_heap(float32_t *s, int32_t *ids, int64_t k) noexcept nogil
