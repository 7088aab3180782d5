"""Flat hash tables of a layer's neurons, and retrieval from them.

A table is a counting-sorted list of neuron ids and the offsets of its 2^K buckets:
4 bytes a neuron, no pointers, no empty slots.

The tables answer inner-product queries: for a query x they shall return the neurons
with the largest w.x + b. A neuron is hashed as (w, b' / s, sqrt(M^2 - |w|^2 - (b' / s)^2)) with
b' = w.mean + b less its average over the neurons, a query as (x - mean, s, 0); their inner
product is the pre-activation up to a constant of the query, and all neurons have length M
(Neyshabur & Srebro, ICML 2015, section 4.1; Spring & Shrivastava, KDD 2017, section 4).
Without the transform neurons are hashed as w and queries as x.
"""
import numpy as np

from cython.parallel cimport prange
from libc.math cimport sqrtf
from libc.string cimport memcpy, memset

from slide._base.openmp cimport omp_get_thread_num
from slide._base.random cimport next_below
from slide._base.rows cimport InputRows, Vector, vector_at
from slide._base.signals cimport end_watch, interrupted, start_watch, Watch
from slide._base.typedefs cimport (
    blocks_of,
    float32_t,
    int32_t,
    int64_t,
    uint16_t,
    uint64_t,
    uint8_t,
)
from slide._hashing.hasher cimport (
    codes_in_table,
    cut_codes,
    DenseRows,
    hash_rows,
    hash_vector,
    Hasher,
    HasherView,
)
from slide._simd.dispatch cimport chosen
from slide._simd.weights cimport rows_of, WeightArray, Weights

from slide._base.memory import aligned_copy, aligned_zeros
from slide._base.named_arrays import fill, flat, part_of
from slide._hashing.hash_families import make_hasher


cdef void hash_query(const TablesView *tables, const Vector *x, float32_t *scratch, uint64_t *words,
                     uint16_t *codes) noexcept nogil:
    """Codes of one query in every table.

    IN ids (n_values,) or NULL, values (n_values,): a sparse vector, or a dense one where ids is
    NULL; OUT codes (n_tables,). Cost: `hash_vector`. Thread-safe: scratch, words and codes are
    the thread's own.
    """
    hash_vector(tables.hasher, x, tables.folded_mean, tables.query_bias, 0.0,
                scratch, words)
    cut_codes(tables.hasher, words, codes, 1)


cdef int64_t collect(const TablesView *tables, const uint16_t *codes, int64_t bucket_limit,
                     uint64_t *rng, uint8_t *counts, int32_t *candidates) noexcept nogil:
    """Neurons in the buckets of one query, each once, with their number of collisions.

    A bucket longer than bucket_limit is cut to a run that starts at a random place
    and wraps around, so that every one of its neurons is as likely to be kept.

    IN codes (n_tables,); INOUT counts (n_neurons,), zero on entry: the collisions of every
    candidate on return; OUT candidates (n_tables * bucket_limit,). Returns their number.
    Thread-safe: counts, candidates and rng are the thread's own.
    """
    cdef int64_t n = 0, length, start, j, _cut
    cdef int32_t t, neuron
    cdef const int32_t *bucket
    cdef const int32_t *offsets
    for t in range(tables.n_tables):
        offsets = tables.offsets + t * (tables.n_buckets + 1) + codes[t]
        bucket = tables.ids + t * tables.n_neurons + offsets[0]
        length = offsets[1] - offsets[0]
        if length <= bucket_limit:
            for j in range(length):
                neuron = bucket[j]
                if counts[neuron] == 0:
                    candidates[n] = neuron
                    n += 1
                counts[neuron] += 1
        else:
            start = next_below(rng, <int32_t>length)
            for _cut in range(bucket_limit):
                neuron = bucket[start]
                start += 1
                if start == length:
                    start = 0
                if counts[neuron] == 0:
                    candidates[n] = neuron
                    n += 1
                counts[neuron] += 1
    return n


cdef int64_t keep_most_frequent(int32_t *candidates, int64_t n, uint8_t *counts,
                                int64_t n_keep) noexcept nogil:
    """Keep the n_keep candidates of the most collisions, and zero all counts.

    Ties at the last place go to the earlier in the list. Order is kept.
    INOUT candidates (n,), counts; returns the number kept. Cost: O(n).
    """
    cdef int64_t histogram[256]
    cdef int64_t i, kept = 0, above = 0, at_least
    cdef int32_t threshold = 0
    cdef int64_t room
    cdef uint8_t c
    if n <= n_keep:
        for i in range(n):
            counts[candidates[i]] = 0
        return n
    memset(histogram, 0, sizeof(histogram))
    for i in range(n):
        histogram[counts[candidates[i]]] += 1
    threshold = 255
    at_least = histogram[255]
    while at_least < n_keep:
        above = at_least
        threshold -= 1
        at_least += histogram[threshold]
    room = n_keep - above   # places for candidates exactly at the threshold
    for i in range(n):
        c = counts[candidates[i]]
        counts[candidates[i]] = 0
        if c > threshold or (c == threshold and room > 0):
            room -= c == threshold
            candidates[kept] = candidates[i]
            kept += 1
    return kept


cdef int64_t keep_above(int32_t *candidates, int64_t n, uint8_t *counts,
                        int32_t min_collisions) noexcept nogil:
    """Keep the candidates of at least min_collisions collisions, and zero all counts.

    Order is kept. INOUT candidates (n,), counts; returns the number kept. Cost: O(n).
    Thread-safe on the thread's own arrays. Source: Chen et al., MLSys 2020 ("hard
    thresholding").
    """
    cdef int64_t i, kept = 0
    cdef int32_t neuron
    for i in range(n):
        neuron = candidates[i]
        if counts[neuron] >= min_collisions:
            candidates[kept] = neuron
            kept += 1
        counts[neuron] = 0
    return kept


cdef void _block_statistics(const Weights *weights, const float32_t *b, const float32_t *mean,
                            int64_t first, int64_t n, float32_t *rows, float32_t *bias,
                            float32_t *norm2, Watch *watch) noexcept nogil:
    """bias[i] = w[i].mean + b[i] and norm2[i] = |w[i]|^2 for n neurons from `first` on.

    IN weights, b, mean (width,); OUT bias, norm2 (n_neurons,). Scratch rows (n, width) of the
    thread, of bfloat16 only. Threads take disjoint ranges; watch is shared.
    """
    cdef const int32_t *ids = NULL
    cdef const float32_t *w
    if interrupted(watch):
        return
    w = rows_of(weights, first, n, &ids, rows)
    chosen().statistics(w, weights.width, b + first, n, mean, weights.width, bias + first,
                        norm2 + first)


cdef void _hash_block(const HasherView *hasher, const Weights *weights, int64_t first, int64_t n,
                      float32_t *rows, const float32_t *extra_0, const float32_t *extra_1,
                      float32_t *scratch, uint64_t *words, uint16_t *codes,
                      int64_t stride) noexcept nogil:
    """`hash_rows` of n neurons from `first` on; rows as in `_block_statistics`."""
    cdef const int32_t *ids = NULL
    cdef DenseRows block = DenseRows(rows_of(weights, first, n, &ids, rows), weights.width, NULL, n,
                                     extra_0 + first, extra_1 + first)
    hash_rows(hasher, &block, scratch, words, codes + first, stride)


cdef void _extras(int64_t first, int64_t last, float32_t bias_mean, float32_t bias_scale,
                  float32_t longest2, float32_t *bias, float32_t *norm2) noexcept nogil:
    """The extra coordinates of neurons first..last, in the place of `_block_statistics`'s.

    longest2 = M^2. INOUT bias, norm2 (n_neurons,). Threads take disjoint ranges.
    """
    cdef int64_t i
    cdef float32_t e0, rest
    for i in range(first, last):
        e0 = (bias[i] - bias_mean) * bias_scale
        rest = longest2 - norm2[i] - e0 * e0
        bias[i] = e0
        norm2[i] = sqrtf(rest) if rest > 0 else 0


cdef void _sort_table(const uint16_t *codes, int64_t n_neurons, int64_t n_buckets,
                      int32_t *offsets, int32_t *ids) noexcept nogil:
    """Counting sort of one table: bucket c is ids[offsets[c] : offsets[c + 1]], ids rising.

    IN codes (n_neurons,); OUT offsets (n_buckets + 1,), ids (n_neurons,). O(n_neurons +
    n_buckets). One thread a table.
    """
    cdef int64_t i, c
    cdef int32_t total = 0, size
    memset(offsets, 0, (n_buckets + 1) * sizeof(int32_t))
    for i in range(n_neurons):
        offsets[codes[i]] += 1
    for c in range(n_buckets):
        size = offsets[c]
        offsets[c] = total
        total += size
    for i in range(n_neurons):
        c = codes[i]
        ids[offsets[c]] = <int32_t>i
        offsets[c] += 1
    for c in range(n_buckets, 0, -1):
        offsets[c] = offsets[c - 1]
    offsets[0] = 0


cdef void _fill_table(const HasherView *hasher, int32_t table, const uint64_t *words,
                      int64_t n_words, int64_t n_neurons, int64_t n_buckets, uint16_t *codes,
                      int32_t *offsets, int32_t *ids) noexcept nogil:
    """Sort one table, as `HashTables._sort` says; scratch codes (n_neurons,) of the thread."""
    if words != NULL:
        codes_in_table(hasher, table, words, n_words, n_neurons, codes)
    else:
        memcpy(codes, ids, n_neurons * sizeof(uint16_t))
    _sort_table(codes, n_neurons, n_buckets, offsets, ids)


cdef class HashTables:
    """The hash tables of one layer; memory 4 bytes x L x n_neurons and the offsets
    (and 8 bytes x n_neurons and 2 bytes x n_neurons a thread more while they are rebuilt).

    Parameters
    ----------
    n_neurons, n_in : int
        Shape of the layer's weight rows.
    n_tables, n_bits : int
        L and K.
    random_state : numpy.random.RandomState
        Draws the hash functions.
    family : {"simhash", "wta", "dwta", "minhash"}
    transform : bool
        Whether inner products are turned into angles by the extra coordinates and the centre.
    """

    def __init__(self, int64_t n_neurons, int64_t n_in, int32_t n_tables, int32_t n_bits,
                 random_state, str family="simhash", bint transform=True):
        if not 1 <= n_tables <= 255 or not 1 <= n_bits <= 16:
            raise ValueError(
                f"n_tables must be in 1..255 and n_bits in 1..16; got {n_tables} and {n_bits}"
            )
        self._set(
            make_hasher(family, n_in, n_tables, n_bits, random_state, transform),
            np.zeros((n_tables, (1 << n_bits) + 1), np.int32),
            np.zeros((n_tables, n_neurons), np.int32),
            np.zeros(n_in, np.float32),
            1.0 if transform else 0.0,
            transform,
        )

    cdef _set(self, Hasher hasher, offsets_array, ids_array, mean_array, float32_t query_bias,
              bint transform):
        cdef const int32_t[:, ::1] offsets = offsets_array
        cdef const int32_t[:, ::1] ids = ids_array
        self.hasher, self.transform = hasher, transform
        self.offsets, self.ids, self.mean = offsets_array, ids_array, mean_array
        self.view.n_tables = ids.shape[0]
        self.view.n_buckets = offsets.shape[1] - 1
        self.view.n_neurons = ids.shape[1]
        self.view.offsets = &offsets[0, 0]
        self.view.ids = &ids[0, 0]
        self.view.hasher = &hasher.view
        self.view.query_bias = query_bias
        self._fold_mean()

    cdef _fold_mean(self):
        cdef const float32_t[::1] folded_mean
        self.view.folded_mean = NULL
        if self.transform:
            folded_mean = self._folded_mean = self.hasher.fold(self.mean)
            self.view.folded_mean = &folded_mean[0]

    def named_arrays(self):
        """The buckets, the hash functions and the queries' centre: arrays by name."""
        return flat({**self._arrays(), "query_bias": np.array([self.view.query_bias], np.float32)},
                    hasher=self.hasher)

    def set_named_arrays(self, arrays):
        """Take over the arrays of tables of the same parameters.

        Raises
        ------
        ValueError
            When the buckets of a table do not hold every neuron once.
        """
        _check_buckets(arrays["offsets"], arrays["ids"])
        self.hasher.set_named_arrays(part_of(arrays, "hasher"))
        fill(self._arrays(), arrays)
        self.view.query_bias = arrays["query_bias"][0]
        self._fold_mean()

    cdef dict _arrays(self):
        return {"offsets": self.offsets, "ids": self.ids, "mean": self.mean}

    def __reduce__(self):
        return _restore_tables, (self.hasher, self.offsets, self.ids, self.mean,
                                 self.view.query_bias, self.transform)

    @property
    def query_bias(self):
        """Extra coordinate of every query; 0 without the transform."""
        return self.view.query_bias

    def rebuild(self, weights, const float32_t[::1] biases, const float32_t[::1] mean,
                float query_length, int n_threads):
        """Hash every neuron anew and sort the tables; returns the multiply-adds it took.

        Without the transform only the weights are read.

        Parameters
        ----------
        weights : float32 or bfloat16 (n_neurons, n_in), IN
        biases : float32 (n_neurons,), IN
        mean : float32 (n_in,), IN
            Centre of the queries.
        query_length : float
            Root mean square of |x - mean|, the weight of the bias coordinate.
        n_threads : int
        """
        cdef int64_t n = self.view.n_neurons, d = self.hasher.view.n_in
        cdef int64_t block, n_blocks, per_block = 256, cost
        cdef WeightArray rows = WeightArray(weights)
        cdef float32_t[:, ::1] unpacked = rows.scratch(n_threads, per_block)
        cdef float32_t[::1] own_mean = self.mean
        # Without the transform the extra coordinates stay 0.
        bias_array, norm2_array = np.zeros(n, np.float32), np.zeros(n, np.float32)
        cdef float32_t[::1] bias = bias_array
        cdef float32_t[::1] norm2 = norm2_array
        cdef int32_t[:, ::1] ids = self.ids
        # Until a table is sorted the codes of its neurons lie where their ids shall be: all
        # memory must be there before they do.
        cdef uint16_t *codes = <uint16_t *>&ids[0, 0]
        cdef uint16_t[:, ::1] sorting = np.empty((n_threads, n), np.uint16)
        # Rows of whole cache lines.
        cdef float32_t[:, ::1] scratch = aligned_zeros(
            (n_threads, 16 * blocks_of(self.hasher.rows_scratch_size, 16) + 16))
        cdef uint64_t[:, ::1] words = np.empty((n_threads, self.hasher.n_words + 8), np.uint64)
        cdef float32_t bias_mean = 0, bias_scale = 0, longest2 = 0
        cdef const HasherView *hasher = &self.hasher.view
        cdef Watch watch
        n_blocks = blocks_of(n, per_block)
        cost = n * <int64_t>self.hasher.multiply_adds
        if self.transform:
            start_watch(&watch)
            for block in prange(n_blocks, nogil=True, num_threads=n_threads, schedule="dynamic"):
                _block_statistics(&rows.view, &biases[0], &mean[0], block * per_block,
                                  min(per_block, n - block * per_block),
                                  &unpacked[omp_get_thread_num(), 0], &bias[0], &norm2[0], &watch)
            end_watch(&watch)
            # From here on nothing may stop it: the buckets are in pieces until they are sorted.
            own_mean[:] = mean
            self._fold_mean()
            bias_mean = np.mean(bias_array)
            self.view.query_bias = max(query_length, 1e-6)
            bias_scale = 1.0 / self.view.query_bias
            longest2 = np.max(norm2_array + np.square((bias_array - bias_mean) * bias_scale))
            _extras(0, n, bias_mean, bias_scale, longest2, &bias[0], &norm2[0])
            cost += 2 * n * d
        for block in prange(n_blocks, nogil=True, num_threads=n_threads, schedule="dynamic"):
            _hash_block(hasher, &rows.view, block * per_block,
                        min(per_block, n - block * per_block), &unpacked[omp_get_thread_num(), 0],
                        &bias[0], &norm2[0], &scratch[omp_get_thread_num(), 0],
                        &words[omp_get_thread_num(), 0], codes, 2 * n)
        self._sort(NULL, 0, sorting, n_threads)
        return cost

    def sort(self, const uint64_t[:, ::1] words, int n_threads):
        """Sort the neurons into buckets by the words of their hash (n_neurons, n_words)."""
        self._sort(&words[0, 0], words.shape[1],
                   np.empty((n_threads, self.view.n_neurons), np.uint16), n_threads)

    cdef _sort(self, const uint64_t *words, int64_t n_words, uint16_t[:, ::1] codes,
               int n_threads):
        """Sort by words (n_neurons, n_words), or NULL: by codes that lie in the place of ids.

        Scratch codes (n_threads, n_neurons).
        """
        cdef int32_t t
        cdef int32_t[:, ::1] offsets = self.offsets
        cdef int32_t[:, ::1] ids = self.ids
        for t in prange(self.view.n_tables, nogil=True, num_threads=n_threads,
                        schedule="dynamic"):
            _fill_table(&self.hasher.view, t, words, n_words, self.view.n_neurons,
                        self.view.n_buckets, &codes[omp_get_thread_num(), 0], &offsets[t, 0],
                        &ids[t, 0])

    def collect(self, x, int64_t n_keep, int64_t bucket_limit=128, seed=0,
                int32_t min_collisions=0):
        """The candidates of every row of x, as a list of id arrays. A door for diagnostics.

        Parameters
        ----------
        x : float32 (n, n_in), dense or CSR
        n_keep : int
            So many of the most collisions are kept; of no effect beside min_collisions.
        bucket_limit, seed : int
            What is read of a bucket at most, and the seed of where.
        min_collisions : int
            Where it is not 0, all of at least so many collisions are kept.
        """
        cdef int64_t i, n
        cdef float32_t[::1] scratch = np.empty(self.hasher.scratch_size, np.float32)
        cdef uint64_t[::1] words = np.empty(self.hasher.n_words, np.uint64)
        cdef uint16_t[::1] codes = np.empty(self.view.n_tables, np.uint16)
        cdef uint8_t[::1] counts = np.zeros(self.view.n_neurons, np.uint8)
        found = np.empty(min(self.view.n_tables * bucket_limit, self.view.n_neurons), np.int32)
        cdef int32_t[::1] candidates = found
        cdef InputRows rows = self.hasher.rows_of(x)
        cdef Vector row
        cdef uint64_t rng = seed
        result = []
        for i in range(x.shape[0]):
            row = vector_at(&rows.view, i)
            hash_query(&self.view, &row, &scratch[0], &words[0], &codes[0])
            n = collect(&self.view, &codes[0], bucket_limit, &rng, &counts[0], &candidates[0])
            if min_collisions > 0:
                n = keep_above(&candidates[0], n, &counts[0], min_collisions)
            else:
                n = keep_most_frequent(&candidates[0], n, &counts[0], n_keep)
            result.append(found[:n].copy())
        return result


def _check_buckets(offsets, ids):
    """Refuse buckets that `collect` could not walk: it trusts every offset and every id."""
    n = ids.shape[1]
    if (offsets[:, 0] != 0).any() or (offsets[:, -1] != n).any() or (
            offsets[:, 1:] < offsets[:, :-1]).any():
        raise ValueError(f"offsets of hash buckets must rise from 0 to the {n} neurons of a table")
    if ids.min() < 0 or ids.max() >= n or not all(
            (np.bincount(table, minlength=n) == 1).all() for table in ids):
        raise ValueError(f"hash buckets must hold each of the neurons 0 to {n - 1} once a table")


def _restore_tables(hasher, offsets, ids, mean, query_bias, transform):
    # Unpickled arrays may be read-only memory maps; a rebuild writes into them.
    offsets, ids, mean = aligned_copy(offsets), aligned_copy(ids), aligned_copy(mean)
    cdef HashTables tables = HashTables.__new__(HashTables)
    tables._set(hasher, offsets, ids, mean, query_bias, transform)
    return tables
