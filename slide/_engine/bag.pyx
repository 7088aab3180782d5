"""A dense first layer on rows of X: an embedding bag over their features, forward and back.

The layer keeps a row of weights for every feature. A micro-batch of CSR rows is grouped by feature
once. Each row of weights is then read once in the forward pass, and read and written once in the
backward pass, however many samples have its feature. Frequent features cost little, and threads
rarely write the same row.

Every function works on one micro-batch in one thread. Weights and moments (LayerView) are shared
and raced on purpose; every other array belongs to the calling thread. Functions that multiply
return how many multiply-adds they did.
"""
from libc.string cimport memcpy, memset

from slide._base.rows cimport InputView, row_at, Vector, vector_at
from slide._base.signals cimport interrupted
from slide._base.typedefs cimport blocks_of, float32_t, int32_t, int64_t, uint32_t, uint64_t
from slide._engine.dense cimport ROW_BLOCK
from slide._engine.layer cimport LayerView
from slide._engine.optimizer cimport (
    move_row,
    prefetch_update,
    row_step,
    SolverView,
    update_biases,
    update_row,
)
from slide._simd.dispatch cimport chosen
from slide._simd.weights cimport copies_rows, prefetch_row, row_of, rows_of

cdef enum:
    DIGIT = 10                 # most bits of a feature's id that one pass of the sort looks at
    FEATURE_GROUP = 8          # features whose rows are updated together
    FEATURE_AHEAD = 6          # features between the prefetch of a row and its use


cdef inline bint owns(Share share, int32_t feature) noexcept nogil:
    # Whether a feature is of a thread's share: a multiplicative hash spreads them evenly.
    cdef uint64_t place = <uint32_t>feature * <uint32_t>2654435769
    return share.n == 1 or <int64_t>((place * <uint64_t>share.n) >> 32) == share.i


cdef void group_by_feature(const InputView *x, int64_t first, int64_t n, Share share,
                           InputGroups *groups) noexcept nogil:
    """Group the (sample, feature) pairs of n CSR rows, from position `first` on, by feature.

    Only pairs of features in the share are taken. Features ascend, and so do the samples of a
    feature. The method is a stable radix sort with as few digits as n_features needs. Cost:
    O(pairs + 2^DIGIT) for each digit.
    """
    cdef int64_t i, j, n_pairs = 0, n_digits = 1, bits = 1, size = 0, slot = -1
    cdef Vector row
    cdef int32_t shift, digit
    cdef InputPair *pairs = groups.pairs
    cdef InputPair *sorted_pairs = groups.other_pairs
    for i in range(n):
        row = vector_at(x, first + i)
        for j in range(row.size):
            if not owns(share, row.ids[j]):
                continue
            pairs[n_pairs].feature = row.ids[j]
            pairs[n_pairs].sample = <int32_t>i
            pairs[n_pairs].value = row.values[j]
            n_pairs += 1
    while (x.n_features - 1) >> bits:
        bits += 1
    n_digits = blocks_of(bits, DIGIT)
    size = blocks_of(bits, n_digits)
    for digit in range(<int32_t>n_digits):
        shift = <int32_t>(digit * size)
        _sort_by_digit(pairs, n_pairs, shift, <int32_t>size, sorted_pairs)
        pairs, sorted_pairs = sorted_pairs, pairs
    for i in range(n_pairs):
        if slot < 0 or pairs[i].feature != groups.features[slot]:
            slot += 1
            groups.features[slot] = pairs[i].feature
            groups.starts[slot] = <int32_t>i
        groups.samples[i] = pairs[i].sample
        groups.values[i] = pairs[i].value
    groups.n_features = slot + 1
    groups.starts[slot + 1] = <int32_t>n_pairs


cdef void _sort_by_digit(const InputPair *pairs, int64_t n, int32_t shift, int32_t size,
                         InputPair *out) noexcept nogil:
    """Sort pairs by `size` bits of their features, from bit `shift` on; the sort is stable."""
    cdef int32_t starts[1 << DIGIT]
    cdef int32_t mask = (1 << size) - 1, digit, total = 0, count
    cdef int64_t i
    memset(starts, 0, (1 << size) * sizeof(int32_t))
    for i in range(n):
        starts[(pairs[i].feature >> shift) & mask] += 1
    for digit in range(1 << size):
        count = starts[digit]
        starts[digit] = total
        total += count
    for i in range(n):
        digit = (pairs[i].feature >> shift) & mask
        out[starts[digit]] = pairs[i]
        starts[digit] += 1


# --------------------------------------------------------------- forward --

cdef int64_t input_forward(const LayerView *layer, const InputView *x, int64_t first, int64_t n,
                           const InputGroups *groups, float32_t *dense, float32_t *rows,
                           float32_t *out) noexcept nogil:
    """Compute out[i] = b + X[row i] W for n rows from `first` on, for a dense first layer.

    IN groups, the pairs of these rows, or NULL: then each row of X is read by itself, which is
    faster for few rows. OUT out (n, n_kept). Scratch dense (n, n_features), into which dense rows
    are copied, and rows (ROW_BLOCK, n_kept), where weights are copied. The sums run over ascending
    features, so that every way gives the same bits.
    """
    cdef int64_t i, cost = 0, h = layer.n_kept, d = x.n_features
    cdef Vector row
    for i in range(h if n > 0 else 0):
        out[i] = layer.b[layer.kept[i] if layer.kept != NULL else i]
    for i in range(1, n):
        memcpy(out + i * h, out, h * sizeof(float32_t))
    if x.indptr == NULL:
        for i in range(n):
            memcpy(dense + i * d, x.values + row_at(x, first + i) * d, d * sizeof(float32_t))
        _add_rows(layer, NULL, d, dense, d, n, rows, out)
        return n * d * h
    if groups != NULL:
        return _grouped_forward(layer, groups, rows, out)
    for i in range(n):
        row = vector_at(x, first + i)
        cost += row.size
        _add_rows(layer, row.ids, row.size, row.values, 0, 1, rows, out + i * h)
    return cost * h


cdef int64_t input_columns(const LayerView *layer, const float32_t *dense, int64_t d, int64_t n,
                           int64_t low, int64_t high, float32_t *out) noexcept nogil:
    """Compute the columns low..high of what `input_forward` does, for n rows of a dense X.

    IN dense (n, d), the rows; OUT out (n, n_out). Float32 weights, all of which are used. Returns
    the multiply-adds.
    """
    cdef int64_t h = layer.n_out, i
    for i in range(n):
        memcpy(out + i * h + low, layer.b + low, (high - low) * sizeof(float32_t))
    chosen().accumulate(dense, d, 1, layer.w.single + low, h, NULL, d, out + low, h, n, high - low)
    return n * d * (high - low)


cdef void _add_rows(const LayerView *layer, const int32_t *ids, int64_t n_rows,
                    const float32_t *values, int64_t ldv, int64_t n, float32_t *rows,
                    float32_t *out) noexcept nogil:
    """Add rows of weights: out[i] += sum over k of values[i * ldv + k] W[id(k)].

    id(k) = ids[k], or k where ids is NULL. INOUT out (n, n_kept).
    """
    cdef int64_t h = layer.n_kept, k, step, block
    cdef const int32_t *left
    cdef const float32_t *block_rows
    if not copies_rows(&layer.w):
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
    """Read every distinct feature's row once and add it to all samples that have the feature."""
    cdef int64_t h = layer.n_kept, slot, start, n
    for slot in range(min(<int64_t>FEATURE_AHEAD, groups.n_features)):
        prefetch_row(&layer.w, groups.features[slot])
    for slot in range(groups.n_features):
        if slot + FEATURE_AHEAD < groups.n_features:
            prefetch_row(&layer.w, groups.features[slot + FEATURE_AHEAD])
        start = groups.starts[slot]
        n = groups.starts[slot + 1] - start
        if layer.w.starts != NULL and layer.w.half == NULL:
            chosen().spread_blocks(layer.w.single + groups.features[slot] * layer.w.stride,
                                   layer.w.starts, groups.values + start, groups.samples + start,
                                   n, out, h, h)
            continue
        chosen().spread(row_of(&layer.w, groups.features[slot], rows), groups.values + start,
                        groups.samples + start, n, out, h, h)
    return h * groups.starts[groups.n_features]


# -------------------------------------------------------------- backward --

cdef int64_t input_backward(LayerView *layer, const SolverView *solver, const InputView *x,
                            int64_t n, Share share, const InputGroups *groups,
                            const float32_t *dense, const float32_t *delta,
                            float32_t *gradient) noexcept nogil:
    """Update a share of the rows of the first layer from delta (n, n_kept), each row once.

    W_f <- step(sum over rows of x_f delta); b <- step(sum of delta)

    The first share has the biases. IN groups, the pairs of the share's features, for CSR X; dense
    (n, n_features), the rows of the micro-batch, for dense X. Features that are zero in all rows
    are not updated. Scratch gradient (ROW_BLOCK, n_kept).
    """
    cdef int64_t h = layer.n_kept, d = x.n_features, step, f, block, i, cost = 0
    cdef int64_t low = share.i * d // share.n, high = (share.i + 1) * d // share.n
    if share.i == 0:
        cost += _update_input_biases(layer, solver, n, delta, gradient)
    if x.indptr != NULL:
        return cost + _grouped_backward(layer, solver, groups, delta, gradient)
    for step in range(blocks_of(high - low, ROW_BLOCK)):
        if interrupted(solver.watch):
            break
        f = low + step * ROW_BLOCK
        block = min(<int64_t>ROW_BLOCK, high - f)
        memset(gradient, 0, block * h * sizeof(float32_t))
        chosen().accumulate(dense + f, 1, d, delta, h, NULL, n, gradient, h, block, h)
        cost += block * h * n
        for i in range(block):
            if _occurs(dense + f + i, d, n):
                update_row(layer, solver, f + i, gradient + i * h)
                cost += h * solver.update_cost
    return cost


cdef int64_t _update_input_biases(LayerView *layer, const SolverView *solver, int64_t n,
                                  const float32_t *delta, float32_t *gradient) noexcept nogil:
    """Update the biases of the first layer from delta (n, n_kept); scratch gradient (n_kept,)."""
    cdef int64_t h = layer.n_kept, i, f
    memset(gradient, 0, h * sizeof(float32_t))
    for i in range(n):
        for f in range(h):
            gradient[f] += delta[i * h + f]
    layer.progress[layer.n_in].steps += 1
    if layer.kept == NULL:
        update_biases(layer, solver, 0, h, layer.progress[layer.n_in].steps, gradient)
    else:
        for i in range(h):
            update_biases(layer, solver, layer.kept[i], 1, layer.progress[layer.n_in].steps,
                          gradient + i)
    return h * solver.update_cost


cdef inline bint _occurs(const float32_t *column, int64_t stride, int64_t n) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        if column[i * stride] != 0:
            return True
    return False


cdef int64_t _grouped_backward(LayerView *layer, const SolverView *solver,
                               const InputGroups *groups, const float32_t *delta,
                               float32_t *gradient) noexcept nogil:
    """Do `input_backward` for CSR rows. Cost: n_kept times (pairs + update_cost * features)."""
    cdef int64_t h = layer.n_kept, slot, start, i, step, first, n_features = groups.n_features
    cdef float32_t steps[FEATURE_GROUP]
    for slot in range(min(<int64_t>FEATURE_GROUP, n_features)):
        _prefetch(layer, groups.features[slot])
    for step in range(blocks_of(n_features, FEATURE_GROUP)):
        if interrupted(solver.watch):
            break
        first = step * FEATURE_GROUP
        for slot in range(first, min(first + FEATURE_GROUP, n_features)):
            if slot + FEATURE_GROUP < n_features:
                _prefetch(layer, groups.features[slot + FEATURE_GROUP])
            start, i = groups.starts[slot], slot - first
            chosen().gather_sum(groups.values + start, delta, h, groups.samples + start,
                                groups.starts[slot + 1] - start, gradient + i * h, h)
            steps[i] = row_step(layer, solver, groups.features[slot], gradient + i * h)
        for slot in range(first, min(first + FEATURE_GROUP, n_features)):
            i = slot - first
            move_row(layer, solver, groups.features[slot], gradient + i * h, steps[i])
    return h * (groups.starts[n_features] + n_features * solver.update_cost)


cdef inline void _prefetch(const LayerView *layer, int64_t row) noexcept nogil:
    prefetch_row(&layer.w, row)
    prefetch_update(layer, row)
