"""Training: forward pass, backward pass and update of micro-batches, in parallel.

The only parallel loops over training samples are here. Where the output layer computes an active
set, a thread takes a micro-batch and forwards its rows to the last hidden layer. It unites the
labels, the hardest neurons that retrieval finds and a uniform tail into one active set. It scores
that set for all rows at once and goes backward through the same set: every weight row is read and
updated once per micro-batch. Threads share the weights without locks (HOGWILD; Niu et al., NIPS
2011). Everything else is private to a thread.

Where the output layer computes all of its neurons, the threads share each micro-batch
(`slide._engine.team`).
"""
import numpy as np

from cython.parallel cimport parallel, prange
from libc.string cimport memcpy, memset

from slide._base.clock cimport seconds
from slide._base.openmp cimport omp_get_num_threads, omp_get_thread_num
from slide._base.random cimport next64, seed_stream
from slide._base.rows cimport InputRows
from slide._base.signals cimport end_watch, interrupted, start_watch, Watch
from slide._base.typedefs cimport (
    blocks_of,
    float32_t,
    float64_t,
    int32_t,
    int64_t,
    uint32_t,
    uint64_t,
    uint8_t,
)
from slide._engine.active cimport choose_active
from slide._engine.bag cimport input_backward, Share
from slide._engine.blocks cimport keep_blocks
from slide._engine.cost cimport dense_cost
from slide._engine.dense cimport multiplies_halves, rows_backward
from slide._engine.forward cimport HiddenScratch
from slide._engine.hidden cimport activations_backward, add_queries, forward_hidden, prunes
from slide._engine.layer cimport LayerView
from slide._engine.model cimport Model, ModelView
from slide._engine.optimizer cimport SolverView
from slide._engine.output cimport output_step
from slide._engine.pruning cimport prune_all, pruning
from slide._engine.sparse cimport pairs_backward
from slide._engine.team cimport train_together
from slide._engine.workspace cimport (
    allocate_workspaces,
    Counts,
    set_train,
    SHARES,
    TrainView,
    Workspace,
)


cdef enum:
    FEW = 64                   # with fewer micro-batches an epoch, one thread takes them all


# ---------------------------------------------------------- micro-batch --

cdef void _train_micro_batch(const TrainView *train, Workspace *ws, int64_t first, int64_t n,
                             uint64_t counter) noexcept nogil:
    """Train on n rows from position `first` of the run: forward, loss, backward and update.

    Raced: the arrays behind ws.model. Private: `ws`, whose counts grow. `counter` and the seed
    decide the random numbers. Cost: (active neurons + hidden widths) * n * width, times 3.
    """
    cdef int64_t n_exact, n_active, cost
    cdef uint64_t rng = seed_stream(train.seed, counter)
    cdef SolverView solver = train.solver
    cdef ModelView *model = &ws.model
    if interrupted(solver.watch):
        return
    keep_blocks(model, train.n_blocks_kept, ws.block_starts, ws.kept, &rng)
    cost = forward_hidden(model, train, ws, first, n, &rng)
    cost += _choose_active(model, train, ws, first, n, &rng, &n_exact, &n_active)
    solver.decay = train.solver.decay / n
    solver.seed = <uint32_t>next64(&rng)
    cost += output_step(model, train, &solver, ws, first, n, n_exact, n_active)
    cost += _backward_hidden(model, train, &solver, ws, n)
    ws.counts.n_samples += n
    ws.counts.n_micro_batches += 1
    ws.counts.multiply_adds += cost
    ws.counts.dense_multiply_adds += dense_cost(model, train, first, n)


cdef int64_t _choose_active(ModelView *model, const TrainView *train, Workspace *ws,
                            int64_t first, int64_t n, uint64_t *rng, int64_t *n_exact,
                            int64_t *n_active) noexcept nogil:
    """Choose the active set of the output layer, and sum the inputs of hashed layers."""
    cdef int64_t i, cost = 0
    cdef float64_t began = seconds()
    for i in range(1, model.n_layers):
        if train.tracked[i]:
            cost += add_queries(&ws.hidden.x[i], n, ws.query_sums[i], ws.query_norms2 + i)
    cost += choose_active(model, train, ws, first, n, rng, n_exact, n_active)
    ws.counts.retrieval_seconds += seconds() - began
    return cost


cdef int64_t _backward_hidden(ModelView *model, const TrainView *train, const SolverView *solver,
                              Workspace *ws, int64_t n) noexcept nogil:
    """Back-propagate through the hidden layers and update them.

    On entry ws.delta of the last hidden layer is the gradient of its activations. Every row of
    weights is updated once. Returns the multiply-adds.
    """
    cdef int64_t i, cost = 0, ld_below = 0
    cdef LayerView *layer
    cdef HiddenScratch *hidden = &ws.hidden
    cdef float32_t *below = NULL
    cdef float64_t began = seconds()
    for i in range(model.n_layers - 2, -1, -1):
        layer = &model.layers[i]
        activations_backward(model, train, ws, i, n)
        if prunes(model, train, i):
            prune_all(ws.delta[i], n * layer.n_active,
                      pruning(ws.squares, n, train.prune, solver.seed, i))
            cost += 2 * n * layer.n_active
        below = NULL
        if i > 0:
            below, ld_below = ws.delta[i - 1], hidden.ld[i - 1]
            memset(below, 0, n * ld_below * sizeof(float32_t))
        if layer.n_active > 0 or (i > 0 and hidden.x[i].dense == NULL):
            cost += pairs_backward(layer, solver, &hidden.x[i], &hidden.pairs[i], ws.delta[i],
                                   below, ld_below, &hidden.scratch)
        elif i > 0:
            cost += rows_backward(layer, solver, layer.kept, layer.n_kept, ws.delta[i],
                                  layer.n_kept, hidden.x[i].dense, n, below, ws.gradient,
                                  hidden.unpacked,
                                  &ws.halves if multiplies_halves(layer) else NULL)
        else:
            cost += input_backward(layer, solver, &train.x, n, Share(0, 1), hidden.groups,
                                   hidden.dense_rows, ws.delta[0], ws.gradient)
    ws.counts.backward_seconds += seconds() - began
    return cost


# -------------------------------------------------------------- trainer --

cdef class Trainer:
    """Trains one network on one data set.

    The constructor allocates all scratch, before any thread starts, so that a lack of memory raises
    MemoryError.

    Parameters
    ----------
    model : Model
    x : InputRows
    y_indptr, y_indices : int64 (n + 1,), int32 (nnz,)
        Labels of every row, CSR.
    sample_weight : float32 (n,) or None
    settings : dict
        micro_batch, all_neurons, prune, tail_size, n_hard, n_hard_kept, dropout (a rate per hidden
        layer), solver, alpha, momentum, beta_1, beta_2, epsilon, seed.
    n_threads : int
    """

    def __init__(self, Model model, InputRows x, const int64_t[::1] y_indptr,
                 const int32_t[::1] y_indices, const float32_t[::1] sample_weight,
                 dict settings, int n_threads):
        model.check_rows(x, 0, x.n_rows)
        _check_targets(model, x.n_rows, y_indptr, y_indices, sample_weight, settings["dropout"])
        self.model = model
        self.micro_batch = max(1, min(settings["micro_batch"], x.n_rows))
        self._keep_alive = []
        # `slide._training.mining` writes the hard neurons between two runs.
        self.hard = np.full((x.n_rows, settings["n_hard_kept"]), -1, np.int32)
        set_train(&self.train, model, x, y_indptr, y_indices, sample_weight, self.hard, settings,
                  self._keep_alive)
        self.n_threads = max(1, min(n_threads, self._most_threads(x.n_rows)))
        self._workspace_memory = np.zeros(self.n_threads * sizeof(Workspace), np.uint8)
        allocate_workspaces(self._workspaces(), self.n_threads, model, x, &self.train, y_indptr,
                            self.micro_batch, self._keep_alive)

    def _most_threads(self, n_rows):
        """The most threads that may train n_rows rows.

        Threads that share micro-batches have four samples or more, and a share of the weights. Else
        they take micro-batches of their own, and few rows have one thread: so small problems can be
        repeated bit by bit.
        """
        if self.train.all_neurons:
            return min(SHARES, blocks_of(self.micro_batch, 4))
        n_micro = blocks_of(n_rows, self.micro_batch)
        return n_micro if n_micro >= FEW else 1

    cdef Workspace *_workspaces(self) noexcept:
        cdef uint8_t[::1] memory = self._workspace_memory
        return <Workspace *>&memory[0]

    def run(self, const int32_t[::1] rows, uint64_t counter, float learning_rate):
        """Train on some rows of X, in micro-batches.

        Parameters
        ----------
        rows : int32 (n,), IN
            Numbers of the rows. They must be distinct: scratch is sized for distinct rows.
        counter : int
            Number of the first micro-batch. With the seed it decides the random numbers.
        learning_rate : float

        Returns
        -------
        counts : dict
            The fields of `slide._engine.workspace.Counts`, summed over the threads, and "queries",
            a list with an item for each layer. The item is None, or, where the inputs of the layer
            are hashed, their sum, float32 (n_in,), and the sum of their squared lengths.
        """
        numbers = np.asarray(rows)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < self.hard.shape[0]:
            raise ValueError(f"rows must lie within the {self.hard.shape[0]} rows of X")
        cdef int64_t n = rows.shape[0], size = self.micro_batch, n_micro = blocks_of(n, size), i
        cdef ModelView *model = &self.model.view
        cdef TrainView *train = &self.train
        cdef Workspace *workspaces = self._workspaces()
        cdef int n_threads = max(1, min(self.n_threads, n_micro)), stop = 0
        cdef Watch watch
        train.x.rows = &rows[0] if n else NULL
        train.solver.learning_rate, train.solver.watch = learning_rate, &watch
        for i in range(self.n_threads):
            _clear(model, train, &workspaces[i])
        start_watch(&watch)
        if train.all_neurons:
            with nogil, parallel(num_threads=self.n_threads):
                train_together(train, workspaces, n, size, counter,
                               Share(omp_get_thread_num(), omp_get_num_threads()), &stop)
        else:
            for i in prange(n_micro, nogil=True, num_threads=n_threads, schedule="dynamic"):
                _train_micro_batch(train, &workspaces[omp_get_thread_num()], i * size,
                                   min(size, n - i * size), counter + i)
        train.x.rows = NULL
        end_watch(&watch)
        return self._totals()

    cdef dict _totals(self):
        """The counts and queries of all threads together, as `run` returns them."""
        cdef Workspace *ws
        cdef int64_t i, layer, n_in, n_layers = self.model.view.n_layers
        cdef float32_t[::1] view
        total, queries = {}, [None] * n_layers
        for i in range(self.n_threads):
            ws = self._workspaces() + i
            for key, value in _as_dict(&ws.counts).items():
                total[key] = total.get(key, 0) + value
            for layer in range(1, n_layers):
                if self.train.tracked[layer]:
                    n_in = self.model.view.layers[layer].n_in
                    view = <float32_t[:n_in]>ws.query_sums[layer]
                    before = queries[layer] or (np.zeros(n_in, np.float32), 0.0)
                    queries[layer] = (before[0] + np.asarray(view),
                                      before[1] + ws.query_norms2[layer])
        total["queries"] = queries
        return total


def _check_targets(Model model, int64_t n, const int64_t[::1] y_indptr,
                   const int32_t[::1] y_indices, const float32_t[::1] sample_weight, dropout):
    """Raise ValueError for labels, weights or dropout that are not of the model and n rows of X."""
    starts, labels = np.asarray(y_indptr), np.asarray(y_indices)
    n_classes = model.view.layers[model.view.n_layers - 1].n_out
    if len(starts) != n + 1 or starts[0] != 0 or starts[n] != len(labels) or (
            starts[1:] < starts[:-1]).any():
        raise ValueError(f"y must have the labels of {n} rows, as X has")
    if len(labels) and not 0 <= labels.min() <= labels.max() < n_classes:
        raise ValueError(f"y must hold labels of the network's {n_classes} classes")
    if sample_weight is not None and sample_weight.shape[0] != n:
        raise ValueError(f"sample_weight must have {n} values; got {sample_weight.shape[0]}")
    if len(dropout) != model.view.n_layers - 1:
        raise ValueError(f"dropout must have a rate per hidden layer; got {dropout}")


cdef void _clear(const ModelView *model, const TrainView *train, Workspace *ws) noexcept:
    """Set the counts and the sums of queries to zero, and the view of the model to the model."""
    cdef int64_t layer
    memset(&ws.counts, 0, sizeof(Counts))
    memcpy(ws.model.layers, model.layers, model.n_layers * sizeof(LayerView))
    for layer in range(1, model.n_layers):
        ws.query_norms2[layer] = 0
        if train.tracked[layer]:
            memset(ws.query_sums[layer], 0, model.layers[layer].n_in * sizeof(float32_t))


cdef dict _as_dict(const Counts *counts):
    return counts[0]
