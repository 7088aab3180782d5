"""Which neurons of a layer to compute for a vector: the retrieval policies.

Two structures serve them: hash tables of the neurons (`_hashing.tables`), and a list of SimHash
codes, one a neuron, from which the pre-activation w.x + b is estimated by a population count:

    |w| |x - mean| cos(pi * distance / bits) + (w.mean + b)

The angle between w and x - mean is pi * distance / bits on average (Charikar, STOC 2002); norm,
bias and the centre of the queries are known exactly, and so is what lies along a few directions of
the queries (`_hashing.directions`). A narrow layer ranks all its codes; a wider one those of the
neurons that a first ranking by 64 bits keeps, a very wide one those that its tables return.
"""
import numpy as np

from cython.parallel cimport prange
from libc.math cimport sqrtf
from libc.string cimport memcpy

from slide._base.largest cimport largest
from slide._base.openmp cimport omp_get_thread_num
from slide._base.random cimport next_below
from slide._base.rows cimport dense_vector, Vector
from slide._base.scratch cimport scratch_array
from slide._base.signals cimport end_watch, interrupted, start_watch, Watch
from slide._base.typedefs cimport (
    blocks_of, float32_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t, uint8_t,
)
from slide._hashing.directions cimport add_directions, Directions, split_neuron, split_query
from slide._hashing.hasher cimport cut_codes, DenseRows, hash_vector, Hasher, HasherView
from slide._hashing.simhash cimport SimHash, simhash_rows_to_words
from slide._hashing.tables cimport HashTables, keep_above, keep_most_frequent, hash_query, collect
from slide._simd.dispatch cimport chosen
from slide._simd.weights cimport rows_of, WeightArray, Weights

from slide._base.memory import aligned_zeros
from slide._base.named_arrays import fill, flat, part_of

MOVED = 192  # updates of a neuron after which its code is stale

POLICIES = {
    "none": RANDOM,
    "exact": EXACT,
    "estimate": ESTIMATE,
    "vanilla": VANILLA,
    "topk": MOST_COLLISIONS,
    "threshold": THRESHOLD,
    "rerank": RERANK,
    "scan": SCAN,
}


cdef int64_t _add_random(const RetrievalView *view, int32_t *out, int64_t n, uint64_t *rng,
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


cdef float32_t _centered_norm(const RetrievalView *view, const Vector *x) noexcept nogil:
    """|x - mean| of a dense or sparse vector."""
    cdef float32_t total = view.mean_norm2, v
    cdef int64_t j
    for j in range(x.size):
        v = x.values[j]
        total += v * (v - 2 * view.mean[x.ids[j] if x.ids != NULL else j])
    return sqrtf(total) if total > 0 else 0


cdef inline void _cut(uint64_t *words, int64_t n_bits) noexcept nogil:
    # Zero what the last word holds beyond n_bits: it would count as distance.
    if n_bits & 63:
        words[n_bits >> 6] &= (<uint64_t>1 << (n_bits & 63)) - 1


cdef int64_t _ranked(const RetrievalView *view, const Vector *x, uint64_t *rng, RetrievalScratch *scratch, int32_t *out,
                     int64_t *cost) noexcept nogil:
    """The n_candidates of the largest estimated pre-activation; parameters as in `retrieve`."""
    cdef int64_t i, n = view.n_neurons
    cdef float32_t length = _centered_norm(view, x)
    cdef const int32_t *found = NULL
    cdef const float32_t *folded_mean = view.folded_mean
    cdef const float32_t *biases = view.biases
    if view.directions != NULL:
        length = split_query(view.directions, x, length, folded_mean,
                             scratch.coordinates, scratch.folded_mean)
        folded_mean = scratch.folded_mean
        cost[0] += view.directions.n * (x.size + view.directions.size)
    hash_vector(view.hasher, x, folded_mean, 0, 0, scratch.hashing,
                scratch.words)
    _cut(scratch.words, view.n_bits)
    if view.tables != NULL:
        cut_codes(view.hasher, scratch.words, scratch.codes, 1)
        n = collect(view.tables, scratch.codes, view.bucket_limit, rng, scratch.counts,
                    scratch.found)
        n = keep_most_frequent(scratch.found, n, scratch.counts, n)
        found = scratch.found
    if view.directions != NULL:
        add_directions(view.directions, scratch.coordinates, biases, scratch.offsets)
        biases = scratch.offsets
        cost[0] += view.directions.n * n
    if view.n_coarse > 0:
        for i in range(COARSE_BITS + 1):
            scratch.curve[i] = length * view.coarse_cosines[i]
        chosen().code_scores(view.coarse, 1, NULL, n, scratch.words, scratch.curve, view.norms,
                             biases, scratch.scores)
        cost[0] += COARSE_BITS + 2 * n
        n = largest(scratch.scores, n, view.n_coarse, scratch.keys, scratch.found)
        found = scratch.found
    for i in range(view.n_bits + 1):
        scratch.curve[i] = length * view.cosines[i]
    chosen().code_scores(view.codes, view.n_words, found, n, scratch.words, scratch.curve,
                         view.norms, biases, scratch.scores)
    cost[0] += (view.hasher.fixed_cost + (view.hasher.cost_per_value + 2) * x.size
                + view.n_bits + n * (view.n_words + 1))
    n = largest(scratch.scores, n, view.n_candidates, scratch.keys, scratch.best)
    for i in range(n):
        out[i] = found[scratch.best[i]] if found != NULL else scratch.best[i]
    return n


cdef int64_t _scanned(const RetrievalView *view, const Vector *x, RetrievalScratch *scratch, int32_t *out,
                      int64_t *cost) noexcept nogil:
    """The n_candidates of the largest pre-activation, from a copy of the weights by input.

    A sparse vector reads the rows of its values only, one after the other, as an embedding bag
    does: for few values that costs less than hashing and misses nothing but what moved since the
    last rebuild. Parameters as in `retrieve`.
    """
    cdef int64_t n = view.n_neurons
    memcpy(scratch.scores, view.biases, n * sizeof(float32_t))
    chosen().accumulate(x.values, 0, 1, view.columns, n, x.ids, x.size, scratch.scores, n, 1, n)
    cost[0] += n * x.size
    return largest(scratch.scores, n, view.n_candidates, scratch.keys, out)


cdef int64_t retrieve(const RetrievalView *view, const Vector *x, uint64_t *rng, RetrievalScratch *scratch,
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
        n = _ranked(view, x, rng, scratch, out, cost)
    elif view.policy == SCAN:
        n = _scanned(view, x, scratch, out, cost)
    elif view.policy != RANDOM:
        hash_query(view.tables, x, scratch.hashing, scratch.words,
                   scratch.codes)
        cost[0] += (view.tables.hasher.fixed_cost
                    + view.tables.hasher.cost_per_value * x.size)
        n = collect(view.tables, scratch.codes, view.bucket_limit, rng, scratch.counts,
                    scratch.found)
        if view.policy == THRESHOLD:
            n = keep_above(scratch.found, n, scratch.counts, <int32_t>view.min_collisions)
        else:
            n = keep_most_frequent(scratch.found, n, scratch.counts,
                                   n if view.policy == VANILLA else view.n_candidates)
        n = min(n, view.n_candidates)
        for i in range(n):
            out[i] = scratch.found[i]
    return _add_random(view, out, n, rng, scratch.counts)


cdef class Retrieval:
    """What finds the neurons of one layer.

    Parameters
    ----------
    n_neurons, n_in : int
    settings : dict
        policy, hash_family, n_tables, n_hash_bits, use_tables, n_wanted, n_candidates,
        bucket_limit, min_collisions, transform; n_rounds of the estimates' SimHash, 3 unless given.
        Without the inner-product transform neurons are found by the angle between w and x alone.
        n_coarse: neurons that a first ranking keeps, 0 unless given; of "estimate" without tables.
    random_state : numpy.random.RandomState
        Draws the hash functions.
    directions : float32 (n, n_in) or None
        Orthonormal directions along which estimates are exact; of the policy "estimate" with the
        transform and without tables.
    """

    def __init__(self, int64_t n_neurons, int64_t n_in, dict settings, random_state,
                 directions=None):
        cdef RetrievalView *view = &self.view
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
                "hashed_at": np.zeros(n_neurons, np.int32),
                "mean": np.zeros(n_in, np.float32),
            }
            self.n_coarse = min(settings.get("n_coarse", 0), n_neurons)
            if self.n_coarse:
                self._arrays["coarse"] = np.zeros(n_neurons, np.uint64)
            self._cosines = _cosines(total)
            self._coarse_cosines = _cosines(COARSE_BITS)
            self.hasher = SimHash.draw(n_in, n_tables, n_bits, random_state,
                                       n_rounds=settings.get("n_rounds", 3))
        elif self.policy == "scan":
            self._arrays = {
                "columns": aligned_zeros((n_in, n_neurons)),
                "biases": np.zeros(n_neurons, np.float32),
                "hashed_at": np.zeros(n_neurons, np.int32),
            }
        if directions is not None:
            self.directions = Directions(directions, n_neurons)
        if settings["use_tables"] and self.policy not in ("none", "exact", "scan"):
            self.tables = HashTables(n_neurons, n_in, n_tables, n_bits, random_state,
                                     self.family, self.transform)
        self._set_view()

    cdef _set_view(self):
        cdef RetrievalView *view = &self.view
        cdef const uint64_t[:, ::1] codes
        cdef const uint64_t[::1] coarse
        cdef const float32_t[::1] norms, biases, mean, cosines
        cdef const float32_t[:, ::1] columns
        view.tables = &self.tables.view if self.tables is not None else NULL
        if self.policy == "scan":
            columns, biases = self._arrays["columns"], self._arrays["biases"]
            view.columns, view.biases = &columns[0, 0], &biases[0]
        if self.hasher is None:
            return
        codes, norms, biases, mean = (
            self._arrays[name] for name in ("codes", "norms", "biases", "mean"))
        cosines = self._cosines
        view.hasher, view.functions = &self.hasher.view, &self.hasher.functions
        view.n_words = codes.shape[1]
        view.n_bits = cosines.shape[0] - 1
        view.codes, view.norms, view.biases = &codes[0, 0], &norms[0], &biases[0]
        view.mean, view.cosines = &mean[0], &cosines[0]
        if self.n_coarse:
            coarse, cosines = self._arrays["coarse"], self._coarse_cosines
            view.n_coarse, view.coarse = self.n_coarse, &coarse[0]
            view.coarse_cosines = &cosines[0]
        if self.directions is not None:
            self.directions.set_hasher(self.hasher)
            view.directions = &self.directions.view
        self._fold_mean()

    cdef _fold_mean(self):
        """Fit the view to the mean of the queries."""
        cdef const float32_t[::1] folded_mean
        mean = self._arrays["mean"]
        folded_mean = self._folded_mean = self.hasher.fold(mean)
        self.view.folded_mean = &folded_mean[0] if self.transform else NULL
        self.view.mean_norm2 = np.vdot(mean, mean)
        if self.directions is not None:
            self.directions.set_mean(mean)

    def named_arrays(self):
        """The hash functions and all that rebuilds change: arrays by name."""
        return flat(self._arrays, tables=self.tables, hasher=self.hasher,
                    directions=self.directions)

    def set_named_arrays(self, arrays):
        """Take over the arrays of another of the same parameters and as many directions."""
        fill(self._arrays, arrays)
        for name in ("tables", "hasher", "directions"):
            if getattr(self, name) is not None:
                getattr(self, name).set_named_arrays(part_of(arrays, name))
        self._set_view()

    __setstate__ = set_named_arrays

    def __reduce__(self):
        vectors = None if self.directions is None else self.directions.vectors
        return Retrieval, (self.view.n_neurons, self.view.n_in, self._settings,
                           np.random.RandomState(0), vectors), self.named_arrays()

    cdef int64_t max_found(self):
        """Most neurons that the tables return or a first ranking keeps."""
        if self.tables is None:
            return self.n_coarse
        return min(self.view.n_neurons, self.tables.view.n_tables * self.view.bucket_limit)

    cdef int64_t max_ranked(self):
        """Most neurons whose pre-activation is estimated."""
        if self.policy == "scan":
            return self.view.n_neurons
        if self.hasher is None:
            return 0
        return self.max_found() if self.tables is not None else self.view.n_neurons

    def rebuild(self, weights, const float32_t[::1] biases, const float32_t[::1] mean,
                float query_length, int n_threads, steps=None):
        """Hash every neuron anew; returns the multiply-adds it took.

        weights (n_neurons, n_in), biases (n_neurons,), mean (n_in,): the centre of the queries,
        query_length: root mean square of |x - mean|, steps (n_neurons,): updates of each neuron so
        far, for `follow`.
        """
        if steps is not None and "hashed_at" in self._arrays:
            self._arrays["hashed_at"][...] = steps
        if self.policy == "scan":
            for i in range(0, self.view.n_neurons, 256):  # blocks are faster, and heed Ctrl-C
                self._arrays["columns"][:, i:i + 256] = weights[i:i + 256].T
            self._arrays["biases"][...] = biases
            return 0
        if self.hasher is not None:
            if self.transform:
                self._arrays["mean"][...] = mean
                self._fold_mean()
            ids = np.arange(self.view.n_neurons, dtype=np.int32)
            return self._hash_neurons(weights, biases, ids, n_threads)
        if self.tables is not None:
            return self.tables.rebuild(weights, biases, mean, query_length, n_threads)
        return 0

    def follow(self, weights, const float32_t[::1] biases, steps, int n_threads):
        """Hash or copy the neurons anew that had MOVED updates since; returns the cost.

        For estimates and scans. Some neurons of a wide layer are active for every tenth sample
        and most for hardly any. Parameters as in `rebuild`; the centre of the queries stays.
        """
        if "hashed_at" not in self._arrays:
            return 0
        since = steps - self._arrays["hashed_at"]
        moved = np.flatnonzero(since >= MOVED).astype(np.int32)
        if not len(moved):
            return 0
        self._arrays["hashed_at"][moved] = steps[moved]
        if self.policy == "scan":
            self._arrays["columns"][:, moved] = weights[moved].T
            self._arrays["biases"][moved] = np.asarray(biases)[moved]
            return 0
        return self._hash_neurons(weights, biases, moved, n_threads)

    def _hash_neurons(self, weights, const float32_t[::1] biases, const int32_t[::1] ids,
                      int n_threads):
        """Codes, norms and biases of the neurons `ids`; then the order of all in the tables."""
        cdef int64_t d = self.view.n_in, m = ids.shape[0], block, per_block = 64
        cdef int64_t n_words = self.hasher.n_words, n_scratch = self.hasher.rows_scratch_size
        cdef int64_t n_directions = 0, size = 0
        cdef Watch watch
        cdef uint64_t[:, ::1] codes = self._arrays["codes"]
        cdef float32_t[::1] norms = self._arrays["norms"], own = self._arrays["biases"]
        cdef const float32_t[::1] mean = self._arrays["mean"]
        if self.directions is not None:
            n_directions, size = self.directions.view.n, self.directions.view.size
        # Rows of whole cache lines.
        n_more = max(n_directions + size, 2 * per_block * self.view.n_words)
        cdef float32_t[:, ::1] scratch = aligned_zeros(
            (n_threads, 16 * blocks_of(n_scratch + n_more, 16) + 16))
        cdef uint64_t[:, ::1] words = np.zeros((n_threads, n_words + 8), np.uint64)
        cdef WeightArray rows = WeightArray(weights)
        cdef float32_t[:, ::1] unpacked = rows.scratch(n_threads, per_block)
        cdef const HasherView *hasher = &self.hasher.view
        start_watch(&watch)
        for block in prange(blocks_of(m, per_block), nogil=True, num_threads=n_threads,
                            schedule="static"):
            _hash_some(&self.view, &rows.view, &biases[0], &mean[0], &ids[block * per_block],
                       min(per_block, m - block * per_block), &unpacked[omp_get_thread_num(), 0],
                       &scratch[omp_get_thread_num(), 0], n_scratch,
                       &words[omp_get_thread_num(), 0], &codes[0, 0],
                       &norms[0] if self.transform else NULL, &own[0], &watch)
        end_watch(&watch)
        if self.n_coarse:
            self._arrays["coarse"][...] = np.asarray(codes)[:, 0]
        if self.tables is not None:
            self.tables.sort(codes, n_threads)
        return m * (2 * d + hasher.fixed_cost + hasher.cost_per_value * d
                    + n_directions * (d + size))

    def retrieve(self, x, seed=0):
        """The neurons found for every row of x, dense (n, n_in): a list of id arrays.

        A door for diagnostics and tests; row i draws its random numbers from seed + i.
        """
        cdef const float32_t[:, ::1] rows = np.ascontiguousarray(x, np.float32)
        cdef RetrievalScratch scratch
        cdef int32_t[::1] out = np.empty(max(1, self.view.n_candidates, self.view.n_wanted),
                                         np.int32)
        cdef uint64_t rng
        cdef int64_t i, n, cost = 0
        cdef Vector query
        keep_alive, result = [], []
        allocate_retrieval(&scratch, self, keep_alive)
        for i in range(rows.shape[0]):
            rng = seed + i
            query = dense_vector(&rows[i, 0], self.view.n_in)
            n = retrieve(&self.view, &query, &rng, &scratch, &out[0], &cost)
            result.append(np.asarray(out[:n]).copy())
        return result


cdef void _hash_some(const RetrievalView *view, const Weights *weights, const float32_t *b,
                     const float32_t *mean, const int32_t *ids, int64_t n,
                     float32_t *unpacked, float32_t *scratch, int64_t n_scratch,
                     uint64_t *words, uint64_t *codes, float32_t *norms, float32_t *biases,
                     Watch *watch) noexcept nogil:
    """Codes (n_neurons, n_words) of the n neurons `ids`; unless NULL, norms and biases too.

    With directions codes and norms are those of the rests. Scratch: n_scratch for the hasher, then
    a vector's coordinates and its centre, or the quarters of n vectors' words. Threads take
    different neurons; scratch, words and, of bfloat16, unpacked (n, n_in) are their own.
    """
    cdef int64_t i, k, d = view.n_in
    cdef float32_t *folded_mean
    cdef const int32_t *left = ids
    cdef const float32_t *rows
    cdef const float32_t *w
    cdef Vector neuron
    cdef DenseRows block
    if interrupted(watch):
        return
    rows = rows_of(weights, 0, n, &left, unpacked)
    if view.directions == NULL:
        block = DenseRows(rows, d, left, n, NULL, NULL)
        simhash_rows_to_words(view.functions, &block, ids, scratch,
                              <uint16_t *>(scratch + n_scratch), view.n_words, codes)
    for k in range(n):
        i = ids[k]
        w = rows + (left[k] if left != NULL else k) * d
        if norms != NULL:
            chosen().statistics(w, d, b + i, 1, mean, d, biases + i, norms + i)
        if view.directions != NULL:
            folded_mean = scratch + n_scratch + view.directions.n
            split_neuron(view.directions, w, i, scratch + n_scratch, folded_mean, norms + i)
            neuron = dense_vector(w, d)
            hash_vector(view.hasher, &neuron, folded_mean, 0, 0, scratch, words)
            memcpy(codes + i * view.n_words, words, view.n_words * sizeof(uint64_t))
        if norms != NULL:
            norms[i] = sqrtf(norms[i])
        _cut(codes + i * view.n_words, view.n_bits)


cdef int allocate_retrieval(RetrievalScratch *scratch, Retrieval retrieval,
                            list keep_alive) except -1:
    """Set the pointers of one thread's scratch; arrays join keep_alive."""
    cdef int64_t ranked = retrieval.max_ranked(), n_codes = 1, n_scratch = 1, n_words = 1
    cdef Hasher hasher = retrieval.hasher
    if retrieval.directions is not None:
        known = retrieval.directions.view
        scratch.coordinates = <float32_t *>scratch_array(known.n, np.float32, keep_alive)
        scratch.folded_mean = <float32_t *>scratch_array(known.size, np.float32, keep_alive)
        scratch.offsets = <float32_t *>scratch_array(known.n_neurons, np.float32, keep_alive)
    if hasher is None and retrieval.tables is not None:
        hasher = retrieval.tables.hasher
    if hasher is not None:
        n_codes, n_scratch, n_words = hasher.view.n_tables, hasher.scratch_size, hasher.n_words
    scratch.counts = <uint8_t *>scratch_array(retrieval.view.n_neurons, np.uint8, keep_alive)
    scratch.found = <int32_t *>scratch_array(retrieval.max_found(), np.int32, keep_alive)
    scratch.scores = <float32_t *>scratch_array(ranked, np.float32, keep_alive)
    scratch.keys = <uint32_t *>scratch_array(ranked, np.uint32, keep_alive)
    scratch.best = <int32_t *>scratch_array(ranked, np.int32, keep_alive)
    n_curve = max(retrieval.view.n_bits, <int64_t>COARSE_BITS) + 1
    scratch.curve = <float32_t *>scratch_array(n_curve, np.float32, keep_alive)
    scratch.hashing = <float32_t *>scratch_array(n_scratch, np.float32, keep_alive)
    scratch.words = <uint64_t *>scratch_array(n_words + 1, np.uint64, keep_alive)
    scratch.codes = <uint16_t *>scratch_array(n_codes, np.uint16, keep_alive)
    return 0


def _cosines(n_bits):
    """The cosine that each distance of codes of n_bits stands for."""
    return np.cos(np.pi * np.arange(n_bits + 1) / n_bits).astype(np.float32)
