"""The hidden layers in training: forward with dropout, and back through the activations."""
from slide._base.clock cimport seconds
from slide._base.random cimport seed_stream, skipped
from slide._base.rows cimport Vector
from slide._base.typedefs cimport blocks_of, float32_t, float64_t, int64_t, uint64_t
from slide._engine.activations cimport activate_backward, drop, scale
from slide._engine.forward cimport forward_layer, HiddenScratch
from slide._engine.model cimport ModelView
from slide._engine.pruning cimport note_squares
from slide._engine.sparse cimport vector_of, Vectors
from slide._engine.workspace cimport TrainView, Workspace


cdef int64_t forward_hidden(ModelView *model, const TrainView *train, Workspace *ws, int64_t first,
                            int64_t n, uint64_t *rng) noexcept nogil:
    """Forward n rows from position `first` to the last hidden layer; returns the multiply-adds.

    INOUT rng, the state of the micro-batch.
    """
    cdef HiddenScratch *hidden = &ws.hidden
    cdef int64_t i, cost = 0
    cdef uint64_t stream = 0
    cdef float64_t began = seconds()
    hidden.retrieval_seconds = 0
    for i in range(model.n_layers - 1):
        stream = seed_stream(rng[0], i)
        cost += forward_layer(model, &train.x, i, first, n, hidden, &stream)
        drop_out(train, ws, i, 0, n, n, rng)
    ws.counts.forward_seconds += seconds() - began - hidden.retrieval_seconds
    ws.counts.retrieval_seconds += hidden.retrieval_seconds
    return cost


cdef void drop_out(const TrainView *train, Workspace *ws, int64_t i, int64_t offset, int64_t n,
                   int64_t n_together, uint64_t *rng) noexcept nogil:
    """Drop out some of the activations of hidden layer i, for n rows of a micro-batch.

    They are rows offset..offset + n of n_together, where offset is a multiple of 4. INOUT rng, the
    state of the micro-batch. A row's random numbers do not depend on n and offset.
    """
    cdef HiddenScratch *hidden = &ws.hidden
    cdef int64_t ld = hidden.ld[i]
    if train.dropout[i] > 0:
        drop(hidden.a[i], ws.mask[i], offset * ld, n * ld, train.dropout[i], rng[0])
        rng[0] = skipped(rng[0], blocks_of(n_together * ld, 4))
    elif train.keep[i] < 1:
        scale(hidden.a[i], n * ld, 1 / train.keep[i])


cdef void activations_backward(const ModelView *model, const TrainView *train, Workspace *ws,
                               int64_t i, int64_t n) noexcept nogil:
    """Turn ws.delta[i] of n rows into the gradient of the pre-activations of hidden layer i.

    Where it will be pruned, OUT ws.squares (n, 2).
    """
    activate_backward(model.activation, ws.hidden.a[i], ws.delta[i], train.keep[i],
                      ws.mask[i] if train.dropout[i] > 0 else NULL, n * ws.hidden.ld[i])
    if prunes(model, train, i):
        note_squares(ws.delta[i], n, ws.hidden.ld[i], ws.squares)


cdef int64_t add_queries(const Vectors *x, int64_t n, float32_t *total,
                         float64_t *norms2) noexcept nogil:
    """Add n vectors to total, and their squared lengths to norms2; returns the cost."""
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
