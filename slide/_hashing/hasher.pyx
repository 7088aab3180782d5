"""Hash functions of L tables of K bits, of four families behind one door.

    simhash    signs of random projections: for angles, so for inner products
    wta        the place of the largest of 8 coordinates: for the order of coordinates
    dwta       the same of the non-zero ones: for sparse vectors
    minhash    members of the set of the largest 5 % of the coordinates: for their overlap

The kernels stand in `_hashing.families`. A vector is dense, or sparse as ids and values.
"""
import numpy as np

from libc.string cimport memset

from slide._base.rows cimport dense_vector, InputRows, Vector, vector_at
from slide._base.typedefs cimport blocks_of, float32_t, int32_t, int64_t, uint16_t, uint64_t
from slide._hashing.families cimport (
    DWTA,
    HasherView,
    MINHASH,
    minhash,
    SIMHASH,
    simhash,
    simhash_rows,
    WINDOW,
    winner_take_all,
    WTA,
)
from slide._simd.dispatch cimport SLIDE_LANES

_FAMILIES = {"simhash": SIMHASH, "wta": WTA, "dwta": DWTA, "minhash": MINHASH}
_WINNER_BITS = 3
_MINHASH_BITS = 2


cdef void hash_vector(const HasherView *hasher, const Vector *x, const float32_t *folded_mean, float32_t extra_0,
                      float32_t extra_1, float32_t *scratch, uint64_t *words) noexcept nogil:
    """The L * K bits of one vector: table t has bits t * K to (t + 1) * K - 1.

    IN ids (n_values,), distinct, in any order, or NULL: then values is dense (n_in,);
    folded_mean: what `Hasher.fold` makes of the mean that is to be subtracted, or NULL; extra_0,
    extra_1: two more coordinates. OUT words (n_words,); scratch (scratch_size,), 8-byte aligned.
    Cost: fixed_cost + n_values * cost_per_value. Thread-safe: scratch and words are the thread's.
    """
    if hasher.family == SIMHASH:
        simhash(hasher, x, folded_mean, extra_0, extra_1, scratch, words)
    elif hasher.family == MINHASH:
        minhash(hasher, x, folded_mean, extra_0, extra_1, scratch, words)
    else:
        winner_take_all(hasher, x, folded_mean, extra_0, extra_1, scratch,
                        words)


cdef void cut_codes(const HasherView *hasher, const uint64_t *words, uint16_t *codes,
                    int64_t stride) noexcept nogil:
    """Cut the bits of a vector to one code a table.

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


cdef void hash_rows(const HasherView *hasher, const float32_t *rows, int64_t ld, int64_t n,
                    const float32_t *extra_0, const float32_t *extra_1, float32_t *scratch,
                    uint64_t *words, uint16_t *codes, int64_t stride) noexcept nogil:
    """Codes of n dense rows, as `hash_vector` and `cut_codes` make them without a mean.

    IN rows (n, ld), extra_0, extra_1 (n,); OUT codes (n_tables, stride); scratch
    (rows_scratch_size,), words (n_words,) of the thread. Cost: `hash_vector` each; SimHash
    takes rows side by side, which is some six times faster.
    """
    cdef int64_t i
    cdef Vector row
    if hasher.family == SIMHASH:
        simhash_rows(hasher, hasher.n_tables, hasher.n_bits, rows, ld, NULL, n, extra_0, extra_1,
                     scratch, codes, stride)
        return
    for i in range(n):
        row = dense_vector(rows + i * ld, hasher.n_in)
        hash_vector(hasher, &row, NULL, extra_0[i], extra_1[i], scratch, words)
        cut_codes(hasher, words, codes + i, stride)


cdef void simhash_rows_to_words(const HasherView *hasher, const float32_t *rows, int64_t ld,
                                const int32_t *row_ids, const int32_t *ids, int64_t n,
                                float32_t *scratch, uint16_t *quarters, int64_t n_words,
                                uint64_t *words) noexcept nogil:
    """The first n_words words of SimHash of n dense rows, without a mean.

    IN rows (., ld), row_ids (n,): which of them, NULL for the first n, ids (n,): where the words
    go; OUT words (., n_words), those of ids; scratch (rows_scratch_size,), quarters
    (4 * n_words, n) of the thread. Cost: `simhash` each.
    """
    cdef int64_t i, q
    cdef uint64_t *out
    simhash_rows(hasher, <int32_t>(4 * n_words), 16, rows, ld, row_ids, n, NULL, NULL, scratch,
                 quarters, n)
    for i in range(n):
        out = words + ids[i] * n_words
        memset(out, 0, n_words * sizeof(uint64_t))
        for q in range(4 * n_words):
            out[q >> 2] |= <uint64_t>quarters[q * n + i] << (16 * (q & 3))


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


cdef class Hasher:
    """L tables by K bits of hash functions of one family; made by `make_hasher`.

    Parameters
    ----------
    family : {"simhash", "wta", "dwta", "minhash"}
    n_in : int
        Width of the vectors.
    n_tables, n_bits : int
        L and K (1 to 16).
    parameters : dict
        The random numbers, by name, as `make_hasher` draws them.
    """

    def __init__(self, str family, int64_t n_in, int32_t n_tables, int32_t n_bits,
                 dict parameters):
        self.family, self.parameters = family, parameters
        self.view.family = _FAMILIES[family]
        self.view.n_in, self.view.n_tables, self.view.n_bits = n_in, n_tables, n_bits
        self.view.n_words = blocks_of(<int64_t>n_tables * n_bits, 64)
        if family == "simhash":
            self._set_simhash()
            self.rows_scratch_size = 2 * SLIDE_LANES * self.view.size
            return
        if family == "minhash":
            self._set_minhash()
        else:
            self._set_windows()
        self.rows_scratch_size = self.scratch_size

    cdef _set_simhash(self):
        cdef const float32_t[:, ::1] signs = self.parameters["signs"]
        cdef const float32_t[:, :, ::1] later_signs = self.parameters["later_signs"]
        cdef const float32_t[:, ::1] extra = self.parameters["extra"]
        cdef HasherView *view = &self.view
        view.n_blocks, view.n_padded = signs.shape[0], signs.shape[1]
        view.n_rounds, view.size = later_signs.shape[1] + 1, later_signs.shape[2]
        view.last_size = extra.shape[1] - (view.n_blocks - 1) * view.size
        view.n_words = extra.shape[1] // 64
        view.signs, view.later_signs = &signs[0, 0], &later_signs[0, 0, 0]
        view.extra = &extra[0, 0]
        stages, last_stages = int(np.log2(view.size)), int(np.log2(view.last_size))
        view.cost_per_value = view.n_blocks
        view.fixed_cost = (
            view.n_blocks * (view.n_rounds - 1) * view.size * (stages + 1)
            + (view.n_blocks - 1) * view.size * (stages + 2)
            + view.size - view.last_size + view.last_size * (last_stages + 2)
        )
        self.scratch_size = view.size

    cdef _set_copies(self, int32_t hash_bits):
        cdef HasherView *view = &self.view
        view.hash_bits = hash_bits
        view.n_hashes = view.n_tables * blocks_of(view.n_bits, hash_bits)
        view.n_copies = self.parameters["n_copies"]
        view.copy_scale = 1 / np.sqrt(max(1, view.n_copies))
        view.seed_borrow = self.parameters["seeds"][0]

    cdef _set_windows(self):
        cdef const int32_t[::1] used = self.parameters["used"]
        cdef const int32_t[:, ::1] windows = self.parameters["windows"]
        cdef int32_t[::1] slot_of = np.full(self.view.n_in, -1, np.int32)
        cdef HasherView *view = &self.view
        self._set_copies(_WINNER_BITS)
        limits = [view.n_in, view.n_in + view.n_copies]
        view.first_extra, view.second_extra = np.searchsorted(used, limits)
        np.asarray(slot_of)[used[:view.first_extra]] = np.arange(view.first_extra, dtype=np.int32)
        self._slot_of = slot_of
        view.n_used = used.shape[0]
        view.used, view.slot_of, view.windows = &used[0], &slot_of[0], &windows[0, 0]
        view.cost_per_value = 1
        view.fixed_cost = view.n_used + view.n_hashes * WINDOW
        self.scratch_size = view.n_used + 2 * view.n_hashes

    cdef _set_minhash(self):
        cdef HasherView *view = &self.view
        self._set_copies(_MINHASH_BITS)
        view.n_largest = blocks_of(view.n_in, 20)
        _, view.seed_bins, view.seed_cut = self.parameters["seeds"]
        view.cost_per_value = 4
        view.fixed_cost = 4 * (view.n_largest + 2 * view.n_copies) + view.n_hashes
        self.scratch_size = 4 * view.n_hashes + 2 * (view.n_in // 64 + 1) + 2 * (
            view.n_in + 2 * view.n_copies)

    def named_arrays(self):
        """The random numbers as arrays by name; the other parameters decide their shapes."""
        arrays = {name: value for name, value in self.parameters.items() if name != "n_copies"}
        if "seeds" in arrays:
            arrays["seeds"] = np.array(arrays["seeds"], np.uint64)
        if "used" in arrays:
            arrays["windows"] = arrays.pop("used")[arrays["windows"]]
        return arrays

    def set_named_arrays(self, arrays):
        """Take over the random numbers of another of the same parameters.

        Raises
        ------
        ValueError
            When a window has a coordinate that no vector has.
        """
        parameters = {**self.parameters, **arrays}
        if "seeds" in arrays:
            parameters["seeds"] = tuple(int(seed) for seed in arrays["seeds"])
        if "windows" in arrays:
            width = self.view.n_in + 2 * self.view.n_copies
            if arrays["windows"].min() < 0 or arrays["windows"].max() >= width:
                raise ValueError(f"windows of hash functions must be coordinates in [0, {width})")
            parameters.update(_by_slot(arrays["windows"]))
        self.__init__(self.family, self.view.n_in, self.view.n_tables, self.view.n_bits,
                      parameters)

    def __reduce__(self):
        return Hasher, (self.family, self.view.n_in, self.view.n_tables, self.view.n_bits,
                        self.parameters)

    @property
    def n_words(self):
        """Words of 64 bits that hash_vector writes."""
        return self.view.n_words

    @property
    def multiply_adds(self):
        """Cost of hashing one dense vector: multiply-adds, additions or comparisons."""
        return self.view.fixed_cost + self.view.n_in * self.view.cost_per_value

    def fold(self, mean):
        """What hash_vector takes to hash x - mean: float32, of a layout of the family's own.

        Parameters
        ----------
        mean : float32 (n_in,)
        """
        mean = np.ascontiguousarray(mean, np.float32)
        if self.family == "simhash":
            folded = np.zeros((self.view.n_blocks, self.view.n_padded))
            folded[:, :self.view.n_in] = self.parameters["signs"][:, :self.view.n_in] * mean
            folded = folded.reshape(self.view.n_blocks, -1, self.view.size).sum(axis=1)
            return folded.astype(np.float32).ravel()
        if self.family == "minhash":
            order = np.lexsort((mean, mean == 0)).astype(np.int32)
            rank = np.empty_like(order)
            rank[order] = np.arange(len(order), dtype=np.int32)
            return np.concatenate([mean, order.view(np.float32), rank.view(np.float32)])
        # At least one number, so that it has an address.
        return np.append(mean[self.parameters["used"][:self.view.first_extra]], np.float32(0))

    cdef InputRows rows_of(self, x):
        """The rows of a float32 matrix, dense or CSR, when they are as wide as hashed vectors."""
        if x.ndim != 2 or x.shape[1] != self.view.n_in:
            raise ValueError(f"x must have {self.view.n_in} columns; its shape is {x.shape}")
        return InputRows(x)

    def codes(self, x, mean=None, extra_0=None, extra_1=None):
        """Codes of the rows of x: uint16 (n_tables, n). A door for tests and diagnostics.

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


def make_hasher(str family, int64_t n_in, int32_t n_tables, int32_t n_bits, random_state,
                bint extras=True, int64_t n_rounds=3):
    """Draw the hash functions of L tables of K bits.

    Parameters
    ----------
    family : {"simhash", "wta", "dwta", "minhash"}
    n_in : int
        Width of the vectors.
    n_tables, n_bits : int
        L and K (1 to 16).
    random_state : numpy.random.RandomState
    extras : bool
        False leaves no room for the two extra coordinates: they must be 0.
    n_rounds : int
        Of SimHash's transform: 3, or 2 for dense vectors, see `slide._hashing.families.simhash`.
    """
    if family == "simhash":
        parameters = _draw_simhash(n_in, <int64_t>n_tables * n_bits, n_rounds, random_state)
    elif family == "minhash":
        # A large extra takes a quarter of the t members; n_in // 8 copies would take all.
        parameters = {"n_copies": max(1, n_in // 80) if extras else 0}
    elif family in _FAMILIES:
        n_copies = max(1, n_in // 8) if extras else 0
        n_hashes = n_tables * blocks_of(n_bits, _WINNER_BITS)
        parameters = _draw_windows(n_in + 2 * n_copies, n_hashes, random_state)
        parameters["n_copies"] = n_copies
    else:
        raise ValueError(f"family must be one of {', '.join(_FAMILIES)}; got {family!r}")
    if family != "simhash":
        seeds = random_state.randint(0, 2**64, size=3, dtype=np.uint64)
        parameters["seeds"] = tuple(int(seed) for seed in seeds)
    return Hasher(family, n_in, n_tables, n_bits, parameters)


def _next_power_of_two(n, least=64):
    return max(least, 1 << (int(n) - 1).bit_length())


def _draw_simhash(n_in, total_bits, n_rounds, random_state):
    size = min(_next_power_of_two(n_in), max(256, _next_power_of_two(total_bits)))
    n_blocks = blocks_of(total_bits, size)
    n_projections = (n_blocks - 1) * size
    n_projections += _next_power_of_two(total_bits - n_projections)
    n_padded = blocks_of(n_in, size) * size
    # Gaussian, not signs: few coordinates of random signs have few distinct sums.
    extra = random_state.standard_normal((2, n_projections)).astype(np.float32)
    extra *= np.float32(size) ** ((n_rounds - 1) / 2)
    return {
        "signs": _random_signs(random_state, (n_blocks, n_padded)),
        "later_signs": _random_signs(random_state, (n_blocks, n_rounds - 1, size)),
        "extra": extra,
    }


def _random_signs(random_state, shape):
    bits = random_state.randint(0, 2, size=shape, dtype=np.int8)
    return (2 * bits - 1).astype(np.float32)


def _draw_windows(width, n_hashes, random_state):
    """Windows of distinct coordinates in random order; of fewer than 8, around and around."""
    if width <= 64:
        windows = random_state.random_sample((n_hashes, width)).argsort(axis=1)
        windows = windows[:, np.arange(WINDOW) % width]
    else:
        windows = random_state.randint(0, width, size=(n_hashes, WINDOW))
        while True:
            ordered = np.sort(windows, axis=1)
            again = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
            if not again.any():
                break
            windows[again] = random_state.randint(0, width, size=(again.sum(), WINDOW))
    return _by_slot(windows)


def _by_slot(windows):
    """The coordinates that any window has, rising, and the windows by their places among them."""
    used, slots = np.unique(windows, return_inverse=True)
    return {
        "used": used.astype(np.int32),
        "windows": slots.reshape(windows.shape).astype(np.int32),
    }
