"""Top k of a wide output layer from a short list: the neurons that one-bit codes rank highest.

Every neuron has the SimHash code of its centered weights, one bit per direction: signs c of d
projections P (w - u), u being the mean neuron. The query is not hashed: its own projections are
known exactly, and only those of the neuron are replaced by their signs (asymmetric distances),

    w.h + b  ~  a (c . P (h - m)) + (w - u).m + b + terms of h alone
    a = |w - u|^2 / |P (w - u)|_1

with m the mean hidden vector. The estimate is unbiased over random rotations P, and its error falls
with 1 / sqrt(d). Since h is exact and P orthogonal, the error is half of that of an estimate that
compares d signs of w - u with d signs of h - m. The neurons of the largest estimates are then
scored exactly. A scan reads two numbers and d bits of a neuron instead of d floats, and adds bytes
instead of multiplying.

Source: Charikar, STOC 2002 (SimHash); Dong, Charikar, Li, SIGIR 2008 (asymmetric estimates); Gao
and Long, SIGMOD 2024 (RaBitQ: the scale a, and the error); Andre et al., VLDB 2015 (the scan).
"""
import numpy as np

from cython.parallel cimport prange
from libc.math cimport INFINITY, fabsf, sqrt

from slide._base.openmp cimport omp_get_thread_num
from slide._base.rows cimport dense_vector, InputRows, InputView, Vector
from slide._base.scratch cimport scratch_array
from slide._base.signals cimport end_watch, interrupted, start_watch, Watch
from slide._base.typedefs cimport (
    blocks_of,
    float32_t,
    float64_t,
    int16_t,
    int32_t,
    int64_t,
    uint32_t,
    uint64_t,
    uint8_t,
)
from slide._engine.dense cimport rows_forward
from slide._engine.forward cimport allocate_hidden, forward_layer, HiddenScratch
from slide._engine.layer cimport LayerView
from slide._engine.model cimport Model, ModelView
from slide._hashing.simhash cimport project, SimHash
from slide._prediction.coding cimport BLOCK, code_block, Coding
from slide._prototypes.index cimport allocate_sums, offer_postings, PostingsSums
from slide._simd.dispatch cimport chosen, slide_codes, slide_simhash
from slide._simd.largest cimport largest, offer, sort_heap
from slide._simd.weights cimport WeightArray

from slide._base.memory import aligned_zeros
from slide._base.products import dot
from slide._prediction.faint import faint, mean_row

cdef enum:
    ROWS = 64                  # rows of X that one pass over the codes serves
    CHUNK = 8192               # neurons that one row after the other looks at
    SAMPLE = 1024              # neurons before there is a threshold
    LARGEST = 23               # entry of a row's table of sums
    ROUNDS = 3                 # of the transform

MAX_WIDTH = 1024               # of the last hidden layer: sums of bytes must fit 16 bits
_BITS = 16                     # bits per table of the hasher; all tables together code one neuron

# One query against all codes; private to a thread.
cdef struct Query:
    uint8_t *lut               # (entries, 2 ** entry_bits) sums of signed projections, in steps
    float32_t step
    float32_t low              # sum of a code = low + step * sum of its entries
    float32_t threshold        # estimates below it are not looked at
    int64_t n                  # neurons listed so far
    int64_t next_cut           # neurons to be seen before the threshold rises
    int32_t *ids               # (room,) their places in the shortlist's order
    float32_t *estimates       # (room,)

# Private to one thread.
cdef struct ScanScratch:
    HiddenScratch hidden
    PostingsSums prototypes
    float32_t *projections     # (size,)
    Query *queries             # (ROWS,)
    uint32_t *keys             # (room,)
    int32_t *best              # (n_candidates,)
    int32_t *ids               # (room,) the listed neurons of a row
    float32_t *scores          # (room,)

# The wanted neurons, and the places for them.
cdef struct Asked:
    int64_t k
    int64_t n_candidates       # neurons scored exactly per row, k or more
    int64_t first              # row of X that the first result belongs to
    int32_t *ids               # (n, k)
    float32_t *scores          # (n, k)
    int32_t *apart_ids         # (n, k) the best without what the prototypes add, or NULL
    float32_t *apart_scores


cdef class Shortlist:
    """Codes, scales and biases of all neurons of an output layer.

    They stand in random order, so that the first ones are a fair sample; only the faint ones, which
    almost never reach the top k (`faint`), come last. Memory per neuron: n_in bits (rounded up to a
    power of two, at least 64; a third more with AVX-512) and 12 or 16 bytes. That is 28 or 38 bytes
    with 128 hidden neurons, where the weights take 512. Read-only once built; `_prediction.lookup`
    keeps it in `Network.derived` until the weights change.

    Parameters
    ----------
    weights : float32 or bfloat16 (n_neurons, n_in), IN
        At most MAX_WIDTH inputs.
    biases : float32 (n_neurons,), IN
    query_mean : float32 (n_in,), IN
        Mean of the hidden vectors. Estimates are better for hidden vectors near it.
    query_length : float
        Root mean square of their distance to it.
    random_state : numpy.random.RandomState
        Draws the directions and the order.
    n_threads : int
    """
    cdef readonly SimHash hasher
    cdef readonly object codes, scales, biases, neuron_at, limits, coarse
    cdef readonly int64_t n_neurons, n_bytes
    cdef readonly int64_t n_strong         # neurons that are not faint
    cdef const float32_t *limits_at
    cdef int entry_bits
    cdef object _folded_query_mean
    cdef const slide_simhash *view
    cdef const float32_t *folded_query_mean   # the mean hidden vector, as the hasher takes it
    cdef slide_codes index
    cdef const int32_t *order_at

    def __init__(self, weights, const float32_t[::1] biases,
                 const float32_t[::1] query_mean, float query_length, random_state,
                 int n_threads):
        cdef int64_t n = weights.shape[0], d = weights.shape[1], block, n_blocks, n_bytes
        cdef float32_t offset
        cdef Coding coding
        cdef Watch watch
        if not 1 <= d <= MAX_WIDTH or biases.shape[0] != n or query_mean.shape[0] != d:
            raise ValueError(
                f"{n} neurons of at most {MAX_WIDTH} inputs must have as many biases and means; "
                f"got {d} inputs, {biases.shape[0]} biases and {query_mean.shape[0]} means"
            )
        n_blocks, size = blocks_of(n, BLOCK), max(64, 1 << (d - 1).bit_length())
        self.entry_bits = chosen().entry_bits
        self.n_bytes = n_bytes = size // 8 if self.entry_bits == 4 else blocks_of(size, 6)
        self.n_neurons = n
        self.hasher = SimHash.draw(d, size // _BITS, _BITS, random_state, False, ROUNDS)
        self.view = &self.hasher.functions
        self.codes = aligned_zeros((n_blocks, n_bytes, BLOCK), np.uint8)
        self.scales, self.biases = aligned_zeros(n_blocks * BLOCK), aligned_zeros(n_blocks * BLOCK)
        mean = mean_row(weights)
        offset = dot(mean, np.asarray(query_mean))
        neurons = random_state.permutation(n).astype(np.int32)
        last = faint(weights, biases, mean, query_mean, query_length, neurons, CHUNK)
        self.neuron_at, self.n_strong = np.append(neurons[~last], neurons[last]), n - last.sum()
        cdef const float32_t[::1] folded_query_mean = self.hasher.fold(np.asarray(query_mean))
        cdef const float32_t[::1] folded_mean = self.hasher.fold(mean)
        cdef WeightArray rows = WeightArray(weights)
        cdef float32_t[:, ::1] row = aligned_zeros((n_threads, d))
        cdef float32_t[:, ::1] scratch = aligned_zeros((n_threads, size))
        cdef uint64_t[:, ::1] words = aligned_zeros((n_threads, max(8, size // 64)), np.uint64)
        cdef uint8_t[:, :, ::1] codes = self.codes
        cdef float32_t[::1] scales = self.scales
        cdef const int32_t[::1] neuron_view = self.neuron_at
        cdef float32_t[::1] own_biases = self.biases
        self._folded_query_mean = np.asarray(folded_query_mean)
        self.folded_query_mean = &folded_query_mean[0]
        self.index.codes, self.index.n_bytes = &codes[0, 0, 0], n_bytes
        self.index.scale, self.index.bias = &scales[0], &own_biases[0]
        self.order_at = &neuron_view[0]
        coding.hasher, coding.weights, coding.weight_biases = self.view, &rows.view, &biases[0]
        coding.folded_mean, coding.query_mean = &folded_mean[0], &query_mean[0]
        coding.offset, coding.entry_bits = offset, self.entry_bits
        coding.neurons, coding.n_neurons = &neuron_view[0], n
        coding.codes, coding.n_bytes = &codes[0, 0, 0], n_bytes
        coding.scales, coding.biases, coding.watch = &scales[0], &own_biases[0], &watch
        start_watch(&watch)
        for block in prange(n_blocks, nogil=True, num_threads=n_threads, schedule="static"):
            code_block(&coding, block, &row[omp_get_thread_num(), 0],
                       &scratch[omp_get_thread_num(), 0], &words[omp_get_thread_num(), 0])
        end_watch(&watch)
        self._set_limits()
        if self.entry_bits == 6:
            self._set_coarse()

    cdef _set_limits(self):
        """The largest scale and bias of every chunk."""
        starts = np.arange(0, self.n_neurons, CHUNK)
        self.limits = np.stack([np.maximum.reduceat(array[:self.n_neurons], starts)
                                for array in (self.scales, self.biases)], axis=1)
        cdef const float32_t[:, ::1] limits = self.limits
        self.limits_at = &limits[0, 0]

    cdef _set_coarse(self):
        """Scales and biases in 16 bits, for a kernel that sifts by them."""
        cdef const int16_t[:, :, ::1] view
        self.coarse, units = coarse(self.scales, self.biases, self.n_neurons)
        if self.coarse is not None:
            view = self.coarse
            self.index.coarse = &view[0, 0, 0]
            self.index.scale_unit, self.index.bias_unit, self.index.bias_mid = units

    @property
    def nbytes(self):
        """Bytes of the arrays."""
        arrays = (self.codes, self.scales, self.biases, self.neuron_at, self.coarse)
        return sum(array.nbytes for array in arrays if array is not None)

    def estimates(self, const float32_t[::1] h):
        """The estimates of all neurons for the hidden vector h. A Python entry point for tests.

        Except for their error they are w.h + b - u.h: scores without the term that all share.
        """
        cdef ScanScratch scratch
        cdef Query query
        if h.shape[0] != self.view.n_in:
            raise ValueError(f"h must have {self.view.n_in} values; got {h.shape[0]}")
        cdef float32_t[::1] projections = np.empty(self.view.size, np.float32)
        cdef uint8_t[::1] lut = np.empty(64 * self.n_bytes, np.uint8)
        cdef int64_t n = self.n_neurons
        cdef int32_t[::1] ids = np.empty(n, np.int32)
        cdef float32_t[::1] found = np.empty(n, np.float32)
        scratch.projections, query.lut = &projections[0], &lut[0]
        self._ask(&h[0], &query, &scratch)
        chosen().shortlist(&self.index, 0, n, query.lut, query.step, query.low, -INFINITY,
                           &ids[0], &found[0])
        result = np.empty(n, np.float32)
        result[self.neuron_at] = found
        return result

    def topk(self, Model model, InputRows x, int64_t first, int64_t last, int64_t k,
             int64_t n_candidates, int n_threads, bint apart=False):
        """The k best of the n_candidates most promising neurons of rows first..last, best first.

        Scores are exact: they equal those of `_engine.predict.topk` to the bit. Among equal scores
        the lower id wins. With prototypes, the n_candidates // 4 labels to whose scores these add
        most join the list. A row's result depends on that row alone.

        Parameters
        ----------
        model : Model
            Its output layer has the weights that this Shortlist was built from; its last hidden
            layer is dense.
        x : InputRows
        first, last : int
        k, n_candidates : int
            1 <= k <= n_candidates <= n_neurons.
        n_threads : int
        apart : bool
            Whether to find two results: the best without the prototypes' part, then with it.

        Returns
        -------
        ids : int32 (n, k), or (2, n, k)
        scores : float32, of the same shape
        """
        if not 1 <= k <= n_candidates <= self.n_neurons:
            raise ValueError(
                f"1 <= k <= n_candidates <= {self.n_neurons} must hold; got {k}, {n_candidates}"
            )
        model.check_rows(x, first, last)
        self._check_model(model, x)
        shape = (1 + apart, last - first, k)
        ids, scores = np.empty(shape, np.int32), np.empty(shape, np.float32)
        cdef int32_t[:, :, ::1] id_view = ids
        cdef float32_t[:, :, ::1] score_view = scores
        cdef int64_t n_blocks, n_rows, n = last - first, i
        cdef Asked asked
        cdef Watch watch
        found = (ids, scores) if apart else (ids[0], scores[0])
        if n == 0:
            return found
        # Few rows are shared out over the threads.
        n_rows = min(<int64_t>ROWS, blocks_of(n, max(1, n_threads)))
        n_blocks = blocks_of(n, n_rows)
        asked = Asked(k, n_candidates, first, &id_view[apart, 0, 0], &score_view[apart, 0, 0],
                      NULL, NULL)
        if apart:
            asked.apart_ids, asked.apart_scores = &id_view[0, 0, 0], &score_view[0, 0, 0]
        n_threads = max(1, min(n_threads, n_blocks))
        memory, keep_alive = np.zeros(n_threads * sizeof(ScanScratch), np.uint8), []
        cdef uint8_t[::1] scratch_memory = memory
        cdef ScanScratch *scratch = <ScanScratch *>&scratch_memory[0]
        cdef const ModelView *layers = &model.view
        cdef const InputView *rows = &x.view
        for i in range(n_threads):
            self._allocate(&scratch[i], model, x, n_candidates, keep_alive)
        start_watch(&watch)
        for i in prange(n_blocks, nogil=True, num_threads=n_threads, schedule="dynamic"):
            self._rows(layers, rows, first + i * n_rows, min(n_rows, n - i * n_rows), &asked,
                       &scratch[omp_get_thread_num()], &watch)
        end_watch(&watch)
        return found

    cdef int _check_model(self, Model model, InputRows x) except -1:
        """Refuse a model with an output layer of another shape."""
        cdef const LayerView *output = &model.view.layers[model.view.n_layers - 1]
        if (output.n_out, output.n_in) != (self.n_neurons, self.view.n_in) or (
                model.view.layers[model.view.n_layers - 2].n_active):
            raise ValueError(
                f"the output layer must have {self.n_neurons} neurons over {self.view.n_in} dense "
                f"inputs; got {output.n_out} over {output.n_in}"
            )
        if model.view.postings != NULL and x.is_dense:
            raise ValueError("rows must be sparse where there are prototypes; got dense ones")
        return 0

    cdef int _allocate(self, ScanScratch *scratch, Model model, InputRows x, int64_t n_candidates,
                       list keep_alive) except -1:
        cdef int64_t room = 2 * n_candidates + CHUNK, i
        allocate_hidden(&scratch.hidden, model, x, ROWS, 1, keep_alive)
        scratch.projections = <float32_t *>scratch_array(self.view.size, np.float32, keep_alive)
        scratch.queries = <Query *>scratch_array(ROWS * sizeof(Query), np.uint8, keep_alive)
        scratch.keys = <uint32_t *>scratch_array(room, np.uint32, keep_alive)
        scratch.ids = <int32_t *>scratch_array(room, np.int32, keep_alive)
        if model.view.postings != NULL:
            allocate_sums(&scratch.prototypes, self.n_neurons, keep_alive)
        scratch.best = <int32_t *>scratch_array(n_candidates, np.int32, keep_alive)
        scratch.scores = <float32_t *>scratch_array(room, np.float32, keep_alive)
        for i in range(ROWS):
            scratch.queries[i].lut = <uint8_t *>scratch_array(64 * self.n_bytes, np.uint8,
                                                              keep_alive)
            scratch.queries[i].ids = <int32_t *>scratch_array(room, np.int32, keep_alive)
            scratch.queries[i].estimates = <float32_t *>scratch_array(room, np.float32, keep_alive)
        return 0

    cdef void _rows(self, const ModelView *model, const InputView *x, int64_t first, int64_t n,
                    const Asked *asked, ScanScratch *scratch, Watch *watch) noexcept nogil:
        """Find the top k of rows first..first + n, at most ROWS, and write their places in `asked`.

        Cost of a row: n_neurons * size / 64 byte additions side by side, n_candidates * n_in
        multiply-adds. Thread-safe: threads take different rows.
        """
        cdef int64_t last = model.n_layers - 2, d = self.view.n_in, i, j, u, size, seen = 0
        cdef const LayerView *output = &model.layers[last + 1]
        cdef const float32_t *h = scratch.hidden.a[last]
        cdef Query *query
        for i in range(last + 1):
            forward_layer(model, x, i, first, n, &scratch.hidden, NULL)
        for i in range(n):
            self._ask(h + i * d, &scratch.queries[i], scratch)
        while seen < self.n_neurons:
            if interrupted(watch):
                return
            u = SAMPLE if seen == 0 else seen - seen % CHUNK + CHUNK
            u = min(u, self.n_neurons)
            for i in range(n):
                self._look(seen, u, &scratch.queries[i], asked.n_candidates, scratch)
            seen = u
        for i in range(n):
            query = &scratch.queries[i]
            _keep(query, asked.n_candidates, scratch)
            _fill(query, asked.k)
            size = query.n
            for j in range(size):
                scratch.ids[j] = self.order_at[query.ids[j]]
            if model.postings != NULL:
                size = offer_postings(model.postings, x, first + i, asked.n_candidates // 4,
                                      &scratch.prototypes, scratch.ids, size)
            rows_forward(output, scratch.ids, size, h + i * d, d, 1, scratch.scores, size,
                         scratch.hidden.unpacked)
            u = (first + i - asked.first) * asked.k
            if asked.apart_ids != NULL:
                offer(scratch.scores, scratch.ids, 0, size, asked.apart_scores + u,
                      asked.apart_ids + u, asked.k)
                sort_heap(asked.apart_scores + u, asked.apart_ids + u, asked.k)
            if model.postings != NULL:
                for j in range(size):
                    scratch.scores[j] += scratch.prototypes.values[j]
            offer(scratch.scores, scratch.ids, 0, size, asked.scores + u, asked.ids + u, asked.k)
            sort_heap(asked.scores + u, asked.ids + u, asked.k)

    cdef void _ask(self, const float32_t *h, Query *query, ScanScratch *scratch) noexcept nogil:
        """Make the query of the hidden vector h (n_in,): tables of the sums of signed projections.

        A group is entry_bits projections q_0, q_1, .. Their smallest signed sum is
        -|q_0| - |q_1| - ..; an entry says how far the sum with its own signs lies above that, in
        steps of 1 / LARGEST of the largest such distance. Rounding adds 1/100 to the variance of
        the estimates' own error. Cost: a transform and an addition per entry.
        """
        cdef const slide_simhash *hasher = self.view
        cdef int64_t g, j, size = hasher.size
        cdef int _round, n, code, bits = self.entry_bits
        cdef float32_t most = 0, total = 0, part, shrink = 1, inverse
        cdef float32_t *q = scratch.projections
        cdef float32_t sums[64]
        cdef Vector vector = dense_vector(h, hasher.n_in)
        for _round in range(ROUNDS):
            shrink /= size
        project(hasher, 0, &vector, self.folded_query_mean, q)
        for g in range(blocks_of(size, bits)):
            part = 0
            for j in range(g * bits, min((g + 1) * bits, size)):
                q[j] *= shrink
                part += fabsf(q[j])
            total += part
            most = max(most, 2 * part)
        query.step, query.low, query.threshold = most / LARGEST, -total, -INFINITY
        query.n, query.next_cut = 0, SAMPLE
        inverse = LARGEST / most if most > 0 else 0
        for g in range(blocks_of(size, bits)):
            n = 1
            sums[0] = 0.5
            for j in range(g * bits, min((g + 1) * bits, size)):
                part = 2 * q[j] * inverse
                for code in range(n):
                    sums[n + code] = sums[code] + max(part, <float32_t>0)
                    sums[code] -= min(part, <float32_t>0)
                n *= 2
            for code in range(n):
                # NaN, which infinite projections lead to, becomes 0.
                query.lut[(g << bits) + code] = (
                    <uint8_t>min(sums[code], <float32_t>LARGEST) if sums[code] > 0 else 0)

    cdef void _look(self, int64_t first, int64_t seen, Query *query, int64_t n_candidates,
                    ScanScratch *scratch) noexcept nogil:
        """List the neurons first..seen that are not below the threshold, which may then rise.

        A chunk is skipped if its largest scale and bias cannot reach the threshold. A random
        fraction p of the strong neurons has about p * n_candidates of the wanted ones. Each time
        the number seen has quadrupled, keep that many plus two standard deviations plus four.
        """
        cdef int64_t n
        cdef float64_t expected
        cdef const float32_t *limits = self.limits_at + 2 * (first // CHUNK)
        # The largest sum that any code has, and what rounding to steps may add.
        cdef float32_t most = 1.0001 * (2 * self.n_bytes * query.step - query.low)
        if query.threshold > -INFINITY and limits[0] * most + limits[1] < query.threshold:
            return
        query.n += chosen().shortlist(&self.index, first, seen - first, query.lut, query.step,
                                      query.low, query.threshold, query.ids + query.n,
                                      query.estimates + query.n)
        if seen < query.next_cut and query.n <= 2 * n_candidates:
            return
        while seen >= query.next_cut:
            query.next_cut *= 4
        expected = <float64_t>n_candidates * min(seen, self.n_strong) / self.n_strong
        n = <int64_t>(expected + 2 * sqrt(expected) + 4)
        _keep(query, min(n, n_candidates), scratch)


cdef void _fill(Query *query, int64_t k) noexcept nogil:
    """Fill the list with the first unlisted neurons, if thresholds rose too far to leave k."""
    cdef int64_t i, n = query.n
    cdef int32_t place = 0
    while query.n < k:
        for i in range(n):
            if query.ids[i] == place:
                break
        else:
            query.ids[query.n] = place
            query.n += 1
        place += 1


cdef void _keep(Query *query, int64_t n_candidates, ScanScratch *scratch) noexcept nogil:
    """Keep the n_candidates of the largest estimates, and let no smaller ones in; O(query.n)."""
    cdef int64_t i, n
    cdef int32_t place
    if query.n <= n_candidates:
        return
    n = largest(query.estimates, query.n, n_candidates, scratch.keys, scratch.best)
    query.threshold = INFINITY
    for i in range(n):
        place = scratch.best[i]   # places rise: the entry at i is moved or dropped
        query.ids[i] = query.ids[place]
        query.estimates[i] = query.estimates[place]
        query.threshold = min(query.threshold, query.estimates[i])
    query.n = n


def coarse(scales, biases, n):
    """The n scales and biases in 16 bits for `slide_codes`: int16 (blocks, 2, BLOCK), and units.

    The array is None if there is nothing to gain or numbers are not finite.
    """
    highest, lowest = biases[:n].max(), biases[:n].min()
    middle = (highest + lowest) / 2
    units = scales.max() / 32767, max((highest - lowest) / 65534, np.float32(1e-30)), middle
    if not (np.isfinite(units).all() and units[0] > 0):
        return None, units
    both = np.zeros((2, len(scales)), np.int16)
    both[0] = np.rint(scales / units[0])
    both[1, :n] = np.clip(np.rint((biases[:n] - middle) / units[1]), -32767, 32767)
    blocks = both.reshape(2, -1, BLOCK // 2, 2).transpose(1, 0, 3, 2)
    return np.ascontiguousarray(blocks).reshape(-1, 2, BLOCK), units
