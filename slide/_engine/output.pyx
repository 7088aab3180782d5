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


cdef int64_t output_step(ModelView *model, const TrainView *train, const SolverView *solver,
                         Workspace *ws, int64_t first, int64_t n, int64_t n_exact,
                         int64_t n_active) noexcept nogil:
    """Train the output layer on n rows from position `first` of the run.

    z = h W^T + b over the active neurons; ws.delta = dL/dz W; W, b <- step(dL/dz)

    IN ws.hidden.x[n_layers - 1], the inputs h; ws.active (n_active,), the active neurons, the first
    n_exact of which are not part of the tail; ws.label_slots, the places of the rows' labels among
    them. Where train.all_neurons is set, neither ws.active nor ws.label_slots is read. OUT ws.delta
    (n, ld), where ld is hidden.ld of the last hidden layer; ws.z is scratch; ws.counts grow. Raced:
    the output layer of `model`. Every active row is read first, and then updated once. Returns the
    multiply-adds.
    """
    cdef const int32_t *active = NULL if train.all_neurons else ws.active
    cdef float64_t began = seconds(), now
    cdef int64_t cost = _forward(model, ws, active, n_active, n)
    _lose(model, train, ws, first, n, n_exact, n_active)
    now = seconds()
    ws.counts.forward_seconds += now - began
    cost += _backward(model, solver, ws, active, n_active, n)
    ws.counts.backward_seconds += seconds() - now
    ws.counts.active_neurons += n_active
    return cost


cdef int64_t _forward(const ModelView *model, Workspace *ws, const int32_t *active,
                      int64_t n_active, int64_t n) noexcept nogil:
    """Compute the pre-activations of the active neurons.

    OUT ws.z (n, n_active). Where active is NULL, the first n_active neurons are the active ones.
    """
    cdef const LayerView *output = &model.layers[model.n_layers - 1]
    cdef const Vectors *h = &ws.hidden.x[model.n_layers - 1]
    cdef Pairs *pairs = &ws.hidden.pairs[model.n_layers - 1]
    if h.dense == NULL:
        pair_all(active, n_active, n, pairs)
        return pairs_forward(output, h, pairs, &ws.hidden.scratch, ws.z)
    if multiplies_halves(output):
        return halves_forward(output, active, n_active, h.dense, n, ws.z, n_active, &ws.halves)
    return rows_forward(output, active, n_active, h.dense, output.w.width, n, ws.z, n_active,
                        ws.hidden.unpacked)


cdef void _lose(const ModelView *model, const TrainView *train, Workspace *ws, int64_t first,
                int64_t n, int64_t n_exact, int64_t n_active) noexcept nogil:
    """Turn ws.z into the gradient of the rows' mean loss, and add the losses to ws.counts."""
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
        weight = train.sample_weight[row] if train.sample_weight != NULL else 1.0
        loss = loss_gradient(model.loss, ws.z + i * n_active, n_active, n_exact, tail_weight,
                             labels, n_labels, <float32_t>(weight / n))
        ws.counts.loss += weight * loss
        ws.counts.weight += weight


cdef int64_t _backward(ModelView *model, const SolverView *solver, Workspace *ws,
                       const int32_t *active, int64_t n_active, int64_t n) noexcept nogil:
    """Back-propagate from ws.z to ws.delta, and update the active rows.

    ws.z is the gradient of the pre-activations.
    """
    cdef LayerView *output = &model.layers[model.n_layers - 1]
    cdef const Vectors *h = &ws.hidden.x[model.n_layers - 1]
    cdef int64_t ld = ws.hidden.ld[model.n_layers - 2]
    memset(ws.delta, 0, n * ld * sizeof(float32_t))
    if h.dense == NULL:
        return pairs_backward(output, solver, h, &ws.hidden.pairs[model.n_layers - 1], ws.z,
                              ws.delta, ld, &ws.hidden.scratch)
    return rows_backward(output, solver, active, n_active, ws.z, n_active, h.dense, n, ws.delta,
                         ws.gradient, ws.hidden.unpacked,
                         &ws.halves if multiplies_halves(output) else NULL)
