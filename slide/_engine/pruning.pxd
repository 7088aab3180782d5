from libc.math cimport sqrt

from slide._base.random cimport mix64, seed_stream, skipped
from slide._base.typedefs cimport float32_t, float64_t, int64_t, uint32_t, uint64_t

# How the gradients of one layer in one micro-batch are pruned.
cdef struct Pruning:
    float32_t least            # the size of gradient below which chance decides; 0: none
    uint64_t stream            # of the random numbers


cdef inline float32_t pruned(float32_t d, int64_t place, Pruning by) noexcept nogil:
    # The gradient d after pruning; its place decides the random number.
    cdef float32_t size = d if d > 0 else -d
    cdef float32_t chance
    if not size < by.least or size == 0:
        return d
    chance = <float32_t>(mix64(skipped(by.stream, place + 1)) >> 40) / <float32_t>(1 << 24)
    if chance * by.least >= size:
        return 0
    return by.least if d > 0 else -by.least


cdef inline Pruning pruning(const float64_t *squares, int64_t n, float32_t factor, uint32_t seed,
                            int64_t layer) noexcept nogil:
    # The pruning of a layer for which `note_squares` has noted n samples.
    cdef float64_t total = 0, count = 0
    cdef int64_t i
    for i in range(n):
        total += squares[2 * i]
        count += squares[2 * i + 1]
    return Pruning(<float32_t>(factor * sqrt(total / count)) if count > 0 else 0,
                   seed_stream(seed, layer))


cdef void note_squares(const float32_t *delta, int64_t n, int64_t k,
                       float64_t *squares) noexcept nogil

cdef void prune_all(float32_t *delta, int64_t n, Pruning by) noexcept nogil
