"""The cost of a dense network, which the engine's own counts are compared with."""
from slide._base.rows cimport vector_at
from slide._base.typedefs cimport int64_t
from slide._engine.model cimport ModelView
from slide._engine.workspace cimport TrainView


cdef int64_t dense_cost(const ModelView *model, const TrainView *train, int64_t first,
                        int64_t n) noexcept nogil:
    """Multiply-adds of a training step in a dense network that reads the same input values.

    The step trains on n rows from position `first` of the run.
    """
    cdef int64_t i, cost, weights, n_pairs = n * train.x.n_features
    if train.x.indptr != NULL:
        n_pairs = 0
        for i in range(n):
            n_pairs += vector_at(&train.x, first + i).size
    weights = model.layers[0].n_in * model.layers[0].n_out + model.layers[0].n_out
    cost = 2 * n_pairs * model.layers[0].n_out
    for i in range(1, model.n_layers):
        cost += 3 * n * model.layers[i].n_in * model.layers[i].n_out
        weights += (model.layers[i].n_in + 1) * model.layers[i].n_out
    return cost + weights * train.solver.update_cost
