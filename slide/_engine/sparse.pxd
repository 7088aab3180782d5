from slide._base.rows cimport dense_vector, InputView, Vector
from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint8_t
from slide._engine.layer cimport LayerView
from slide._engine.optimizer cimport SolverView
from slide._engine.pruning cimport Pruning

# The inputs of a layer in one micro-batch. Where dense is not NULL, input i is row number rows[i]
# of dense, or row i where rows is NULL; ld is the width of a row. Where dense is NULL, input i is
# the sparse vector (ids[i], values[i]).
cdef struct Vectors:
    const float32_t *dense
    int64_t ld
    const int32_t *rows
    const int32_t **ids        # (n,)
    const float32_t **values   # (n,)
    int64_t *sizes             # (n,)

# The (sample, neuron) pairs that are computed, grouped by neuron.
cdef struct Pairs:
    int64_t n_neurons          # number of distinct neurons
    int64_t n_pairs
    int32_t *neurons           # (n_neurons,)
    int32_t *starts            # (n_neurons + 1,) first pair of each neuron
    int32_t *samples           # (n_pairs,)
    int32_t *places            # (n_pairs,) index of the pair's value

# Private to one thread.
cdef struct PairScratch:
    int32_t *slot_of           # (widest sparse layer,) place of a neuron in Pairs.neurons
    int32_t *row_numbers       # (micro_batch,)
    float32_t *values          # (micro_batch,)
    float32_t *gradient        # (widest row,) all zero between two rows
    uint8_t *touched           # (widest row,) all zero between two rows
    float32_t *row             # (widest row,) a row as floats, where weights are bfloat16
    int32_t *columns           # (widest row + 1,)


cdef inline Vector vector_of(const Vectors *x, int64_t i) noexcept nogil:
    # Row i as a vector.
    cdef Vector found
    if x.dense != NULL:
        return dense_vector(x.dense + (x.rows[i] if x.rows != NULL else i) * x.ld, x.ld)
    found.ids = x.ids[i]
    found.values = x.values[i]
    found.size = x.sizes[i]
    return found


cdef void point_at_dense(Vectors *vectors, const float32_t *dense, int64_t ld) noexcept nogil

cdef void point_at_active(Vectors *vectors, const int32_t *ids, const float32_t *values,
                          int64_t n, int64_t k) noexcept nogil

cdef void point_at_input(Vectors *vectors, const InputView *x, int64_t first,
                         int64_t n) noexcept nogil

cdef void group_by_neuron(const int32_t *ids, const int32_t *sizes, int64_t n, int64_t stride,
                          int32_t *slot_of, Pairs *pairs) noexcept nogil

cdef void group_in_range(const int32_t *ids, const int32_t *sizes, int64_t n, int64_t stride,
                         int32_t low, int32_t high, float32_t *delta, Pruning by, int32_t *found,
                         Pairs *pairs) noexcept nogil

cdef Pairs some_pairs(const Pairs *pairs, int64_t first, int64_t last) noexcept nogil

cdef void pair_all(const int32_t *rows, int64_t n_rows, int64_t n, Pairs *pairs) noexcept nogil

cdef int64_t pairs_forward(const LayerView *layer, const Vectors *x, const Pairs *pairs,
                           PairScratch *scratch, float32_t *z) noexcept nogil

cdef int64_t pairs_backward(LayerView *layer, const SolverView *solver, const Vectors *x,
                            const Pairs *pairs, const float32_t *delta, float32_t *x_delta,
                            int64_t ld_delta, PairScratch *scratch) noexcept nogil
