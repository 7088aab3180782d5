"""The engine: micro-batches through the network, forward, back and updated, in parallel.

The only parallel loop over training samples is here. A thread takes a micro-batch, forwards
its rows to the last hidden layer, unites the labels, the hardest retrieved neurons and a
uniform tail into one active set, scores that set against all rows at once, and goes back along
the same set: every weight row is read and updated once a micro-batch. Threads share the weights
without locks (HOGWILD; Niu et al., NIPS 2011); all else is private to a thread.
"""
import numpy as np

from cython.parallel cimport prange
from libc.string cimport memset

from slide._hash cimport simhash
from slide._layers cimport (
    CORRECTIONS,
    ROW_BLOCK,
    UPDATE_COST,
    LayerView,
    activate,
    activate_backward,
    adam_corrections,
    drop,
    input_backward,
    input_forward,
    rows_backward,
    sigmoid_gradient,
    softmax_gradient,
)
from slide._model cimport SOFTMAX, InputRows, Model, ModelView, forward_hidden
from slide._openmp cimport omp_get_thread_num
from slide._random cimport next_below, seed_stream
from slide._simd cimport chosen
from slide._tables cimport HashTables, keep_most_frequent, retrieve
from slide._typedefs cimport (
    float32_t,
    float64_t,
    int32_t,
    int64_t,
    uint8_t,
    uint16_t,
    uint64_t,
    blocks_of,
)

from slide._memory import aligned_zeros


# ----------------------------------------------------------- active set --

cdef inline int32_t _include(Workspace *ws, int32_t *n_active, int32_t neuron) noexcept nogil:
    # Briggs & Torczon's sparse set: slot_of needs no clearing.
    cdef int32_t slot = ws.slot_of[neuron]
    if slot >= n_active[0] or ws.active[slot] != neuron:
        slot = n_active[0]
        ws.slot_of[neuron] = slot
        ws.active[slot] = neuron
        n_active[0] += 1
    return slot


cdef inline bint _contains(const int32_t *items, int64_t n, int32_t item) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        if items[i] == item:
            return True
    return False


cdef int64_t _hardest(const ModelView *model, const TrainView *train, Workspace *ws,
                      const float32_t *h, const int32_t *labels, int64_t n_labels,
                      uint64_t *rng, int64_t *n_hard) noexcept nogil:
    """The wrong neurons of the largest pre-activation among what the tables return for h.

    Wide retrieval, ranked by collisions down to n_candidates, then re-ranked by the
    exact inner product. IN h (width,), labels (n_labels,), never returned; OUT ws.hard and
    ws.hard_scores (train.n_hard,), best first, and their number n_hard. Raced reads of the
    output weights. Returns the cost: width a candidate.
    """
    cdef const LayerView *layer = &model.layers[model.n_layers - 1]
    cdef int64_t i, j, n
    cdef float32_t score
    simhash(train.hasher, h, train.tables.mean, train.tables.query_bias, 0.0,
            ws.hash_scratch, ws.hash_words, ws.codes, 1)
    n = retrieve(train.tables, ws.codes, train.bucket_limit, rng, ws.counts, ws.candidates)
    n = keep_most_frequent(ws.candidates, n, ws.counts, train.n_candidates)
    chosen().dots(layer.w, layer.width, ws.candidates, layer.b, n, h, layer.width, 1,
                  layer.width, ws.scores, n)
    n_hard[0] = 0
    for i in range(n):
        score = ws.scores[i]
        if n_hard[0] == train.n_hard and not score > ws.hard_scores[n_hard[0] - 1]:
            continue
        if _contains(labels, n_labels, ws.candidates[i]):
            continue
        if n_hard[0] < train.n_hard:
            n_hard[0] += 1
        j = n_hard[0] - 1
        while j > 0 and score > ws.hard_scores[j - 1]:
            ws.hard_scores[j] = ws.hard_scores[j - 1]
            ws.hard[j] = ws.hard[j - 1]
            j -= 1
        ws.hard_scores[j] = score
        ws.hard[j] = ws.candidates[i]
    return n * layer.width


cdef int64_t _choose_active(const ModelView *model, const TrainView *train, Workspace *ws,
                            const float32_t *h, int64_t first, int64_t n, uint64_t *rng,
                            int64_t *n_exact, int64_t *n_active_out) noexcept nogil:
    """The union of labels, hardest neurons and tail; n_exact of them are not tail.

    IN h (n, width); OUT ws.active (n_active,), ws.label_slots (labels of the n rows, in order).
    Returns the cost of hashing and re-ranking.
    """
    cdef const LayerView *layer = &model.layers[model.n_layers - 1]
    cdef int64_t i, j, row, width = layer.width, cost = 0, n_hard = 0, n_slots = 0, _draw
    cdef int32_t n_active = 0, neuron
    cdef int64_t target
    for i in range(n):
        row = train.x.order[first + i]
        for j in range(train.y_indptr[row], train.y_indptr[row + 1]):
            ws.label_slots[n_slots] = _include(ws, &n_active, train.y_indices[j])
            n_slots += 1
    if train.tables != NULL:
        for i in range(n):
            row = train.x.order[first + i]
            j = train.y_indptr[row]
            cost += train.hash_cost
            cost += _hardest(model, train, ws, h + i * width, train.y_indices + j,
                             train.y_indptr[row + 1] - j, rng, &n_hard)
            for j in range(n_hard):
                _include(ws, &n_active, ws.hard[j])
            for j in range(width):
                ws.query_sum[j] += h[i * width + j]
                ws.tally.query_norm2 += h[i * width + j] * h[i * width + j]
        ws.tally.n_queries += n
    n_exact[0] = n_active
    target = min(n_active + train.tail_size, layer.n_out)
    # Draws that hit a neuron already in are repeated; the bound is met only by a tail nearly as
    # large as the layer, which is then a little shorter.
    for _draw in range(64 + 8 * train.tail_size):
        if n_active >= target:
            break
        neuron = <int32_t>next_below(rng, <int32_t>layer.n_out)
        _include(ws, &n_active, neuron)
    n_active_out[0] = n_active
    return cost


# ---------------------------------------------------------- micro-batch --

cdef void _train_micro_batch(ModelView *model, const TrainView *train, Workspace *ws,
                             int64_t first, int64_t n, uint64_t counter) noexcept nogil:
    """Forward, loss, backward and update of n rows from position `first` of the order.

    Raced: the arrays behind `model`. Private: `ws`, whose tally grows. `counter` and the seed
    decide the random numbers. Cost: (active neurons + hidden widths) * n * width, times 3.
    """
    cdef LayerView *layer
    cdef LayerView *output = &model.layers[model.n_layers - 1]
    cdef int64_t i, row, n_exact, n_active, n_labels, n_slots = 0, n_pairs = 0
    cdef int64_t cost, last = model.n_layers - 2, width = output.width
    cdef float32_t tail_weight = 1, scale
    cdef float64_t loss, weight
    cdef float32_t *h
    cdef float32_t *z
    cdef float32_t *swap
    cdef const int32_t *labels
    cdef const int32_t *active = ws.active
    cdef uint64_t rng = seed_stream(train.seed, counter)

    # Forward to the last hidden layer.
    cost = input_forward(&model.layers[0], &train.x, first, n, ws.input.dense, ws.a[0])
    activate(model.activation, ws.a[0], n * model.layers[0].n_out)
    n_pairs = cost // model.layers[0].n_out
    for i in range(last + 1):
        if i > 0:
            cost += forward_hidden(model, i, n, ws.a)
        if train.dropout > 0:
            drop(ws.a[i], ws.mask[i], n * model.layers[i].n_out, train.dropout, &rng)
    h = ws.a[last]

    # Active set and pre-activations.
    if train.all_neurons:
        n_exact = n_active = output.n_out
        active = NULL
    else:
        cost += _choose_active(model, train, ws, h, first, n, &rng, &n_exact, &n_active)
        if n_active > n_exact:
            tail_weight = <float32_t>(output.n_out - n_exact) / <float32_t>(n_active - n_exact)
    chosen().dots(output.w, width, active, output.b, n_active, h, width, n, width, ws.z,
                  n_active)
    cost += n * n_active * width

    # Loss and its gradient, in place.
    for i in range(n):
        row = train.x.order[first + i]
        n_labels = train.y_indptr[row + 1] - train.y_indptr[row]
        if train.all_neurons:
            labels = train.y_indices + train.y_indptr[row]
        else:
            labels = ws.label_slots + n_slots
            n_slots += n_labels
        weight = train.sample_weight[row] if train.sample_weight != NULL else 1.0
        scale = <float32_t>(weight / n)
        z = ws.z + i * n_active
        if model.loss == SOFTMAX:
            loss = softmax_gradient(z, n_active, n_exact, tail_weight, labels, n_labels, scale)
        else:
            loss = sigmoid_gradient(z, n_active, n_exact, tail_weight, labels, n_labels, scale)
        ws.tally.loss += weight * loss
        ws.tally.weight += weight

    # Back along the same neurons.
    memset(ws.delta, 0, n * width * sizeof(float32_t))
    cost += rows_backward(output, &train.adam, active, n_active, ws.z, n_active, h, n,
                          ws.delta, ws.gradient)
    for i in range(last, 0, -1):
        layer = &model.layers[i]
        activate_backward(model.activation, ws.a[i], ws.delta, 1 - train.dropout,
                          ws.mask[i] if train.dropout > 0 else NULL, n * layer.n_out)
        memset(ws.delta_next, 0, n * layer.n_in * sizeof(float32_t))
        cost += rows_backward(layer, &train.adam, NULL, layer.n_out, ws.delta, layer.n_out,
                              ws.a[i - 1], n, ws.delta_next, ws.gradient)
        swap = ws.delta
        ws.delta = ws.delta_next
        ws.delta_next = swap
    layer = &model.layers[0]
    activate_backward(model.activation, ws.a[0], ws.delta, 1 - train.dropout,
                      ws.mask[0] if train.dropout > 0 else NULL, n * layer.n_out)
    cost += input_backward(layer, &train.adam, &train.x, first, n, &ws.input, ws.delta,
                           ws.gradient)

    ws.tally.n_samples += n
    ws.tally.n_micro_batches += 1
    ws.tally.n_active += n_active
    ws.tally.multiply_adds += cost
    ws.tally.dense_multiply_adds += _dense_cost(model, n, n_pairs)


cdef int64_t _dense_cost(const ModelView *model, int64_t n, int64_t n_pairs) noexcept nogil:
    """Multiply-adds of the same step in a dense network that reads the same input values."""
    cdef int64_t i, cost, weights
    weights = model.layers[0].n_in * model.layers[0].n_out + model.layers[0].n_out
    cost = 2 * n_pairs * model.layers[0].n_out
    for i in range(1, model.n_layers):
        cost += 3 * n * model.layers[i].n_in * model.layers[i].n_out
        weights += (model.layers[i].n_in + 1) * model.layers[i].n_out
    return cost + weights * UPDATE_COST


# -------------------------------------------------------------- trainer --

cdef class Trainer:
    """Runs micro-batches of one data set through one network.

    All scratch is allocated here, before any thread starts, so that too little memory is a
    MemoryError.

    Parameters
    ----------
    model : Model
    x : InputRows
    y_indptr, y_indices : int64 (n + 1,), int32 (nnz,)
        Labels of every row, CSR.
    sample_weight : float32 (n,) or None
    tables : HashTables or None
        Tables of the output layer; None retrieves nothing.
    settings : dict
        micro_batch, all_neurons, tail_size, n_hard, n_candidates, bucket_limit, dropout,
        beta_1, beta_2, epsilon, seed.
    n_threads : int
    """

    def __init__(self, Model model, InputRows x, const int64_t[::1] y_indptr,
                 const int32_t[::1] y_indices, const float32_t[::1] sample_weight,
                 HashTables tables, dict settings, int n_threads):
        cdef const ModelView *view = &model.view
        cdef TrainView *train = &self.train
        cdef float32_t *corrections
        self.model = model
        self.tables = tables
        n_threads = max(1, min(n_threads, blocks_of(x.n_rows, settings["micro_batch"])))
        self.n_threads = n_threads
        self.micro_batch = max(1, min(settings["micro_batch"], x.n_rows))
        self.last_width = view.layers[view.n_layers - 1].n_in
        self._keep_alive = [x, y_indptr, y_indices, sample_weight]
        train.x = x.view
        train.y_indptr = &y_indptr[0]
        train.y_indices = &y_indices[0] if y_indices.shape[0] else NULL
        train.sample_weight = &sample_weight[0] if sample_weight is not None else NULL
        train.adam.beta_1 = settings["beta_1"]
        train.adam.beta_2 = settings["beta_2"]
        train.adam.epsilon = settings["epsilon"]
        corrections = <float32_t *>self._array(2 * CORRECTIONS, np.float32)
        adam_corrections(train.adam.beta_1, train.adam.beta_2, corrections)
        train.adam.corrections = corrections
        train.dropout = settings["dropout"]
        train.seed = settings["seed"]
        train.all_neurons = settings["all_neurons"]
        train.tail_size = settings["tail_size"]
        train.n_hard = settings["n_hard"]
        train.n_candidates = settings["n_candidates"]
        train.bucket_limit = settings["bucket_limit"]
        if tables is not None and train.n_hard > 0:
            train.tables = &tables.view
            train.hasher = &tables.hasher.view
            train.hash_cost = tables.hasher.multiply_adds
        self._workspace_memory = np.zeros(n_threads * sizeof(Workspace), np.uint8)
        max_labels = _largest_sum(np.diff(y_indptr), self.micro_batch)
        max_pairs = 0 if x.is_dense else _largest_sum(np.diff(x.indptr), self.micro_batch)
        if max_pairs > 2**31 - 1:
            raise ValueError(
                f"batch_size={self.micro_batch} rows of X may hold {max_pairs} values; "
                "a micro-batch takes 2147483647: make it smaller"
            )
        for thread in range(n_threads):
            self._allocate(self._workspace(thread), x.is_dense, max_labels, max_pairs)

    cdef Workspace *_workspace(self, int64_t thread) noexcept:
        cdef uint8_t[::1] memory = self._workspace_memory
        return <Workspace *>&memory[thread * sizeof(Workspace)]

    cdef void *_array(self, size, dtype) except NULL:
        # At least one element, so that every buffer has an address.
        array = aligned_zeros(max(1, size), dtype)
        self._keep_alive.append(array)
        return <void *><uint64_t>array.ctypes.data

    cdef int _allocate(self, Workspace *ws, bint is_dense, max_labels, max_pairs) except -1:
        cdef const ModelView *view = &self.model.view
        cdef TrainView *train = &self.train
        cdef int64_t n_hidden = view.n_layers - 1, n = self.micro_batch, i
        n_classes = view.layers[n_hidden].n_out
        n_features = view.layers[0].n_in
        widths = [view.layers[i].n_out for i in range(n_hidden)]
        floats = np.float32
        ws.a = <float32_t **>self._array(n_hidden, np.uint64)
        ws.mask = <float32_t **>self._array(n_hidden, np.uint64)
        for i in range(n_hidden):
            ws.a[i] = <float32_t *>self._array(n * widths[i], floats)
            ws.mask[i] = <float32_t *>self._array(n * widths[i] if train.dropout > 0 else 0,
                                                  floats)
        ws.delta = <float32_t *>self._array(n * max(widths), floats)
        ws.delta_next = <float32_t *>self._array(n * max(widths), floats)
        ws.gradient = <float32_t *>self._array(ROW_BLOCK * max(widths), floats)
        ws.query_sum = <float32_t *>self._array(self.last_width, floats)
        if is_dense:
            ws.input.dense = <float32_t *>self._array(n * n_features, floats)
        else:
            ws.input.slot_of = <int32_t *>self._array(n_features, np.int32)
            ws.input.features = <int32_t *>self._array(max_pairs, np.int32)
            ws.input.starts = <int32_t *>self._array(max_pairs + 1, np.int32)
            ws.input.pair_sample = <int32_t *>self._array(max_pairs, np.int32)
            ws.input.pair_value = <float32_t *>self._array(max_pairs, floats)
        if train.all_neurons:
            ws.z = <float32_t *>self._array(n * n_classes, floats)
            return 0
        max_active = min(n_classes, max_labels + n * train.n_hard + train.tail_size)
        ws.z = <float32_t *>self._array(n * max_active, floats)
        ws.active = <int32_t *>self._array(max_active, np.int32)
        ws.slot_of = <int32_t *>self._array(n_classes, np.int32)
        ws.label_slots = <int32_t *>self._array(max_labels, np.int32)
        if train.tables == NULL:
            return 0
        max_candidates = min(n_classes, train.tables.n_tables * train.bucket_limit)
        ws.counts = <uint8_t *>self._array(n_classes, np.uint8)
        ws.candidates = <int32_t *>self._array(max_candidates, np.int32)
        ws.scores = <float32_t *>self._array(train.n_candidates, floats)
        ws.hard = <int32_t *>self._array(train.n_hard, np.int32)
        ws.hard_scores = <float32_t *>self._array(train.n_hard, floats)
        ws.hash_scratch = <float32_t *>self._array(train.hasher.size, floats)
        ws.hash_words = <uint64_t *>self._array(self.tables.hasher.n_words, np.uint64)
        ws.codes = <uint16_t *>self._array(train.tables.n_tables, np.uint16)
        return 0

    def run(self, const int32_t[::1] order, uint64_t counter, float learning_rate):
        """Train on the rows `order`, one micro-batch after the other; returns the tally as a dict.

        `counter` numbers the first micro-batch and, with the seed, decides its random numbers.
        No row may occur twice in `order`: scratch is sized for distinct rows. The tally's
        `query_sum` is float32 (width,), the sum of the last hidden vectors.
        """
        cdef int64_t n = order.shape[0], size = self.micro_batch, n_micro = blocks_of(n, size), i
        cdef ModelView *model = &self.model.view
        cdef TrainView *train = &self.train
        cdef Workspace *workspaces = self._workspace(0)
        cdef Workspace *ws
        cdef float32_t[::1] query_sum
        cdef int n_threads = max(1, min(self.n_threads, n_micro))
        train.x.order = &order[0] if n else NULL
        train.adam.learning_rate = learning_rate
        for i in range(self.n_threads):
            memset(&workspaces[i].tally, 0, sizeof(Tally))
            memset(workspaces[i].query_sum, 0, self.last_width * sizeof(float32_t))
        for i in prange(n_micro, nogil=True, num_threads=n_threads, schedule="dynamic"):
            _train_micro_batch(model, train, &workspaces[omp_get_thread_num()], i * size,
                               min(size, n - i * size), counter + i)
        train.x.order = NULL
        total = {}
        sums = np.zeros(self.last_width, np.float32)
        for i in range(self.n_threads):
            ws = &workspaces[i]
            for key, value in _as_dict(&ws.tally).items():
                total[key] = total.get(key, 0) + value
            query_sum = <float32_t[:self.last_width]>ws.query_sum
            sums += query_sum
        total["query_sum"] = sums
        return total


cdef dict _as_dict(const Tally *tally):
    return tally[0]


def _largest_sum(counts, int64_t n):
    """Sum of the n largest counts: what n rows can hold at most."""
    if len(counts) > n:
        counts = np.partition(counts, len(counts) - n)[len(counts) - n:]
    return int(counts.sum())
