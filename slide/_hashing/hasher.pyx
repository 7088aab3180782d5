"""Hash functions of L tables of K bits: the part that all families share.

    simhash    signs of random projections: for angles, so for inner products
    wta        the place of the largest of 8 coordinates: for the order of coordinates
    dwta       the same among the non-zero coordinates: for sparse vectors
    minhash    members of the set of the largest 5 % of the coordinates: for the overlap of sets

A family is a subclass of `Hasher` in a file of its own, and a line in `_hashing.hash_families`.
Every family hashes x - mean with two extra coordinates appended, which are those of the
inner-product transform (`_hashing.tables`).
"""
import numpy as np

from slide._base.rows cimport dense_vector, InputRows, Vector, vector_at
from slide._base.typedefs cimport blocks_of, float32_t, int32_t, int64_t, uint16_t, uint64_t


cdef void cut_codes(const HasherView *hasher, const uint64_t *words, uint16_t *codes,
                    int64_t stride) noexcept nogil:
    """Cut the bits of a vector into one code per table.

    IN words (n_words,); OUT codes (n_tables,) at the given stride. Cost: n_tables. Thread-safe.
    """
    cdef int64_t i, bit = 0
    cdef int32_t table, n_bits = hasher.n_bits
    cdef uint64_t word, mask = (<uint64_t>1 << n_bits) - 1
    for table in range(hasher.n_tables):
        i = bit >> 6
        word = words[i] >> (bit & 63)
        if (bit & 63) + n_bits > 64:
            word |= words[i + 1] << (64 - (bit & 63))
        codes[table * stride] = <uint16_t>(word & mask)
        bit += n_bits


cdef void codes_in_table(const HasherView *hasher, int64_t table, const uint64_t *words,
                         int64_t n_words, int64_t n, uint16_t *codes) noexcept nogil:
    """Codes of n vectors in one table, cut as in `cut_codes`.

    IN words (n, n_words); OUT codes (n,). Cost: n. Thread-safe.
    """
    cdef int64_t i, bit = table * hasher.n_bits
    cdef int shift = bit & 63
    cdef bint straddles = shift + hasher.n_bits > 64
    cdef uint64_t word, mask = (<uint64_t>1 << hasher.n_bits) - 1
    words += bit >> 6
    for i in range(n):
        word = words[0] >> shift
        if straddles:
            word |= words[1] << (64 - shift)
        codes[i] = <uint16_t>(word & mask)
        words += n_words


cdef void _one_by_one(const HasherView *hasher, const DenseRows *rows, float32_t *scratch,
                      uint64_t *words, uint16_t *codes, int64_t stride) noexcept nogil:
    """Hash rows one after the other: the rows kernel of families without a kernel of their own."""
    cdef int64_t i, row
    cdef Vector x
    for i in range(rows.n):
        row = rows.ids[i] if rows.ids != NULL else i
        x = dense_vector(rows.values + row * rows.ld, hasher.n_in)
        hash_vector(hasher, &x, NULL, rows.extra_0[i] if rows.extra_0 != NULL else 0,
                    rows.extra_1[i] if rows.extra_1 != NULL else 0, scratch, words)
        cut_codes(hasher, words, codes + i, stride)


cdef class Hasher:
    """Hash functions for L tables of K bits; each family is a subclass.

    A subclass has its name in `family` and defines `draw`, `fold` and `set_view`, which sets the
    family's kernels, costs and scratch sizes.

    Parameters
    ----------
    n_in : int
        Width of the vectors.
    n_tables, n_bits : int
        L and K (1 to 16).
    parameters : dict
        The random numbers by name, as `draw` draws them.
    """

    family = ""

    def __init__(self, int64_t n_in, int32_t n_tables, int32_t n_bits, dict parameters):
        self.parameters = parameters
        self.view.n_in, self.view.n_tables, self.view.n_bits = n_in, n_tables, n_bits
        self.view.n_words = blocks_of(<int64_t>n_tables * n_bits, 64)
        self.view.rows_kernel = _one_by_one
        self.set_view()

    cdef int set_view(self) except -1:
        raise NotImplementedError

    @classmethod
    def draw(cls, n_in, n_tables, n_bits, random_state, extras=True):
        """Draw the hash functions; parameters as in `_hashing.hash_families.make_hasher`."""
        raise NotImplementedError

    def fold(self, mean):
        """Return the mean in the form that `hash_vector` takes: float32, in a layout of its own.

        Parameters
        ----------
        mean : float32 (n_in,)
        """
        raise NotImplementedError

    def named_arrays(self):
        """The random numbers as arrays by name; the other parameters decide their shapes."""
        return dict(self.parameters)

    def set_named_arrays(self, arrays):
        """Take over the random numbers of another hasher with the same parameters.

        Raises
        ------
        ValueError
            When hash functions read a coordinate that no vector has.
        """
        self.__init__(self.view.n_in, self.view.n_tables, self.view.n_bits,
                      {**self.parameters, **self.parameters_from(arrays)})

    def parameters_from(self, arrays):
        """The inverse of `named_arrays`."""
        return dict(arrays)

    @property
    def n_words(self):
        """Words of 64 bits that `hash_vector` writes."""
        return self.view.n_words

    @property
    def multiply_adds(self):
        """Cost of hashing one dense vector: multiply-adds, additions or comparisons."""
        return self.view.fixed_cost + self.view.n_in * self.view.cost_per_value

    cdef InputRows rows_of(self, x):
        """The rows of x, float32, dense or CSR; ValueError where their width is not n_in."""
        if x.ndim != 2 or x.shape[1] != self.view.n_in:
            raise ValueError(f"x must have {self.view.n_in} columns; its shape is {x.shape}")
        return InputRows(x)

    def codes(self, x, mean=None, extra_0=None, extra_1=None):
        """Codes of the rows of x: uint16 (n_tables, n). Python entry point for tests.

        Parameters
        ----------
        x : float32 (n, n_in), dense or CSR
        mean : float32 (n_in,) or None
        extra_0, extra_1 : float32 (n,) or None
        """
        cdef int64_t i, n = x.shape[0]
        cdef const float32_t[::1] folded_mean
        cdef const float32_t *folded_ptr = NULL
        if mean is not None:
            folded_mean = self.fold(mean)
            folded_ptr = &folded_mean[0]
        cdef const float32_t[::1] a = np.zeros(n, np.float32) if extra_0 is None else extra_0
        cdef const float32_t[::1] b = np.zeros(n, np.float32) if extra_1 is None else extra_1
        cdef float32_t[::1] scratch = np.empty(self.scratch_size, np.float32)
        cdef uint64_t[::1] words = np.empty(self.n_words, np.uint64)
        cdef InputRows rows = self.rows_of(x)
        cdef Vector row
        out = np.empty((self.view.n_tables, n), np.uint16)
        cdef uint16_t[:, ::1] codes = out
        with nogil:
            for i in range(n):
                row = vector_at(&rows.view, i)
                hash_vector(&self.view, &row, folded_ptr, a[i], b[i], &scratch[0], &words[0])
                cut_codes(&self.view, &words[0], &codes[0, i], n)
        return out
