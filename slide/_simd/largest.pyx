"""The k largest of many scores, which come as one list or part by part."""
import numpy as np

from libc.string cimport memcpy

from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint32_t
from slide._simd.dispatch cimport chosen

cdef enum:
    BY_VALUE = 24              # counts before the bisection turns from numbers to keys
    MOST = 0x7FFFFFFF


cdef inline int32_t _key(float32_t x) noexcept nogil:
    # A signed integer that rises with x, as `rising_keys` computes it.
    cdef int32_t bits
    memcpy(&bits, &x, sizeof(bits))
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


cdef inline float32_t _score(int32_t key) noexcept nogil:
    # The number whose key it is.
    cdef float32_t x
    key ^= (key >> 31) & 0x7FFFFFFF
    memcpy(&x, &key, sizeof(x))
    return x


cdef int32_t _threshold(const int32_t *keys, int64_t n, int64_t k) noexcept nogil:
    """The largest key that at least k of n keys reach, or a smaller one that exactly k reach.

    The method is bisection: first of the numbers between the smallest and the largest one, which
    takes some ten counts where they are spread out; then of their keys, at most 32 counts.
    """
    cdef int32_t low = keys[0], high = keys[0], mid
    cdef int64_t i, count
    cdef int step
    cdef float32_t between
    for i in range(n):
        low = min(low, keys[i])
        high = max(high, keys[i])
    for step in range(64):
        if low >= high:
            break
        mid = <int32_t>(<int64_t>low + (<int64_t>high - low + 1) // 2)
        if step < BY_VALUE:
            between = 0.5 * _score(low) + 0.5 * _score(high)
            if between == between:
                mid = max(<int32_t>(low + 1), min(high, _key(between)))
        count = chosen().reaching(keys, n, mid)
        if count >= k:
            low = mid
            if count == k:
                break
        else:
            high = <int32_t>(mid - 1)
    return low


cdef int64_t largest(const float32_t *scores, int64_t n, int64_t k, uint32_t *keys,
                     int32_t *out) noexcept nogil:
    """Find the places of the k largest of n scores, rising; on ties the lower place is taken.

    IN scores (n,); scratch keys (n,); OUT out (min(k, n),). Returns the number of places. NaNs lie
    beyond the infinities. Cost: O(n), no multiplication.
    """
    cdef int32_t *places = <int32_t *>keys
    cdef int32_t least, i
    cdef int64_t room, kept = 0
    if n <= k:
        for i in range(<int32_t>n):
            out[i] = i
        return n
    if k <= 0:
        return 0
    chosen().rising_keys(scores, n, places)
    least = _threshold(places, n, k)
    # Those at the threshold share the room that those above it leave.
    room = k - (chosen().reaching(places, n, least + 1) if least < MOST else 0)
    for i in range(<int32_t>n):
        if kept == k:
            break
        out[kept] = i
        if places[i] > least:
            kept += 1
        elif places[i] == least and room > 0:
            kept += 1
            room -= 1
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
