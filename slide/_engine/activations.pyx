"""Activations of the hidden layers and their dropout, forward and back.

Every function works in one thread, on arrays that belong to it.
"""
from libc.math cimport expf, tanhf

from slide._base.random cimport next64, skipped
from slide._base.typedefs cimport blocks_of, float32_t, int64_t, uint64_t

cdef enum:
    IDENTITY
    LOGISTIC
    TANH
    RELU

# Names of the activations, and the kernels' numbers for them.
ACTIVATIONS = {"identity": IDENTITY, "logistic": LOGISTIC, "tanh": TANH, "relu": RELU}


cdef void activate(int activation, float32_t *z, int64_t n) noexcept nogil:
    """Apply an activation: z = f(z), in place."""
    cdef int64_t i
    if activation == RELU:
        for i in range(n):
            # NaN passes through, so that a diverged network is noticed.
            z[i] = 0 if z[i] < 0 else z[i]
    elif activation == TANH:
        for i in range(n):
            z[i] = tanhf(z[i])
    elif activation == LOGISTIC:
        for i in range(n):
            z[i] = 1 / (1 + expf(-z[i]))


cdef void activate_backward(int activation, const float32_t *a, float32_t *delta,
                            float32_t keep, const float32_t *mask, int64_t n) noexcept nogil:
    """Back-propagate through an activation: delta *= f'(z) * mask, in place.

    IN a (n,), the activations after dropout: f(z) * mask; keep, the share of neurons that dropout
    keeps, 1 without dropout; mask (n,), or NULL where it is 1 / keep for all.
    """
    cdef int64_t i
    cdef float32_t y
    if activation == RELU:
        for i in range(n):
            delta[i] = delta[i] if a[i] > 0 else 0
    elif activation == TANH:
        for i in range(n):
            y = a[i] * keep
            delta[i] *= 1 - y * y
    elif activation == LOGISTIC:
        for i in range(n):
            y = a[i] * keep
            delta[i] *= y * (1 - y)
    if mask != NULL:
        for i in range(n):
            delta[i] *= mask[i]
    elif keep < 1:
        for i in range(n):
            delta[i] /= keep


cdef void drop(float32_t *a, float32_t *mask, int64_t start, int64_t n, float32_t rate,
               uint64_t rng) noexcept nogil:
    """Inverted dropout: a *= mask; mask is 0 with probability `rate`, else 1 / (1 - rate).

    INOUT a (n,), the elements from `start` on of a longer array, where start is a multiple of 4;
    OUT mask (n,). 16 random bits of the stream at rng decide whether an element is kept; which
    bits depends on its place in the longer array.
    """
    cdef int64_t i, j
    cdef uint64_t bits, place = skipped(rng, start // 4)
    cdef uint64_t threshold = <uint64_t>(rate * 65536)
    cdef float32_t keep = 1 / (1 - rate)
    cdef float32_t kept[2]
    kept[0], kept[1] = 0, keep
    for i in range(blocks_of(n, 4)):
        bits = next64(&place)
        for j in range(4 * i, min(4 * i + 4, n)):
            mask[j] = kept[(bits & 0xFFFF) >= threshold]
            bits >>= 16
    for i in range(n):
        a[i] *= mask[i]


cdef void scale(float32_t *a, int64_t n, float32_t factor) noexcept nogil:
    """a *= factor; INOUT a (n,)."""
    cdef int64_t i
    for i in range(n):
        a[i] *= factor
