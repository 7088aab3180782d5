"""The output layer in training: scores of its active neurons, loss, backward and update."""
from libc.string cimport memset

from slide._base.clock cimport seconds
from slide._base.rows cimport row_at
from slide._base.typedefs cimport float32_t, float64_t, int32_t, int64_t
from slide._engine.dense cimport halves_forward, multiplies_halves, rows_backward, rows_forward
from slide._engine.layer cimport LayerView
from slide._engine.losses cimport loss_gradient
from slide._engine.model cimport ModelView
from slide._engine.optimizer cimport SolverView
from slide._engine.sparse cimport pair_all, Pairs, pairs_backward, pairs_forward, Vectors
from slide._engine.workspace cimport TrainView, Workspace


cdef inline float64_t weight_at(const TrainView *train, int64_t position) noexcept nogil:
    # The sample weight of the row of X at a position of the run.
    if train.sample_weight == NULL:
        return 1.0
    return train.sample_weight[row_at(&train.x, position)]


cdef int64_t output_step(ModelView *model, const TrainView *train, const SolverView *solver,
                         Workspace *ws, int64_t first, int64_t n, int64_t n_exact,
                         int64_t n_active) noexcept nogil:
    """Train the output layer on n rows from position `first` of the run.

    z = h W^T + b over the active neurons; delta = dL/dz W; W, b <- step(dL/dz)

    IN ws.hidden.x[n_layers - 1], the inputs h; ws.active (n_active,), the active neurons, the first
    n_exact of which are not part of the tail; ws.label_slots, the places of the rows' labels among
    them. OUT ws.delta of the last hidden layer; ws.z is scratch; ws.counts grow. Raced: the output
    layer of `model`. Every active row is read first, and then updated once. Returns the
    multiply-adds.
    """
    cdef float64_t began = seconds(), now
    cdef int64_t cost = _forward(model, ws, n_active, n)
    output_loss(model, train, ws, first, n, n, n_exact, n_active)
    add_losses(train, ws, first, n)
    now = seconds()
    ws.counts.forward_seconds += now - began
    cost += _backward(model, solver, ws, n_active, n)
    ws.counts.backward_seconds += seconds() - now
    ws.counts.active_neurons += n_active
    return cost


cdef int64_t _forward(const ModelView *model, Workspace *ws, int64_t n_active,
                      int64_t n) noexcept nogil:
    """Compute the pre-activations of the active neurons: OUT ws.z (n, n_active)."""
    cdef const LayerView *output = &model.layers[model.n_layers - 1]
    cdef const Vectors *h = &ws.hidden.x[model.n_layers - 1]
    cdef Pairs *pairs = &ws.hidden.pairs[model.n_layers - 1]
    if h.dense == NULL:
        pair_all(ws.active, n_active, n, pairs)
        return pairs_forward(output, h, pairs, &ws.hidden.scratch, ws.z)
    if multiplies_halves(output):
        return halves_forward(output, ws.active, n_active, h.dense, n, ws.z, n_active,
                              &ws.halves)
    return rows_forward(output, ws.active, n_active, h.dense, output.w.width, n, ws.z, n_active,
                        ws.hidden.unpacked)


cdef void output_loss(const ModelView *model, const TrainView *train, Workspace *ws, int64_t first,
                      int64_t n, int64_t n_together, int64_t n_exact,
                      int64_t n_active) noexcept nogil:
    """Turn ws.z (n, n_active) into the gradient of the mean loss of n_together rows.

    The n rows are some of these, from position `first` of the run. OUT ws.losses (n,), the rows'
    losses times their weights.
    """
    cdef int64_t n_out = model.layers[model.n_layers - 1].n_out, i, row, n_labels, n_slots = 0
    cdef float32_t tail_weight = 1
    cdef float64_t loss, weight
    cdef const int32_t *labels
    if n_active > n_exact:
        tail_weight = <float32_t>(n_out - n_exact) / <float32_t>(n_active - n_exact)
    for i in range(n):
        row = row_at(&train.x, first + i)
        n_labels = train.y_indptr[row + 1] - train.y_indptr[row]
        if train.all_neurons:
            labels = train.y_indices + train.y_indptr[row]
        else:
            labels = ws.label_slots + n_slots
            n_slots += n_labels
        weight = weight_at(train, first + i)
        loss = loss_gradient(model.loss, ws.z + i * n_active, n_active, n_exact, tail_weight,
                             labels, n_labels, <float32_t>(weight / n_together))
        ws.losses[i] = weight * loss


cdef void add_losses(const TrainView *train, Workspace *ws, int64_t first,
                     int64_t n) noexcept nogil:
    """Add the losses of n rows from position `first`, and their weights, to ws.counts."""
    cdef int64_t i
    for i in range(n):
        ws.counts.loss += ws.losses[i]
        ws.counts.weight += weight_at(train, first + i)


cdef int64_t _backward(ModelView *model, const SolverView *solver, Workspace *ws,
                       int64_t n_active, int64_t n) noexcept nogil:
    """Back-propagate from ws.z to ws.delta of the layer below, and update the active rows.

    ws.z is the gradient of the pre-activations.
    """
    cdef int64_t last = model.n_layers - 1, ld = ws.hidden.ld[last - 1]
    cdef LayerView *output = &model.layers[last]
    cdef const Vectors *h = &ws.hidden.x[last]
    memset(ws.delta[last - 1], 0, n * ld * sizeof(float32_t))
    if h.dense == NULL:
        return pairs_backward(output, solver, h, &ws.hidden.pairs[last], ws.z, ws.delta[last - 1],
                              ld, &ws.hidden.scratch)
    return rows_backward(output, solver, ws.active, n_active, ws.z, n_active, h.dense, n,
                         ws.delta[last - 1], ws.gradient, ws.hidden.unpacked,
                         &ws.halves if multiplies_halves(output) else NULL)
