"""The k largest of many scores, which come as one list or part by part."""
import numpy as np

from libc.string cimport memset

from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint32_t


cdef int64_t largest(const float32_t *scores, int64_t n, int64_t k, uint32_t *keys,
                     int32_t *out) noexcept nogil:
    """Find the places of the k largest of n scores, rising; on ties the lower place is taken.

    The method is radix selection. IN scores (n,); scratch keys (n,); OUT out (min(k, n),). Returns
    the number of places. Cost: O(n), no multiplication.
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
        keys[i] = sortable(scores[i])
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


# ------------------------------------------------- top k, a part at a time --
# A heap whose root is the worst of the k best; worse = smaller score, then larger id.

cdef inline bint _worse(float32_t s0, int32_t i0, float32_t s1, int32_t i1) noexcept nogil:
    return s0 < s1 or (s0 == s1 and i0 > i1)


cdef inline void _sift_down(float32_t *s, int32_t *ids, int64_t n, int64_t i) noexcept nogil:
    """Let item i of a heap sink to its place. INOUT s, ids (n,), the heap. Cost: O(log n)."""
    cdef int64_t child
    cdef float32_t score = s[i]
    cdef int32_t item = ids[i]
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and _worse(s[child + 1], ids[child + 1], s[child], ids[child]):
            child += 1
        if not _worse(s[child], ids[child], score, item):
            break
        s[i] = s[child]
        ids[i] = ids[child]
        i = child
    s[i] = score
    ids[i] = item


cdef inline bint _any_reaches(const float32_t *z, float32_t least) noexcept nogil:
    """Whether any of 16 numbers is at least `least`; without a branch, so that it vectorises."""
    cdef int32_t reached = 0
    cdef int j
    for j in range(16):
        reached |= z[j] >= least
    return reached != 0


cdef void offer(const float32_t *z, const int32_t *z_ids, int64_t offset, int64_t n, float32_t *s,
                int32_t *ids, int64_t k) noexcept nogil:
    """Offer n scores z to a heap that keeps the k best.

    The heap has been offered `offset` scores before. INOUT s, ids (k,), the heap. IN z_ids (n,),
    the items of the scores, or NULL: they are items offset, offset + 1, ... All items are distinct.
    After k or more items the heap holds the k best. Cost: O(n + k), and O(log k) for every item
    that enters the heap.
    """
    cdef int64_t i, j
    cdef int64_t fill = max(<int64_t>0, min(k - offset, n))
    cdef int32_t item
    for i in range(fill):
        s[offset + i] = z[i]
        ids[offset + i] = z_ids[i] if z_ids != NULL else <int32_t>(offset + i)
    if fill > 0 and offset + fill == k:
        for j in range(k // 2, -1, -1):
            _sift_down(s, ids, k, j)
    i = fill
    while i < n:
        # Hardly any score enters the heap: sixteen scores at a time are skipped.
        while i + 16 <= n and not _any_reaches(z + i, s[0]):
            i += 16
        for j in range(i, min(i + 16, n)):
            if z[j] >= s[0]:
                item = z_ids[j] if z_ids != NULL else <int32_t>(offset + j)
                if _worse(s[0], ids[0], z[j], item):
                    s[0] = z[j]
                    ids[0] = item
                    _sift_down(s, ids, k, 0)
        i += 16


cdef void sort_heap(float32_t *s, int32_t *ids, int64_t k) noexcept nogil:
    """Turn a heap into a list, best first. INOUT s, ids (k,), the heap. Cost: O(k log k)."""
    cdef int64_t end
    cdef float32_t score
    cdef int32_t item
    for end in range(k - 1, 0, -1):
        score, item = s[0], ids[0]
        s[0], ids[0] = s[end], ids[end]
        s[end], ids[end] = score, item
        _sift_down(s, ids, end, 0)


# --------------------------------------------------- Python entry point --

def largest_of(const float32_t[::1] scores, int64_t k):
    """Places of the k largest scores, int32, rising: a Python entry point for tests."""
    cdef int64_t n = scores.shape[0]
    cdef uint32_t[::1] keys = np.empty(max(1, n), np.uint32)
    cdef int32_t[::1] out = np.empty(max(1, min(k, n)), np.int32)
    n = largest(&scores[0] if n else NULL, n, k, &keys[0], &out[0])
    return np.asarray(out[:n])
