"""Estimates of pre-activations from SimHash codes: the finder of the policy "estimate".

Every neuron and every query x has a code. The number of bits in which both codes differ, their
distance, gives an estimate of the pre-activation w.x + b:

    |w| |x - mean| cos(pi * distance / code_bits) + (w.mean + b)

The angle between w and x - mean is pi * distance / code_bits on average (Charikar, STOC 2002).
Norm, bias and the mean of the queries are known exactly. So are the parts along a few directions of
the queries (`_hashing.directions`). In a narrow layer the codes of all neurons are ranked. In a
wider layer a first ranking by 64 bits chooses the neurons whose codes are ranked. In a very wide
layer hash tables choose them: the neurons in the buckets of the query.
"""
import numpy as np

from cython.parallel cimport prange
from libc.math cimport sqrtf
from libc.string cimport memcpy

from slide._base.openmp cimport omp_get_thread_num
from slide._base.rows cimport dense_vector, Vector
from slide._base.scratch cimport scratch_array
from slide._base.signals cimport end_watch, interrupted, start_watch, Watch
from slide._base.typedefs cimport (
    blocks_of,
    float32_t,
    int32_t,
    int64_t,
    uint16_t,
    uint32_t,
    uint64_t,
    uint8_t,
)
from slide._hashing.collisions cimport (
    allocate_lookup,
    collect,
    keep_most_frequent,
    LookupScratch,
    TablesView,
)
from slide._hashing.directions cimport (
    add_directions,
    Directions,
    DirectionsView,
    split_neuron,
    split_query,
)
from slide._hashing.finder cimport Finder, RetrievalScratch, RetrievalView
from slide._hashing.hasher cimport cut_codes, DenseRows, hash_vector, HasherView
from slide._hashing.simhash cimport SimHash, simhash_rows_to_words
from slide._hashing.tables cimport HashTables
from slide._simd.dispatch cimport chosen, slide_simhash
from slide._simd.largest cimport largest
from slide._simd.weights cimport rows_of, WeightArray, Weights

from slide._base.memory import aligned_zeros
from slide._base.products import dot
from slide._hashing.finder import take_moved

cdef enum:
    COARSE_BITS = 64           # bits of a code that the first ranking uses
    BLOCK = 64                 # neurons whose codes a thread computes at a time

# The codes of the neurons, and everything else that estimates need.
cdef struct EstimatesView:
    const HasherView *hasher
    const slide_simhash *functions   # of the hasher
    int64_t n_in
    int64_t code_bits          # bits of a neuron's code, n_tables * n_hash_bits
    int64_t n_words            # words that hold the bits of a code
    bint transform             # whether inner products are estimated, not angles
    uint64_t *codes            # (n_neurons, n_words)
    float32_t *norms           # (n_neurons,) |w|
    float32_t *biases          # (n_neurons,) w.mean + b
    const float32_t *mean      # (n_in,) of the queries
    float32_t mean_norm2       # |mean|^2
    const float32_t *folded_mean     # mean as the hasher takes it, or NULL
    const float32_t *cosines   # (code_bits + 1,) cosines of pi * distance / code_bits
    const DirectionsView *directions    # or NULL
    const TablesView *tables   # or NULL
    int64_t bucket_limit
    int64_t n_coarse           # neurons that a first ranking keeps; 0: there is none
    const uint64_t *coarse     # (n_neurons,) the first word of the codes
    const float32_t *coarse_cosines   # (COARSE_BITS + 1,)

# Private to one thread. At most `ranked` neurons are ranked.
cdef struct EstimatesScratch:
    LookupScratch lookup
    float32_t *scores          # (ranked,)
    uint32_t *keys             # (ranked,)
    int32_t *best              # (ranked,)
    float32_t *curve           # (code_bits + 1,), at least COARSE_BITS + 1
    float32_t *coordinates     # (directions,)
    float32_t *folded_mean     # of a rest
    float32_t *offsets         # (n_neurons,)

# Scratch of one thread that computes the codes of neurons.
cdef struct CodingScratch:
    float32_t *unpacked        # (BLOCK, n_in) where weights are bfloat16
    float32_t *hashing         # (rows_scratch_size,) of the hasher
    uint64_t *words            # (n_words of the hasher,)
    float32_t *coordinates     # (directions,)
    float32_t *folded_mean     # of a rest
    uint16_t *quarters         # (4 n_words, BLOCK)


# --------------------------------------------------------------- queries --

cdef float32_t _centered_norm(const EstimatesView *own, const Vector *x) noexcept nogil:
    """|x - mean| of a dense or sparse vector."""
    cdef float32_t total = own.mean_norm2, v
    cdef int64_t j
    cdef const int32_t *ids = x.ids
    cdef const float32_t *values = x.values
    for j in range(x.size):
        v = values[j]
        total += v * (v - 2 * own.mean[ids[j] if ids != NULL else j])
    return sqrtf(total) if total > 0 else 0


cdef inline void _cut(uint64_t *words, int64_t code_bits) noexcept nogil:
    # Zero the bits of the last word beyond code_bits: they would count as distance.
    if code_bits & 63:
        words[code_bits >> 6] &= (<uint64_t>1 << (code_bits & 63)) - 1


cdef int64_t _rank(const RetrievalView *view, const Vector *x, uint64_t *rng,
                   RetrievalScratch *scratch, int32_t *out, int64_t *cost) noexcept nogil:
    """Find the n_candidates neurons with the largest estimated pre-activations."""
    cdef const EstimatesView *own = <const EstimatesView *>view.own
    cdef EstimatesScratch *work = <EstimatesScratch *>scratch.own
    cdef LookupScratch *lookup = &work.lookup
    cdef int64_t i, n = view.n_neurons
    cdef float32_t length = _centered_norm(own, x)
    cdef const int32_t *found = NULL
    cdef const float32_t *folded_mean = own.folded_mean
    cdef const float32_t *biases = own.biases
    if own.directions != NULL:
        length = split_query(own.directions, x, length, folded_mean, work.coordinates,
                             work.folded_mean)
        folded_mean = work.folded_mean
        cost[0] += own.directions.n * (x.size + own.directions.size)
    hash_vector(own.hasher, x, folded_mean, 0, 0, lookup.hashing, lookup.words)
    _cut(lookup.words, own.code_bits)
    if own.tables != NULL:
        cut_codes(own.hasher, lookup.words, lookup.codes, 1)
        n = collect(own.tables, own.bucket_limit, rng, lookup)
        n = keep_most_frequent(lookup, n, n)
        found = lookup.found
    if own.directions != NULL:
        add_directions(own.directions, work.coordinates, biases, work.offsets)
        biases = work.offsets
        cost[0] += own.directions.n * n
    if own.n_coarse > 0:
        for i in range(COARSE_BITS + 1):
            work.curve[i] = length * own.coarse_cosines[i]
        chosen().code_scores(own.coarse, 1, NULL, n, lookup.words, work.curve, own.norms, biases,
                             work.scores)
        cost[0] += COARSE_BITS + 2 * n
        n = largest(work.scores, n, own.n_coarse, work.keys, lookup.found)
        found = lookup.found
    for i in range(own.code_bits + 1):
        work.curve[i] = length * own.cosines[i]
    chosen().code_scores(own.codes, own.n_words, found, n, lookup.words, work.curve, own.norms,
                         biases, work.scores)
    cost[0] += (own.hasher.fixed_cost + (own.hasher.cost_per_value + 2) * x.size
                + own.code_bits + n * (own.n_words + 1))
    n = largest(work.scores, n, view.n_candidates, work.keys, work.best)
    for i in range(n):
        out[i] = found[work.best[i]] if found != NULL else work.best[i]
    return n


# --------------------------------------------------------------- neurons --

cdef void _code_block(const EstimatesView *own, const Weights *weights, const float32_t *b,
                      const int32_t *ids, int64_t n, CodingScratch *scratch,
                      Watch *watch) noexcept nogil:
    """Compute the codes of the n neurons `ids`; with the transform also their norms and biases.

    With directions, codes and norms are computed from the rests. Threads take different neurons;
    scratch is the thread's own, watch is shared.
    """
    cdef int64_t i, k, d = own.n_in
    cdef const int32_t *left = ids
    cdef const float32_t *values
    cdef const float32_t *w
    cdef Vector neuron
    cdef DenseRows rows
    if interrupted(watch):
        return
    values = rows_of(weights, 0, n, &left, scratch.unpacked)
    if own.directions == NULL:
        rows = DenseRows(values, d, left, n, NULL, NULL)
        simhash_rows_to_words(own.functions, &rows, ids, scratch.hashing, scratch.quarters,
                              own.n_words, own.codes)
    for k in range(n):
        i = ids[k]
        w = values + (left[k] if left != NULL else k) * d
        if own.transform:
            chosen().statistics(w, d, b + i, 1, own.mean, d, own.biases + i, own.norms + i)
        if own.directions != NULL:
            split_neuron(own.directions, w, i, scratch.coordinates, scratch.folded_mean,
                         own.norms + i)
            neuron = dense_vector(w, d)
            hash_vector(own.hasher, &neuron, scratch.folded_mean, 0, 0, scratch.hashing,
                        scratch.words)
            memcpy(own.codes + i * own.n_words, scratch.words, own.n_words * sizeof(uint64_t))
        if own.transform:
            own.norms[i] = sqrtf(own.norms[i])
        _cut(own.codes + i * own.n_words, own.code_bits)


cdef class Estimates(Finder):
    """Codes of a layer's neurons, from which pre-activations are estimated."""

    cdef EstimatesView own
    cdef readonly SimHash hasher
    cdef readonly Directions directions     # or None
    cdef object _cosines, _coarse_cosines, _folded_mean

    def __init__(self, int64_t n_neurons, int64_t n_in, dict settings, random_state,
                 directions=None):
        Finder.__init__(self, n_neurons, n_in, settings, random_state)
        n_tables, n_hash_bits = settings["n_tables"], settings["n_hash_bits"]
        code_bits = n_tables * n_hash_bits
        self.arrays = {
            "codes": aligned_zeros((n_neurons, blocks_of(code_bits, 64)), np.uint64),
            "norms": np.ones(n_neurons, np.float32),
            "biases": np.zeros(n_neurons, np.float32),
            "hashed_at": np.zeros(n_neurons, np.int32),
            "mean": np.zeros(n_in, np.float32),
        }
        self.own.n_in, self.own.code_bits = n_in, code_bits
        self.own.transform, self.own.bucket_limit = settings["transform"], settings["bucket_limit"]
        self.own.n_coarse = min(settings.get("n_coarse", 0), n_neurons)
        if self.own.n_coarse:
            self.arrays["coarse"] = np.zeros(n_neurons, np.uint64)
        self._cosines, self._coarse_cosines = _cosines(code_bits), _cosines(COARSE_BITS)
        self.hasher = SimHash.draw(n_in, n_tables, n_hash_bits, random_state,
                                   n_rounds=settings.get("n_rounds", 3))
        if directions is not None:
            self.directions = Directions(directions, n_neurons)
        if settings["use_tables"]:
            self.tables = HashTables(n_neurons, n_in, n_tables, n_hash_bits, random_state,
                                     settings["hash_family"], settings["transform"])
        self.view.find, self.view.own = _rank, &self.own
        self.view.by_chance = self.tables is not None
        self.set_view()

    cdef int set_view(self) except -1:
        cdef EstimatesView *own = &self.own
        cdef uint64_t[:, ::1] codes = self.arrays["codes"]
        cdef float32_t[::1] norms = self.arrays["norms"], biases = self.arrays["biases"]
        cdef const float32_t[::1] mean = self.arrays["mean"]
        cdef const float32_t[::1] cosines = self._cosines, coarse_cosines = self._coarse_cosines
        cdef const uint64_t[::1] coarse
        own.hasher, own.functions = &self.hasher.view, &self.hasher.functions
        own.n_words = codes.shape[1]
        own.codes, own.norms, own.biases = &codes[0, 0], &norms[0], &biases[0]
        own.mean, own.cosines, own.coarse_cosines = &mean[0], &cosines[0], &coarse_cosines[0]
        if own.n_coarse:
            coarse = self.arrays["coarse"]
            own.coarse = &coarse[0]
        if self.tables is not None:
            own.tables = &self.tables.view
        if self.directions is not None:
            self.directions.set_hasher(self.hasher)
            own.directions = &self.directions.view
        self._fold_mean()
        return 0

    def _fold_mean(self):
        """Fit the view to the mean of the queries."""
        cdef const float32_t[::1] folded_mean
        mean = self.arrays["mean"]
        folded_mean = self._folded_mean = self.hasher.fold(mean)
        self.own.folded_mean = &folded_mean[0] if self.own.transform else NULL
        self.own.mean_norm2 = dot(mean, mean)
        if self.directions is not None:
            self.directions.set_mean(mean)

    def parts(self):
        return {"tables": self.tables, "hasher": self.hasher, "directions": self.directions}

    def rebuild(self, weights, biases, mean, query_length, n_threads, steps=None):
        if steps is not None:
            self.arrays["hashed_at"][...] = steps
        if self.own.transform:
            self.arrays["mean"][...] = mean
            self._fold_mean()
        ids = np.arange(self.view.n_neurons, dtype=np.int32)
        return self._code_neurons(weights, biases, ids, n_threads)

    def follow(self, weights, biases, steps, n_threads):
        moved = take_moved(self.arrays["hashed_at"], steps)
        return self._code_neurons(weights, biases, moved, n_threads) if len(moved) else 0

    def _code_neurons(self, weights, const float32_t[::1] biases, const int32_t[::1] ids,
                      int n_threads):
        """Compute codes, norms and biases of the neurons `ids`, then sort all into the tables."""
        cdef int64_t d = self.own.n_in, m = ids.shape[0], block, i
        cdef int64_t n_hashing = self.hasher.rows_scratch_size, n_directions = 0, size = 0
        cdef Watch watch
        if self.directions is not None:
            n_directions, size = self.directions.view.n, self.directions.view.size
        # The row of each thread is a whole number of cache lines.
        n_more = max(n_directions + size, 2 * BLOCK * self.own.n_words)
        cdef float32_t[:, ::1] floats = aligned_zeros(
            (n_threads, 16 * blocks_of(n_hashing + n_more, 16) + 16))
        cdef uint64_t[:, ::1] words = np.zeros((n_threads, self.hasher.n_words + 8), np.uint64)
        cdef WeightArray rows = WeightArray(weights)
        cdef float32_t[:, ::1] unpacked = rows.scratch(n_threads, BLOCK)
        cdef uint8_t[::1] memory = np.empty(n_threads * sizeof(CodingScratch), np.uint8)
        cdef CodingScratch *scratch = <CodingScratch *>&memory[0]
        cdef const HasherView *hasher = &self.hasher.view
        cdef float32_t *more
        for i in range(n_threads):
            # Neurons are hashed side by side, but one after the other where there are directions.
            more = &floats[i, 0] + n_hashing
            scratch[i] = CodingScratch(&unpacked[i, 0], &floats[i, 0], &words[i, 0], more,
                                       more + n_directions, <uint16_t *>more)
        start_watch(&watch)
        for block in prange(blocks_of(m, BLOCK), nogil=True, num_threads=n_threads,
                            schedule="static"):
            _code_block(&self.own, &rows.view, &biases[0], &ids[block * BLOCK],
                        min(<int64_t>BLOCK, m - block * BLOCK), &scratch[omp_get_thread_num()],
                        &watch)
        end_watch(&watch)
        if self.own.n_coarse:
            self.arrays["coarse"][...] = self.arrays["codes"][:, 0]
        if self.tables is not None:
            self.tables.sort(self.arrays["codes"], n_threads)
        return m * (2 * d + hasher.fixed_cost + hasher.cost_per_value * d
                    + n_directions * (d + size))

    cdef int allocate(self, RetrievalScratch *scratch, list keep_alive) except -1:
        cdef int64_t n_found = self.own.n_coarse, ranked = self.view.n_neurons
        cdef EstimatesScratch *work = <EstimatesScratch *>scratch_array(
            sizeof(EstimatesScratch), np.uint8, keep_alive)
        if self.tables is not None:
            n_found = min(ranked, self.tables.view.n_tables * self.own.bucket_limit)
            ranked = n_found
        allocate_lookup(&work.lookup, self.hasher, n_found, scratch.counts, keep_alive)
        work.scores = <float32_t *>scratch_array(ranked, np.float32, keep_alive)
        work.keys = <uint32_t *>scratch_array(ranked, np.uint32, keep_alive)
        work.best = <int32_t *>scratch_array(ranked, np.int32, keep_alive)
        n_curve = max(self.own.code_bits, <int64_t>COARSE_BITS) + 1
        work.curve = <float32_t *>scratch_array(n_curve, np.float32, keep_alive)
        if self.directions is not None:
            known = self.directions.view
            work.coordinates = <float32_t *>scratch_array(known.n, np.float32, keep_alive)
            work.folded_mean = <float32_t *>scratch_array(known.size, np.float32, keep_alive)
            work.offsets = <float32_t *>scratch_array(known.n_neurons, np.float32, keep_alive)
        scratch.own = work
        return 0


def _cosines(code_bits):
    """The cosines that the distances 0 to code_bits between two codes stand for."""
    return np.cos(np.pi * np.arange(code_bits + 1) / code_bits).astype(np.float32)
