"""The hidden layers' forward pass over a micro-batch: the same in training and in prediction."""
import numpy as np

from libc.string cimport memcpy

from slide._base.clock cimport seconds
from slide._base.largest cimport largest
from slide._base.random cimport mix64
from slide._base.rows cimport InputView
from slide._base.rows cimport InputRows
from slide._base.scratch cimport scratch_array
from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint32_t, uint64_t
from slide._engine.bag cimport group_by_feature, input_forward
from slide._engine.dense cimport activate, ROW_BLOCK, rows_forward
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
    Vectors,
)
from slide._hashing.retrieval cimport (
    allocate_search,
    ESTIMATE,
    EXACT,
    SCAN,
    search,
    SearchScratch,
    SearchView,
)


cdef uint64_t _seed_of(const InputView *x, int64_t position, int64_t i) noexcept nogil:
    # A number that a row of X and the layer alone decide, be X dense or CSR. Not the layer's own
    # input: its rounding is not the same for both.
    cdef int64_t j, n = x.n_features, row = x.order[position] if x.order != NULL else position
    cdef const float32_t *values = x.values
    cdef const int32_t *ids = NULL
    cdef uint64_t total = i
    cdef uint32_t bits
    if x.indptr != NULL:
        n = x.indptr[row + 1] - x.indptr[row]
        ids = x.indices + x.indptr[row]
        values += x.indptr[row]
    else:
        values += row * n
    for j in range(n):
        if values[j] != 0:
            memcpy(&bits, values + j, sizeof(bits))
            total += mix64((<uint64_t>bits << 32) | <uint32_t>(ids[j] if ids != NULL else j))
    return mix64(total)


cdef int64_t _forward_sparse(const ModelView *model, const InputView *rows, int64_t i,
                             int64_t first, int64_t n, HiddenState *state,
                             uint64_t *rng) noexcept nogil:
    """Choose n_active neurons of a layer for every sample and compute their pre-activations.

    OUT state.active[i], state.a[i] (n, n_active), state.pairs[i]. rng NULL: what is random is
    decided by the sample's own row of X. Returns the multiply-adds.
    """
    cdef const Vectors *x = &state.x[i]
    cdef const LayerView *layer = &model.layers[i]
    cdef const SearchView *view = model.searches[i]
    cdef int64_t s, j, size, k = layer.n_active, cost = 0
    cdef int64_t stride = max(view.n_candidates, k)
    cdef bint chance = view.policy != EXACT and view.policy != SCAN and (
        view.policy != ESTIMATE or view.tables != NULL)
    cdef int32_t *ids = state.candidate_ids if stride > k else state.active[i]
    cdef Pairs *pairs = &state.candidates if stride > k else &state.pairs[i]
    cdef const int32_t *x_ids
    cdef const float32_t *x_values
    cdef uint64_t own = 0
    state.search_seconds -= seconds()
    for s in range(n):
        if x.dense != NULL:
            x_ids = NULL
            x_values = x.dense + (x.rows[s] if x.rows != NULL else s) * x.ld
            size = layer.n_in
        else:
            x_ids = x.ids[s]
            x_values = x.values[s]
            size = x.sizes[s]
        if rng == NULL and chance:
            own = _seed_of(rows, first + s, i)
        state.sizes[s] = <int32_t>search(view, x_ids, x_values, size,
                                         rng if rng != NULL else &own, &state.search[i],
                                         ids + s * stride, &cost)
    state.search_seconds += seconds()
    group_by_neuron(ids, state.sizes, n, stride, state.scratch.slot_of, pairs)
    if stride == k:
        return cost + pairs_forward(layer, x, pairs, &state.scratch, state.a[i])
    cost += pairs_forward(layer, x, pairs, &state.scratch, state.z)
    for s in range(n):
        largest(state.z + s * stride, state.sizes[s], k, state.keys, state.best)
        for j in range(k):
            state.active[i][s * k + j] = ids[s * stride + state.best[j]]
            state.a[i][s * k + j] = state.z[s * stride + state.best[j]]
    group_by_neuron(state.active[i], NULL, n, k, state.scratch.slot_of, &state.pairs[i])
    return cost


cdef int64_t forward_layer(const ModelView *model, const InputView *x, int64_t i, int64_t first,
                           int64_t n, HiddenState *state, uint64_t *rng) noexcept nogil:
    """Activations of hidden layer i for n rows from position `first`, and the next one's input.

    Layers must come in turn. IN model, x; INOUT state; rng as in `_forward_sparse`. Returns the
    multiply-adds.
    """
    cdef const LayerView *layer = &model.layers[i]
    cdef float32_t *a = state.a[i]
    cdef int64_t cost
    if i == 0 and layer.n_active > 0:
        point_at_input(&state.x[0], x, first, n)
    if layer.n_active > 0:
        cost = _forward_sparse(model, x, i, first, n, state, rng)
        point_at_active(&state.x[i + 1], state.active[i], a, n, layer.n_active)
    else:
        if i == 0:
            if state.groups != NULL:
                group_by_feature(x, first, n, state.groups)
            cost = input_forward(layer, x, first, n, state.groups, state.dense_rows, state.rows, a)
        elif state.x[i].dense != NULL:
            cost = rows_forward(layer, NULL, layer.n_out, state.x[i].dense, layer.n_in, n, a,
                                layer.n_out, state.rows)
        else:
            pair_all(NULL, layer.n_out, n, &state.pairs[i])
            cost = pairs_forward(layer, &state.x[i], &state.pairs[i], &state.scratch, a)
        point_at_dense(&state.x[i + 1], a, layer.n_out)
    activate(model.activation, a, n * state.ld[i])
    return cost


# ------------------------------------------------------------ allocation --

cdef int allocate_hidden(HiddenState *state, Model model, InputRows x, int64_t n_rows,
                         int64_t n_output, list keep_alive) except -1:
    """Allocate the scratch of one thread for micro-batches of n_rows; arrays join keep_alive.

    n_output: output neurons that are computed at a time.
    """
    cdef const ModelView *view = &model.view
    cdef const LayerView *layer
    cdef const SearchView *found
    cdef int64_t n_layers = view.n_layers, i, k, stride, most = 1, active = 1, widest = 1, row = 1
    cdef int64_t n_pairs
    state.x = <Vectors *>scratch_array(n_layers * sizeof(Vectors), np.uint8, keep_alive)
    state.pairs = <Pairs *>scratch_array(n_layers * sizeof(Pairs), np.uint8, keep_alive)
    state.search = <SearchScratch *>scratch_array(n_layers * sizeof(SearchScratch), np.uint8,
                                                  keep_alive)
    state.a = <float32_t **>scratch_array(n_layers, np.uint64, keep_alive)
    state.active = <int32_t **>scratch_array(n_layers, np.uint64, keep_alive)
    state.ld = <int64_t *>scratch_array(n_layers, np.int64, keep_alive)
    sparse_input = not x.is_dense
    for i in range(n_layers):
        layer = &view.layers[i]
        k = layer.n_active if i < n_layers - 1 else 0
        if view.searches[i] != NULL:
            allocate_search(&state.search[i], model.retrievals[i], keep_alive)
        if i > 0 or k > 0:
            row = max(row, layer.width)
        state.x[i].ids = <const int32_t **>scratch_array(n_rows, np.uint64, keep_alive)
        state.x[i].values = <const float32_t **>scratch_array(n_rows, np.uint64, keep_alive)
        state.x[i].sizes = <int64_t *>scratch_array(n_rows, np.int64, keep_alive)
        if k > 0:
            widest = max(widest, layer.n_out)
            found = view.searches[i]
            stride = max(found.n_candidates, k)
            most = max(most, stride if stride > k else 0)
            active = max(active, k)
            _allocate_pairs(&state.pairs[i], min(layer.n_out, n_rows * k), n_rows * k, keep_alive)
            state.active[i] = <int32_t *>scratch_array(n_rows * k, np.int32, keep_alive)
        elif sparse_input and i > 0:
            n_pairs = n_output if i == n_layers - 1 else layer.n_out
            _allocate_pairs(&state.pairs[i], n_pairs, n_rows * n_pairs, keep_alive)
        if i < n_layers - 1:
            state.ld[i] = k if k > 0 else layer.n_out
            state.a[i] = <float32_t *>scratch_array(n_rows * state.ld[i], np.float32, keep_alive)
        sparse_input = k > 0
    _allocate_pairs(&state.candidates, min(widest, n_rows * most), n_rows * most, keep_alive)
    state.candidate_ids = <int32_t *>scratch_array(n_rows * most, np.int32, keep_alive)
    state.z = <float32_t *>scratch_array(n_rows * most, np.float32, keep_alive)
    state.keys = <uint32_t *>scratch_array(most, np.uint32, keep_alive)
    state.best = <int32_t *>scratch_array(active, np.int32, keep_alive)
    state.sizes = <int32_t *>scratch_array(n_rows, np.int32, keep_alive)
    if x.is_dense and view.layers[0].n_active == 0:
        state.dense_rows = <float32_t *>scratch_array(n_rows * x.view.n_features, np.float32,
                                                      keep_alive)
    if any([view.layers[i].w.half != NULL for i in range(n_layers)]):
        widest_row = max([view.layers[i].width for i in range(n_layers)])
        state.rows = <float32_t *>scratch_array(ROW_BLOCK * widest_row, np.float32, keep_alive)
    state.scratch.slot_of = <int32_t *>scratch_array(widest, np.int32, keep_alive)
    state.scratch.row = <float32_t *>scratch_array(row, np.float32, keep_alive)
    state.scratch.row_numbers = <int32_t *>scratch_array(n_rows, np.int32, keep_alive)
    state.scratch.values = <float32_t *>scratch_array(n_rows, np.float32, keep_alive)
    state.scratch.gradient = <float32_t *>scratch_array(row, np.float32, keep_alive)
    state.scratch.touched = <unsigned char *>scratch_array(row, np.uint8, keep_alive)
    state.scratch.columns = <int32_t *>scratch_array(row + 1, np.int32, keep_alive)
    return 0


cdef int _allocate_pairs(Pairs *pairs, n_rows, n_pairs, list keep_alive) except -1:
    if n_pairs > 2**31 - 1:
        raise ValueError(
            f"batch_size must be smaller: a micro-batch would have {n_pairs} pairs of a sample and "
            "an active neuron, and takes 2147483647"
        )
    pairs.rows = <int32_t *>scratch_array(n_rows, np.int32, keep_alive)
    pairs.starts = <int32_t *>scratch_array(n_rows + 1, np.int32, keep_alive)
    pairs.samples = <int32_t *>scratch_array(n_pairs, np.int32, keep_alive)
    pairs.places = <int32_t *>scratch_array(n_pairs, np.int32, keep_alive)
    return 0
