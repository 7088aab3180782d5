"""Exact top k of a wide output layer: products of bytes rule out the neurons that cannot be in it.

A neuron has its weights in bytes c, w = s c + e, with a step s and an error e. A hidden vector has
its own bytes q, h = m + t q + f, with its smallest value m, a step t and an error f. By Cauchy and
Schwarz the difference

    w.h - s t (c.q) - m sum(w)  =  e.(t q) + w.f

is at most the length of e times that of t q, plus the length of w times that of f. So a product of
bytes bounds the score from both sides. A neuron whose upper bound is below the k largest lower
bounds so far is out. The others, a few dozen of a row, are scored exactly. A quarter of the
weights' bytes is read, and four times as many of them are multiplied at once.
"""
import numpy as np

from cython.parallel cimport prange
from libc.math cimport fabs, INFINITY, isfinite, NAN, rint, sqrt

from slide._base.openmp cimport omp_get_thread_num
from slide._base.rows cimport InputRows, InputView
from slide._base.scratch cimport scratch_array
from slide._base.signals cimport end_watch, interrupted, start_watch, Watch
from slide._base.typedefs cimport blocks_of, float32_t, float64_t, int32_t, int64_t, uint8_t
from slide._engine.dense cimport rows_forward
from slide._engine.forward cimport allocate_hidden, forward_layer, HiddenScratch
from slide._engine.layer cimport LayerView
from slide._engine.model cimport Model, ModelView
from slide._prototypes.index cimport allocate_cursors, open_postings, PostingsCursor, sum_postings
from slide._simd.dispatch cimport chosen, int8_t, slide_bytes, slide_sifter
from slide._simd.largest cimport offer, sort_heap
from slide._simd.weights cimport row_of, WeightArray

from slide._base.memory import aligned_zeros

cdef enum:
    ROWS = 64                  # rows of X that one pass over the codes serves
    LEAST_ROWS = 16            # ... at least, unless X has fewer
    NEURONS = 2048             # neurons between two changes of the thresholds
    ROOM = 2 * NEURONS         # neurons that a row can list
    BLOCK = 64                 # neurons whose codes stand together
    HEAP = 256                 # lower bounds that a row keeps

MAX_K = HEAP                   # best neurons that a row may want
MAX_WIDTH = 65_536             # of the last hidden layer: sums of products must fit 32 bits

# A product of two vectors of d numbers in float32 errs by at most (d + SLACK) times this times the
# lengths of both.
cdef float64_t ROUNDING = 1.2e-7
cdef enum:
    SLACK = 64

# Private to one thread.
cdef struct SieveScratch:
    HiddenScratch hidden
    PostingsCursor *cursor
    slide_sifter *sifters      # (ROWS,)
    int64_t *counts            # (ROWS,) neurons that are listed
    int64_t *seen              # (ROWS,) neurons that were listed so far
    float32_t *heaps           # (ROWS, HEAP) the largest lower bounds
    int32_t *heap_ids
    int64_t *scored            # (ROWS,) neurons that were scored so far
    float32_t *more            # (ROWS, NEURONS) what prototypes add
    float32_t *more_of         # (ROWS, ROOM) the same for the listed neurons
    float32_t *scores          # (ROOM,)

# The wanted neurons, and the places for them.
cdef struct Wished:
    int64_t k
    int32_t *ids               # (n, k)
    float32_t *scores          # (n, k)


def pays():
    """Whether this processor multiplies bytes."""
    return chosen().sift != NULL


cdef class Sieve:
    """The output neurons in bytes. Read-only once built.

    Memory: a byte per weight and 20 bytes per neuron (64 neurons stand together), and 5 MB for each
    thread that predicts.

    Parameters
    ----------
    weights : float32 or bfloat16 (n_neurons, n_in), IN
    biases : float32 (n_neurons,), IN
    n_threads : int
    """
    cdef readonly object codes, scale, sum, bias, error, length
    cdef readonly int64_t n_neurons, n_in
    cdef slide_bytes view

    def __init__(self, weights, const float32_t[::1] biases, int n_threads):
        cdef int64_t n = weights.shape[0], d = weights.shape[1], block, n_blocks
        if not 1 <= d <= MAX_WIDTH or biases.shape[0] != n:
            raise ValueError(
                f"{n} neurons of at most {MAX_WIDTH} inputs must have as many biases; got {d} "
                f"inputs and {biases.shape[0]} biases"
            )
        n_blocks = blocks_of(n, BLOCK)
        self.n_neurons, self.n_in, self.view.n_fours = n, d, blocks_of(d, 4)
        self.codes = aligned_zeros((n_blocks, self.view.n_fours, BLOCK, 4), np.int8)
        found = [aligned_zeros(n_blocks * BLOCK) for _ in range(5)]
        self.scale, self.sum, self.bias, self.error, self.length = found
        self.bias[:n] = biases
        cdef int8_t[:, :, :, ::1] codes = self.codes
        cdef float32_t[::1] scale = self.scale, total = self.sum, bias = self.bias
        cdef float32_t[::1] error = self.error, length = self.length
        cdef WeightArray rows = WeightArray(weights)
        cdef float32_t[:, ::1] row = aligned_zeros((n_threads, d))
        cdef Watch watch
        self.view.codes, self.view.scale, self.view.sum = &codes[0, 0, 0, 0], &scale[0], &total[0]
        self.view.bias, self.view.error, self.view.length = &bias[0], &error[0], &length[0]
        start_watch(&watch)
        for block in prange(n_blocks, nogil=True, num_threads=n_threads, schedule="static"):
            _code_block(rows, block * BLOCK, min(<int64_t>BLOCK, n - block * BLOCK), d,
                        &row[omp_get_thread_num(), 0], &codes[block, 0, 0, 0], &scale[0],
                        &total[0], &error[0], &length[0], &watch)
        end_watch(&watch)

    @property
    def nbytes(self):
        """Bytes of the arrays."""
        arrays = (self.codes, self.scale, self.sum, self.bias, self.error, self.length)
        return sum(array.nbytes for array in arrays)

    def topk(self, Model model, InputRows x, int64_t k, int n_threads):
        """The k best neurons of every row, best first: int32 ids and float32 scores, both (n, k).

        They equal those of `_engine.predict.topk` to the bit.

        Parameters
        ----------
        model : Model
            Its output layer has the weights that this Sieve was built from; its last hidden layer
            is dense.
        x : InputRows
        k : int
            At most MAX_K and at most the number of neurons.
        n_threads : int
        """
        cdef int64_t n = x.n_rows, n_rows, n_blocks, i
        cdef Wished wished
        cdef Watch watch
        self._check(model, x, k)
        ids, scores = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
        if n == 0:
            return ids, scores
        cdef int32_t[:, ::1] id_view = ids
        cdef float32_t[:, ::1] score_view = scores
        n_rows = min(<int64_t>ROWS, max(<int64_t>LEAST_ROWS, blocks_of(n, max(1, n_threads))))
        n_blocks = blocks_of(n, n_rows)
        n_threads = max(1, min(n_threads, n_blocks))
        wished = Wished(k, &id_view[0, 0], &score_view[0, 0])
        keep_alive = []
        cdef SieveScratch *scratch = <SieveScratch *>scratch_array(
            n_threads * sizeof(SieveScratch), np.uint8, keep_alive)
        cdef PostingsCursor *cursors = <PostingsCursor *>scratch_array(
            n_threads * sizeof(PostingsCursor), np.uint8, keep_alive)
        if model.view.postings != NULL:
            allocate_cursors(cursors, n_threads, x, 0, n, n_rows, keep_alive)
        for i in range(n_threads):
            self._allocate(&scratch[i], model, x, keep_alive)
            scratch[i].cursor = &cursors[i]
        cdef const ModelView *layers = &model.view
        cdef const InputView *rows = &x.view
        start_watch(&watch)
        for i in prange(n_blocks, nogil=True, num_threads=n_threads, schedule="dynamic"):
            self._rows(layers, rows, i * n_rows, min(n_rows, n - i * n_rows), &wished,
                       &scratch[omp_get_thread_num()], &watch)
        end_watch(&watch)
        return ids, scores

    cdef int _check(self, Model model, InputRows x, int64_t k) except -1:
        """Refuse a model with an output layer of another shape, and processors without bytes."""
        cdef const LayerView *output = &model.view.layers[model.view.n_layers - 1]
        model.check_rows(x, 0, x.n_rows)
        if (output.n_out, output.n_in) != (self.n_neurons, self.n_in) or (
                model.view.layers[model.view.n_layers - 2].n_active):
            raise ValueError(
                f"the output layer must have {self.n_neurons} neurons over {self.n_in} dense "
                f"inputs; got {output.n_out} over {output.n_in}"
            )
        if not 1 <= k <= min(MAX_K, self.n_neurons):
            raise ValueError(f"k must lie in 1..{min(MAX_K, self.n_neurons)}; got {k}")
        if chosen().sift == NULL:
            raise ValueError("this processor does not multiply bytes")
        return 0

    cdef int _allocate(self, SieveScratch *scratch, Model model, InputRows x,
                       list keep_alive) except -1:
        cdef int64_t i
        cdef uint8_t *codes
        cdef int32_t *ids
        cdef float32_t *most
        cdef float32_t *least
        allocate_hidden(&scratch.hidden, model, x, ROWS, 1, keep_alive)
        scratch.sifters = <slide_sifter *>scratch_array(ROWS * sizeof(slide_sifter), np.uint8,
                                                        keep_alive)
        scratch.counts = <int64_t *>scratch_array(ROWS, np.int64, keep_alive)
        scratch.seen = <int64_t *>scratch_array(ROWS, np.int64, keep_alive)
        scratch.scored = <int64_t *>scratch_array(ROWS, np.int64, keep_alive)
        scratch.heaps = <float32_t *>scratch_array(ROWS * HEAP, np.float32, keep_alive)
        scratch.heap_ids = <int32_t *>scratch_array(ROWS * HEAP, np.int32, keep_alive)
        scratch.scores = <float32_t *>scratch_array(ROOM, np.float32, keep_alive)
        scratch.more = scratch.more_of = NULL
        if model.view.postings != NULL:
            scratch.more = <float32_t *>scratch_array(ROWS * NEURONS, np.float32, keep_alive)
            scratch.more_of = <float32_t *>scratch_array(ROWS * ROOM, np.float32, keep_alive)
        codes = <uint8_t *>scratch_array(ROWS * 4 * self.view.n_fours, np.uint8, keep_alive)
        ids = <int32_t *>scratch_array(ROWS * ROOM, np.int32, keep_alive)
        most = <float32_t *>scratch_array(ROWS * ROOM, np.float32, keep_alive)
        least = <float32_t *>scratch_array(ROWS * ROOM, np.float32, keep_alive)
        for i in range(ROWS):
            scratch.sifters[i].codes = codes + i * 4 * self.view.n_fours
            scratch.sifters[i].ids = ids + i * ROOM
            scratch.sifters[i].most = most + i * ROOM
            scratch.sifters[i].least = least + i * ROOM
            scratch.sifters[i].n = &scratch.counts[i]
        return 0

    cdef void _rows(self, const ModelView *model, const InputView *x, int64_t first, int64_t n,
                    const Wished *wished, SieveScratch *scratch, Watch *watch) noexcept nogil:
        """Find the top k of rows first..first + n, at most ROWS, and write their places.

        Cost of a row: a multiply-add of bytes per weight, and n_in for each neuron that is left.
        Thread-safe: threads take different rows.
        """
        cdef int64_t last = model.n_layers - 2, step, u, size, i, j, d = self.n_in
        cdef const LayerView *output = &model.layers[last + 1]
        cdef const float32_t *h = scratch.hidden.a[last]
        if interrupted(watch):
            return
        for i in range(last + 1):
            forward_layer(model, x, i, first, n, &scratch.hidden, NULL)
        for i in range(n):
            _ask(h + i * d, d, self.view.n_fours, &scratch.sifters[i])
            scratch.counts[i] = scratch.seen[i] = scratch.scored[i] = 0
        if model.postings != NULL:
            open_postings(model.postings, x, first, n, scratch.cursor)
        for step in range(blocks_of(self.n_neurons, NEURONS)):
            if interrupted(watch):
                return
            u = step * NEURONS
            size = min(<int64_t>NEURONS, self.n_neurons - u)
            if model.postings != NULL:
                sum_postings(model.postings, x, first, n, u, size, scratch.cursor, scratch.more)
            for i in range(n):
                if scratch.counts[i] + size > ROOM:
                    _keep(scratch, i)
                if scratch.counts[i] + size > ROOM:
                    _score(output, h + i * d, d, first + i, wished, scratch, i)
            self._sift(u, size, n, wished.k, scratch)
        for i in range(n):
            _keep(scratch, i)
            _score(output, h + i * d, d, first + i, wished, scratch, i)
            j = (first + i) * wished.k
            sort_heap(wished.scores + j, wished.ids + j, wished.k)

    cdef void _sift(self, int64_t u, int64_t size, int64_t n, int64_t k,
                    SieveScratch *scratch) noexcept nogil:
        """List the neurons u..u + size that may be among the k best of n rows; raise thresholds."""
        cdef int64_t i, j, part, before[ROWS]
        cdef slide_sifter *sifter
        # A first part gives the thresholds for the rest of the first block.
        cdef int64_t done = 0
        while done < size:
            part = min(size - done, <int64_t>BLOCK * 4 if u + done == 0 else size)
            for i in range(n):
                before[i] = scratch.counts[i]
                if scratch.more != NULL:
                    scratch.sifters[i].more = scratch.more + i * size + done
            chosen().sift(&self.view, u + done, part, scratch.sifters, n)
            for i in range(n):
                sifter = &scratch.sifters[i]
                if scratch.more != NULL:
                    for j in range(before[i], scratch.counts[i]):
                        scratch.more_of[i * ROOM + j] = scratch.more[
                            i * size + sifter.ids[j] - u]
                offer(sifter.least + before[i], sifter.ids + before[i], scratch.seen[i],
                      scratch.counts[i] - before[i], scratch.heaps + i * HEAP,
                      scratch.heap_ids + i * HEAP, k)
                scratch.seen[i] += scratch.counts[i] - before[i]
                if scratch.seen[i] >= k:
                    sifter.threshold = scratch.heaps[i * HEAP]
            done += part


cdef void _code_block(WeightArray rows, int64_t first, int64_t n, int64_t d, float32_t *scratch,
                      int8_t *codes, float32_t *scale, float32_t *total, float32_t *error,
                      float32_t *length, Watch *watch) noexcept nogil:
    """Codes and bounds of n neurons, at most BLOCK, from `first` on.

    OUT codes (n_fours, BLOCK, 4); scale, total, error and length at first..first + n. The error of
    a row with NaN or infinity is NaN, and rules nothing out.
    """
    cdef int64_t i, j
    cdef const float32_t *w
    cdef float64_t most, step, code, sums, errors, lengths, rest
    if interrupted(watch):
        return
    for i in range(n):
        w = row_of(&rows.view, first + i, scratch)
        most = sums = errors = lengths = 0
        for j in range(d):
            most = max(most, fabs(w[j]))
            sums += w[j]
            lengths += <float64_t>w[j] * w[j]
        if not isfinite(lengths):
            error[first + i] = NAN
            continue
        step = <float32_t>(most / 127)
        for j in range(d):
            code = rint(w[j] / step) if step > 0 else 0
            code = max(-127.0, min(127.0, code))
            rest = w[j] - step * code
            errors += rest * rest
            codes[(j >> 2) * 4 * BLOCK + 4 * i + (j & 3)] = <int8_t>code
        scale[first + i], total[first + i] = <float32_t>step, <float32_t>sums
        error[first + i] = <float32_t>(1.000001 * sqrt(errors))
        length[first + i] = <float32_t>(1.000001 * sqrt(lengths))


cdef void _ask(const float32_t *h, int64_t d, int64_t n_fours, slide_sifter *sifter) noexcept nogil:
    """Codes and bounds of a hidden vector h (d,)."""
    cdef int64_t j
    cdef float64_t low = h[0], high = h[0], step, code, rest
    cdef float64_t errors = 0, lengths = 0, coded = 0
    cdef uint8_t *codes = <uint8_t *>sifter.codes
    sifter.threshold = -INFINITY
    for j in range(d):
        low, high = min(low, <float64_t>h[j]), max(high, <float64_t>h[j])
        lengths += <float64_t>h[j] * h[j]
    for j in range(4 * n_fours):
        codes[j] = 0
    sifter.low, sifter.scale = 0, 0
    if not isfinite(lengths):
        sifter.length, sifter.error = 0, NAN
        return
    low, step = <float32_t>low, <float32_t>((high - low) / 255)
    for j in range(d):
        code = rint((h[j] - low) / step) if step > 0 else 0
        code = max(0.0, min(255.0, code))
        rest = h[j] - low - step * code
        errors += rest * rest
        coded += step * code * step * code
        codes[j] = <uint8_t>code
    sifter.low, sifter.scale = <float32_t>low, <float32_t>step
    sifter.length = <float32_t>(1.000001 * sqrt(coded))
    sifter.error = <float32_t>(1.000001 * sqrt(errors) + ROUNDING * (d + SLACK) * (
        sqrt(lengths) + sqrt(coded) + fabs(low) * sqrt(<float64_t>d)))


cdef void _keep(SieveScratch *scratch, int64_t i) noexcept nogil:
    """Keep those listed neurons of a row that still reach the threshold."""
    cdef slide_sifter *sifter = &scratch.sifters[i]
    cdef int64_t j, n = 0
    for j in range(scratch.counts[i]):
        sifter.ids[n], sifter.most[n] = sifter.ids[j], sifter.most[j]
        if scratch.more_of != NULL:
            scratch.more_of[i * ROOM + n] = scratch.more_of[i * ROOM + j]
        n += not sifter.most[j] < sifter.threshold
    scratch.counts[i] = n


cdef void _score(const LayerView *output, const float32_t *h, int64_t d, int64_t place,
                 const Wished *wished, SieveScratch *scratch, int64_t i) noexcept nogil:
    """Score the listed neurons of a row exactly, and offer them to its result."""
    cdef slide_sifter *sifter = &scratch.sifters[i]
    cdef int64_t j, n = scratch.counts[i], k = wished.k
    if n == 0:
        return
    rows_forward(output, sifter.ids, n, h, d, 1, scratch.scores, n, scratch.hidden.unpacked)
    if scratch.more_of != NULL:
        for j in range(n):
            scratch.scores[j] += scratch.more_of[i * ROOM + j]
    offer(scratch.scores, sifter.ids, scratch.scored[i], n, wished.scores + place * k,
          wished.ids + place * k, k)
    scratch.scored[i] += n
    scratch.counts[i] = 0
