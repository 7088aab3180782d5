"""SimHash through randomised fast Walsh-Hadamard transforms.

A bit is the sign of a random projection (Charikar, STOC 2002, section 3): two vectors
at angle t share it with probability 1 - t / pi. A row of H D3 H D2 H D1, with
H the Hadamard matrix and D random diagonal signs, acts as a Gaussian row
(Andoni et al., NIPS 2015, section 5) and costs O(log d) instead of O(d) a bit.

Two extra coordinates serve the inner-product transform: each is added to the projections with
Gaussian weights of its own, so that the transform's power of two need not grow for them.
"""
import numpy as np

from slide._simd cimport chosen
from slide._typedefs cimport float32_t, int32_t, int64_t, uint16_t, uint64_t, blocks_of

cdef enum:
    ROUNDS = 3


cdef void simhash(const SimHashView *hasher, const float32_t *x, const float32_t *mean,
                  float32_t extra_0, float32_t extra_1, float32_t *scratch,
                  uint64_t *words, uint16_t *codes, int64_t stride) noexcept nogil:
    """Codes of one vector in every table.

    bit_i = [(H D3 H D2 H D1 (x - mean))_i + e0 s0_i + e1 s1_i > 0]

    IN x (n_in,), mean (n_in,) or NULL, extra_0, extra_1: the extra coordinates;
    OUT codes (n_tables,) at the given stride; scratch (size,) and
    words (n_blocks * size / 64 + 1,) belong to the calling thread.
    Cost: ROUNDS * size * log2(size) additions a block.
    """
    cdef int64_t block, _round, i, size = hasher.size, n_in = hasher.n_in
    cdef int64_t bit = 0
    cdef int32_t table, n_bits = hasher.n_bits
    cdef const float32_t *s
    cdef const float32_t *e0
    cdef const float32_t *e1
    cdef uint64_t word, mask = (<uint64_t>1 << n_bits) - 1
    for block in range(hasher.n_blocks):
        s = hasher.signs + block * ROUNDS * size
        if mean != NULL:
            for i in range(n_in):
                scratch[i] = (x[i] - mean[i]) * s[i]
        else:
            for i in range(n_in):
                scratch[i] = x[i] * s[i]
        for i in range(n_in, size):
            scratch[i] = 0.0
        chosen().hadamard(scratch, size)
        for _round in range(1, ROUNDS):
            s += size
            for i in range(size):
                scratch[i] *= s[i]
            chosen().hadamard(scratch, size)
        e0 = hasher.extra + block * size
        e1 = e0 + hasher.n_blocks * size
        for i in range(size):
            scratch[i] += extra_0 * e0[i] + extra_1 * e1[i]
        chosen().sign_bits(scratch, size, words + block * (size // 64))
    words[hasher.n_blocks * (size // 64)] = 0
    for table in range(hasher.n_tables):
        i = bit >> 6
        word = words[i] >> (bit & 63)
        if (bit & 63) + n_bits > 64:
            word |= words[i + 1] << (64 - (bit & 63))
        codes[table * stride] = <uint16_t>(word & mask)
        bit += n_bits


cdef class SimHash:
    """K bits by L tables of SimHash for vectors of n_in coordinates and two extras.

    Parameters
    ----------
    n_in : int
        Width of the vectors.
    n_tables, n_bits : int
        L and K (1 to 16).
    random_state : numpy.random.RandomState
        Draws the signs.
    """

    def __init__(self, int64_t n_in, int32_t n_tables, int32_t n_bits, random_state):
        cdef int64_t size = 64, n_blocks
        while size < n_in:
            size *= 2
        n_blocks = blocks_of(<int64_t>n_tables * n_bits, size)
        signs = _random_signs(random_state, (n_blocks, ROUNDS, size))
        # Gaussian, not signs: few coordinates of random signs have few distinct sums.
        extra = random_state.standard_normal((2, n_blocks * size)).astype(np.float32)
        extra *= np.float32(size) ** ((ROUNDS - 1) / 2)
        self._set(n_in, n_tables, n_bits, signs, extra)

    cdef _set(self, int64_t n_in, int32_t n_tables, int32_t n_bits, signs_array, extra_array):
        cdef const float32_t[:, :, ::1] signs = signs_array
        cdef const float32_t[:, ::1] extra = extra_array
        self._arrays = (signs_array, extra_array)
        self.view.n_in = n_in
        self.view.size = signs.shape[2]
        self.view.n_blocks = signs.shape[0]
        self.view.n_tables = n_tables
        self.view.n_bits = n_bits
        self.view.signs = &signs[0, 0, 0]
        self.view.extra = &extra[0, 0]
        self.multiply_adds = signs.shape[0] * signs.shape[2] * (
            ROUNDS * (1 + int(np.log2(signs.shape[2]))) + 2)

    def __reduce__(self):
        return _restore_hash, (self.view.n_in, self.view.n_tables, self.view.n_bits,
                               *self._arrays)

    def codes(self, const float32_t[:, ::1] x, mean=None, extra_0=None, extra_1=None):
        """Codes of the rows of x: uint16 (n_tables, n). A door for tests and diagnostics."""
        cdef int64_t i, n = x.shape[0]
        cdef const float32_t[::1] mu
        cdef const float32_t *mu_ptr = NULL
        if mean is not None:
            mu = mean
            mu_ptr = &mu[0]
        cdef const float32_t[::1] a = np.zeros(n, np.float32) if extra_0 is None else extra_0
        cdef const float32_t[::1] b = np.zeros(n, np.float32) if extra_1 is None else extra_1
        cdef float32_t[::1] scratch = np.empty(self.view.size, np.float32)
        cdef uint64_t[::1] words = np.empty(self.n_words, np.uint64)
        out = np.empty((self.view.n_tables, n), np.uint16)
        cdef uint16_t[:, ::1] codes = out
        with nogil:
            for i in range(n):
                simhash(&self.view, &x[i, 0], mu_ptr, a[i], b[i], &scratch[0], &words[0],
                        &codes[0, i], n)
        return out

    @property
    def n_words(self):
        return self.view.n_blocks * (self.view.size // 64) + 1

    @property
    def signs(self):
        """The random numbers, for the twin: signs (n_blocks, rounds, size) and the extra
        coordinates' weights (2, n_blocks * size)."""
        return self._arrays


def _random_signs(random_state, shape):
    bits = random_state.randint(0, 2, size=shape, dtype=np.int8)
    return (2 * bits - 1).astype(np.float32)


def _restore_hash(n_in, n_tables, n_bits, signs, extra):
    cdef SimHash hasher = SimHash.__new__(SimHash)
    hasher._set(n_in, n_tables, n_bits, signs, extra)
    return hasher
