"""The k largest of many scores."""
import numpy as np

from libc.string cimport memcpy, memset

from slide._typedefs cimport float32_t, int32_t, int64_t, uint32_t


cdef inline uint32_t _key(float32_t x) noexcept nogil:
    # Rises with x; NaN lies beyond the infinities.
    cdef uint32_t bits
    memcpy(&bits, &x, sizeof(bits))
    return ~bits if bits >> 31 else bits | <uint32_t>0x80000000


cdef int64_t largest(const float32_t *scores, int64_t n, int64_t k, uint32_t *keys,
                     int32_t *out) noexcept nogil:
    """Places of the k largest of n scores, rising; on ties the lower place. Radix selection.

    IN scores (n,); scratch keys (n,); OUT out (min(k, n),). Returns their number. Cost: O(n), no
    multiplication.
    """
    cdef int64_t histogram[2048]
    cdef int64_t i, room = k, kept = 0
    cdef int shift, digit, width
    cdef uint32_t prefix = 0, mask = 0, key
    if n <= k:
        for i in range(n):
            out[i] = <int32_t>i
        return n
    if k <= 0:
        return 0
    for i in range(n):
        keys[i] = _key(scores[i])
    shift = 32
    while shift > 0:
        width = 11 if shift > 10 else 10
        shift -= width
        memset(histogram, 0, sizeof(histogram))
        for i in range(n):
            if (keys[i] & mask) == prefix:
                histogram[(keys[i] >> shift) & ((1 << width) - 1)] += 1
        digit = (1 << width) - 1
        while histogram[digit] < room:
            room -= histogram[digit]
            digit -= 1
        prefix |= <uint32_t>digit << shift
        mask |= <uint32_t>((1 << width) - 1) << shift
        if histogram[digit] == room:
            break   # all that share these digits are taken
    for i in range(n):
        key = keys[i] & mask
        if key > prefix or (key == prefix and room > 0):
            room -= key == prefix
            out[kept] = <int32_t>i
            kept += 1
    return kept


def largest_of(const float32_t[::1] scores, int64_t k):
    """Places of the k largest scores, int32, rising: a door to `largest` for the tests."""
    cdef int64_t n = scores.shape[0]
    cdef uint32_t[::1] keys = np.empty(max(1, n), np.uint32)
    cdef int32_t[::1] out = np.empty(max(1, min(k, n)), np.int32)
    n = largest(&scores[0] if n else NULL, n, k, &keys[0], &out[0])
    return np.asarray(out[:n])
