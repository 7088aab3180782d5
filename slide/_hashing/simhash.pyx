"""SimHash: signs of random projections, by randomised fast Walsh-Hadamard transforms."""
import numpy as np

from libc.string cimport memset

from slide._base.rows cimport Vector
from slide._base.typedefs cimport blocks_of, float32_t, int32_t, int64_t, uint16_t, uint64_t
from slide._hashing.hasher cimport DenseRows, Hasher, HasherView
from slide._simd.dispatch cimport chosen, SLIDE_LANES, slide_simhash

from slide._hashing.forms import simhash_forms


cdef void _fold(const float32_t *signs, const Vector *x, const float32_t *folded_mean,
                int64_t size, float32_t *out) noexcept nogil:
    """Apply the first signs and the count sketch: coordinate j is added to place j mod size.

    out[i] = (sum over j = i mod size of signs[j] x[j]) - folded_mean[i]

    IN signs (n_padded,), x, folded_mean (size,) or NULL; OUT out (size,), where size is a power of
    two.
    Cost: a multiply-add per value.
    """
    cdef int64_t i, k, start, chunk, n
    cdef const int32_t *ids = x.ids
    cdef const float32_t *values = x.values
    if folded_mean != NULL:
        for i in range(size):
            out[i] = -folded_mean[i]
    else:
        memset(out, 0, size * sizeof(float32_t))
    if ids != NULL:
        for k in range(x.size):
            out[ids[k] & (size - 1)] += signs[ids[k]] * values[k]
        return
    for chunk in range(blocks_of(x.size, size)):
        start = chunk * size
        n = min(size, x.size - start)
        for i in range(n):
            out[i] += signs[start + i] * values[start + i]


cdef void _simhash(const HasherView *hasher, const Vector *x, const float32_t *folded_mean,
                   float32_t extra_0, float32_t extra_1, float32_t *scratch,
                   uint64_t *words) noexcept nogil:
    """Compute the SimHash of one vector.

    bit_i = [(H D3 H D2 H F D1 (x - mean))_i + e0 s0_i + e1 s1_i > 0]

    H is the Hadamard matrix of `size`, D are random diagonal signs and F is the fold to `size`
    places (`_fold`); the formula has three rounds. Two vectors at angle t share a bit with
    probability 1 - t / pi.

    Only m rows of the last H are wanted, where m is a power of two. The first m rows of H_size are
    copies of H_m side by side. So the size / m chunks are summed first, and then H_m is applied.

    Where x is wider than `size`, F is a count sketch. It adds a variance of at most about 1 / size
    to the estimate of a cosine; the bits themselves add a variance of about 2.47 / (number of
    bits).

    Two rounds are enough for dense vectors: all tests pass. They are not enough for vectors with
    few non-zeros: H D1 (e_a + e_b) is zero where row a xor b of H has one of the two signs, so that
    projections i and i xor a xor b are equal or opposite. With five non-zeros, bits were correlated
    by up to 0.12, and a probability of collision of 0.56 was wrong by 0.04.

    The extra coordinates have Gaussian weights of their own, so that `size` need not grow for
    them.

    IN x; folded_mean (n_blocks, size) or NULL; OUT words (n_words,); scratch (size,) of the
    calling thread.
    Cost of each block: x.size + (n_rounds - 1) size (log2 size + 1) + size - m + m log2 m + 2 m.
    Source: Charikar, STOC 2002, section 3; Andoni et al., NIPS 2015, section 5 (the transforms);
    Weinberger et al., ICML 2009 (the fold).
    """
    cdef const slide_simhash *functions = <const slide_simhash *>hasher.own
    cdef int64_t block, i, m, size = functions.size
    cdef const float32_t *e0
    cdef const float32_t *e1
    for block in range(functions.n_blocks):
        m = project(functions, block, x, folded_mean, scratch)
        e0 = functions.extra + block * size
        e1 = e0 + (functions.n_blocks - 1) * size + functions.last_size
        for i in range(m):
            scratch[i] += extra_0 * e0[i] + extra_1 * e1[i]
        chosen().sign_bits(scratch, m, words + block * (size // 64))


cdef int64_t project(const slide_simhash *functions, int64_t block, const Vector *x,
                     const float32_t *folded_mean, float32_t *scratch) noexcept nogil:
    """Compute the projections of one transform, whose signs `_simhash` takes; returns their number.

    OUT scratch (size,), with the projections at its start. A transform of at most `size` inputs
    whose projections are all taken multiplies every length by size ** (n_rounds / 2). The other
    parameters are those of `_simhash`.
    """
    cdef int64_t _round, i, chunk, size = functions.size
    cdef int64_t m = size if block < functions.n_blocks - 1 else functions.last_size
    cdef const float32_t *s = functions.later_signs + block * (functions.n_rounds - 1) * size
    _fold(functions.signs + block * functions.n_padded, x,
          folded_mean + block * size if folded_mean != NULL else NULL, size, scratch)
    for _round in range(functions.n_rounds - 1):
        chosen().hadamard(scratch, size)
        for i in range(size):
            scratch[i] *= s[i]
        s += size
    for chunk in range(1, size // m):
        for i in range(m):
            scratch[i] += scratch[chunk * m + i]
    chosen().hadamard(scratch, m)
    return m


cdef void _rows(const slide_simhash *functions, int32_t n_codes, int32_t n_bits,
                const DenseRows *rows, float32_t *scratch, uint16_t *codes,
                int64_t stride) noexcept nogil:
    """Compute the SimHash of dense rows without a mean, side by side: as `_simhash`, but faster.

    OUT codes (n_codes, stride): code t of the i-th row, at t * stride + i, has bits t * n_bits to
    (t + 1) * n_bits - 1 of that row's SimHash. Scratch (2 * size * SLIDE_LANES,) of the calling
    thread.
    Cost of each row: that of `_simhash`.
    """
    cdef slide_simhash cut = functions[0]
    cut.n_tables, cut.n_bits = n_codes, n_bits
    chosen().simhash(&cut, rows.values, rows.ld, rows.ids, rows.n, rows.extra_0, rows.extra_1,
                     scratch, codes, stride)


cdef void _simhash_rows(const HasherView *hasher, const DenseRows *rows, float32_t *scratch,
                        uint64_t *words, uint16_t *codes, int64_t stride) noexcept nogil:
    """Hash dense rows; this is the rows kernel of SimHash (`_hashing.hasher.hash_rows`)."""
    _rows(<const slide_simhash *>hasher.own, hasher.n_tables, hasher.n_bits, rows, scratch, codes,
          stride)


cdef void simhash_rows_to_words(const slide_simhash *functions, const DenseRows *rows,
                                const int32_t *ids, float32_t *scratch, uint16_t *quarters,
                                int64_t n_words, uint64_t *words) noexcept nogil:
    """Write the first n_words words of the SimHash of dense rows, without a mean.

    IN rows; ids (n,), where the words of row i go to words[ids[i]]; OUT words (., n_words), in the
    rows of ids; scratch (rows_scratch_size,) and quarters (4 * n_words, n) of the thread. Cost
    of each row: that of `_simhash`.
    """
    cdef int64_t i, q, n = rows.n
    cdef uint64_t *out
    _rows(functions, <int32_t>(4 * n_words), 16, rows, scratch, quarters, n)
    for i in range(n):
        out = words + ids[i] * n_words
        memset(out, 0, n_words * sizeof(uint64_t))
        for q in range(4 * n_words):
            out[q >> 2] |= <uint64_t>quarters[q * n + i] << (16 * (q & 3))


cdef class SimHash(Hasher):
    """Hash functions that take the signs of random projections.

    Parameters: signs (n_blocks, n_padded) of the first round; later_signs (n_blocks, n_rounds - 1,
    size) of the later rounds; extra (2, projections), the weights of the extra coordinates, which
    are Gaussian times the scale of the transforms.

    There are n_blocks transforms. Each has `size` inputs and as many projections. The last one has
    only the projections that are still wanted, rounded up to a power of two. n_padded is n_in
    rounded up to a multiple of size.
    """

    family = "simhash"

    @classmethod
    def draw(cls, int64_t n_in, int32_t n_tables, int32_t n_bits, random_state, bint extras=True,
             int64_t n_rounds=3):
        """Draw the hash functions. n_rounds: 3, or 2 for dense vectors, see `_simhash`."""
        forms = simhash_forms(n_in, n_tables, n_bits, n_rounds)
        shapes = {name: shape for name, (_, shape) in forms.items()}
        # Gaussian, not signs: with random signs a few coordinates would have few distinct sums.
        extra = random_state.standard_normal(shapes["extra"]).astype(np.float32)
        extra *= np.float32(shapes["later_signs"][2]) ** ((n_rounds - 1) / 2)
        return cls(n_in, n_tables, n_bits, {
            "signs": _random_signs(random_state, shapes["signs"]),
            "later_signs": _random_signs(random_state, shapes["later_signs"]),
            "extra": extra,
        })

    cdef int set_view(self) except -1:
        cdef const float32_t[:, ::1] signs = self.parameters["signs"]
        cdef const float32_t[:, :, ::1] later_signs = self.parameters["later_signs"]
        cdef const float32_t[:, ::1] extra = self.parameters["extra"]
        cdef HasherView *view = &self.view
        cdef slide_simhash *own = &self.functions
        own.n_in, own.n_tables, own.n_bits = view.n_in, view.n_tables, view.n_bits
        own.n_blocks, own.n_padded = signs.shape[0], signs.shape[1]
        own.n_rounds, own.size = later_signs.shape[1] + 1, later_signs.shape[2]
        own.last_size = extra.shape[1] - (own.n_blocks - 1) * own.size
        own.signs, own.later_signs = &signs[0, 0], &later_signs[0, 0, 0]
        own.extra = &extra[0, 0]
        view.own, view.vector_kernel, view.rows_kernel = own, _simhash, _simhash_rows
        view.n_words = extra.shape[1] // 64
        stages, last_stages = int(np.log2(own.size)), int(np.log2(own.last_size))
        view.cost_per_value = own.n_blocks
        view.fixed_cost = (
            own.n_blocks * (own.n_rounds - 1) * own.size * (stages + 1)
            + (own.n_blocks - 1) * own.size * (stages + 2)
            + own.size - own.last_size + own.last_size * (last_stages + 2)
        )
        self.scratch_size = own.size
        self.rows_scratch_size = 2 * SLIDE_LANES * own.size
        return 0

    def fold(self, mean):
        """The folded mean of each transform: (n_blocks * size,)."""
        mean, n_in = np.ascontiguousarray(mean, np.float32), self.view.n_in
        folded = np.zeros((self.functions.n_blocks, self.functions.n_padded))
        folded[:, :n_in] = self.parameters["signs"][:, :n_in] * mean
        folded = folded.reshape(self.functions.n_blocks, -1, self.functions.size).sum(axis=1)
        return folded.astype(np.float32).ravel()


def _random_signs(random_state, shape):
    bits = random_state.randint(0, 2, size=shape, dtype=np.int8)
    return (2 * bits - 1).astype(np.float32)
