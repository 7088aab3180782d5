"""The active set of the output layer: labels, the hardest wrong neurons and a random tail."""
from slide._base.random cimport next_below
from slide._base.rows cimport row_at, Vector
from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint64_t
from slide._engine.dense cimport rows_forward
from slide._engine.layer cimport LayerView
from slide._engine.model cimport ModelView
from slide._engine.sparse cimport vector_of, Vectors
from slide._engine.workspace cimport TrainView, Workspace
from slide._hashing.retrieval cimport retrieve
from slide._simd.dispatch cimport chosen
from slide._simd.weights cimport row_of


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
                      const Vectors *x, int64_t last, int64_t s, const int32_t *labels,
                      int64_t n_labels, uint64_t *rng, int64_t *n_hard) noexcept nogil:
    """Find the wrong neurons with the largest pre-activations among those that retrieval returns.

    IN x, whose row s is the query; labels (n_labels,), which are never returned. OUT ws.hard and
    ws.hard_scores (train.n_hard,), best first; n_hard, the number of neurons found. Reads of the
    output weights are raced. Returns the multiply-adds.
    """
    cdef const LayerView *layer = &model.layers[last]
    cdef int64_t i, j, n, cost = 0
    cdef float32_t score
    cdef Vector query = vector_of(x, s)
    n = retrieve(model.retrievals[last], &query, rng, &ws.hidden.retrieval[last], ws.candidates,
                 &cost)
    if query.ids == NULL:
        rows_forward(layer, ws.candidates, n, query.values, query.size, 1, ws.scores, n,
                     ws.hidden.unpacked)
    else:
        for i in range(n):
            ws.scores[i] = layer.b[ws.candidates[i]] + chosen().gather_dot(
                row_of(&layer.w, ws.candidates[i], ws.hidden.scratch.row), query.ids,
                query.values, query.size)
    cost += n * query.size
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
    return cost


cdef int64_t choose_active(const ModelView *model, const TrainView *train, Workspace *ws,
                           int64_t first, int64_t n, uint64_t *rng, int64_t *n_exact,
                           int64_t *n_active_out) noexcept nogil:
    """Unite labels, hardest neurons and a uniform random tail in one active set.

    IN ws.hidden.x of the output layer. OUT ws.active (n_active,), whose first n_exact neurons are
    not part of the tail; ws.label_slots, the places of the n rows' labels in ws.active, row after
    row. Returns the multiply-adds of hashing and re-ranking.
    """
    cdef int64_t last = model.n_layers - 1
    cdef const LayerView *layer = &model.layers[last]
    cdef int64_t i, j, row, cost = 0, n_hard = 0, n_slots = 0, _draw
    cdef int32_t n_active = 0, neuron
    cdef int64_t target
    for i in range(n):
        row = row_at(&train.x, first + i)
        for j in range(train.y_indptr[row], train.y_indptr[row + 1]):
            ws.label_slots[n_slots] = _include(ws, &n_active, train.y_indices[j])
            n_slots += 1
    for i in range(n if train.n_hard_kept > 0 else 0):
        row = row_at(&train.x, first + i)
        for j in range(row * train.n_hard_kept, (row + 1) * train.n_hard_kept):
            if train.hard_kept[j] >= 0:
                _include(ws, &n_active, train.hard_kept[j])
    if train.n_hard > 0:
        for i in range(n):
            row = row_at(&train.x, first + i)
            j = train.y_indptr[row]
            cost += _hardest(model, train, ws, &ws.hidden.x[last], last, i, train.y_indices + j,
                             train.y_indptr[row + 1] - j, rng, &n_hard)
            for j in range(n_hard):
                _include(ws, &n_active, ws.hard[j])
    n_exact[0] = n_active
    target = min(n_active + train.tail_size, layer.n_out)
    # A draw that hits an active neuron is repeated. The number of draws is bounded. Only a tail
    # that is nearly as large as the layer reaches the bound, and is then a little shorter.
    for _draw in range(64 + 8 * train.tail_size):
        if n_active >= target:
            break
        neuron = <int32_t>next_below(rng, <int32_t>layer.n_out)
        _include(ws, &n_active, neuron)
    n_active_out[0] = n_active
    return cost
