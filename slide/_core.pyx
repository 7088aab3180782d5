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

from slide._base.clock cimport seconds
from slide._base.openmp cimport omp_get_thread_num
from slide._base.random cimport next64, seed_stream
from slide._base.rows cimport InputRows, row_at, Vector, vector_at
from slide._base.scratch cimport scratch_array
from slide._base.signals cimport end_watch, interrupted, start_watch, Watch
from slide._base.typedefs cimport (
    blocks_of,
    float32_t,
    float64_t,
    int32_t,
    int64_t,
    uint16_t,
    uint32_t,
    uint64_t,
    uint8_t,
)
from slide._engine.active cimport choose_active
from slide._engine.bag cimport input_backward, InputGroups, InputPair
from slide._engine.dense cimport (
    activate_backward,
    drop,
    HalfScratch,
    halves_forward,
    multiplies_halves,
    ROW_BLOCK,
    rows_backward,
    rows_forward,
    sigmoid_gradient,
    softmax_gradient,
)
from slide._engine.forward cimport allocate_hidden, forward_layer, HiddenScratch
from slide._engine.layer cimport LayerView
from slide._engine.model cimport Model, ModelView, SOFTMAX
from slide._engine.optimizer cimport ADAGRAD, ADAM, adam_corrections, CORRECTIONS, SGD, SolverView
from slide._engine.sparse cimport pair_all, pairs_backward, pairs_forward, vector_of, Vectors
from slide._engine.workspace cimport Counts, TrainView, Workspace

_SOLVERS = {"adam": ADAM, "sgd": SGD, "adagrad": ADAGRAD}


# ---------------------------------------------------------- micro-batch --

cdef void _train_micro_batch(ModelView *model, const TrainView *train, Workspace *ws,
                             int64_t first, int64_t n, uint64_t counter) noexcept nogil:
    """Forward, loss, backward and update of n rows from position `first` of the run.

    Raced: the arrays behind `model`. Private: `ws`, whose counts grow. `counter` and the seed
    decide the random numbers. Cost: (active neurons + hidden widths) * n * width, times 3.
    """
    cdef LayerView *output = &model.layers[model.n_layers - 1]
    cdef HiddenScratch *hidden = &ws.hidden
    cdef Vectors *h = &hidden.x[model.n_layers - 1]
    cdef int64_t i, row, n_exact, n_active, n_labels, n_slots = 0, n_pairs
    cdef int64_t cost = 0, last = model.n_layers - 2, width = output.width
    cdef float32_t tail_weight = 1, scale
    cdef float64_t loss, weight, began = seconds(), now
    cdef float32_t *z = ws.z
    cdef const int32_t *labels
    cdef const int32_t *active = ws.active
    cdef uint64_t rng = seed_stream(train.seed, counter)
    if interrupted(train.solver.watch):
        return

    # Forward to the last hidden layer.
    hidden.retrieval_seconds = 0
    for i in range(last + 1):
        if train.tracked[i] and i > 0:
            cost += _add_queries(&hidden.x[i], n, ws.query_sums[i], ws.query_norms2 + i)
        cost += forward_layer(model, &train.x, i, first, n, hidden, &rng)
        if train.dropout[i] > 0:
            drop(hidden.a[i], ws.mask[i], n * hidden.ld[i], train.dropout[i], &rng)

    # Active set and pre-activations.
    now = seconds()
    ws.counts.forward_seconds += now - began - hidden.retrieval_seconds
    if train.all_neurons:
        n_exact = n_active = output.n_out
        active = NULL
    else:
        if train.tracked[last + 1]:
            cost += _add_queries(h, n, ws.query_sums[last + 1], ws.query_norms2 + last + 1)
        cost += choose_active(model, train, ws, first, n, &rng, &n_exact, &n_active)
        if n_active > n_exact:
            tail_weight = <float32_t>(output.n_out - n_exact) / <float32_t>(n_active - n_exact)
    began = seconds()
    ws.counts.retrieval_seconds += began - now + hidden.retrieval_seconds
    if h.dense != NULL:
        if multiplies_halves(output):
            cost += halves_forward(output, active, n_active, h.dense, n, z, n_active, &ws.halves)
        else:
            cost += rows_forward(output, active, n_active, h.dense, width, n, z, n_active,
                                 hidden.unpacked)
    else:
        pair_all(active, n_active, n, &hidden.pairs[last + 1])
        cost += pairs_forward(output, h, &hidden.pairs[last + 1], &hidden.scratch, z)

    # Loss and its gradient, in place.
    for i in range(n):
        row = row_at(&train.x, first + i)
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
        ws.counts.loss += weight * loss
        ws.counts.weight += weight

    # Back along the same neurons.
    now = seconds()
    ws.counts.forward_seconds += now - began
    cost += _backward(model, train, ws, active, n_active, n, <uint32_t>next64(&rng))
    ws.counts.backward_seconds += seconds() - now
    n_pairs = n * train.x.n_features
    if train.x.indptr != NULL:
        n_pairs = 0
        for i in range(n):
            n_pairs += vector_at(&train.x, first + i).size
    ws.counts.n_samples += n
    ws.counts.n_micro_batches += 1
    ws.counts.active_neurons += n_active
    ws.counts.multiply_adds += cost
    ws.counts.dense_multiply_adds += _dense_cost(model, train, n, n_pairs)


cdef int64_t _backward(ModelView *model, const TrainView *train, Workspace *ws,
                       const int32_t *active, int64_t n_active, int64_t n,
                       uint32_t seed) noexcept nogil:
    """From ws.z, the gradient of the pre-activations, back to the input; every row updated once.

    IN active (n_active,) or NULL, the output neurons; seed: of the rounding of bfloat16;
    parameters else as in `_train_micro_batch`. Returns the multiply-adds.
    """
    cdef int64_t i, cost = 0, n_rows, ld_delta
    cdef LayerView *layer
    cdef HiddenScratch *hidden = &ws.hidden
    cdef const int32_t *rows
    cdef float32_t *delta = ws.z
    cdef float32_t *x_delta = ws.delta
    cdef float32_t *other = ws.delta_next
    cdef SolverView solver = train.solver
    solver.decay = train.solver.decay / n
    solver.seed = seed
    for i in range(model.n_layers - 1, -1, -1):
        layer = &model.layers[i]
        rows = active if i == model.n_layers - 1 else NULL
        n_rows = n_active if i == model.n_layers - 1 else layer.n_out
        ld_delta = hidden.ld[i - 1] if i > 0 else 0
        if i > 0:
            memset(x_delta, 0, n * ld_delta * sizeof(float32_t))
        if layer.n_active > 0 or (i > 0 and hidden.x[i].dense == NULL):
            cost += pairs_backward(layer, &solver, &hidden.x[i], &hidden.pairs[i], delta,
                                   x_delta if i > 0 else NULL, ld_delta, &hidden.scratch)
        elif i > 0:
            cost += rows_backward(layer, &solver, rows, n_rows, delta, n_rows,
                                  hidden.x[i].dense, n, x_delta, ws.gradient, hidden.unpacked,
                                  &ws.halves if multiplies_halves(layer) else NULL)
        else:
            cost += input_backward(layer, &solver, &train.x, n, hidden.groups, hidden.dense_rows,
                                   delta, ws.gradient)
        if i > 0:
            activate_backward(model.activation, hidden.a[i - 1], x_delta,
                              1 - train.dropout[i - 1],
                              ws.mask[i - 1] if train.dropout[i - 1] > 0 else NULL, n * ld_delta)
            delta = x_delta
            x_delta = other
            other = delta
    return cost


cdef int64_t _add_queries(const Vectors *x, int64_t n, float32_t *total,
                          float64_t *norms2) noexcept nogil:
    """total += sum of n vectors, norms2 += sum of their squared lengths; returns the cost."""
    cdef int64_t i, j, cost = 0
    cdef float32_t v
    cdef Vector query
    for i in range(n):
        query = vector_of(x, i)
        for j in range(query.size):
            v = query.values[j]
            total[query.ids[j] if query.ids != NULL else j] += v
            norms2[0] += v * v
        cost += 2 * query.size
    return cost


cdef int64_t _dense_cost(const ModelView *model, const TrainView *train, int64_t n,
                         int64_t n_pairs) noexcept nogil:
    """Multiply-adds of the same step in a dense network that reads the same input values."""
    cdef int64_t i, cost, weights
    weights = model.layers[0].n_in * model.layers[0].n_out + model.layers[0].n_out
    cost = 2 * n_pairs * model.layers[0].n_out
    for i in range(1, model.n_layers):
        cost += 3 * n * model.layers[i].n_in * model.layers[i].n_out
        weights += (model.layers[i].n_in + 1) * model.layers[i].n_out
    return cost + weights * train.solver.update_cost


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
    settings : dict
        micro_batch, all_neurons, tail_size, n_hard, n_hard_kept, dropout (one rate a hidden layer),
        solver, alpha, momentum, beta_1, beta_2, epsilon, seed.
    n_threads : int
    """

    def __init__(self, Model model, InputRows x, const int64_t[::1] y_indptr,
                 const int32_t[::1] y_indices, const float32_t[::1] sample_weight,
                 dict settings, int n_threads):
        cdef TrainView *train = &self.train
        self.model = model
        n_threads = max(1, min(n_threads, blocks_of(x.n_rows, settings["micro_batch"])))
        self.n_threads = n_threads
        self.micro_batch = max(1, min(settings["micro_batch"], x.n_rows))
        self._keep_alive = [x, y_indptr, y_indices, sample_weight]
        train.x = x.view
        train.y_indptr = &y_indptr[0]
        train.y_indices = &y_indices[0] if y_indices.shape[0] else NULL
        train.sample_weight = &sample_weight[0] if sample_weight is not None else NULL
        train.seed = settings["seed"]
        train.all_neurons = settings["all_neurons"]
        train.tail_size = settings["tail_size"]
        train.n_hard = settings["n_hard"] if model.retrievals[model.view.n_layers - 1] else 0
        # `slide._training.mining` writes them between two runs.
        train.n_hard_kept = settings["n_hard_kept"]
        self.hard = np.full((x.n_rows, train.n_hard_kept), -1, np.int32)
        cdef const int32_t[:, ::1] hard_kept = self.hard
        train.hard_kept = &hard_kept[0, 0] if train.n_hard_kept else NULL
        self._set_solver(settings)
        dropout = np.array(settings["dropout"], np.float32)
        cdef const float32_t[::1] rates = dropout
        train.dropout = &rates[0]
        tracked = np.array([r is not None and (r.hasher is not None or r.tables is not None)
                            for r in model.retrievals], np.uint8)
        cdef const uint8_t[::1] flags = tracked
        train.tracked = &flags[0]
        self._keep_alive += [dropout, tracked]
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

    cdef int _set_solver(self, settings) except -1:
        cdef SolverView *solver = &self.train.solver
        cdef float32_t *corrections
        kind = settings["solver"]
        solver.kind = _SOLVERS[kind]
        solver.beta_1 = {"adam": settings["beta_1"], "sgd": settings["momentum"],
                         "adagrad": 0.0}[kind]
        solver.beta_2 = settings["beta_2"]
        solver.epsilon = settings["epsilon"]
        solver.decay = settings["alpha"]
        solver.update_cost = (3 if kind == "sgd" else 4) + (settings["alpha"] > 0)
        corrections = <float32_t *>scratch_array(2 * CORRECTIONS, np.float32, self._keep_alive)
        adam_corrections(solver.beta_1, solver.beta_2, corrections)
        solver.corrections = corrections
        return 0

    cdef int _allocate(self, Workspace *ws, bint is_dense, max_labels, max_pairs) except -1:
        cdef const ModelView *view = &self.model.view
        cdef TrainView *train = &self.train
        cdef int64_t n_hidden = view.n_layers - 1, n = self.micro_batch, i
        cdef const LayerView *output = &view.layers[n_hidden]
        cdef InputGroups *groups
        cdef HalfScratch *halves
        keep, floats = self._keep_alive, np.float32
        n_classes = output.n_out
        max_active = n_classes
        if not train.all_neurons:
            n_hard = train.n_hard + train.n_hard_kept
            max_active = min(n_classes, max_labels + n * n_hard + train.tail_size)
        allocate_hidden(&ws.hidden, self.model, self._keep_alive[0], n, max_active, keep)
        widths = [ws.hidden.ld[i] for i in range(n_hidden)]
        rows = [view.layers[i].width for i in range(n_hidden + 1) if not view.layers[i].n_active]
        if multiplies_halves(output):
            width, n_pairs = max(rows), blocks_of(n, 2)
            halves = &ws.halves
            halves.x = <uint16_t *>scratch_array(n * (width + 1), np.uint16, keep)
            halves.x_pairs = <uint32_t *>scratch_array(n_pairs * width, np.uint32, keep)
            halves.unpacked = <uint32_t *>scratch_array(ROW_BLOCK // 2 * width, np.uint32, keep)
            halves.delta = <uint32_t *>scratch_array(n * ROW_BLOCK // 2, np.uint32, keep)
            halves.delta_pairs = <uint32_t *>scratch_array(n_pairs * ROW_BLOCK, np.uint32, keep)
        ws.mask = <float32_t **>scratch_array(n_hidden, np.uint64, keep)
        for i in range(n_hidden):
            ws.mask[i] = <float32_t *>scratch_array(n * widths[i] if train.dropout[i] > 0 else 0,
                                                    floats, keep)
        ws.delta = <float32_t *>scratch_array(n * max(widths), floats, keep)
        ws.delta_next = <float32_t *>scratch_array(n * max(widths), floats, keep)
        ws.gradient = <float32_t *>scratch_array(ROW_BLOCK * max(rows), floats, keep)
        ws.query_sums = <float32_t **>scratch_array(n_hidden + 1, np.uint64, keep)
        ws.query_norms2 = <float64_t *>scratch_array(n_hidden + 1, np.float64, keep)
        for i in range(n_hidden + 1):
            size = view.layers[i].n_in if train.tracked[i] and i > 0 else 0
            ws.query_sums[i] = <float32_t *>scratch_array(size, floats, keep)
        if not is_dense and view.layers[0].n_active == 0:
            groups = &ws.groups
            ws.hidden.groups = groups
            groups.features = <int32_t *>scratch_array(max_pairs, np.int32, keep)
            groups.starts = <int32_t *>scratch_array(max_pairs + 1, np.int32, keep)
            groups.samples = <int32_t *>scratch_array(max_pairs, np.int32, keep)
            groups.values = <float32_t *>scratch_array(max_pairs, floats, keep)
            size = max_pairs * sizeof(InputPair)
            groups.pairs = <InputPair *>scratch_array(size, np.uint8, keep)
            groups.other_pairs = <InputPair *>scratch_array(size, np.uint8, keep)
        ws.z = <float32_t *>scratch_array(n * max_active, floats, keep)
        if train.all_neurons:
            return 0
        ws.active = <int32_t *>scratch_array(max_active, np.int32, keep)
        ws.slot_of = <int32_t *>scratch_array(n_classes, np.int32, keep)
        ws.label_slots = <int32_t *>scratch_array(max_labels, np.int32, keep)
        if train.n_hard > 0:
            most = max(view.retrievals[n_hidden].n_candidates, view.retrievals[n_hidden].n_wanted)
            ws.candidates = <int32_t *>scratch_array(most, np.int32, keep)
            ws.scores = <float32_t *>scratch_array(most, floats, keep)
            ws.hard = <int32_t *>scratch_array(train.n_hard, np.int32, keep)
            ws.hard_scores = <float32_t *>scratch_array(train.n_hard, floats, keep)
        return 0

    def run(self, const int32_t[::1] rows, uint64_t counter, float learning_rate):
        """Train on `rows` of X, one micro-batch after the other; returns the counts as a dict.

        `counter` numbers the first micro-batch and, with the seed, decides its random numbers.
        No row may occur twice in `rows`: scratch is sized for distinct rows. Its
        `queries` has for every layer None, or where its inputs are hashed their sum, float32
        (n_in,), and the sum of their squared lengths.
        """
        cdef int64_t n = rows.shape[0], size = self.micro_batch, n_micro = blocks_of(n, size), i
        cdef ModelView *model = &self.model.view
        cdef TrainView *train = &self.train
        cdef Workspace *workspaces = self._workspace(0)
        cdef Workspace *ws
        cdef int n_threads = max(1, min(self.n_threads, n_micro))
        cdef int64_t n_layers = model.n_layers, n_in, layer
        cdef float32_t[::1] view
        cdef Watch watch
        train.x.rows = &rows[0] if n else NULL
        train.solver.learning_rate, train.solver.watch = learning_rate, &watch
        for i in range(self.n_threads):
            ws = &workspaces[i]
            memset(&ws.counts, 0, sizeof(Counts))
            for layer in range(1, n_layers):
                ws.query_norms2[layer] = 0
                if train.tracked[layer]:
                    memset(ws.query_sums[layer], 0, model.layers[layer].n_in * sizeof(float32_t))
        start_watch(&watch)
        for i in prange(n_micro, nogil=True, num_threads=n_threads, schedule="dynamic"):
            _train_micro_batch(model, train, &workspaces[omp_get_thread_num()], i * size,
                               min(size, n - i * size), counter + i)
        train.x.rows = NULL
        end_watch(&watch)
        total, queries = {}, [None] * n_layers
        for i in range(self.n_threads):
            ws = &workspaces[i]
            for key, value in _as_dict(&ws.counts).items():
                total[key] = total.get(key, 0) + value
            for layer in range(1, n_layers):
                if train.tracked[layer]:
                    n_in = model.layers[layer].n_in
                    view = <float32_t[:n_in]>ws.query_sums[layer]
                    before = queries[layer] or (np.zeros(n_in, np.float32), 0.0)
                    queries[layer] = (before[0] + np.asarray(view),
                                      before[1] + ws.query_norms2[layer])
        total["queries"] = queries
        return total

    def update_output(self, const int32_t[::1] ids, float32_t[:, ::1] delta,
                      const float32_t[:, ::1] x, float32_t[:, ::1] x_delta, float learning_rate):
        """Back-propagate through some output neurons and update them. A door for benchmarks.

        Parameters
        ----------
        ids : int32 (n_rows,), IN
        delta : float32 (n, n_rows), IN
            Gradients of their pre-activations.
        x : float32 (n, width), IN
            What the output layer reads.
        x_delta : float32 (n, width), INOUT
        learning_rate : float
        """
        cdef ModelView *model = &self.model.view
        cdef Workspace *ws = self._workspace(0)
        cdef SolverView solver = self.train.solver
        cdef Watch watch
        solver.learning_rate, solver.seed = learning_rate, <uint32_t>ids[0]
        solver.watch = &watch
        start_watch(&watch)
        with nogil:
            rows_backward(&model.layers[model.n_layers - 1], &solver, &ids[0], ids.shape[0],
                          &delta[0, 0], delta.shape[1], &x[0, 0], x.shape[0], &x_delta[0, 0],
                          ws.gradient, ws.hidden.unpacked,
                          &ws.halves if multiplies_halves(&model.layers[model.n_layers - 1])
                          else NULL)
        end_watch(&watch)


cdef dict _as_dict(const Counts *counts):
    return counts[0]


def _largest_sum(counts, int64_t n):
    """Sum of the n largest counts: what n rows can hold at most."""
    if len(counts) > n:
        counts = np.partition(counts, len(counts) - n)[len(counts) - n:]
    return int(counts.sum())
