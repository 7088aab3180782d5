"""Micro-batches that all threads train together, where every output neuron is computed.

In such a network nearly every row of weights gets a gradient in every micro-batch. Threads that
each took a micro-batch of their own would write the same rows, and pass their cache lines around.
So the threads share each micro-batch. They split its samples in the forward and the backward pass,
which only read weights. Then they split the rows of weights in the update: each row has one
writer. Two barriers separate the two halves.

Every sum runs in the order of the samples, and random numbers belong to a sample. So any number of
threads trains the same bits.
"""
from libc.string cimport memset

from slide._base.clock cimport seconds
from slide._base.openmp cimport slide_barrier
from slide._base.random cimport next64, seed_stream
from slide._base.signals cimport interrupted
from slide._base.typedefs cimport (
    blocks_of,
    float32_t,
    float64_t,
    int32_t,
    int64_t,
    uint32_t,
    uint64_t,
)
from slide._engine.bag cimport group_by_feature, input_backward, Share
from slide._engine.blocks cimport keep_blocks
from slide._engine.cost cimport dense_cost
from slide._engine.dense cimport multiplies_halves, rows_backward, rows_to_inputs
from slide._engine.forward cimport HiddenScratch
from slide._engine.hidden cimport activations_backward, add_queries, forward_hidden
from slide._engine.layer cimport LayerView
from slide._engine.model cimport ModelView
from slide._engine.optimizer cimport SolverView
from slide._engine.output cimport add_losses, output_forward, output_loss
from slide._engine.sparse cimport (
    group_in_range,
    pairs_to_inputs,
    pairs_update,
    point_at_active,
    point_at_dense,
    point_at_input,
    Vectors,
)
from slide._engine.workspace cimport TrainView, Workspace


cdef void train_together(const TrainView *train, Workspace *workspaces, int64_t n_rows,
                         int64_t micro_batch, uint64_t counter, int thread, int n_threads,
                         int *stop) noexcept nogil:
    """Train on n_rows rows of the run, in micro-batches; all threads of a team call it at once.

    `counter` is the number of the first micro-batch. Raced: nothing. INOUT stop, which the first
    thread sets when Ctrl-C ends the run, and all read after a barrier.
    """
    cdef int64_t step, first, n, low, high
    cdef uint64_t rng
    cdef SolverView solver = train.solver
    cdef Workspace *ws = &workspaces[thread]
    for step in range(blocks_of(n_rows, micro_batch)):
        first = step * micro_batch
        n = min(micro_batch, n_rows - first)
        # Multiples of four samples, as `forward_hidden` needs them.
        low = min(n, 4 * (thread * blocks_of(n, 4) // n_threads))
        high = min(n, 4 * ((thread + 1) * blocks_of(n, 4) // n_threads))
        rng = seed_stream(train.seed, counter + step)
        keep_blocks(&ws.model, train.n_blocks_kept, ws.block_starts, ws.kept, &rng)
        _aim(ws, workspaces, train, low)
        ws.counts.multiply_adds += _pass(train, ws, first, n, low, high, &rng)
        slide_barrier()
        solver.decay = train.solver.decay / n
        solver.seed = <uint32_t>next64(&rng)
        ws.counts.multiply_adds += _update(train, &solver, ws, workspaces, first, n,
                                           Share(thread, n_threads))
        if thread == 0:
            _count(train, ws, first, n)
            stop[0] = interrupted(solver.watch)
        slide_barrier()
        if stop[0]:
            break


cdef void _count(const TrainView *train, Workspace *ws, int64_t first, int64_t n) noexcept nogil:
    """Count a micro-batch of n rows, whose losses are in ws."""
    cdef const ModelView *model = &ws.model
    add_losses(train, ws, first, n)
    ws.counts.n_samples += n
    ws.counts.n_micro_batches += 1
    ws.counts.active_neurons += model.layers[model.n_layers - 1].n_out
    ws.counts.dense_multiply_adds += dense_cost(model, train, first, n)


# ------------------------------------------------------ samples are split --

cdef void _aim(Workspace *ws, const Workspace *joint, const TrainView *train,
               int64_t low) noexcept nogil:
    """Point the arrays of results of a thread at rows `low` on of those of the first thread."""
    cdef HiddenScratch *own = &ws.hidden
    cdef const HiddenScratch *to = &joint.hidden
    cdef ModelView *model = &ws.model
    cdef int64_t i, ld, last = model.n_layers - 1
    for i in range(last):
        ld = model.layers[i].n_active if model.layers[i].n_active > 0 else model.layers[i].n_kept
        own.ld[i] = ld
        own.a[i] = to.a[i] + low * ld
        if model.layers[i].n_active > 0:
            own.active[i] = to.active[i] + low * ld
        ws.delta[i] = joint.delta[i] + low * ld
        if train.dropout[i] > 0:
            ws.mask[i] = joint.mask[i] + low * ld
    for i in range(model.n_layers):
        own.x[i].ids = to.x[i].ids + low
        own.x[i].values = to.x[i].values + low
        own.x[i].sizes = to.x[i].sizes + low
    if to.dense_rows != NULL:
        own.dense_rows = to.dense_rows + low * train.x.n_features
    ws.z = joint.z + low * model.layers[last].n_out
    ws.losses = joint.losses + low


cdef int64_t _pass(const TrainView *train, Workspace *ws, int64_t first, int64_t n, int64_t low,
                   int64_t high, uint64_t *rng) noexcept nogil:
    """Forward and back-propagate samples low..high of n, without an update.

    OUT the gradients of the pre-activations: ws.delta of the hidden layers, ws.z of the output.
    Returns the multiply-adds.
    """
    cdef ModelView *model = &ws.model
    cdef int64_t last = model.n_layers - 1, i, n_own = high - low
    cdef int64_t n_out = model.layers[last].n_out
    cdef float64_t began, now
    cdef int64_t cost = forward_hidden(model, train, ws, first + low, n_own, low, n, rng)
    began = seconds()
    if n_own == 0:
        return cost
    cost += output_forward(model, ws, NULL, n_out, n_own)
    output_loss(model, train, ws, first + low, n_own, n, n_out, n_out)
    now = seconds()
    ws.counts.forward_seconds += now - began
    for i in range(last - 1, -1, -1):
        cost += _to_inputs(ws, i + 1, n_own)
        activations_backward(model, train, ws, i, n_own)
    ws.counts.backward_seconds += seconds() - now
    return cost


cdef int64_t _to_inputs(Workspace *ws, int64_t i, int64_t n) noexcept nogil:
    """Back-propagate n samples from layer i to the layer below: OUT ws.delta[i - 1]."""
    cdef const ModelView *model = &ws.model
    cdef const LayerView *layer = &model.layers[i]
    cdef HiddenScratch *hidden = &ws.hidden
    cdef int64_t last = model.n_layers - 1, ld = hidden.ld[i - 1]
    cdef const float32_t *delta = ws.z if i == last else ws.delta[i]
    cdef float32_t *below = ws.delta[i - 1]
    cdef int64_t n_kept = layer.n_kept
    memset(below, 0, n * ld * sizeof(float32_t))
    if layer.n_active > 0:
        return pairs_to_inputs(layer, &hidden.x[i], hidden.active[i], layer.n_active,
                               layer.n_active, n, delta, below, ld, &hidden.scratch)
    if hidden.x[i].dense == NULL:
        return pairs_to_inputs(layer, &hidden.x[i], NULL, 0, n_kept, n, delta, below, ld,
                               &hidden.scratch)
    return rows_to_inputs(layer, layer.kept, n_kept, delta, n_kept, n, below, hidden.unpacked,
                          &ws.halves if multiplies_halves(layer) else NULL)


# -------------------------------------------------- rows of weights are split --

cdef int64_t _update(const TrainView *train, const SolverView *solver, Workspace *ws,
                     const Workspace *joint, int64_t first, int64_t n,
                     Share share) noexcept nogil:
    """Update a thread's share of the rows of all layers; returns the multiply-adds.

    IN joint, the workspace with the results of all n samples; other arrays are those of ws.
    """
    cdef ModelView *model = &ws.model
    cdef int64_t i, cost = 0, last = model.n_layers - 1
    cdef float64_t began = seconds()
    cdef Vectors x
    for i in range(last, -1, -1):
        x = joint.hidden.x[i]
        if i > 0 and model.layers[i - 1].n_active > 0:
            x.dense = NULL
        elif i > 0:
            point_at_dense(&x, joint.hidden.a[i - 1], ws.hidden.ld[i - 1])
        elif model.layers[0].n_active > 0:
            point_at_input(&x, &train.x, first, n)
        # The sums of the inputs of layer i belong to one thread.
        if train.tracked[i] and i > 0 and i % share.n == share.i:
            cost += add_queries(&x, n, ws.query_sums[i], ws.query_norms2 + i)
        cost += _update_layer(train, solver, ws, joint, &x, i, first, n, share)
    ws.counts.backward_seconds += seconds() - began
    return cost


cdef int64_t _update_layer(const TrainView *train, const SolverView *solver, Workspace *ws,
                           const Workspace *joint, const Vectors *x, int64_t i, int64_t first,
                           int64_t n, Share share) noexcept nogil:
    """Update a thread's share of the rows of layer i, whose inputs are x; returns the cost."""
    cdef ModelView *model = &ws.model
    cdef LayerView *layer = &model.layers[i]
    cdef HiddenScratch *hidden = &ws.hidden
    cdef int64_t last = model.n_layers - 1, n_rows, low, high
    cdef const float32_t *delta = joint.z if i == last else joint.delta[i]
    cdef const int32_t *ids
    if i == 0 and layer.n_active == 0:
        if hidden.groups != NULL and share.n > 1:
            group_by_feature(&train.x, first, n, share, hidden.groups)
        return input_backward(layer, solver, &train.x, n, share, hidden.groups,
                              joint.hidden.dense_rows, delta, ws.gradient)
    n_rows = layer.n_out if layer.n_active > 0 else layer.n_kept
    low, high = share.i * n_rows // share.n, (share.i + 1) * n_rows // share.n
    if layer.n_active > 0 or x.dense == NULL:
        group_in_range(joint.hidden.active[i] if layer.n_active > 0 else NULL, n,
                       layer.n_active if layer.n_active > 0 else n_rows, <int32_t>low,
                       <int32_t>high, delta, &ws.own)
        return pairs_update(layer, solver, x, &ws.own, delta, &hidden.scratch)
    ids = layer.kept if layer.kept != NULL else ws.numbers
    return rows_backward(layer, solver, ids + low, high - low, delta + low, n_rows, x.dense, n,
                         NULL, ws.gradient, hidden.unpacked,
                         &ws.halves if multiplies_halves(layer) else NULL)
