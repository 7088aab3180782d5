"""Hash tables of a layer's neurons: flat bucket tables, and their rebuild.

A table is a counting-sorted array of neuron ids and the offsets of its 2^K buckets:
4 bytes per neuron, no pointers, no empty slots.

The tables answer inner-product queries: for a query x they should return the neurons
with the largest w.x + b. A neuron is hashed as (w, b' / s, sqrt(M^2 - |w|^2 - (b' / s)^2)), where
b' is w.mean + b minus its average over the neurons, s is the root mean square of |x - mean|, and M
is the smallest number for which every root is real. A query is hashed as (x - mean, s, 0). The
inner product of both is the pre-activation up to a constant of the query, and all neurons have
length M (Neyshabur & Srebro, ICML 2015, section 4.1; Spring & Shrivastava, KDD 2017, section 4).
Without the transform, neurons are hashed as w and queries as x.
"""
import numpy as np

from cython.parallel cimport prange
from libc.math cimport sqrtf
from libc.string cimport memcpy, memset

from slide._base.openmp cimport omp_get_thread_num
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
from slide._hashing.collisions cimport (
    allocate_lookup,
    collect,
    hash_query,
    keep_above,
    keep_most_frequent,
    LookupScratch,
    TablesView,
)
from slide._hashing.hasher cimport codes_in_table, DenseRows, hash_rows, HasherView
from slide._simd.dispatch cimport chosen
from slide._simd.weights cimport rows_of, WeightArray, Weights

from slide._base.memory import aligned_zeros
from slide._base.named_arrays import fill, flat, part_of
from slide._hashing.hash_families import make_hasher

cdef enum:
    BLOCK = 256                # neurons that a thread hashes at a time

# The neurons that a rebuild hashes. Threads write disjoint ranges of the extra coordinates.
cdef struct Rebuild:
    const Weights *weights
    const float32_t *b         # (n_neurons,)
    const float32_t *mean      # (n_in,)
    float32_t *extra_0         # (n_neurons,) w.mean + b, until `_extras` changes it
    float32_t *extra_1         # (n_neurons,) |w|^2, until `_extras` changes it
    uint16_t *codes            # (n_tables, stride)
    int64_t stride

# Private to one thread.
cdef struct RebuildScratch:
    float32_t *unpacked        # (block, n_in) where weights are bfloat16
    float32_t *hashing         # (rows_scratch_size,) of the hasher
    uint64_t *words            # (n_words,)


cdef void _block_statistics(const Rebuild *rebuild, int64_t first, int64_t n, float32_t *unpacked,
                            Watch *watch) noexcept nogil:
    """Compute w[i].mean + b[i] and |w[i]|^2 for n neurons i from `first` on.

    OUT rebuild.extra_0 and rebuild.extra_1, in this order. Scratch unpacked (n, n_in) of the
    thread. Threads take disjoint ranges; watch is shared.
    """
    cdef const int32_t *ids = NULL
    cdef const float32_t *w
    cdef int64_t d = rebuild.weights.width
    if interrupted(watch):
        return
    w = rows_of(rebuild.weights, first, n, &ids, unpacked)
    chosen().statistics(w, d, rebuild.b + first, n, rebuild.mean, d, rebuild.extra_0 + first,
                        rebuild.extra_1 + first)


cdef void _extras(const Rebuild *rebuild, int64_t n, float32_t bias_mean, float32_t bias_scale,
                  float32_t longest2) noexcept nogil:
    """Compute the extra coordinates of n neurons; they replace the results of `_block_statistics`.

    longest2 = M^2.
    """
    cdef int64_t i
    cdef float32_t e0, rest
    cdef float32_t *bias = rebuild.extra_0
    cdef float32_t *norm2 = rebuild.extra_1
    for i in range(n):
        e0 = (bias[i] - bias_mean) * bias_scale
        rest = longest2 - norm2[i] - e0 * e0
        bias[i] = e0
        norm2[i] = sqrtf(rest) if rest > 0 else 0


cdef void _hash_block(const HasherView *hasher, const Rebuild *rebuild, int64_t first, int64_t n,
                      RebuildScratch *scratch) noexcept nogil:
    """Compute the codes of n neurons from `first` on. Threads take disjoint ranges."""
    cdef const int32_t *ids = NULL
    cdef const float32_t *w = rows_of(rebuild.weights, first, n, &ids, scratch.unpacked)
    cdef DenseRows rows = DenseRows(w, rebuild.weights.width, NULL, n, rebuild.extra_0 + first,
                                    rebuild.extra_1 + first)
    hash_rows(hasher, &rows, scratch.hashing, scratch.words, rebuild.codes + first,
              rebuild.stride)


cdef void _sort_table(const uint16_t *codes, int64_t n_neurons, int64_t n_buckets,
                      int32_t *offsets, int32_t *ids) noexcept nogil:
    """Counting sort of one table: bucket c is ids[offsets[c] : offsets[c + 1]], ids rising.

    IN codes (n_neurons,); OUT offsets (n_buckets + 1,), ids (n_neurons,). O(n_neurons +
    n_buckets). One thread per table.
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


cdef void _fill_table(const TablesView *tables, int32_t table, const uint64_t *words,
                      int64_t n_words, uint16_t *codes) noexcept nogil:
    """Sort one table, as `HashTables._sort` says; scratch codes (n_neurons,) of the thread."""
    cdef int64_t n = tables.n_neurons
    cdef int32_t *ids = tables.ids + table * n
    if words != NULL:
        codes_in_table(tables.hasher, table, words, n_words, n, codes)
    else:
        memcpy(codes, ids, n * sizeof(uint16_t))
    _sort_table(codes, n, tables.n_buckets, tables.offsets + table * (tables.n_buckets + 1), ids)


cdef class HashTables:
    """The hash tables of one layer.

    The tables take 4 bytes x L x n_neurons, and the offsets. A rebuild takes another 8 bytes x
    n_neurons, and 2 bytes x n_neurons per thread.

    Parameters
    ----------
    n_neurons, n_in : int
        Shape of the layer's weight rows.
    n_tables, n_bits : int
        L and K.
    random_state : numpy.random.RandomState
        Draws the hash functions.
    family : str
        A name in `_hashing.hash_families.FAMILIES`.
    transform : bool
        Whether extra coordinates and the mean turn inner products into angles.
    """

    def __init__(self, int64_t n_neurons, int64_t n_in, int32_t n_tables, int32_t n_bits,
                 random_state, str family="simhash", bint transform=True):
        if not 1 <= n_tables <= 255 or not 1 <= n_bits <= 16:
            raise ValueError(
                f"n_tables must be in 1..255 and n_bits in 1..16; got {n_tables} and {n_bits}"
            )
        cdef int32_t[:, ::1] offsets = np.zeros((n_tables, (1 << n_bits) + 1), np.int32)
        cdef int32_t[:, ::1] ids = np.zeros((n_tables, n_neurons), np.int32)
        self.hasher = make_hasher(family, n_in, n_tables, n_bits, random_state, transform)
        self.transform, self.mean = transform, np.zeros(n_in, np.float32)
        self.offsets, self.ids = np.asarray(offsets), np.asarray(ids)
        self.view.n_tables, self.view.n_buckets = n_tables, 1 << n_bits
        self.view.n_neurons = n_neurons
        self.view.offsets, self.view.ids = &offsets[0, 0], &ids[0, 0]
        self.view.hasher = &self.hasher.view
        self.view.query_bias = 1.0 if transform else 0.0
        self._set_folded(self._folded(self.mean))

    cdef object _folded(self, mean):
        """The mean as the hash functions take it, or None without the transform."""
        return self.hasher.fold(mean) if self.transform else None

    cdef _set_folded(self, folded):
        """Replace the folded mean; no bytecode runs, so that no signal handler can interrupt it."""
        cdef const float32_t[::1] folded_mean = folded
        self.view.folded_mean = &folded_mean[0] if folded is not None else NULL
        self._folded_mean = folded

    def named_arrays(self):
        """The buckets, the hash functions and the mean of the queries: arrays by name."""
        return flat({**self._arrays(), "query_bias": np.array([self.view.query_bias], np.float32)},
                    hasher=self.hasher)

    def set_named_arrays(self, arrays):
        """Take over the arrays of other tables with the same parameters.

        Raises
        ------
        ValueError
            When the buckets of a table do not hold every neuron once.
        """
        _check_buckets(arrays["offsets"], arrays["ids"])
        self.hasher.set_named_arrays(part_of(arrays, "hasher"))
        fill(self._arrays(), arrays)
        self.view.query_bias = arrays["query_bias"][0]
        self._set_folded(self._folded(self.mean))

    cdef dict _arrays(self):
        return {"offsets": self.offsets, "ids": self.ids, "mean": self.mean}

    @property
    def query_bias(self):
        """Extra coordinate of every query; 0 without the transform."""
        return self.view.query_bias

    def rebuild(self, weights, const float32_t[::1] biases, const float32_t[::1] mean,
                float query_length, int n_threads):
        """Hash every neuron and sort the tables; returns the multiply-adds that it took.

        Without the transform only the weights are read.

        Parameters
        ----------
        weights : float32 or bfloat16 (n_neurons, n_in), IN
        biases : float32 (n_neurons,), IN
        mean : float32 (n_in,), IN
            Mean of the queries.
        query_length : float
            Root mean square of |x - mean|, the weight of the bias coordinate.
        n_threads : int
        """
        cdef int64_t n = self.view.n_neurons, d = self.hasher.view.n_in
        cdef int64_t block, n_blocks = blocks_of(n, BLOCK), cost, i
        cdef WeightArray rows = WeightArray(weights)
        cdef float32_t[:, ::1] unpacked = rows.scratch(n_threads, BLOCK)
        cdef float32_t[::1] own_mean = self.mean
        # Without the transform the extra coordinates stay 0.
        bias_array, norm2_array = np.zeros(n, np.float32), np.zeros(n, np.float32)
        cdef float32_t[::1] bias = bias_array
        cdef float32_t[::1] norm2 = norm2_array
        cdef uint16_t[:, ::1] sorting = np.empty((n_threads, n), np.uint16)
        # The row of each thread is a whole number of cache lines.
        cdef float32_t[:, ::1] hashing = aligned_zeros(
            (n_threads, 16 * blocks_of(self.hasher.rows_scratch_size, 16) + 16))
        cdef uint64_t[:, ::1] words = np.empty((n_threads, self.hasher.n_words + 8), np.uint64)
        scratch_memory = np.empty(n_threads * sizeof(RebuildScratch), np.uint8)
        cdef uint8_t[::1] scratch_view = scratch_memory
        cdef RebuildScratch *scratch = <RebuildScratch *>&scratch_view[0]
        cdef float32_t bias_mean = 0, bias_scale = 0, longest2 = 0, query_bias
        cdef const HasherView *hasher = &self.hasher.view
        cdef Rebuild rebuild
        cdef Watch watch
        for i in range(n_threads):
            scratch[i] = RebuildScratch(&unpacked[i, 0], &hashing[i, 0], &words[i, 0])
        # Until a table is sorted, the codes of its neurons lie where their ids will be. So all
        # memory must be allocated before this point.
        rebuild = Rebuild(&rows.view, &biases[0], &mean[0], &bias[0], &norm2[0],
                          <uint16_t *>self.view.ids, 2 * n)
        cost = n * <int64_t>self.hasher.multiply_adds
        if self.transform:
            start_watch(&watch)
            for block in prange(n_blocks, nogil=True, num_threads=n_threads, schedule="dynamic"):
                _block_statistics(&rebuild, block * BLOCK, min(<int64_t>BLOCK, n - block * BLOCK),
                                  scratch[omp_get_thread_num()].unpacked, &watch)
            end_watch(&watch)
            bias_mean = np.mean(bias_array)
            query_bias = max(query_length, 1e-6)
            bias_scale = 1.0 / query_bias
            longest2 = np.max(norm2_array + np.square((bias_array - bias_mean) * bias_scale))
            folded = self._folded(np.array(mean))
            # Nothing may stop the rebuild from here on: buckets are invalid until they are sorted.
            # No Python code runs, so no signal handler.
            own_mean[:] = mean
            self._set_folded(folded)
            self.view.query_bias = query_bias
            _extras(&rebuild, n, bias_mean, bias_scale, longest2)
            cost += 2 * n * d
        for block in prange(n_blocks, nogil=True, num_threads=n_threads, schedule="dynamic"):
            _hash_block(hasher, &rebuild, block * BLOCK, min(<int64_t>BLOCK, n - block * BLOCK),
                        &scratch[omp_get_thread_num()])
        self._sort(NULL, 0, sorting, n_threads)
        return cost

    def sort(self, const uint64_t[:, ::1] words, int n_threads):
        """Sort the neurons into buckets by the words of their hash (n_neurons, n_words)."""
        self._sort(&words[0, 0], words.shape[1],
                   np.empty((n_threads, self.view.n_neurons), np.uint16), n_threads)

    cdef _sort(self, const uint64_t *words, int64_t n_words, uint16_t[:, ::1] codes,
               int n_threads):
        """Sort every table by words (n_neurons, n_words), or by codes that lie where ids will be.

        The codes are used where words is NULL. Scratch codes (n_threads, n_neurons).
        """
        cdef int32_t t
        for t in prange(self.view.n_tables, nogil=True, num_threads=n_threads,
                        schedule="dynamic"):
            _fill_table(&self.view, t, words, n_words, &codes[omp_get_thread_num(), 0])

    def collect(self, x, int64_t n_keep, int64_t bucket_limit=128, seed=0,
                int32_t min_collisions=0):
        """The candidates of every row of x, as a list of id arrays. Python entry point for tests.

        Parameters
        ----------
        x : float32 (n, n_in), dense or CSR
        n_keep : int
            Number of candidates to keep: those with the most collisions. It has no effect when
            min_collisions is given.
        bucket_limit : int
            The most neurons that are read from one bucket.
        seed : int
            Decides which part of a longer bucket is read.
        min_collisions : int
            When it is not 0, all candidates with at least so many collisions are kept.
        """
        cdef int64_t i, n, n_found
        cdef LookupScratch scratch
        cdef uint8_t[::1] counts = np.zeros(self.view.n_neurons, np.uint8)
        cdef InputRows rows = self.hasher.rows_of(x)
        cdef Vector row
        cdef uint64_t rng = seed
        keep_alive, result = [], []
        n_found = min(self.view.n_tables * bucket_limit, self.view.n_neurons)
        allocate_lookup(&scratch, self.hasher, n_found, &counts[0], keep_alive)
        for i in range(x.shape[0]):
            row = vector_at(&rows.view, i)
            hash_query(&self.view, &row, &scratch)
            n = collect(&self.view, bucket_limit, &rng, &scratch)
            if min_collisions > 0:
                n = keep_above(&scratch, n, min_collisions)
            else:
                n = keep_most_frequent(&scratch, n, n_keep)
            result.append(np.array(<int32_t[:n_found]>scratch.found)[:n])
        return result


def _check_buckets(offsets, ids):
    """Raise ValueError for buckets that are not valid: `collect` trusts offsets and ids."""
    n = ids.shape[1]
    if (offsets[:, 0] != 0).any() or (offsets[:, -1] != n).any() or (
            offsets[:, 1:] < offsets[:, :-1]).any():
        raise ValueError(f"offsets of hash buckets must rise from 0 to the {n} neurons of a table")
    if ids.min() < 0 or ids.max() >= n or not all(
            (np.bincount(table, minlength=n) == 1).all() for table in ids):
        raise ValueError(f"hash buckets must hold each of the neurons 0 to {n - 1} once a table")
