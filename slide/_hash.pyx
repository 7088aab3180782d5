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
    ROUNDS = 2


cdef void hash_vector(const HasherView *hasher, const int32_t *ids, const float32_t *values,
                      int64_t n_values, const float32_t *center, float32_t extra_0,
                      float32_t extra_1, float32_t *scratch, uint64_t *words) noexcept nogil:
    cdef int64_t block, _round, i, size = hasher.size, j, m = size, wanted
    cdef const float32_t *s
    cdef const float32_t *e0
    cdef const float32_t *e1
    wanted = hasher.n_tables * hasher.n_bits
    for block in range(hasher.n_blocks):
        s = hasher.first + block * hasher.ld
        for i in range(size):
            scratch[i] = -center[block * size + i] if center != NULL else 0
        if ids == NULL:
            i = 0
            while i < n_values:
                for j in range(min(size, n_values - i)):
                    scratch[j] += values[i + j] * s[i + j]
                i += size
        else:
            for i in range(n_values):
                scratch[ids[i] & (size - 1)] += values[i] * s[ids[i]]
        s = hasher.signs + block * (ROUNDS - 1) * size
        for _round in range(1, ROUNDS):
            chosen().hadamard(scratch, size)
            for i in range(size):
                scratch[i] *= s[i]
            s += size
        # Only the first m outputs of the last transform are wanted.
        m = size
        while m > 64 and m // 2 >= min(wanted - block * size, size):
            m //= 2
            for i in range(m):
                scratch[i] += scratch[i + m]
        chosen().hadamard(scratch, m)
        if extra_0 != 0 or extra_1 != 0:
            e0 = hasher.extra + block * size
            e1 = e0 + hasher.n_blocks * size
            for i in range(m):
                scratch[i] += extra_0 * e0[i] + extra_1 * e1[i]
        chosen().sign_bits(scratch, m, words + block * (size // 64))
    words[(hasher.n_blocks - 1) * (size // 64) + m // 64] = 0


cdef void table_codes(const HasherView *hasher, const uint64_t *words, uint16_t *codes,
                      int64_t stride) noexcept nogil:
    cdef int32_t table, n_bits = hasher.n_bits
    cdef int64_t bit = 0, i
    cdef uint64_t word, mask = (<uint64_t>1 << n_bits) - 1
    for table in range(hasher.n_tables):
        i = bit >> 6
        word = words[i] >> (bit & 63)
        if (bit & 63) + n_bits > 64:
            word |= words[i + 1] << (64 - (bit & 63))
        codes[table * stride] = <uint16_t>(word & mask)
        bit += n_bits


cdef class Hasher:

    def __init__(self, int64_t n_in, int32_t n_tables, int32_t n_bits, random_state):
        cdef int64_t size = 64, n_blocks, cap = 256
        while cap < n_tables * n_bits:
            cap *= 2
        while size < n_in and size < 2 * cap:
            size *= 2
        n_blocks = blocks_of(<int64_t>n_tables * n_bits, size)
        first = _random_signs(random_state, (n_blocks, max(size, n_in)))
        signs = _random_signs(random_state, (n_blocks, ROUNDS - 1, size))
        extra = random_state.standard_normal((2, n_blocks * size)).astype(np.float32)
        extra *= np.float32(size) ** ((ROUNDS - 1) / 2)
        self._set(n_in, n_tables, n_bits, first, signs, extra)

    cdef _set(self, int64_t n_in, int32_t n_tables, int32_t n_bits, first_array, signs_array,
              extra_array):
        cdef const float32_t[:, ::1] first = first_array
        cdef const float32_t[:, :, ::1] signs = signs_array
        cdef const float32_t[:, ::1] extra = extra_array
        self._arrays = (first_array, signs_array, extra_array)
        self.view.n_in = n_in
        self.view.size = signs.shape[2]
        self.view.n_blocks = signs.shape[0]
        self.view.n_tables = n_tables
        self.view.n_bits = n_bits
        self.view.ld = first.shape[1]
        self.view.first = &first[0, 0]
        self.view.signs = &signs[0, 0, 0]
        self.view.extra = &extra[0, 0]
        size = int(signs.shape[2])
        self.scratch_size = size
        self.n_words = signs.shape[0] * (size // 64) + 1
        self.view.fixed_cost = signs.shape[0] * size * ((ROUNDS - 1) * (1 + int(np.log2(size))) + 2) + signs.shape[0] * min(size, 2 * n_tables * n_bits) * int(np.log2(size))
        self.view.cost_per_value = signs.shape[0]

    def __reduce__(self):
        return _restore_hash, (self.view.n_in, self.view.n_tables, self.view.n_bits,
                               *self._arrays)

    def center(self, mean):
        cdef int64_t size = self.view.size
        first = self._arrays[0]
        out = np.zeros((len(first), size), np.float32)
        for j in range(0, len(mean), size):
            part = mean[j : j + size]
            out[:, : len(part)] += first[:, j : j + len(part)] * part
        return out.ravel()


def make_hasher(family, n_in, n_tables, n_bits, random_state):
    return Hasher(n_in, n_tables, n_bits, random_state)


def _random_signs(random_state, shape):
    bits = random_state.randint(0, 2, size=shape, dtype=np.int8)
    return (2 * bits - 1).astype(np.float32)


def _restore_hash(n_in, n_tables, n_bits, first, signs, extra):
    cdef Hasher hasher = Hasher.__new__(Hasher)
    hasher._set(n_in, n_tables, n_bits, first, signs, extra)
    return hasher
