"""The hidden layers' forward pass over a micro-batch: the same in training and in prediction."""
import numpy as np

from libc.string cimport memcpy

from slide._base.clock cimport seconds
from slide._base.random cimport mix64, seed_stream
from slide._base.rows cimport InputRows, InputView, row_at, Vector, vector_at
from slide._base.scratch cimport scratch_array
from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint32_t, uint64_t
from slide._engine.activations cimport activate
from slide._engine.bag cimport group_by_feature, input_forward, Share
from slide._engine.dense cimport ROW_BLOCK, rows_forward
from slide._engine.layer cimport LayerView
from slide._engine.model cimport Model, ModelView
from slide._engine.sparse cimport (
    group_by_neuron,
    pair_all,
    Pairs,
    pairs_forward,
    point_at_active,
    point_at_dense,
    point_at_input,
    vector_of,
    Vectors,
)
from slide._hashing.finder cimport RetrievalScratch, RetrievalView
from slide._hashing.retrieval cimport allocate_retrieval, retrieve
from slide._simd.largest cimport largest


cdef uint64_t _seed_of(const InputView *x, int64_t position, int64_t i) noexcept nogil:
    # A seed that depends only on a row of X and on the number of the layer. It is the same for
    # dense and for CSR X. It is not made from the layer's own input, because the rounding of that
    # input differs between dense and CSR X.
    cdef int64_t j
    cdef Vector row = vector_at(x, position)
    cdef uint64_t total = i
    cdef uint32_t bits
    for j in range(row.size):
        if row.values[j] != 0:
            memcpy(&bits, row.values + j, sizeof(bits))
            total += mix64((<uint64_t>bits << 32)
                           | <uint32_t>(row.ids[j] if row.ids != NULL else j))
    return mix64(total)


cdef int64_t find_candidates(const ModelView *model, const InputView *rows, int64_t i,
                             int64_t first, int64_t n, HiddenScratch *hidden,
                             const uint64_t *stream) noexcept nogil:
    """Find the neurons of a sparse layer that may be active, for n rows from position `first`.

    OUT hidden.tried[i] (n, stride), hidden.sizes (n,), where stride is `n_tried`. In training, the
    stream and the number of a sample's row decide its random numbers; where stream is NULL, the
    values of the row do. Returns the multiply-adds.
    """
    cdef const Vectors *x = &hidden.x[i]
    cdef const RetrievalView *view = model.retrievals[i]
    cdef int64_t s, cost = 0, stride = n_tried(model, i)
    cdef Vector query
    cdef uint64_t own = 0
    hidden.retrieval_seconds -= seconds()
    for s in range(n):
        query = vector_of(x, s)
        if stream != NULL:
            own = seed_stream(stream[0], <uint64_t>row_at(rows, first + s))
        elif view.by_chance:
            own = _seed_of(rows, first + s, i)
        hidden.sizes[s] = <int32_t>retrieve(view, &query, &own, &hidden.retrieval[i],
                                            hidden.tried[i] + s * stride, &cost)
    hidden.retrieval_seconds += seconds()
    return cost


cdef void keep_best(const ModelView *model, int64_t i, int64_t n,
                    HiddenScratch *hidden) noexcept nogil:
    """Keep the n_active best of the neurons that were tried, for n rows.

    IN hidden.tried[i], hidden.sizes and the pre-activations hidden.z (n, stride), whose stride is
    `n_tried`; OUT hidden.active[i], hidden.a[i] (n, n_active).
    """
    cdef int64_t s, j, k = model.layers[i].n_active, stride = n_tried(model, i)
    for s in range(n):
        largest(hidden.z + s * stride, hidden.sizes[s], k, hidden.keys, hidden.best)
        for j in range(k):
            hidden.active[i][s * k + j] = hidden.tried[i][s * stride + hidden.best[j]]
            hidden.a[i][s * k + j] = hidden.z[s * stride + hidden.best[j]]


cdef int64_t _forward_sparse(const ModelView *model, const InputView *rows, int64_t i,
                             int64_t first, int64_t n, HiddenScratch *hidden,
                             const uint64_t *stream) noexcept nogil:
    """Choose n_active neurons of a layer for every sample and compute their pre-activations.

    OUT hidden.active[i], hidden.a[i] (n, n_active), hidden.pairs[i]. stream as in
    `find_candidates`. Returns the multiply-adds.
    """
    cdef const LayerView *layer = &model.layers[i]
    cdef int64_t cost = find_candidates(model, rows, i, first, n, hidden, stream)
    group_by_neuron(hidden.tried[i], hidden.sizes, n, n_tried(model, i), hidden.scratch.slot_of,
                    &hidden.candidates)
    cost += pairs_forward(layer, &hidden.x[i], &hidden.candidates, &hidden.scratch, hidden.z)
    keep_best(model, i, n, hidden)
    group_by_neuron(hidden.active[i], NULL, n, layer.n_active, hidden.scratch.slot_of,
                    &hidden.pairs[i])
    return cost


cdef int64_t forward_layer(const ModelView *model, const InputView *x, int64_t i, int64_t first,
                           int64_t n, HiddenScratch *hidden,
                           const uint64_t *stream) noexcept nogil:
    """Compute the activations of hidden layer i for n rows from position `first`.

    They become the input of the next layer. The layers below must have been computed before. IN
    model, x; INOUT hidden; stream as in `find_candidates`. Returns the multiply-adds.
    """
    cdef const LayerView *layer = &model.layers[i]
    cdef float32_t *a = hidden.a[i]
    cdef int64_t cost
    if i == 0 and layer.n_active > 0:
        point_at_input(&hidden.x[0], x, first, n)
    if layer.n_active > 0:
        cost = _forward_sparse(model, x, i, first, n, hidden, stream)
        point_at_active(&hidden.x[i + 1], hidden.active[i], a, n, layer.n_active)
    else:
        hidden.ld[i] = layer.n_kept
        if i == 0:
            if hidden.groups != NULL:
                group_by_feature(x, first, n, Share(0, 1), hidden.groups)
            cost = input_forward(layer, x, first, n, hidden.groups, hidden.dense_rows,
                                 hidden.unpacked, a)
        elif hidden.x[i].dense != NULL:
            cost = rows_forward(layer, layer.kept, layer.n_kept, hidden.x[i].dense, layer.w.width,
                                n, a, layer.n_kept, hidden.unpacked)
        else:
            pair_all(NULL, layer.n_out, n, &hidden.pairs[i])
            cost = pairs_forward(layer, &hidden.x[i], &hidden.pairs[i], &hidden.scratch, a)
        point_at_dense(&hidden.x[i + 1], a, layer.n_kept)
    activate(model.activation, a, n * hidden.ld[i])
    return cost


# ------------------------------------------------------------ allocation --

cdef int allocate_hidden(HiddenScratch *hidden, Model model, InputRows x, int64_t n_rows,
                         int64_t n_output, list keep_alive) except -1:
    """Allocate the scratch of one thread for micro-batches of n_rows; arrays join keep_alive.

    n_output is the largest number of output neurons that are computed at a time.
    """
    cdef const ModelView *view = &model.view
    cdef const LayerView *layer
    cdef const RetrievalView *found
    cdef int64_t n_layers = view.n_layers, i, k, stride, most = 1, active = 1, widest = 1, row = 1
    cdef int64_t n_pairs
    hidden.x = <Vectors *>scratch_array(n_layers * sizeof(Vectors), np.uint8, keep_alive)
    hidden.pairs = <Pairs *>scratch_array(n_layers * sizeof(Pairs), np.uint8, keep_alive)
    hidden.retrieval = <RetrievalScratch *>scratch_array(n_layers * sizeof(RetrievalScratch),
                                                         np.uint8, keep_alive)
    hidden.a = <float32_t **>scratch_array(n_layers, np.uint64, keep_alive)
    hidden.active = <int32_t **>scratch_array(n_layers, np.uint64, keep_alive)
    hidden.tried = <int32_t **>scratch_array(n_layers, np.uint64, keep_alive)
    hidden.ld = <int64_t *>scratch_array(n_layers, np.int64, keep_alive)
    sparse_input = not x.is_dense
    for i in range(n_layers):
        layer = &view.layers[i]
        k = layer.n_active if i < n_layers - 1 else 0
        if view.retrievals[i] != NULL:
            allocate_retrieval(&hidden.retrieval[i], model.retrievals[i], keep_alive)
        if i > 0 or k > 0:
            row = max(row, layer.w.width)
        hidden.x[i].ids = <const int32_t **>scratch_array(n_rows, np.uint64, keep_alive)
        hidden.x[i].values = <const float32_t **>scratch_array(n_rows, np.uint64, keep_alive)
        hidden.x[i].sizes = <int64_t *>scratch_array(n_rows, np.int64, keep_alive)
        if k > 0:
            widest = max(widest, layer.n_out)
            found = view.retrievals[i]
            stride = max(found.n_candidates, k)
            most = max(most, stride)
            hidden.tried[i] = <int32_t *>scratch_array(n_rows * stride, np.int32, keep_alive)
            active = max(active, k)
            allocate_pairs(&hidden.pairs[i], min(layer.n_out, n_rows * k), n_rows * k, keep_alive)
            hidden.active[i] = <int32_t *>scratch_array(n_rows * k, np.int32, keep_alive)
        elif sparse_input and i > 0:
            n_pairs = n_output if i == n_layers - 1 else layer.n_out
            allocate_pairs(&hidden.pairs[i], n_pairs, n_rows * n_pairs, keep_alive)
        if i < n_layers - 1:
            hidden.ld[i] = k if k > 0 else layer.n_out
            hidden.a[i] = <float32_t *>scratch_array(n_rows * hidden.ld[i], np.float32, keep_alive)
        sparse_input = k > 0
    allocate_pairs(&hidden.candidates, min(widest, n_rows * most), n_rows * most, keep_alive)
    hidden.z = <float32_t *>scratch_array(n_rows * most, np.float32, keep_alive)
    hidden.keys = <uint32_t *>scratch_array(most, np.uint32, keep_alive)
    hidden.best = <int32_t *>scratch_array(active, np.int32, keep_alive)
    hidden.sizes = <int32_t *>scratch_array(n_rows, np.int32, keep_alive)
    if x.is_dense and view.layers[0].n_active == 0:
        hidden.dense_rows = <float32_t *>scratch_array(n_rows * x.view.n_features, np.float32,
                                                       keep_alive)
    if any([view.layers[i].w.half != NULL for i in range(n_layers)]):
        widest_row = max([view.layers[i].w.width for i in range(n_layers)])
        hidden.unpacked = <float32_t *>scratch_array(ROW_BLOCK * widest_row, np.float32, keep_alive)
    hidden.scratch.slot_of = <int32_t *>scratch_array(widest, np.int32, keep_alive)
    hidden.scratch.row = <float32_t *>scratch_array(row, np.float32, keep_alive)
    hidden.scratch.row_numbers = <int32_t *>scratch_array(n_rows, np.int32, keep_alive)
    hidden.scratch.values = <float32_t *>scratch_array(n_rows, np.float32, keep_alive)
    hidden.scratch.gradient = <float32_t *>scratch_array(row, np.float32, keep_alive)
    hidden.scratch.touched = <unsigned char *>scratch_array(row, np.uint8, keep_alive)
    hidden.scratch.columns = <int32_t *>scratch_array(row + 1, np.int32, keep_alive)
    return 0


cdef int allocate_pairs(Pairs *pairs, n_rows, n_pairs, list keep_alive) except -1:
    if n_pairs > 2**31 - 1:
        raise ValueError(
            f"batch_size must be smaller: a micro-batch would have {n_pairs} pairs of a sample and "
            "an active neuron, and takes 2147483647"
        )
    pairs.neurons = <int32_t *>scratch_array(n_rows, np.int32, keep_alive)
    pairs.starts = <int32_t *>scratch_array(n_rows + 1, np.int32, keep_alive)
    pairs.samples = <int32_t *>scratch_array(n_pairs, np.int32, keep_alive)
    pairs.places = <int32_t *>scratch_array(n_pairs, np.int32, keep_alive)
    return 0
