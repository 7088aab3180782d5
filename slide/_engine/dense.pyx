"""Dense inputs: the forward pass, the backward pass and the update of rows of weights.

Every function works on one micro-batch in one thread. Weights and moments (LayerView) are
shared and raced on purpose; every other array belongs to the calling thread. Functions that
multiply return how many multiply-adds they did.
"""
import numpy as np

from libc.string cimport memset

from slide._base.scratch cimport scratch_array
from slide._base.signals cimport interrupted
from slide._base.typedefs cimport blocks_of, float32_t, int32_t, int64_t, uint16_t, uint32_t
from slide._engine.layer cimport LayerView
from slide._engine.optimizer cimport move_row, prefetch_update, row_step, SolverView, update_biases
from slide._simd.dispatch cimport chosen, slide_prefetch
from slide._simd.weights cimport copies_rows, prefetch_row, rows_of

cdef enum:
    UPDATE_GROUP = 4           # rows that are updated together
    SAMPLE_PART = 8            # samples between two rounds of prefetches of weights
    UPDATE_AHEAD = 8           # rows between the prefetch for an update and the update


cdef int64_t rows_forward(const LayerView *layer, const int32_t *ids, int64_t n_rows,
                          const float32_t *x, int64_t ldx, int64_t n, float32_t *out, int64_t ldo,
                          float32_t *rows) noexcept nogil:
    """Pre-activations of some neurons of a layer for n dense inputs.

    out[s * ldo + i] = W[id(i)] . x[s] + b[id(i)], where id(i) = ids[i], or i where ids is NULL

    IN ids (n_rows,) or NULL; x (n, ldx), an element for each column that is used; OUT out (n, ldo);
    scratch rows (ROW_BLOCK, width), where rows are copied. Reads of the weights are raced. A result
    depends on its own row and input alone.
    """
    cdef int64_t d = layer.w.width, step, k, block, i
    cdef const int32_t *block_ids
    cdef const int32_t *left
    cdef const float32_t *block_rows
    cdef float32_t biases[ROW_BLOCK]
    if not copies_rows(&layer.w):
        chosen().dots(layer.w.single, d, ids, layer.b, n_rows, x, ldx, n, d, out, ldo)
        return n_rows * n * d
    for step in range(blocks_of(n_rows, ROW_BLOCK)):
        k = step * ROW_BLOCK
        block = min(<int64_t>ROW_BLOCK, n_rows - k)
        block_ids = left = ids + k if ids != NULL else NULL
        block_rows = rows_of(&layer.w, k, block, &left, rows)
        for i in range(block):
            biases[i] = layer.b[block_ids[i] if ids != NULL else k + i]
        for i in range(block, min(2 * <int64_t>ROW_BLOCK, n_rows - k)):
            if ids != NULL or layer.w.starts != NULL:
                prefetch_row(&layer.w, block_ids[i] if ids != NULL else k + i)
        chosen().dots(block_rows, d, NULL, biases, block, x, ldx, n, d, out + k, ldo)
    return n_rows * n * d


cdef bint multiplies_halves(const LayerView *layer) noexcept nogil:
    """Whether the layer's weights are bfloat16 and this processor multiplies bfloat16."""
    return layer.w.half != NULL and chosen().pairs != NULL


cdef int allocate_halves(HalfScratch *scratch, int64_t n, int64_t width,
                         list keep_alive) except -1:
    """Allocate the scratch for n samples and rows of up to `width`; arrays join keep_alive."""
    cdef int64_t n_pairs = blocks_of(n, 2)
    keep = keep_alive
    scratch.x = <uint16_t *>scratch_array(n * (width + 1), np.uint16, keep)
    scratch.x_pairs = <uint32_t *>scratch_array(n_pairs * width, np.uint32, keep)
    scratch.unpacked = <uint32_t *>scratch_array(ROW_BLOCK // 2 * width, np.uint32, keep)
    scratch.rows = <uint16_t *>scratch_array(ROW_BLOCK * width, np.uint16, keep)
    scratch.delta = <uint32_t *>scratch_array(n * ROW_BLOCK // 2, np.uint32, keep)
    scratch.delta_pairs = <uint32_t *>scratch_array(n_pairs * ROW_BLOCK, np.uint32, keep)
    return 0


cdef int64_t halves_forward(const LayerView *layer, const int32_t *ids, int64_t n_rows,
                            const float32_t *x, int64_t n, float32_t *out, int64_t ldo,
                            HalfScratch *scratch) noexcept nogil:
    """Do the same as `rows_forward` with products of bfloat16; for training only.

    IN x (n, width), which is rounded to bfloat16. Call it only where `multiplies_halves` is true.
    """
    cdef int64_t d = layer.w.width, ldx = d + (d & 1), k, i, step, block
    cdef float32_t biases[ROW_BLOCK]
    chosen().pairs.halves(x, d, n, d, scratch.x)
    if layer.w.starts == NULL:
        chosen().pairs.dots(layer.w.half, d, ids, layer.b, n_rows, scratch.x, ldx, n, d, out, ldo)
        return n_rows * n * d
    for step in range(blocks_of(n_rows, ROW_BLOCK)):
        k = step * ROW_BLOCK
        block = min(<int64_t>ROW_BLOCK, n_rows - k)
        _take_halves(layer, k, ids + k if ids != NULL else NULL, block, scratch)
        for i in range(block):
            biases[i] = layer.b[ids[k + i] if ids != NULL else k + i]
        for i in range(k + block, min(k + 2 * <int64_t>ROW_BLOCK, n_rows)):
            prefetch_row(&layer.w, ids[i] if ids != NULL else i)
        chosen().pairs.dots(scratch.rows, d, NULL, biases, block, scratch.x, ldx, n, d, out + k,
                            ldo)
    return n_rows * n * d


cdef inline void _take_halves(const LayerView *layer, int64_t first, const int32_t *ids,
                              int64_t n_rows, HalfScratch *scratch) noexcept nogil:
    # Copy the used columns of rows ids, or of the rows from `first` on, to scratch.rows.
    cdef int64_t start = first * layer.w.stride if ids == NULL else 0
    chosen().pairs.take(layer.w.half + start, layer.w.stride, ids, n_rows, layer.w.starts,
                        layer.w.width, scratch.rows)


cdef int64_t rows_to_columns(const LayerView *layer, const int32_t *ids, int64_t n_rows,
                             const float32_t *delta, int64_t ldd, int64_t n, int64_t low,
                             int64_t high, float32_t *x_delta) noexcept nogil:
    """Back-propagate from some neurons to the inputs low..high: x_delta = (delta W_ids)[low:high].

    IN ids, delta as in `rows_backward`; OUT columns low..high of x_delta (n, width). Float32
    weights, all columns of which are used. Nothing is updated. Returns the multiply-adds.
    """
    cdef int64_t d = layer.w.width, i
    for i in range(n):
        memset(x_delta + i * d + low, 0, (high - low) * sizeof(float32_t))
    chosen().accumulate(delta, ldd, 1, layer.w.single + low, d, ids, n_rows, x_delta + low, d, n,
                        high - low)
    return n_rows * n * (high - low)


cdef int64_t rows_to_inputs(const LayerView *layer, const int32_t *ids, int64_t n_rows,
                            const float32_t *delta, int64_t ldd, int64_t n, float32_t *x_delta,
                            float32_t *rows, HalfScratch *halves) noexcept nogil:
    """Back-propagate from some neurons of a layer to all their inputs: x_delta = delta W_ids.

    The parameters are those of `rows_backward`. Nothing is updated. A result depends on its own
    sample alone. Returns the multiply-adds.
    """
    cdef int64_t d = layer.w.width, step, k, block, pairs
    cdef const int32_t *left
    cdef const float32_t *block_rows
    memset(x_delta, 0, n * d * sizeof(float32_t))
    for step in range(blocks_of(n_rows, ROW_BLOCK)):
        k = step * ROW_BLOCK
        block = min(<int64_t>ROW_BLOCK, n_rows - k)
        left = ids + k if ids != NULL else NULL
        if halves != NULL:
            pairs = blocks_of(block, 2)
            _pair_up(layer, k, left, block, delta + k, ldd, n, halves)
            chosen().pairs.accumulate(halves.delta, pairs, 1, halves.unpacked, d, pairs, x_delta,
                                      d, n, d)
            continue
        block_rows = rows_of(&layer.w, k, block, &left, rows)
        chosen().accumulate(delta + k, ldd, 1, block_rows, d, left, block, x_delta, d, n, d)
    return n_rows * d * n


cdef int64_t rows_backward(LayerView *layer, const SolverView *solver, const int32_t *ids,
                           int64_t n_rows, const float32_t *delta, int64_t ldd,
                           const float32_t *x, int64_t n, float32_t *x_delta,
                           float32_t *gradient, float32_t *rows,
                           HalfScratch *halves) noexcept nogil:
    """Back-propagate through some neurons of a layer, then update them once each.

    x_delta += delta W_ids; W_ids <- step(delta^T x); b_ids <- step(sum of delta).

    IN ids (n_rows,), or NULL for the first n_rows; IN delta (n, ldd), x (n, width); INOUT x_delta
    (n, width), or NULL where it is not needed; scratch gradient (UPDATE_GROUP, width), rows
    (ROW_BLOCK, width) where rows are copied, and halves, which is NULL unless `multiplies_halves`.
    Raced: layer. Each row is read before it is changed. During the arithmetic of one block, the
    moments and weights of later rows are prefetched.
    """
    cdef int64_t d = layer.w.width, step, k, block, i, j, row, p, s, part, group, asked, pairs
    cdef const int32_t *block_ids
    cdef const int32_t *left
    cdef const float32_t *block_rows = NULL
    cdef float32_t bias_gradients[ROW_BLOCK]
    cdef float32_t steps[UPDATE_GROUP]
    # The processor itself fetches rows that follow each other.
    cdef bint scattered = ids != NULL or layer.w.starts != NULL
    if halves != NULL:
        chosen().pairs.pair_rows(x, d, n, d, halves.x_pairs)
    if scattered:
        for i in range(min(<int64_t>UPDATE_AHEAD, n_rows)):
            _prefetch_update(layer, ids[i] if ids != NULL else i)
    for step in range(blocks_of(n_rows, ROW_BLOCK)):
        if interrupted(solver.watch):
            break
        k = step * ROW_BLOCK
        block = min(<int64_t>ROW_BLOCK, n_rows - k)
        pairs = blocks_of(block, 2)
        block_ids = left = ids + k if ids != NULL else NULL
        if halves == NULL and x_delta != NULL:
            block_rows = rows_of(&layer.w, k, block, &left, rows)
        elif halves != NULL:
            _pair_up(layer, k, block_ids, block, delta + k, ldd, n, halves)
        asked = block
        memset(bias_gradients, 0, sizeof(bias_gradients))
        for p in range(blocks_of(n, SAMPLE_PART)):
            s = p * SAMPLE_PART
            part = min(<int64_t>SAMPLE_PART, n - s)
            if scattered:
                while asked < min(block + ROW_BLOCK * (s + part) // n, n_rows - k):
                    prefetch_row(&layer.w, block_ids[asked] if ids != NULL else k + asked)
                    asked += 1
            if x_delta != NULL and halves == NULL:
                chosen().accumulate(delta + s * ldd + k, ldd, 1, block_rows, d, left, block,
                                    x_delta + s * d, d, part, d)
            elif x_delta != NULL:
                chosen().pairs.accumulate(halves.delta + s * pairs, pairs, 1, halves.unpacked, d,
                                          pairs, x_delta + s * d, d, part, d)
            for j in range(s, s + part):
                for i in range(block):
                    bias_gradients[i] += delta[j * ldd + k + i]
        for p in range(blocks_of(block, UPDATE_GROUP)):
            i = p * UPDATE_GROUP
            group = min(<int64_t>UPDATE_GROUP, block - i)
            if scattered:
                for j in range(i + UPDATE_AHEAD, min(i + UPDATE_AHEAD + UPDATE_GROUP, n_rows - k)):
                    _prefetch_update(layer, block_ids[j] if ids != NULL else k + j)
            memset(gradient, 0, group * d * sizeof(float32_t))
            if halves == NULL:
                chosen().accumulate(delta + k + i, 1, ldd, x, d, NULL, n, gradient, d, group, d)
            else:
                chosen().pairs.accumulate(halves.delta_pairs + i, 1, block, halves.x_pairs, d,
                                          blocks_of(n, 2), gradient, d, group, d)
            for j in range(group):
                row = block_ids[i + j] if ids != NULL else k + i + j
                steps[j] = row_step(layer, solver, row, gradient + j * d)
            for j in range(i, i + group):
                row = block_ids[j] if ids != NULL else k + j
                move_row(layer, solver, row, gradient + (j - i) * d, steps[j - i])
                update_biases(layer, solver, row, 1, layer.progress[row].steps, bias_gradients + j)
    return n_rows * d * (n * (2 if x_delta != NULL else 1) + solver.update_cost)


cdef inline void _prefetch_update(const LayerView *layer, int64_t row) noexcept nogil:
    prefetch_update(layer, row)
    slide_prefetch(layer.b + row, sizeof(float32_t))


cdef void _pair_up(const LayerView *layer, int64_t first, const int32_t *ids, int64_t n_rows,
                   const float32_t *delta, int64_t ldd, int64_t n,
                   HalfScratch *halves) noexcept nogil:
    """Write a block of rows and its delta as pairs, for `rows_backward`.

    IN ids (n_rows,), or NULL for the rows from `first` on; delta (n, ldd); OUT halves.unpacked,
    halves.delta, halves.delta_pairs.
    """
    cdef int64_t d = layer.w.width
    cdef const uint16_t *w = layer.w.half if ids != NULL else layer.w.half + first * d
    if layer.w.starts == NULL:
        chosen().pairs.pair_halves(w, d, ids, n_rows, d, halves.unpacked)
    else:
        _take_halves(layer, first, ids, n_rows, halves)
        chosen().pairs.pair_halves(halves.rows, d, NULL, n_rows, d, halves.unpacked)
    chosen().pairs.halves(delta, ldd, n, n_rows, <uint16_t *>halves.delta)
    chosen().pairs.pair_rows(delta, ldd, n, n_rows, halves.delta_pairs)
