"""Micro-batches that all threads train together, where every output neuron is computed.

In such a network nearly every row of weights gets a gradient in every micro-batch. Threads that
each took a micro-batch of their own would write the same rows, and pass their cache lines around.
So the threads share each micro-batch, and every row of weights has one owner, which alone reads it
and writes it. Weights and moments stay in the caches of their owner; only inputs, activations and
gradients move. A layer takes two halves, with a barrier after each:

    forward     by neurons: the owners compute the pre-activations of all samples;
                by samples: the best of them, activation, dropout, search in the next layer
    backward    by neurons: the owners back-propagate, and update their rows;
                by samples: the sum of what the owners propagated, derivative of the activation

In a dense first layer, which has a row of weights for each feature, the owner of a row only updates
it. The forward pass is by columns, or by samples: on CSR rows of X most features occur in few.

What is summed over neurons is summed by SHARES shares of the neurons, then over the shares, however
many threads there are. All other sums run over samples in their order, and random numbers belong to
a sample. So any number of threads trains the same bits.
"""
from libc.string cimport memcpy, memset

from slide._base.clock cimport seconds
from slide._base.openmp cimport slide_barrier
from slide._base.random cimport next64, seed_stream
from slide._base.rows cimport row_at
from slide._base.signals cimport interrupted
from slide._base.typedefs cimport (
    blocks_of,
    float32_t,
    float64_t,
    int32_t,
    int64_t,
    uint32_t,
    uint64_t,
)
from slide._engine.activations cimport activate
from slide._engine.bag cimport (
    group_by_feature,
    input_backward,
    input_columns,
    input_forward,
    Share,
)
from slide._engine.blocks cimport keep_blocks
from slide._engine.cost cimport dense_cost
from slide._engine.dense cimport (
    halves_forward,
    multiplies_halves,
    rows_backward,
    rows_forward,
    rows_to_columns,
    rows_to_inputs,
)
from slide._engine.forward cimport find_candidates, HiddenScratch, keep_best, n_tried
from slide._engine.hidden cimport activations_backward, add_queries, drop_out, prunes
from slide._engine.layer cimport LayerView
from slide._engine.model cimport ModelView
from slide._engine.optimizer cimport SolverView
from slide._engine.output cimport add_losses, output_loss
from slide._engine.pruning cimport pruning, Pruning
from slide._engine.sparse cimport (
    group_in_range,
    Pairs,
    pairs_backward,
    pairs_forward,
    point_at_active,
    point_at_dense,
    point_at_input,
    some_pairs,
    Vectors,
)
from slide._engine.workspace cimport SHARES, TrainView, Workspace
from slide._simd.dispatch cimport SLIDE_BLOCK
from slide._simd.weights cimport copies_rows

# A thread's part in one micro-batch.
cdef struct Part:
    const TrainView *train
    Workspace *ws              # of the thread
    Workspace *joint           # of the first thread, with the results of all samples
    Share thread
    int64_t first              # position of the micro-batch in the run
    int64_t n                  # its samples
    int64_t low                # the thread's samples are low..high of them; low is a multiple of 4
    int64_t high
    uint64_t rng               # state of the micro-batch, the same in every thread


cdef void train_together(const TrainView *train, Workspace *workspaces, int64_t n_rows,
                         int64_t micro_batch, uint64_t counter, Share thread,
                         int *stop) noexcept nogil:
    """Train on n_rows rows of the run, in micro-batches; all threads of a team call it at once.

    `counter` is the number of the first micro-batch. Raced: nothing. INOUT stop, which the first
    thread sets when Ctrl-C ends the run, and all read after a barrier.
    """
    cdef Part part
    cdef int64_t step
    part.train, part.ws, part.joint = train, &workspaces[thread.i], workspaces
    part.thread = thread
    for step in range(blocks_of(n_rows, micro_batch)):
        part.first = step * micro_batch
        part.n = min(micro_batch, n_rows - part.first)
        part.low = min(part.n, 4 * (thread.i * blocks_of(part.n, 4) // thread.n))
        part.high = min(part.n, 4 * ((thread.i + 1) * blocks_of(part.n, 4) // thread.n))
        part.rng = seed_stream(train.seed, counter + step)
        _train_micro_batch(&part)
        if thread.i == 0:
            stop[0] = interrupted(train.solver.watch)
        slide_barrier()
        if stop[0]:
            break


cdef void _train_micro_batch(Part *part) noexcept nogil:
    """Do a thread's part of a micro-batch; ends without a barrier."""
    cdef Workspace *ws = part.ws
    cdef ModelView *model = &ws.model
    cdef int64_t last = model.n_layers - 1, i, cost = 0, n_out = model.layers[last].n_out
    cdef SolverView solver = part.train.solver
    cdef float64_t began = seconds(), now
    keep_blocks(model, part.train.n_blocks_kept, ws.block_starts, ws.kept, &part.rng)
    _aim(part)
    ws.hidden.retrieval_seconds = 0
    for i in range(last):
        cost += _forward(part, i)
    slide_barrier()
    cost += _score(part, last)
    slide_barrier()
    output_loss(model, part.train, ws, part.first + part.low, part.high - part.low, part.n, n_out,
                n_out)
    now = seconds()
    ws.counts.forward_seconds += now - began - ws.hidden.retrieval_seconds
    ws.counts.retrieval_seconds += ws.hidden.retrieval_seconds
    solver.decay = part.train.solver.decay / part.n
    solver.seed = <uint32_t>next64(&part.rng)
    for i in range(last, -1, -1):
        slide_barrier()
        if _is_dense(model, i):
            cost += _to_inputs(part, i)
            slide_barrier()
        cost += _backward(part, &solver, i)
        if i > 0:
            if not _is_dense(model, i):
                slide_barrier()
                _add_up(part, ws.delta[i - 1], ws.hidden.ld[i - 1])
            activations_backward(model, part.train, ws, i - 1, part.high - part.low)
    ws.counts.backward_seconds += seconds() - now
    ws.counts.multiply_adds += cost
    if part.thread.i == 0:
        _count(part)


cdef void _count(Part *part) noexcept nogil:
    """Count a micro-batch and its losses, in the first thread."""
    cdef Workspace *ws = part.ws
    cdef const ModelView *model = &ws.model
    add_losses(part.train, ws, part.first, part.n)
    ws.counts.n_samples += part.n
    ws.counts.n_micro_batches += 1
    ws.counts.active_neurons += model.layers[model.n_layers - 1].n_out
    ws.counts.dense_multiply_adds += dense_cost(model, part.train, part.first, part.n)


cdef void _aim(Part *part) noexcept nogil:
    """Point the arrays of a thread at its samples in the arrays of the first thread."""
    cdef Workspace *ws = part.ws
    cdef HiddenScratch *own = &ws.hidden
    cdef const HiddenScratch *to = &part.joint.hidden
    cdef ModelView *model = &ws.model
    cdef int64_t i, ld, last = model.n_layers - 1, low = part.low
    for i in range(last):
        ld = model.layers[i].n_active if model.layers[i].n_active > 0 else model.layers[i].n_kept
        own.ld[i] = ld
        own.a[i] = to.a[i] + low * ld
        if model.layers[i].n_active > 0:
            own.active[i] = to.active[i] + low * ld
        ws.delta[i] = part.joint.delta[i] + low * ld
        if part.train.dropout[i] > 0:
            ws.mask[i] = part.joint.mask[i] + low * ld
    for i in range(model.n_layers):
        own.x[i].ids = to.x[i].ids + low
        own.x[i].values = to.x[i].values + low
        own.x[i].sizes = to.x[i].sizes + low
    own.sizes = to.sizes + low
    if to.dense_rows != NULL:
        own.dense_rows = to.dense_rows + low * part.train.x.n_features
    ws.z = part.joint.z + low * model.layers[last].n_out
    ws.losses = part.joint.losses + low
    ws.squares = part.joint.squares + 2 * low


cdef inline int64_t _low(int64_t n_rows, int64_t share) noexcept nogil:
    # The first of n_rows neurons of a share. In wide layers shares end where cache lines of
    # float32 numbers do: threads that write neighbouring elements then share no line.
    if n_rows < SHARES * SLIDE_BLOCK:
        return share * n_rows // SHARES
    return min(n_rows, share * blocks_of(n_rows, SLIDE_BLOCK) // SHARES * SLIDE_BLOCK)


cdef inline int64_t _first_share(Share thread) noexcept nogil:
    # The first share of a thread; the next thread's first share ends its own.
    return thread.i * SHARES // thread.n


cdef Vectors _inputs(Part *part, int64_t i) noexcept nogil:
    """The inputs of layer i for all samples; ready after a barrier."""
    cdef const ModelView *model = &part.ws.model
    cdef Vectors x = part.joint.hidden.x[i]
    if i > 0 and model.layers[i - 1].n_active > 0:
        x.dense = NULL
    elif i > 0:
        point_at_dense(&x, part.joint.hidden.a[i - 1], part.ws.hidden.ld[i - 1])
    elif model.layers[0].n_active > 0:
        point_at_input(&x, &part.train.x, part.first, part.n)
    return x


# ---------------------------------------------------------------- forward --

cdef int64_t _forward(Part *part, int64_t i) noexcept nogil:
    """Compute the activations of hidden layer i; returns the multiply-adds.

    When it returns, those of the thread's samples are ready.
    """
    cdef Workspace *ws = part.ws
    cdef ModelView *model = &ws.model
    cdef HiddenScratch *hidden = &ws.hidden
    cdef const LayerView *layer = &model.layers[i]
    cdef int64_t n = part.high - part.low, first = part.first + part.low, cost = 0
    cdef int64_t stride = n_tried(model, i) if layer.n_active > 0 else 0
    cdef uint64_t stream = seed_stream(part.rng, i)
    # Columns that are used in blocks, or in bfloat16, are copied; one copy serves all of a row.
    cdef bint by_columns = part.train.x.indptr == NULL and not copies_rows(&layer.w)
    if layer.n_active > 0:
        # Each layer has its own, as other threads may still read those of the layer below.
        hidden.tried[i] = part.joint.hidden.tried[i] + part.low * stride
        hidden.z = part.joint.hidden.z + part.low * stride
        if i == 0:
            point_at_input(&hidden.x[0], &part.train.x, first, n)
        cost += find_candidates(model, &part.train.x, i, first, n, hidden, &stream)
    elif i == 0 and not by_columns:
        if hidden.groups != NULL:
            group_by_feature(&part.train.x, first, n, Share(0, 1), hidden.groups)
        cost += input_forward(layer, &part.train.x, first, n, hidden.groups, hidden.dense_rows,
                              hidden.unpacked, hidden.a[0])
    elif i == 0:
        _copy_rows(part)
    if i > 0 or layer.n_active > 0 or by_columns:
        slide_barrier()
        cost += _score(part, i)
        slide_barrier()
    if layer.n_active > 0:
        keep_best(model, i, n, hidden)
        point_at_active(&hidden.x[i + 1], hidden.active[i], hidden.a[i], n, layer.n_active)
    else:
        point_at_dense(&hidden.x[i + 1], hidden.a[i], layer.n_kept)
    activate(model.activation, hidden.a[i], n * hidden.ld[i])
    drop_out(part.train, ws, i, part.low, n, part.n, &part.rng)
    return cost


cdef void _copy_rows(Part *part) noexcept nogil:
    """Copy the thread's samples of a dense X side by side."""
    cdef int64_t i, d = part.train.x.n_features
    for i in range(part.low, part.high):
        memcpy(part.joint.hidden.dense_rows + i * d,
               part.train.x.values + row_at(&part.train.x, part.first + i) * d,
               d * sizeof(float32_t))


cdef int64_t _score(Part *part, int64_t i) noexcept nogil:
    """Compute the pre-activations of the thread's neurons of layer i, for all samples.

    OUT for a sparse layer z, for other layers a or, for the output, ws.z. Returns the
    multiply-adds.
    """
    cdef Workspace *ws = part.ws
    cdef ModelView *model = &ws.model
    cdef HiddenScratch *hidden = &ws.hidden
    cdef const LayerView *layer = &model.layers[i]
    cdef int64_t last = model.n_layers - 1, n_rows, low, high
    cdef float32_t *out = part.joint.z if i == last else part.joint.hidden.a[i]
    cdef const int32_t *ids
    cdef Vectors x
    n_rows = layer.n_out if layer.n_active > 0 else layer.n_kept
    low = _low(n_rows, _first_share(part.thread))
    high = _low(n_rows, _first_share(Share(part.thread.i + 1, part.thread.n)))
    if i == 0 and layer.n_active == 0:
        return input_columns(layer, part.joint.hidden.dense_rows, part.train.x.n_features, part.n,
                             low, high, out)
    x = _inputs(part, i)
    if layer.n_active > 0:
        group_in_range(part.joint.hidden.tried[i], part.joint.hidden.sizes, part.n,
                       n_tried(model, i), <int32_t>low, <int32_t>high, NULL,
                       Pruning(0, 0), ws.found, &ws.own)
        return pairs_forward(layer, &x, &ws.own, &hidden.scratch, part.joint.hidden.z)
    if x.dense == NULL:
        group_in_range(NULL, NULL, part.n, n_rows, <int32_t>low, <int32_t>high, NULL,
                       Pruning(0, 0), ws.found, &ws.own)
        return pairs_forward(layer, &x, &ws.own, &hidden.scratch, out)
    ids = layer.kept if layer.kept != NULL else ws.numbers
    if i == last and multiplies_halves(layer):
        return halves_forward(layer, ids + low, high - low, x.dense, part.n, out + low, n_rows,
                              &ws.halves)
    return rows_forward(layer, ids + low, high - low, x.dense, layer.w.width, part.n, out + low,
                        n_rows, hidden.unpacked)


cdef inline bint _is_dense(const ModelView *model, int64_t i) noexcept nogil:
    # Whether layer i is dense, and so are its inputs, which come from a layer below.
    return i > 0 and model.layers[i].n_active == 0 and model.layers[i - 1].n_active == 0


# --------------------------------------------------------- sums of shares --

cdef float32_t *_begin_sum(Part *part, int64_t share, int64_t ld) noexcept nogil:
    """Zeros for what a share sums up, of all samples: (n, ld)."""
    cdef float32_t *sums = part.joint.sums
    if part.thread.n > 1:
        sums += share * part.n * ld
    memset(sums, 0, part.n * ld * sizeof(float32_t))
    return sums


cdef void _end_sum(Part *part, int64_t share, int64_t ld, float32_t *total) noexcept nogil:
    """Where there is one thread: add the sum of a share to total (n, ld) of the shares before."""
    if part.thread.n == 1:
        _add(part.joint.sums, part.n * ld, share == 0, total)


cdef void _add_up(Part *part, float32_t *total, int64_t ld) noexcept nogil:
    """Where there are more threads: add the sums of all shares up, of the thread's samples."""
    cdef int64_t share, n = part.high - part.low
    for share in range(SHARES if part.thread.n > 1 else 0):
        _add(part.joint.sums + share * part.n * ld + part.low * ld, n * ld, share == 0, total)


cdef void _add(const float32_t *x, int64_t n, bint first, float32_t *total) noexcept nogil:
    cdef int64_t i
    if first:
        memcpy(total, x, n * sizeof(float32_t))
        return
    for i in range(n):
        total[i] += x[i]


# --------------------------------------------------------------- backward --

cdef int64_t _backward(Part *part, const SolverView *solver, int64_t i) noexcept nogil:
    """Back-propagate through the thread's rows of layer i and update them; returns the cost.

    OUT the sums of the shares: the gradients of the activations of the layer below. Where
    `_is_dense`, `_to_inputs` has computed them before.
    """
    cdef Workspace *ws = part.ws
    cdef ModelView *model = &ws.model
    cdef LayerView *layer = &model.layers[i]
    cdef HiddenScratch *hidden = &ws.hidden
    cdef int64_t last = model.n_layers - 1, n_rows, low, high, share, ld = 0, cost = 0, start
    cdef int64_t first_share = _first_share(part.thread)
    cdef int64_t last_share = _first_share(Share(part.thread.i + 1, part.thread.n))
    cdef float32_t *delta = part.joint.z if i == last else part.joint.delta[i]
    cdef const int32_t *ids = layer.kept if layer.kept != NULL else ws.numbers
    cdef float32_t *sums = NULL
    cdef Pruning by = Pruning(0, 0)
    cdef Pairs pairs
    cdef Vectors x
    if i == 0 and layer.n_active == 0:
        return _input_backward(part, solver, delta)
    x = _inputs(part, i)
    # The sums of the inputs of layer i belong to one thread.
    if part.train.tracked[i] and i > 0 and i % part.thread.n == part.thread.i:
        cost += add_queries(&x, part.n, ws.query_sums[i], ws.query_norms2 + i)
    n_rows = layer.n_out if layer.n_active > 0 else layer.n_kept
    start, high = _low(n_rows, first_share), _low(n_rows, last_share)
    if i < last and prunes(model, part.train, i):
        by = pruning(part.joint.squares, part.n, part.train.prune, solver.seed, i)
        cost += 2 * (part.high - part.low) * layer.n_active
    if _is_dense(model, i):
        return rows_backward(layer, solver, ids + start, high - start, delta + start, n_rows,
                             x.dense, part.n, NULL, ws.gradient, hidden.unpacked,
                             &ws.halves if multiplies_halves(layer) else NULL)
    group_in_range(part.joint.hidden.active[i] if layer.n_active > 0 else NULL, NULL, part.n,
                   layer.n_active if layer.n_active > 0 else n_rows, <int32_t>start,
                   <int32_t>high, delta, by, ws.found, &ws.own)
    for share in range(first_share, last_share):
        low, high = _low(n_rows, share), _low(n_rows, share + 1)
        if i > 0:
            ld = hidden.ld[i - 1]
            sums = _begin_sum(part, share, ld)
        pairs = some_pairs(&ws.own, low - start, high - start)
        cost += pairs_backward(layer, solver, &x, &pairs, delta, sums, ld, &hidden.scratch)
        if i > 0:
            _end_sum(part, share, ld, part.joint.delta[i - 1])
    return cost


cdef int64_t _to_inputs(Part *part, int64_t i) noexcept nogil:
    """Back-propagate from all rows of dense layer i to the layer below; returns the cost.

    By columns; where rows are copied, by samples.
    """
    cdef Workspace *ws = part.ws
    cdef const LayerView *layer = &ws.model.layers[i]
    cdef int64_t last = ws.model.n_layers - 1, n_rows = layer.n_kept, d = layer.w.width
    cdef const float32_t *delta = part.joint.z if i == last else part.joint.delta[i]
    cdef const int32_t *ids = layer.kept if layer.kept != NULL else ws.numbers
    if copies_rows(&layer.w):
        return rows_to_inputs(layer, ids, n_rows, delta + part.low * n_rows, n_rows,
                              part.high - part.low, ws.delta[i - 1], ws.hidden.unpacked,
                              &ws.halves if multiplies_halves(layer) else NULL)
    return rows_to_columns(layer, ids, n_rows, delta, n_rows, part.n,
                           _low(d, _first_share(part.thread)),
                           _low(d, _first_share(Share(part.thread.i + 1, part.thread.n))),
                           part.joint.delta[i - 1])


cdef int64_t _input_backward(Part *part, const SolverView *solver,
                             const float32_t *delta) noexcept nogil:
    """Update the thread's features of a dense first layer; returns the multiply-adds."""
    cdef Workspace *ws = part.ws
    if ws.hidden.groups != NULL and part.thread.n > 1:
        group_by_feature(&part.train.x, part.first, part.n, part.thread, ws.hidden.groups)
    return input_backward(&ws.model.layers[0], solver, &part.train.x, part.n, part.thread,
                          ws.hidden.groups, part.joint.hidden.dense_rows, delta, ws.gradient)
