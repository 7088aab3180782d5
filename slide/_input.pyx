"""A dense first layer on rows of X: an embedding bag over their features, forward and back.

It keeps a row of weights for every feature. A micro-batch of CSR rows is grouped by feature once:
the row of a feature that many samples share is read once forward, and read and written once back.
So a feature that nearly every sample has costs no more than another, and threads hardly meet.

Every function works on one micro-batch in one thread. Weights and moments (LayerView) are shared
and raced on purpose; every other array belongs to the calling thread. Functions that multiply
return how many multiply-adds they did.
"""
from libc.string cimport memcpy, memset

from slide._layers cimport ROW_BLOCK
from slide._optimizer cimport LayerView, SolverView, prefetch_update, update_biases, update_row
from slide._simd cimport chosen, slide_lowest_bit
from slide._typedefs cimport float32_t, int32_t, int64_t, uint64_t, blocks_of
from slide._weights cimport prefetch_row, row_of, rows_of

cdef enum:
    AHEAD = 4                  # rows between a prefetch and its use


cdef void group_by_feature(const InputView *x, int64_t first, int64_t n,
                           InputGroups *groups) noexcept nogil:
    """The pairs of CSR rows `first` to first + n, by feature; features and samples rise.

    The bits of two levels of words sort the features. Cost: O(pairs + n_features / 4096).
    """
    cdef int64_t i, j, row, word, n_pairs = 0
    cdef int64_t n_words = blocks_of(blocks_of(x.n_features, 64), 64)
    cdef int32_t n_distinct = 0, slot, total = 0, size, feature
    cdef uint64_t words, bits
    cdef int32_t *starts = groups.starts
    for i in range(n):
        row = x.order[first + i] if x.order != NULL else first + i
        for j in range(x.indptr[row], x.indptr[row + 1]):
            word = x.indices[j] >> 6
            groups.seen[word] |= <uint64_t>1 << (x.indices[j] & 63)
            groups.seen_words[word >> 6] |= <uint64_t>1 << (word & 63)
    for i in range(n_words):
        words = groups.seen_words[i]
        groups.seen_words[i] = 0
        while words:
            word = 64 * i + slide_lowest_bit(words)
            words &= words - 1
            bits = groups.seen[word]
            groups.seen[word] = 0
            while bits:
                feature = <int32_t>(64 * word + slide_lowest_bit(bits))
                bits &= bits - 1
                groups.slot_of[feature] = n_distinct
                groups.features[n_distinct] = feature
                starts[n_distinct] = 0
                n_distinct += 1
    for i in range(n):
        row = x.order[first + i] if x.order != NULL else first + i
        for j in range(x.indptr[row], x.indptr[row + 1]):
            slot = groups.slot_of[x.indices[j]]
            groups.slots[n_pairs] = slot
            n_pairs += 1
            starts[slot] += 1
    for slot in range(n_distinct):
        size = starts[slot]
        starts[slot] = total
        total += size
    n_pairs = 0
    for i in range(n):
        row = x.order[first + i] if x.order != NULL else first + i
        for j in range(x.indptr[row], x.indptr[row + 1]):
            slot = groups.slots[n_pairs]
            n_pairs += 1
            groups.samples[starts[slot]] = <int32_t>i
            groups.values[starts[slot]] = x.values[j]
            starts[slot] += 1
    for slot in range(n_distinct, 0, -1):
        starts[slot] = starts[slot - 1]
    starts[0] = 0
    groups.n_features = n_distinct


# --------------------------------------------------------------- forward --

cdef int64_t input_forward(const LayerView *layer, const InputView *x, int64_t first, int64_t n,
                           const InputGroups *groups, float32_t *dense, float32_t *rows,
                           float32_t *out) noexcept nogil:
    """out[i] = b + X[row i] W for n rows from position `first`; OUT out (n, n_out).

    groups: of these rows, or NULL to read each row of X by itself, which few rows want. Dense rows
    are gathered into `dense` (n, n_features) first. Scratch rows (ROW_BLOCK, n_out), of bfloat16
    only. The sums run over rising features always, so all ways give the same bits.
    """
    cdef int64_t i, row, cost = 0, h = layer.n_out, d = x.n_features
    for i in range(n):
        memcpy(out + i * h, layer.b, h * sizeof(float32_t))
    if x.indptr == NULL:
        for i in range(n):
            row = x.order[first + i] if x.order != NULL else first + i
            memcpy(dense + i * d, x.values + row * d, d * sizeof(float32_t))
        _add_rows(layer, NULL, d, dense, d, n, rows, out)
        return n * d * h
    if groups != NULL:
        return _grouped_forward(layer, groups, rows, out)
    for i in range(n):
        row = x.order[first + i] if x.order != NULL else first + i
        cost += x.indptr[row + 1] - x.indptr[row]
        _add_rows(layer, x.indices + x.indptr[row], x.indptr[row + 1] - x.indptr[row],
                  x.values + x.indptr[row], 0, 1, rows, out + i * h)
    return cost * h


cdef void _add_rows(const LayerView *layer, const int32_t *ids, int64_t n_rows,
                    const float32_t *values, int64_t ldv, int64_t n, float32_t *rows,
                    float32_t *out) noexcept nogil:
    """out[i] += sum over k of values[i * ldv + k] W[id(k)]; OUT out (n, n_out)."""
    cdef int64_t h = layer.n_out, k, step, block
    cdef const int32_t *left
    cdef const float32_t *block_rows
    if layer.w.half == NULL:
        chosen().accumulate(values, ldv, 1, layer.w.single, h, ids, n_rows, out, h, n, h)
        return
    for step in range(blocks_of(n_rows, ROW_BLOCK)):
        k = step * ROW_BLOCK
        block = min(<int64_t>ROW_BLOCK, n_rows - k)
        left = ids + k if ids != NULL else NULL
        block_rows = rows_of(&layer.w, k, block, &left, rows)
        chosen().accumulate(values + k, ldv, 1, block_rows, h, left, block, out, h, n, h)


cdef int64_t _grouped_forward(const LayerView *layer, const InputGroups *groups, float32_t *rows,
                              float32_t *out) noexcept nogil:
    """Every distinct feature's row is read once and added to all samples that have it."""
    cdef int64_t h = layer.n_out, slot, start
    for slot in range(min(<int64_t>AHEAD, groups.n_features)):
        prefetch_row(&layer.w, groups.features[slot])
    for slot in range(groups.n_features):
        if slot + AHEAD < groups.n_features:
            prefetch_row(&layer.w, groups.features[slot + AHEAD])
        start = groups.starts[slot]
        chosen().spread(row_of(&layer.w, groups.features[slot], rows), groups.values + start,
                        groups.samples + start, groups.starts[slot + 1] - start, out, h, h)
    return h * groups.starts[groups.n_features]


# -------------------------------------------------------------- backward --

cdef int64_t input_backward(LayerView *layer, const SolverView *solver, const InputView *x,
                            int64_t n, const InputGroups *groups, const float32_t *dense,
                            const float32_t *delta, float32_t *gradient) noexcept nogil:
    """Update the first layer's rows from delta (n, n_out), each feature's row once.

    W_f <- step(sum over rows of x_f delta); b <- step(sum of delta)

    IN groups: of the micro-batch, CSR X only; dense: its rows, dense X only; there a feature that
    is zero in all of them is left alone, as CSR would. Scratch gradient (ROW_BLOCK, n_out).
    """
    cdef int64_t h = layer.n_out, d = x.n_features, step, f, block, i
    cdef int64_t cost = h * solver.update_cost
    memset(gradient, 0, h * sizeof(float32_t))
    for i in range(n):
        for f in range(h):
            gradient[f] += delta[i * h + f]
    update_biases(layer, solver, 0, h, layer.steps[layer.n_in] + 1, gradient)
    layer.steps[layer.n_in] += 1
    if x.indptr != NULL:
        return cost + _grouped_backward(layer, solver, groups, delta, gradient)
    for step in range(blocks_of(d, ROW_BLOCK)):
        f = step * ROW_BLOCK
        block = min(<int64_t>ROW_BLOCK, d - f)
        memset(gradient, 0, block * h * sizeof(float32_t))
        chosen().accumulate(dense + f, 1, d, delta, h, NULL, n, gradient, h, block, h)
        cost += block * h * n
        for i in range(block):
            if _occurs(dense + f + i, d, n):
                update_row(layer, solver, f + i, gradient + i * h)
                cost += h * solver.update_cost
    return cost


cdef inline bint _occurs(const float32_t *column, int64_t stride, int64_t n) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        if column[i * stride] != 0:
            return True
    return False


cdef int64_t _grouped_backward(LayerView *layer, const SolverView *solver,
                               const InputGroups *groups, const float32_t *delta,
                               float32_t *gradient) noexcept nogil:
    """`input_backward` for CSR rows. Cost: n_out times (pairs + update_cost * features)."""
    cdef int64_t h = layer.n_out, slot, start, n_features = groups.n_features
    for slot in range(min(<int64_t>AHEAD, n_features)):
        _prefetch(layer, groups.features[slot])
    for slot in range(n_features):
        if slot + AHEAD < n_features:
            _prefetch(layer, groups.features[slot + AHEAD])
        start = groups.starts[slot]
        chosen().gather_sum(groups.values + start, delta, h, groups.samples + start,
                            groups.starts[slot + 1] - start, gradient, h)
        update_row(layer, solver, groups.features[slot], gradient)
    return h * (groups.starts[n_features] + n_features * solver.update_cost)


cdef inline void _prefetch(const LayerView *layer, int64_t row) noexcept nogil:
    prefetch_row(&layer.w, row)
    prefetch_update(layer, row)
