from slide._base.typedefs cimport float64_t, float32_t, int64_t, uint64_t
from slide._engine.model cimport ModelView
from slide._engine.sparse cimport Vectors
from slide._engine.workspace cimport TrainView, Workspace

cdef inline bint prunes(const ModelView *model, const TrainView *train, int64_t i) noexcept nogil:
    # Whether the gradients of hidden layer i are pruned.
    return train.prune > 0 and model.layers[i].n_active > 0


cdef int64_t forward_hidden(ModelView *model, const TrainView *train, Workspace *ws, int64_t first,
                            int64_t n, uint64_t *rng) noexcept nogil

cdef void drop_out(const TrainView *train, Workspace *ws, int64_t i, int64_t offset, int64_t n,
                   int64_t n_together, uint64_t *rng) noexcept nogil

cdef void activations_backward(const ModelView *model, const TrainView *train, Workspace *ws,
                               int64_t i, int64_t n) noexcept nogil

cdef int64_t add_queries(const Vectors *x, int64_t n, float32_t *total,
                         float64_t *norms2) noexcept nogil
