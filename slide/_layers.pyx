"""Rows forward, backward and update; activations, dropout and losses of one micro-batch.

Every function works on one micro-batch in one thread. Weights and moments (LayerView) are
shared and raced on purpose; every other array belongs to the calling thread. Functions that
multiply return how many multiply-adds they did.
"""
from libc.math cimport expf, logf, tanhf
from libc.string cimport memcpy, memset

from slide._optimizer cimport LayerView, SolverView, update_biases, update_row
from slide._random cimport next64
from slide._simd cimport chosen, slide_prefetch
from slide._typedefs cimport float32_t, float64_t, int32_t, int64_t, uint64_t, blocks_of

cdef enum:
    AHEAD = 4                  # rows between a prefetch and its use


# ----------------------------------------------------------------- rows --

cdef int64_t rows_backward(LayerView *layer, const SolverView *solver, const int32_t *ids,
                           int64_t n_rows, const float32_t *delta, int64_t ldd,
                           const float32_t *x, int64_t n, float32_t *x_delta,
                           float32_t *gradient) noexcept nogil:
    """Back-propagate through some neurons of a layer, then update them once each.

    x_delta += delta W_ids; W_ids <- step(delta^T x); b_ids <- step(sum of delta).

    ids (n_rows,) or NULL for the first n_rows; IN delta (n, ldd), x (n, n_in);
    INOUT x_delta (n, n_in), NULL when nobody wants it; scratch gradient
    (ROW_BLOCK, n_in). Each row is read before it is changed.
    """
    cdef int64_t d = layer.width, step, k, block, i, row, b
    cdef const int32_t *block_ids
    cdef const float32_t *block_rows
    cdef float32_t bias_gradient
    for step in range(blocks_of(n_rows, ROW_BLOCK)):
        k = step * ROW_BLOCK
        block = min(<int64_t>ROW_BLOCK, n_rows - k)
        block_ids = ids + k if ids != NULL else NULL
        block_rows = layer.w if ids != NULL else layer.w + k * d
        if x_delta != NULL:
            chosen().accumulate(delta + k, ldd, 1, block_rows, d, block_ids, block,
                                x_delta, d, n, d)
        memset(gradient, 0, block * d * sizeof(float32_t))
        chosen().accumulate(delta + k, 1, ldd, x, d, NULL, n, gradient, d, block, d)
        for i in range(block):
            row = block_ids[i] if ids != NULL else k + i
            if ids != NULL and i + AHEAD < block:
                slide_prefetch(layer.w_m + block_ids[i + AHEAD] * d, d)
            bias_gradient = 0
            for b in range(n):
                bias_gradient += delta[b * ldd + k + i]
            update_row(layer, solver, row, gradient + i * d)
            update_biases(layer, solver, row, 1, layer.steps[row], &bias_gradient)
    return n_rows * d * (n * (2 if x_delta != NULL else 1) + solver.update_cost)


# ---------------------------------------------------------------- input --

cdef int64_t input_forward(const LayerView *layer, const InputView *x, int64_t first,
                           int64_t n, float32_t *dense, float32_t *out) noexcept nogil:
    """out[i] = b + X[row i] W for n rows from position `first`; OUT out (n, n_out).

    Dense rows are gathered into `dense` (n, n_features) first. The sums run over
    rising features either way, so dense and CSR input give the same bits.
    """
    cdef int64_t i, row, start, nnz, cost = 0, h = layer.n_out, d = x.n_features
    for i in range(n):
        memcpy(out + i * h, layer.b, h * sizeof(float32_t))
    if x.indptr == NULL:
        for i in range(n):
            row = x.order[first + i] if x.order != NULL else first + i
            memcpy(dense + i * d, x.values + row * d, d * sizeof(float32_t))
        chosen().accumulate(dense, d, 1, layer.w, h, NULL, d, out, h, n, h)
        return n * d * h
    for i in range(n):
        row = x.order[first + i] if x.order != NULL else first + i
        start = x.indptr[row]
        nnz = x.indptr[row + 1] - start
        chosen().accumulate(x.values + start, 0, 1, layer.w, h, x.indices + start, nnz,
                            out + i * h, h, 1, h)
        cost += nnz * h
    return cost


cdef int64_t input_backward(LayerView *layer, const SolverView *solver, const InputView *x,
                            int64_t first, int64_t n, InputScratch *scratch,
                            const float32_t *delta, float32_t *gradient) noexcept nogil:
    """Update the first layer's rows from delta (n, n_out), each feature's row once.

    CSR: the micro-batch's pairs are counting-sorted by feature, so that a feature that many
    samples share is read and written once. Dense: a feature that is zero in all of them is left
    alone, as CSR would. Scratch gradient (ROW_BLOCK, n_out).
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
        return cost + _sparse_input_backward(layer, solver, x, first, n, scratch, delta, gradient)
    for step in range(blocks_of(d, ROW_BLOCK)):
        f = step * ROW_BLOCK
        block = min(<int64_t>ROW_BLOCK, d - f)
        memset(gradient, 0, block * h * sizeof(float32_t))
        chosen().accumulate(scratch.dense + f, 1, d, delta, h, NULL, n, gradient, h, block, h)
        cost += block * h * n
        for i in range(block):
            if _occurs(scratch.dense + f + i, d, n):
                update_row(layer, solver, f + i, gradient + i * h)
                cost += h * solver.update_cost
    return cost


cdef inline bint _occurs(const float32_t *column, int64_t stride, int64_t n) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        if column[i * stride] != 0:
            return True
    return False


cdef int64_t _sparse_input_backward(LayerView *layer, const SolverView *solver,
                                    const InputView *x, int64_t first, int64_t n,
                                    InputScratch *scratch, const float32_t *delta,
                                    float32_t *gradient) noexcept nogil:
    """`input_backward` for CSR rows: W_f <- step(sum over rows of x_f delta), distinct f once.

    Raced: layer. IN x, delta (n, n_out); scratch and gradient belong to the thread. Cost: n_out
    times (pairs + solver.update_cost * distinct features).
    """
    cdef int64_t h = layer.n_out, i, j, row, n_pairs = 0
    cdef int32_t n_distinct = 0, feature, slot, total = 0, size
    cdef int32_t *starts = scratch.starts
    for i in range(n):
        row = x.order[first + i] if x.order != NULL else first + i
        for j in range(x.indptr[row], x.indptr[row + 1]):
            feature = x.indices[j]
            slot = scratch.slot_of[feature]
            if slot >= n_distinct or scratch.features[slot] != feature:
                slot = n_distinct
                scratch.slot_of[feature] = slot
                scratch.features[slot] = feature
                starts[slot] = 0
                n_distinct += 1
            starts[slot] += 1
    for slot in range(n_distinct):
        size = starts[slot]
        starts[slot] = total
        total += size
    for i in range(n):
        row = x.order[first + i] if x.order != NULL else first + i
        for j in range(x.indptr[row], x.indptr[row + 1]):
            slot = scratch.slot_of[x.indices[j]]
            scratch.pair_sample[starts[slot]] = <int32_t>i
            scratch.pair_value[starts[slot]] = x.values[j]
            starts[slot] += 1
    n_pairs = total
    total = 0
    for slot in range(n_distinct):
        if slot + AHEAD < n_distinct:
            row = scratch.features[slot + AHEAD]
            slide_prefetch(layer.w + row * h, h)
            slide_prefetch(layer.w_m + row * h, h)
        size = starts[slot] - total
        memset(gradient, 0, h * sizeof(float32_t))
        chosen().accumulate(scratch.pair_value + total, 0, 1, delta, h,
                            scratch.pair_sample + total, size, gradient, h, 1, h)
        update_row(layer, solver, scratch.features[slot], gradient)
        total += size
    return h * (n_pairs + n_distinct * solver.update_cost)


# ---------------------------------------------------- activation, dropout --

cdef void activate(int activation, float32_t *z, int64_t n) noexcept nogil:
    """z = f(z), in place."""
    cdef int64_t i
    if activation == RELU:
        for i in range(n):
            # NaN passes, so that a diverged network is seen
            z[i] = 0 if z[i] < 0 else z[i]
    elif activation == TANH:
        for i in range(n):
            z[i] = tanhf(z[i])
    elif activation == LOGISTIC:
        for i in range(n):
            z[i] = 1 / (1 + expf(-z[i]))


cdef void activate_backward(int activation, const float32_t *a, float32_t *delta,
                            float32_t keep, const float32_t *mask, int64_t n) noexcept nogil:
    """delta *= f'(z) * mask, from the dropped-out activations a = f(z) * mask.

    keep = 1 - dropout rate; mask NULL where nothing was dropped.
    """
    cdef int64_t i
    cdef float32_t y
    if activation == RELU:
        for i in range(n):
            delta[i] = delta[i] if a[i] > 0 else 0
    elif activation == TANH:
        for i in range(n):
            y = a[i] * keep
            delta[i] *= 1 - y * y
    elif activation == LOGISTIC:
        for i in range(n):
            y = a[i] * keep
            delta[i] *= y * (1 - y)
    if mask != NULL:
        for i in range(n):
            delta[i] *= mask[i]


cdef void drop(float32_t *a, float32_t *mask, int64_t n, float32_t rate,
               uint64_t *rng) noexcept nogil:
    """Inverted dropout: a *= mask, mask = 0 with probability `rate`, else 1 / (1 - rate)."""
    cdef int64_t i
    cdef uint64_t bits = 0
    cdef uint64_t threshold = <uint64_t>(rate * 65536)
    cdef float32_t keep = 1 / (1 - rate)
    for i in range(n):
        bits = next64(rng) if i % 4 == 0 else bits >> 16
        mask[i] = keep if (bits & 0xFFFF) >= threshold else 0
        a[i] *= mask[i]


# --------------------------------------------------------------- losses --

cdef float64_t softmax_gradient(float32_t *z, int64_t n, int64_t n_exact,
                                float32_t tail_weight, const int32_t *labels,
                                int64_t n_labels, float32_t scale) noexcept nogil:
    """Cross-entropy of one sample over its active neurons; z becomes scale * dL/dz.

    p = softmax(z + log weight), weight 1 for the n_exact first neurons and tail_weight
    for the sampled rest, which stand for all that were not drawn (Mussmann et al., UAI
    2017, section 3.2). Targets are 1 / n_labels on the places `labels`.
    Returns the loss.
    """
    cdef int64_t i
    cdef float32_t shift, share, log_weight
    cdef float64_t total, loss = 0
    if n_labels == 0:
        memset(z, 0, n * sizeof(float32_t))
        return 0
    if n > n_exact:
        log_weight = logf(tail_weight)
        for i in range(n_exact, n):
            z[i] += log_weight
    share = 1.0 / <float32_t>n_labels
    for i in range(n_labels):
        loss -= share * z[labels[i]]
    shift = -chosen().max(z, n)
    total = chosen().exp_sum(z, n, shift)
    loss += logf(<float32_t>total) - shift
    for i in range(n):
        z[i] *= <float32_t>(scale / total)
    for i in range(n_labels):
        z[labels[i]] -= share * scale
    return loss


cdef float64_t sigmoid_gradient(float32_t *z, int64_t n, int64_t n_exact,
                                float32_t tail_weight, const int32_t *labels,
                                int64_t n_labels, float32_t scale) noexcept nogil:
    """Sum of the active neurons' binary cross-entropies; z becomes scale * dL/dz.

    A neuron of the tail stands for tail_weight neurons that were not drawn: log(tail_weight) is
    added to its pre-activation, as in the softmax. For the small probabilities of a tail that
    is tail_weight times its gradient, but never more than 1 in all, where the plain importance
    weight lets one unlucky draw push tail_weight times as hard as a label. Returns the loss.
    """
    cdef int64_t i
    cdef float64_t loss = 0
    cdef float32_t log_weight = logf(tail_weight)
    for i in range(n_exact, n):
        z[i] += log_weight
    for i in range(n_labels):
        loss -= z[labels[i]]
    loss += chosen().sigmoid(z, n)
    for i in range(n):
        z[i] *= scale
    for i in range(n_labels):
        z[labels[i]] -= scale
    return loss
