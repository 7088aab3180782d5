"""Which neurons of a layer to compute for a vector: the retrieval policies.

Two structures serve them: hash tables of the neurons (`_tables`), and a list of SimHash codes,
one a neuron, from which the pre-activation w.x + b is estimated by a population count:

    |w| |x - mean| cos(pi * distance / bits) + (w.mean + b)

The angle between w and x - mean is pi * distance / bits on average (Charikar, STOC 2002); norm,
bias and the centre of the queries are known exactly, and so is what lies along a few directions of
the queries (`_directions`). A narrow layer ranks all its codes, a wide one those of the neurons
that its tables return.
"""
import numpy as np

from cython.parallel cimport prange
from libc.math cimport sqrtf
from libc.string cimport memcpy, memset

from slide._directions cimport Directions, split_neuron, split_query
from slide._families cimport HasherView
from slide._hash cimport Hasher, hash_vector, table_codes
from slide._openmp cimport omp_get_thread_num
from slide._random cimport next_below
from slide._simd cimport chosen
from slide._tables cimport (
    HashTables,
    keep_above,
    keep_most_frequent,
    neuron_statistics,
    query_codes,
    retrieve,
)
from slide._typedefs cimport (
    float32_t,
    int32_t,
    int64_t,
    uint8_t,
    uint16_t,
    uint32_t,
    uint64_t,
    blocks_of,
)

from slide._hash import make_hasher
from slide._memory import aligned_zeros
from slide._state import fill, flat, part_of

POLICIES = {
    "none": RANDOM,
    "exact": EXACT,
    "estimate": ESTIMATE,
    "vanilla": VANILLA,
    "topk": TOPK,
    "threshold": THRESHOLD,
    "rerank": RERANK,
    "scan": SCAN,
}


# ------------------------------------------------------------- selection --

cdef inline uint32_t _key(float32_t x) noexcept nogil:
    # Rises with x; NaN lies beyond the infinities.
    cdef uint32_t bits
    memcpy(&bits, &x, sizeof(bits))
    return ~bits if bits >> 31 else bits | <uint32_t>0x80000000


cdef int64_t largest(const float32_t *scores, int64_t n, int64_t k, uint32_t *keys,
                     int32_t *out) noexcept nogil:
    """Places of the k largest of n scores, rising; on ties the lower place. Radix selection.

    IN scores (n,); scratch keys (n,); OUT out (min(k, n),). Returns their number. Cost: O(n), no
    multiplication.
    """
    cdef int64_t histogram[2048]
    cdef int64_t i, room = k, kept = 0
    cdef int shift, digit, width
    cdef uint32_t prefix = 0, mask = 0, key
    if n <= k:
        for i in range(n):
            out[i] = <int32_t>i
        return n
    if k <= 0:
        return 0
    for i in range(n):
        keys[i] = _key(scores[i])
    shift = 32
    while shift > 0:
        width = 11 if shift > 10 else 10
        shift -= width
        memset(histogram, 0, sizeof(histogram))
        for i in range(n):
            if (keys[i] & mask) == prefix:
                histogram[(keys[i] >> shift) & ((1 << width) - 1)] += 1
        digit = (1 << width) - 1
        while histogram[digit] < room:
            room -= histogram[digit]
            digit -= 1
        prefix |= <uint32_t>digit << shift
        mask |= <uint32_t>((1 << width) - 1) << shift
        if histogram[digit] == room:
            break   # all that share these digits are taken
    for i in range(n):
        key = keys[i] & mask
        if key > prefix or (key == prefix and room > 0):
            room -= key == prefix
            out[kept] = <int32_t>i
            kept += 1
    return kept


def largest_of(const float32_t[::1] scores, int64_t k):
    """Places of the k largest scores, int32, rising: a door to `largest` for the tests."""
    cdef int64_t n = scores.shape[0]
    cdef uint32_t[::1] keys = np.empty(max(1, n), np.uint32)
    cdef int32_t[::1] out = np.empty(max(1, min(k, n)), np.int32)
    n = largest(&scores[0] if n else NULL, n, k, &keys[0], &out[0])
    return np.asarray(out[:n])


# ---------------------------------------------------------------- search --

cdef int64_t _fill(const SearchView *view, int32_t *out, int64_t n, uint64_t *rng,
                   uint8_t *counts) noexcept nogil:
    """Random neurons on top of the n in `out`, up to n_wanted distinct ones; their number."""
    cdef int64_t i, _draw, target = min(view.n_wanted, view.n_neurons)
    cdef int32_t neuron
    if n >= target:
        return n
    for i in range(n):
        counts[out[i]] = 1
    for _draw in range(64 + 8 * target):
        if n == target:
            break
        neuron = <int32_t>next_below(rng, <uint32_t>view.n_neurons)
        if counts[neuron] == 0:
            counts[neuron] = 1
            out[n] = neuron
            n += 1
    neuron = <int32_t>next_below(rng, <uint32_t>view.n_neurons)
    while n < target:
        # Nearly all neurons are in: take the free ones in turn.
        if counts[neuron] == 0:
            counts[neuron] = 1
            out[n] = neuron
            n += 1
        neuron = neuron + 1 if neuron + 1 < view.n_neurons else 0
    for i in range(n):
        counts[out[i]] = 0
    return n


cdef float32_t _centered_norm(const SearchView *view, const int32_t *ids,
                              const float32_t *values, int64_t n_values) noexcept nogil:
    """|x - mean| of a dense or sparse vector."""
    cdef float32_t total = view.mean_norm2, v
    cdef int64_t j
    for j in range(n_values):
        v = values[j]
        total += v * (v - 2 * view.mean[ids[j] if ids != NULL else j])
    return sqrtf(total) if total > 0 else 0


cdef inline void _cut(uint64_t *words, int64_t n_bits) noexcept nogil:
    # Zero what the last word holds beyond n_bits: it would count as distance.
    if n_bits & 63:
        words[n_bits >> 6] &= (<uint64_t>1 << (n_bits & 63)) - 1


cdef int64_t _ranked(const SearchView *view, const int32_t *ids, const float32_t *values,
                     int64_t n_values, uint64_t *rng, SearchScratch *scratch, int32_t *out,
                     int64_t *cost) noexcept nogil:
    """The n_candidates of the largest estimated pre-activation; parameters as in `search`."""
    cdef int64_t i, n = view.n_neurons
    cdef float32_t length = _centered_norm(view, ids, values, n_values)
    cdef const int32_t *found = NULL
    cdef const float32_t *center = view.center
    cdef const float32_t *biases = view.biases
    if view.directions != NULL:
        length = split_query(view.directions, ids, values, n_values, length, center, biases,
                             scratch.coordinates, scratch.center, scratch.offsets)
        center, biases = scratch.center, scratch.offsets
        cost[0] += view.directions.n * (n_values + view.directions.size + n)
    hash_vector(view.hasher, ids, values, n_values, center, 0, 0, scratch.hashing, scratch.words)
    _cut(scratch.words, view.n_bits)
    if view.tables != NULL:
        table_codes(view.hasher, scratch.words, scratch.codes, 1)
        n = retrieve(view.tables, scratch.codes, view.bucket_limit, rng, scratch.counts,
                     scratch.found)
        n = keep_most_frequent(scratch.found, n, scratch.counts, n)
        found = scratch.found
    for i in range(view.n_bits + 1):
        scratch.curve[i] = length * view.cosines[i]
    chosen().code_scores(view.codes, view.n_words, found, n, scratch.words, scratch.curve,
                         view.norms, biases, scratch.scores)
    cost[0] += (view.hasher.fixed_cost + (view.hasher.cost_per_value + 2) * n_values
                + view.n_bits + n * (view.n_words + 1))
    n = largest(scratch.scores, n, view.n_candidates, scratch.keys, scratch.best)
    for i in range(n):
        out[i] = found[scratch.best[i]] if found != NULL else scratch.best[i]
    return n


cdef int64_t _scanned(const SearchView *view, const int32_t *ids, const float32_t *values,
                      int64_t n_values, SearchScratch *scratch, int32_t *out,
                      int64_t *cost) noexcept nogil:
    """The n_candidates of the largest pre-activation, from a copy of the weights by input.

    A sparse vector reads the rows of its values only, one after the other, as an embedding bag
    does: for few values that costs less than hashing and misses nothing but what moved since the
    last rebuild. Parameters as in `search`.
    """
    cdef int64_t n = view.n_neurons
    memcpy(scratch.scores, view.biases, n * sizeof(float32_t))
    chosen().accumulate(values, 0, 1, view.columns, n, ids, n_values, scratch.scores, n, 1, n)
    cost[0] += n * n_values
    return largest(scratch.scores, n, view.n_candidates, scratch.keys, out)


cdef int64_t search(const SearchView *view, const int32_t *ids, const float32_t *values,
                    int64_t n_values, uint64_t *rng, SearchScratch *scratch,
                    int32_t *out, int64_t *cost) noexcept nogil:
    """Distinct neurons for one vector, at most n_candidates, at least n_wanted.

    IN the vector: ids NULL and values (n_in,), or a sparse one, ids and values (n_values,);
    OUT out (max(n_candidates, n_wanted),); INOUT cost, to which hashing and ranking are added,
    a population count of 64 bits as one multiply-add. Returns their number. Thread-safe: scratch
    and rng are the thread's own.
    """
    cdef int64_t n = 0, i
    if view.policy == EXACT:
        for i in range(view.n_neurons):
            out[i] = <int32_t>i
        return view.n_neurons
    if view.policy == ESTIMATE:
        n = _ranked(view, ids, values, n_values, rng, scratch, out, cost)
    elif view.policy == SCAN:
        n = _scanned(view, ids, values, n_values, scratch, out, cost)
    elif view.policy != RANDOM:
        query_codes(view.tables, ids, values, n_values, scratch.hashing, scratch.words,
                    scratch.codes)
        cost[0] += (view.tables.hasher.fixed_cost
                    + view.tables.hasher.cost_per_value * n_values)
        n = retrieve(view.tables, scratch.codes, view.bucket_limit, rng, scratch.counts,
                     scratch.found)
        if view.policy == THRESHOLD:
            n = keep_above(scratch.found, n, scratch.counts, <int32_t>view.min_collisions)
        else:
            n = keep_most_frequent(scratch.found, n, scratch.counts,
                                   n if view.policy == VANILLA else view.n_candidates)
        n = min(n, view.n_candidates)
        for i in range(n):
            out[i] = scratch.found[i]
    return _fill(view, out, n, rng, scratch.counts)


# ------------------------------------------------------------- structures --

cdef class Retrieval:
    """What finds the neurons of one layer.

    Parameters
    ----------
    n_neurons, n_in : int
    settings : dict
        policy, hash_family, n_tables, n_hash_bits, use_tables, n_wanted, n_candidates,
        bucket_limit, min_collisions, transform; n_rounds of the estimates' SimHash, 3 unless given.
        Without the inner-product transform neurons are found by the angle between w and x alone.
    random_state : numpy.random.RandomState
        Draws the hash functions.
    directions : float32 (n, n_in) or None
        Orthonormal directions along which estimates are exact; of the policy "estimate" with the
        transform and without tables.
    """

    def __init__(self, int64_t n_neurons, int64_t n_in, dict settings, random_state,
                 directions=None):
        cdef SearchView *view = &self.view
        n_tables, n_bits = settings["n_tables"], settings["n_hash_bits"]
        self.policy, self.family = settings["policy"], settings["hash_family"]
        self.transform, self._settings = settings["transform"], settings
        view.policy, view.n_neurons, view.n_in = POLICIES[self.policy], n_neurons, n_in
        view.n_wanted = settings["n_wanted"]
        view.n_candidates = (n_neurons if self.policy == "exact" else
                             min(n_neurons, settings["n_candidates"]))
        view.bucket_limit = settings["bucket_limit"]
        view.min_collisions = settings["min_collisions"]
        self._arrays = {}
        if self.policy == "estimate":
            total = n_tables * n_bits
            self._arrays = {
                "codes": aligned_zeros((n_neurons, blocks_of(total, 64)), np.uint64),
                "norms": np.ones(n_neurons, np.float32),
                "biases": np.zeros(n_neurons, np.float32),
                "mean": np.zeros(n_in, np.float32),
            }
            self._cosines = np.cos(np.pi * np.arange(total + 1) / total).astype(np.float32)
            self.hasher = make_hasher("simhash", n_in, n_tables, n_bits, random_state,
                                      n_rounds=settings.get("n_rounds", 3))
        elif self.policy == "scan":
            self._arrays = {
                "columns": aligned_zeros((n_in, n_neurons)),
                "biases": np.zeros(n_neurons, np.float32),
            }
        if directions is not None:
            self.directions = Directions(directions, n_neurons)
        if settings["use_tables"] and self.policy not in ("none", "exact", "scan"):
            self.tables = HashTables(n_neurons, n_in, n_tables, n_bits, random_state,
                                     self.family, self.transform)
        self._set_view()

    cdef _set_view(self):
        cdef SearchView *view = &self.view
        cdef const uint64_t[:, ::1] codes
        cdef const float32_t[::1] norms, biases, center, mean, cosines
        cdef const float32_t[:, ::1] columns
        view.tables = &self.tables.view if self.tables is not None else NULL
        if self.policy == "scan":
            columns, biases = self._arrays["columns"], self._arrays["biases"]
            view.columns, view.biases = &columns[0, 0], &biases[0]
        if self.hasher is None:
            return
        codes, norms, biases, mean = self._arrays.values()
        cosines, center = self._cosines, self.hasher.center(mean)
        self._center = np.asarray(center)
        view.hasher = &self.hasher.view
        view.n_words = codes.shape[1]
        view.n_bits = cosines.shape[0] - 1
        view.codes, view.norms, view.biases = &codes[0, 0], &norms[0], &biases[0]
        view.center = &center[0] if self.transform else NULL
        view.mean, view.cosines = &mean[0], &cosines[0]
        view.mean_norm2 = np.vdot(self._arrays["mean"], self._arrays["mean"])
        if self.directions is not None:
            self.directions.fold(self.hasher, self._arrays["mean"])
            view.directions = &self.directions.view

    def state(self):
        """The hash functions and all that rebuilds change: arrays by name."""
        return flat(self._arrays, tables=self.tables, hasher=self.hasher,
                    directions=self.directions)

    def set_state(self, state):
        """Take over the state of another of the same parameters and as many directions."""
        fill(self._arrays, state)
        for name in ("tables", "hasher", "directions"):
            if getattr(self, name) is not None:
                getattr(self, name).set_state(part_of(state, name))
        self._set_view()

    __setstate__ = set_state

    def __reduce__(self):
        vectors = None if self.directions is None else self.directions.vectors
        return Retrieval, (self.view.n_neurons, self.view.n_in, self._settings,
                           np.random.RandomState(0), vectors), self.state()

    cdef int64_t max_found(self):
        """Most neurons that the tables return."""
        if self.tables is None:
            return 0
        return min(self.view.n_neurons, self.tables.view.n_tables * self.view.bucket_limit)

    cdef int64_t max_ranked(self):
        """Most neurons whose pre-activation is estimated."""
        if self.policy == "scan":
            return self.view.n_neurons
        if self.hasher is None:
            return 0
        return self.max_found() if self.tables is not None else self.view.n_neurons

    def rebuild(self, const float32_t[:, ::1] weights, const float32_t[::1] biases,
                const float32_t[::1] mean, float query_length, int n_threads):
        """Hash every neuron anew; returns the multiply-adds it took.

        weights (n_neurons, n_in), biases (n_neurons,), mean (n_in,): the centre of the queries,
        query_length: root mean square of |x - mean|.
        """
        if self.policy == "scan":
            self._arrays["columns"][...] = np.asarray(weights).T
            self._arrays["biases"][...] = biases
            return 0
        if self.hasher is not None:
            return self._rebuild_codes(weights, biases, mean, n_threads)
        if self.tables is not None:
            return self.tables.rebuild(weights, biases, mean, query_length, n_threads)
        return 0

    def _rebuild_codes(self, const float32_t[:, ::1] weights, const float32_t[::1] biases,
                       const float32_t[::1] new_mean, int n_threads):
        cdef int64_t n = self.view.n_neurons, d = self.view.n_in, block, per_block = 256
        cdef int64_t n_words = self.hasher.n_words, n_scratch = self.hasher.scratch_size
        cdef uint64_t[:, ::1] codes = self._arrays["codes"]
        cdef float32_t[::1] norms = self._arrays["norms"], own = self._arrays["biases"]
        cdef float32_t[::1] mean = self._arrays["mean"]
        cdef int64_t n_directions = 0, size = 0
        if self.directions is not None:
            n_directions, size = self.directions.view.n, self.directions.view.size
        cdef float32_t[:, ::1] scratch = np.zeros(
            (n_threads, n_scratch + n_directions + size + 16), np.float32)
        cdef uint64_t[:, ::1] words = np.zeros((n_threads, n_words + 8), np.uint64)
        cdef bint sorted_too = self.tables is not None
        cdef uint16_t[:, ::1] table = np.empty((self.hasher.view.n_tables if sorted_too else 1, n),
                                               np.uint16)
        cdef uint16_t *table_ptr = &table[0, 0] if sorted_too else NULL
        if self.transform:
            mean[:] = new_mean
        self._set_view()
        cdef const HasherView *hasher = &self.hasher.view
        for block in prange(blocks_of(n, per_block), nogil=True, num_threads=n_threads,
                            schedule="static"):
            if self.transform:
                neuron_statistics(&weights[0, 0], d, &biases[0], &mean[0], d, block * per_block,
                                  min((block + 1) * per_block, n), &own[0], &norms[0])
            _code_neurons(&self.view, &weights[0, 0], block * per_block,
                          min((block + 1) * per_block, n),
                          &scratch[omp_get_thread_num(), 0], n_scratch,
                          &words[omp_get_thread_num(), 0], &codes[0, 0], &norms[0], table_ptr)
        if self.transform:
            np.sqrt(self._arrays["norms"], out=self._arrays["norms"])
        if sorted_too:
            self.tables.sort(table, n_threads)
        return n * (2 * d + hasher.fixed_cost + hasher.cost_per_value * d
                    + n_directions * (d + size))

    def search(self, x, seed=0):
        """The neurons found for every row of x, dense (n, n_in): a list of id arrays.

        A door for diagnostics and tests; row i draws its random numbers from seed + i.
        """
        cdef const float32_t[:, ::1] rows = np.ascontiguousarray(x, np.float32)
        cdef SearchScratch scratch
        cdef int32_t[::1] out = np.empty(max(1, self.view.n_candidates, self.view.n_wanted),
                                         np.int32)
        cdef uint64_t rng
        cdef int64_t i, n, cost = 0
        keep_alive = []
        allocate_search(&scratch, self, keep_alive)
        result = []
        for i in range(rows.shape[0]):
            rng = seed + i
            n = search(&self.view, NULL, &rows[i, 0], self.view.n_in, &rng, &scratch, &out[0],
                       &cost)
            result.append(np.asarray(out[:n]).copy())
        return result


cdef void _code_neurons(const SearchView *view, const float32_t *w, int64_t first, int64_t last,
                        float32_t *scratch, int64_t n_scratch, uint64_t *words, uint64_t *codes,
                        float32_t *norm2, uint16_t *table) noexcept nogil:
    """Codes (n_neurons, n_words) and, unless NULL, table codes (n_tables, n_neurons).

    With directions, those of the rests; INOUT norm2 (n_neurons,) then become theirs. Scratch:
    n_scratch for the hasher, then a vector's coordinates and its centre. Threads take disjoint
    ranges; scratch and words are their own.
    """
    cdef int64_t i, d = view.n_in
    cdef float32_t *center = NULL
    if view.directions != NULL:
        center = scratch + n_scratch + view.directions.n
    for i in range(first, last):
        if view.directions != NULL:
            split_neuron(view.directions, w + i * d, i, scratch + n_scratch, center, norm2 + i)
        hash_vector(view.hasher, NULL, w + i * d, d, center, 0, 0, scratch, words)
        if table != NULL:
            table_codes(view.hasher, words, table + i, view.n_neurons)
        _cut(words, view.n_bits)
        memcpy(codes + i * view.n_words, words, view.n_words * sizeof(uint64_t))


cdef int allocate_search(SearchScratch *scratch, Retrieval retrieval, list keep_alive) except -1:
    """Set the pointers of one thread's scratch; arrays join keep_alive."""
    cdef int64_t ranked = retrieval.max_ranked(), n_codes = 1, n_scratch = 1, n_words = 1
    cdef Hasher hasher = retrieval.hasher
    if retrieval.directions is not None:
        known = retrieval.directions.view
        scratch.coordinates = <float32_t *>scratch_array(known.n, np.float32, keep_alive)
        scratch.center = <float32_t *>scratch_array(known.size, np.float32, keep_alive)
        scratch.offsets = <float32_t *>scratch_array(ranked, np.float32, keep_alive)
    if hasher is None and retrieval.tables is not None:
        hasher = retrieval.tables.hasher
    if hasher is not None:
        n_codes, n_scratch, n_words = hasher.view.n_tables, hasher.scratch_size, hasher.n_words
    scratch.counts = <uint8_t *>scratch_array(retrieval.view.n_neurons, np.uint8, keep_alive)
    scratch.found = <int32_t *>scratch_array(retrieval.max_found(), np.int32, keep_alive)
    scratch.scores = <float32_t *>scratch_array(ranked, np.float32, keep_alive)
    scratch.keys = <uint32_t *>scratch_array(ranked, np.uint32, keep_alive)
    scratch.best = <int32_t *>scratch_array(ranked, np.int32, keep_alive)
    scratch.curve = <float32_t *>scratch_array(retrieval.view.n_bits + 1, np.float32, keep_alive)
    scratch.hashing = <float32_t *>scratch_array(n_scratch, np.float32, keep_alive)
    scratch.words = <uint64_t *>scratch_array(n_words + 1, np.uint64, keep_alive)
    scratch.codes = <uint16_t *>scratch_array(n_codes, np.uint16, keep_alive)
    return 0


cdef void *scratch_array(size, dtype, list keep_alive) except NULL:
    """An aligned array of zeros, of at least one element so that it has an address."""
    array = aligned_zeros(max(1, size), dtype)
    keep_alive.append(array)
    return <void *><uint64_t>array.ctypes.data
