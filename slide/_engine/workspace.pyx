"""A training run's data and settings as structs, and the memory that its threads work in."""
import numpy as np

from slide._base.rows cimport InputRows
from slide._base.scratch cimport scratch_array
from slide._base.typedefs cimport blocks_of, float32_t, float64_t, int32_t, int64_t, uint8_t
from slide._engine.blocks cimport n_blocks_kept
from slide._engine.bag cimport InputGroups, InputPair
from slide._engine.dense cimport allocate_halves, multiplies_halves, ROW_BLOCK
from slide._engine.forward cimport allocate_hidden, allocate_pairs, n_tried
from slide._engine.layer cimport LayerView
from slide._engine.model cimport Model, ModelView
from slide._engine.optimizer cimport set_solver
from slide._simd.dispatch cimport SLIDE_BLOCK


cdef int set_train(TrainView *train, Model model, InputRows x, const int64_t[::1] y_indptr,
                   const int32_t[::1] y_indices, const float32_t[::1] sample_weight,
                   const int32_t[:, ::1] hard_kept, dict settings, list keep_alive) except -1:
    """Set everything that stays the same while a `slide._core.Trainer` lives.

    OUT train. The other parameters are those of the Trainer; hard_kept is its attribute `hard`. The
    arrays that `train` points at join keep_alive.
    """
    dropout = np.array(settings["dropout"], np.float32)
    n_kept, keep = _set_blocks(model, dropout)
    # Inputs are summed for the codes and tables of their layer.
    tracked = np.array([r is not None and (r.hasher is not None or r.tables is not None)
                        for r in model.retrievals], np.uint8)
    cdef const float32_t[::1] rates = dropout
    cdef const uint8_t[::1] flags = tracked
    cdef const int64_t[::1] counts = n_kept
    cdef const float32_t[::1] shares = keep
    keep_alive += [x, y_indptr, y_indices, sample_weight, hard_kept, dropout, tracked,
                   n_kept, keep]
    train.x = x.view
    train.y_indptr = &y_indptr[0]
    train.y_indices = &y_indices[0] if y_indices.shape[0] else NULL
    train.sample_weight = &sample_weight[0] if sample_weight is not None else NULL
    train.seed = settings["seed"]
    train.all_neurons = settings["all_neurons"]
    train.prune = settings["prune"]
    train.tail_size = settings["tail_size"]
    train.n_hard = settings["n_hard"] if model.retrievals[model.view.n_layers - 1] else 0
    train.n_hard_kept = settings["n_hard_kept"]
    train.hard_kept = &hard_kept[0, 0] if train.n_hard_kept else NULL
    train.dropout = &rates[0]
    train.n_blocks_kept = &counts[0]
    train.keep = &shares[0]
    train.tracked = &flags[0]
    return set_solver(&train.solver, settings, keep_alive)


cdef _set_blocks(Model model, dropout):
    """Blocks to keep and the share of neurons to keep, for every hidden layer.

    INOUT dropout (n_hidden,), the rates; where a layer keeps blocks, its rate becomes 0.
    """
    cdef int64_t i
    n_kept, keep = np.zeros(len(dropout), np.int64), 1 - dropout
    for i in range(len(dropout)):
        n_kept[i] = n_blocks_kept(&model.view, i, dropout[i])
        if n_kept[i] > 0:
            keep[i] = n_kept[i] / blocks_of(model.view.layers[i].n_out, SLIDE_BLOCK)
            dropout[i] = 0
    return n_kept, keep


cdef int allocate_workspaces(Workspace *workspaces, int n_threads, Model model, InputRows x,
                             const TrainView *train, y_indptr, int64_t n,
                             list keep_alive) except -1:
    """Allocate the scratch of every thread for micro-batches of n rows; arrays join keep_alive.

    OUT workspaces (n_threads,); y_indptr : int64 (n_rows + 1,), as in `train`.
    """
    max_labels = _largest_sum(np.diff(y_indptr), n)
    max_pairs = 0 if x.is_dense else _largest_sum(np.diff(x.indptr), n)
    if max_pairs > 2**31 - 1:
        raise ValueError(
            f"batch_size={n} rows of X may hold {max_pairs} values; "
            "a micro-batch takes 2147483647: make it smaller"
        )
    for thread in range(n_threads):
        # The sums of all shares lie in the first workspace; one thread needs them one at a time.
        n_sums = (SHARES if n_threads > 1 else 1) if thread == 0 else 0
        _allocate(&workspaces[<int>thread], model, x, train, n, max_labels, max_pairs, n_sums,
                  keep_alive)
    return 0


def _largest_sum(counts, int64_t n):
    """Sum of the n largest counts: the most that n rows can hold."""
    if len(counts) > n:
        counts = np.partition(counts, len(counts) - n)[len(counts) - n:]
    return int(counts.sum())


cdef int _allocate(Workspace *ws, Model model, InputRows x, const TrainView *train, int64_t n,
                   max_labels, max_pairs, n_sums, list keep_alive) except -1:
    cdef const ModelView *view = &model.view
    cdef int64_t n_hidden = view.n_layers - 1, i
    cdef const LayerView *output = &view.layers[n_hidden]
    keep, floats = keep_alive, np.float32
    max_active = output.n_out
    if not train.all_neurons:
        n_hard = train.n_hard + train.n_hard_kept
        max_active = min(output.n_out, max_labels + n * n_hard + train.tail_size)
    _allocate_blocks(ws, view, train, keep)
    allocate_hidden(&ws.hidden, model, x, n, max_active, keep)
    widest_row = max([view.layers[i].w.width for i in range(n_hidden + 1)
                      if not view.layers[i].n_active])
    if ws.hidden.unpacked == NULL and any([train.n_blocks_kept[i] for i in range(n_hidden)]):
        ws.hidden.unpacked = <float32_t *>scratch_array(ROW_BLOCK * widest_row, floats, keep)
    if multiplies_halves(output):
        allocate_halves(&ws.halves, n, widest_row, keep)
    ws.mask = <float32_t **>scratch_array(n_hidden, np.uint64, keep)
    for i in range(n_hidden):
        size = n * ws.hidden.ld[i] if train.dropout[i] > 0 else 0
        ws.mask[i] = <float32_t *>scratch_array(size, floats, keep)
    ws.delta = <float32_t **>scratch_array(n_hidden, np.uint64, keep)
    for i in range(n_hidden):
        ws.delta[i] = <float32_t *>scratch_array(n * ws.hidden.ld[i], floats, keep)
    ws.squares = <float64_t *>scratch_array(2 * n, np.float64, keep)
    ws.losses = <float64_t *>scratch_array(n, np.float64, keep)
    ws.gradient = <float32_t *>scratch_array(ROW_BLOCK * widest_row, floats, keep)
    ws.query_sums = <float32_t **>scratch_array(n_hidden + 1, np.uint64, keep)
    ws.query_norms2 = <float64_t *>scratch_array(n_hidden + 1, np.float64, keep)
    for i in range(n_hidden + 1):
        size = view.layers[i].n_in if train.tracked[i] and i > 0 else 0
        ws.query_sums[i] = <float32_t *>scratch_array(size, floats, keep)
    if not x.is_dense and view.layers[0].n_active == 0:
        _allocate_groups(&ws.groups, max_pairs, keep)
        ws.hidden.groups = &ws.groups
    ws.z = <float32_t *>scratch_array(n * max_active, floats, keep)
    if train.all_neurons:
        _allocate_own(ws, model, x, n, n_sums, keep)
    else:
        _allocate_active(ws, view, train, max_active, max_labels, keep)
    return 0


cdef int _allocate_own(Workspace *ws, Model model, InputRows x, int64_t n, int64_t n_sums,
                       list keep) except -1:
    """Allocate what a thread needs for the rows of weights that it owns, and n_sums sums."""
    cdef const ModelView *view = &model.view
    cdef int64_t i, n_pairs = 0, widest = 0, size = 0
    sparse_input = not x.is_dense
    for i in range(view.n_layers):
        widest = max(widest, view.layers[i].n_out)
        if view.layers[i].n_active > 0:
            n_pairs = max(n_pairs, n * n_tried(view, i))
        elif sparse_input and i > 0:
            n_pairs = max(n_pairs, n * view.layers[i].n_out)
        if i > 0 and (sparse_input or view.layers[i].n_active > 0):
            size = max(size, ws.hidden.ld[i - 1])
        sparse_input = view.layers[i].n_active > 0
    allocate_pairs(&ws.own, widest, n_pairs, keep)
    ws.found = <int32_t *>scratch_array(2 * n_pairs, np.int32, keep)
    ws.sums = <float32_t *>scratch_array(n_sums * n * size, np.float32, keep)
    numbers = np.arange(widest, dtype=np.int32)
    cdef const int32_t[::1] every = numbers
    keep.append(numbers)
    ws.numbers = &every[0]
    return 0


cdef int _allocate_blocks(Workspace *ws, const ModelView *view, const TrainView *train,
                          list keep) except -1:
    """Allocate a thread's own view of the model, and the blocks that its micro-batches keep."""
    cdef int64_t n_hidden = view.n_layers - 1, i, n_kept
    ws.model = view[0]
    ws.model.layers = <LayerView *>scratch_array(view.n_layers * sizeof(LayerView), np.uint8, keep)
    ws.block_starts = <int32_t **>scratch_array(n_hidden, np.uint64, keep)
    ws.kept = <int32_t **>scratch_array(n_hidden, np.uint64, keep)
    for i in range(n_hidden):
        n_kept = train.n_blocks_kept[i]
        ws.block_starts[i] = <int32_t *>scratch_array(n_kept, np.int32, keep)
        ws.kept[i] = <int32_t *>scratch_array(n_kept * SLIDE_BLOCK, np.int32, keep)
    return 0


cdef int _allocate_groups(InputGroups *groups, max_pairs, list keep) except -1:
    groups.features = <int32_t *>scratch_array(max_pairs, np.int32, keep)
    groups.starts = <int32_t *>scratch_array(max_pairs + 1, np.int32, keep)
    groups.samples = <int32_t *>scratch_array(max_pairs, np.int32, keep)
    groups.values = <float32_t *>scratch_array(max_pairs, np.float32, keep)
    n_bytes = max_pairs * sizeof(InputPair)
    groups.pairs = <InputPair *>scratch_array(n_bytes, np.uint8, keep)
    groups.other_pairs = <InputPair *>scratch_array(n_bytes, np.uint8, keep)
    return 0


cdef int _allocate_active(Workspace *ws, const ModelView *view, const TrainView *train, max_active,
                          max_labels, list keep) except -1:
    cdef int64_t last = view.n_layers - 1
    ws.active = <int32_t *>scratch_array(max_active, np.int32, keep)
    ws.slot_of = <int32_t *>scratch_array(view.layers[last].n_out, np.int32, keep)
    ws.label_slots = <int32_t *>scratch_array(max_labels, np.int32, keep)
    if train.n_hard > 0:
        most = max(view.retrievals[last].n_candidates, view.retrievals[last].n_wanted)
        ws.candidates = <int32_t *>scratch_array(most, np.int32, keep)
        ws.scores = <float32_t *>scratch_array(most, np.float32, keep)
        ws.hard = <int32_t *>scratch_array(train.n_hard, np.int32, keep)
        ws.hard_scores = <float32_t *>scratch_array(train.n_hard, np.float32, keep)
    return 0
