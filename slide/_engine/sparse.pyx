"""Sparse layers: layers that compute only some of their neurons for a sample.

Their inputs are sparse or dense. The (sample, neuron) pairs of a micro-batch are grouped by neuron,
so that a row of weights is read and updated once for all samples that use it. Weights of inactive
inputs are neither read nor written: the work is (active neurons) x (active inputs), forward and
back.

Weights (LayerView) are shared and raced on purpose; all other arrays belong to the calling thread.
"""
from libc.string cimport memset

from slide._base.rows cimport InputView, Vector, vector_at
from slide._base.signals cimport interrupted
from slide._base.typedefs cimport float32_t, int32_t, int64_t
from slide._engine.layer cimport LayerView
from slide._engine.optimizer cimport (
    prefetch_update,
    SolverView,
    update_biases,
    update_elements,
    update_row,
    update_some,
)
from slide._engine.pruning cimport pruned, Pruning
from slide._simd.dispatch cimport chosen
from slide._simd.weights cimport prefetch_row, row_of

cdef enum:
    WHOLE = 16                 # a row is updated as a whole if more than 1 / WHOLE of it moves


# --------------------------------------------------------------- vectors --

cdef void point_at_dense(Vectors *vectors, const float32_t *dense, int64_t ld) noexcept nogil:
    """Point at a dense matrix: row i starts at dense + i * ld."""
    vectors.dense = dense
    vectors.ld = ld
    vectors.rows = NULL


cdef void point_at_active(Vectors *vectors, const int32_t *ids, const float32_t *values,
                          int64_t n, int64_t k) noexcept nogil:
    """Point at sparse vectors of k entries each: row i starts at ids + i * k, values + i * k."""
    cdef int64_t i
    vectors.dense = NULL
    for i in range(n):
        vectors.ids[i] = ids + i * k
        vectors.values[i] = values + i * k
        vectors.sizes[i] = k


cdef void point_at_input(Vectors *vectors, const InputView *x, int64_t first,
                         int64_t n) noexcept nogil:
    """Point at the rows of X at positions first..first + n of the run."""
    cdef int64_t i
    cdef Vector row
    if x.indptr == NULL:
        vectors.ld = x.n_features
        vectors.rows = x.rows + first if x.rows != NULL else NULL
        vectors.dense = x.values if x.rows != NULL else x.values + first * x.n_features
        return
    vectors.dense = NULL
    for i in range(n):
        row = vector_at(x, first + i)
        vectors.ids[i] = row.ids
        vectors.values[i] = row.values
        vectors.sizes[i] = row.size


# ----------------------------------------------------------------- pairs --

cdef void _counts_to_starts(Pairs *pairs, int32_t n_rows) noexcept nogil:
    """Turn the numbers of pairs of n_rows neurons into the first pair of each; sets the sizes."""
    cdef int32_t slot, count, total = 0
    for slot in range(n_rows):
        count = pairs.starts[slot]
        pairs.starts[slot] = total
        total += count
    pairs.starts[n_rows] = total
    pairs.n_neurons = n_rows
    pairs.n_pairs = total


cdef void _ends_to_starts(Pairs *pairs, int32_t n_rows) noexcept nogil:
    """Turn the ends of the pairs of n_rows neurons, which writing them left, into their starts."""
    cdef int32_t slot
    for slot in range(n_rows, 0, -1):
        pairs.starts[slot] = pairs.starts[slot - 1]
    pairs.starts[0] = 0


cdef void group_by_neuron(const int32_t *ids, const int32_t *sizes, int64_t n, int64_t stride,
                          int32_t *slot_of, Pairs *pairs) noexcept nogil:
    """Group the (sample, neuron) pairs of n samples by neuron: a counting sort, O(pairs).

    Sample i has the neurons ids[i * stride : i * stride + sizes[i]]. Where sizes is NULL, every
    sample has `stride` neurons. The place of a pair is the index of its neuron in ids. Scratch
    slot_of needs no clearing (Briggs & Torczon's sparse set).
    """
    cdef int64_t i, j, size
    cdef int32_t n_rows = 0, neuron, slot
    for i in range(n):
        size = sizes[i] if sizes != NULL else stride
        for j in range(i * stride, i * stride + size):
            neuron = ids[j]
            slot = slot_of[neuron]
            if slot >= n_rows or pairs.neurons[slot] != neuron:
                slot = n_rows
                slot_of[neuron] = slot
                pairs.neurons[slot] = neuron
                pairs.starts[slot] = 0
                n_rows += 1
            pairs.starts[slot] += 1
    _counts_to_starts(pairs, n_rows)
    for i in range(n):
        size = sizes[i] if sizes != NULL else stride
        for j in range(i * stride, i * stride + size):
            slot = slot_of[ids[j]]
            pairs.samples[pairs.starts[slot]] = <int32_t>i
            pairs.places[pairs.starts[slot]] = <int32_t>j
            pairs.starts[slot] += 1
    _ends_to_starts(pairs, n_rows)


cdef void group_in_range(const int32_t *ids, const int32_t *sizes, int64_t n, int64_t stride,
                         int32_t low, int32_t high, float32_t *delta, Pruning by, int32_t *found,
                         Pairs *pairs) noexcept nogil:
    """Group the pairs of the neurons low..high by neuron: O(pairs of all neurons).

    The parameters are those of `group_by_neuron`; where ids is NULL, every sample has the first
    `stride` neurons. INOUT delta, laid out like ids, or NULL: the gradients of these neurons are
    pruned, and pairs without one are left out. Neurons ascend, and so do the samples of a neuron. A
    neuron may have no pairs. Scratch found (2 * pairs,).
    """
    cdef int64_t i, j, m = 0, first, last
    cdef int32_t slot, neuron, n_rows = high - low
    memset(pairs.starts, 0, (n_rows + 1) * sizeof(int32_t))
    for i in range(n):
        first = i * stride + (low if ids == NULL else 0)
        last = i * stride + (high if ids == NULL else sizes[i] if sizes != NULL else stride)
        for j in range(first, last):
            neuron = ids[j] if ids != NULL else <int32_t>(j - i * stride)
            if low <= neuron < high:
                if delta != NULL:
                    delta[j] = pruned(delta[j], j, by)
                    if delta[j] == 0:
                        continue
                pairs.starts[neuron - low] += 1
                found[2 * m] = <int32_t>i
                found[2 * m + 1] = <int32_t>j
                m += 1
    for slot in range(n_rows):
        pairs.neurons[slot] = low + slot
    _counts_to_starts(pairs, n_rows)
    for i in range(m):
        j = found[2 * i + 1]
        slot = (ids[j] if ids != NULL else <int32_t>(j - found[2 * i] * stride)) - low
        pairs.samples[pairs.starts[slot]] = found[2 * i]
        pairs.places[pairs.starts[slot]] = <int32_t>j
        pairs.starts[slot] += 1
    _ends_to_starts(pairs, n_rows)


cdef Pairs some_pairs(const Pairs *pairs, int64_t first, int64_t last) noexcept nogil:
    """The pairs of neurons number first to last of the grouped ones; a view."""
    cdef Pairs part = pairs[0]
    part.neurons += first
    part.starts += first
    part.n_neurons = last - first
    part.n_pairs = pairs.starts[last] - pairs.starts[first]
    return part


cdef void pair_all(const int32_t *rows, int64_t n_rows, int64_t n, Pairs *pairs) noexcept nogil:
    """Pair every one of n_rows neurons with every one of n samples.

    IN rows (n_rows,), or NULL for the first n_rows. The place of sample i and neuron u is
    i * n_rows + u.
    """
    cdef int64_t u, i
    for u in range(n_rows):
        pairs.neurons[u] = rows[u] if rows != NULL else <int32_t>u
        pairs.starts[u] = <int32_t>(u * n)
        for i in range(n):
            pairs.samples[u * n + i] = <int32_t>i
            pairs.places[u * n + i] = <int32_t>(i * n_rows + u)
    pairs.starts[n_rows] = <int32_t>(n_rows * n)
    pairs.n_neurons = n_rows
    pairs.n_pairs = n_rows * n


cdef int64_t pairs_forward(const LayerView *layer, const Vectors *x, const Pairs *pairs,
                           PairScratch *scratch, float32_t *z) noexcept nogil:
    """Compute z[place] = W[row] . x[sample] + b[row] for all pairs; returns the cost."""
    cdef int64_t u, j, m, first, d = layer.w.width, cost = 0
    cdef int32_t row, sample
    cdef const float32_t *w
    for u in range(pairs.n_neurons):
        row = pairs.neurons[u]
        w = row_of(&layer.w, row, scratch.row)
        first = pairs.starts[u]
        m = pairs.starts[u + 1] - first
        if x.dense != NULL:
            if u + 1 < pairs.n_neurons:
                prefetch_row(&layer.w, pairs.neurons[u + 1])
            for j in range(m):
                sample = pairs.samples[first + j]
                scratch.row_numbers[j] = x.rows[sample] if x.rows != NULL else sample
            chosen().dots(x.dense, x.ld, scratch.row_numbers, NULL, m, w, d, 1, d,
                          scratch.values, m)
            for j in range(m):
                z[pairs.places[first + j]] = scratch.values[j] + layer.b[row]
            cost += m * d
        else:
            for j in range(first, first + m):
                sample = pairs.samples[j]
                z[pairs.places[j]] = layer.b[row] + chosen().gather_dot(
                    w, x.ids[sample], x.values[sample], x.sizes[sample])
                cost += x.sizes[sample]
    return cost


cdef int64_t pairs_backward(LayerView *layer, const SolverView *solver, const Vectors *x,
                            const Pairs *pairs, const float32_t *delta, float32_t *x_delta,
                            int64_t ld_delta, PairScratch *scratch) noexcept nogil:
    """Back-propagate along the pairs, then update every row of weights once.

    x_delta[sample] += delta[place] W[row]; W[row] <- step(sum delta[place] x[sample]);
    b[row] <- step(sum delta[place])

    IN x; delta, laid out as z in `pairs_forward`; INOUT x_delta (n, ld_delta), or NULL where it is
    not needed. A row of x_delta has an element for every element of a dense input, or for every id
    of a sparse one. Pairs and neurons without a gradient are skipped. A weight is read before it is
    changed. Returns the multiply-adds.
    """
    cdef int64_t u, j, i, m, first, d = layer.w.width, n_columns, n_used, cost = 0, size
    cdef int32_t row, sample, c
    cdef float32_t bias_gradient, coef
    cdef const float32_t *w
    cdef float32_t *g = scratch.gradient
    cdef float32_t *xd
    cdef const int32_t *ids
    cdef const float32_t *values
    cdef bint whole
    for u in range(pairs.n_neurons):
        if interrupted(solver.watch):
            break
        row = pairs.neurons[u]
        w = row_of(&layer.w, row, scratch.row)
        first = pairs.starts[u]
        m = pairs.starts[u + 1] - first
        bias_gradient = 0
        n_used = n_columns = 0
        # Many elements of a row are faster by vectors, few of them one by one.
        whole = m > 0 and x.dense == NULL and layer.w.half == NULL and (
            m * x.sizes[pairs.samples[first]] * WHOLE >= d)
        for j in range(first, first + m):
            sample = pairs.samples[j]
            coef = delta[pairs.places[j]]
            if coef == 0:
                continue
            bias_gradient += coef
            if x.dense != NULL:
                scratch.row_numbers[n_used] = x.rows[sample] if x.rows != NULL else sample
                scratch.values[n_used] = coef
                if x_delta != NULL:
                    chosen().accumulate(scratch.values + n_used, 0, 0, w, d, NULL, 1,
                                        x_delta + sample * ld_delta, d, 1, d)
                    cost += d
                n_used += 1
                continue
            n_used += 1
            ids = x.ids[sample]
            values = x.values[sample]
            size = x.sizes[sample]
            if x_delta != NULL:
                xd = x_delta + sample * ld_delta
                for i in range(size):
                    xd[i] += coef * w[ids[i]]
                cost += size
            cost += size
            if whole:
                for i in range(size):
                    g[ids[i]] += coef * values[i]
                continue
            for i in range(size):
                # An input of 0 gives no gradient: a step would only let the moment decay.
                if values[i] != 0:
                    c = ids[i]
                    scratch.columns[n_columns] = c
                    n_columns += 1 - scratch.touched[c]
                    scratch.touched[c] = 1
                    g[c] += coef * values[i]
        if n_used == 0:
            continue
        if x.dense != NULL:
            if u + 1 < pairs.n_neurons:
                prefetch_update(layer, pairs.neurons[u + 1])
            chosen().accumulate(scratch.values, 0, 1, x.dense, x.ld, scratch.row_numbers, n_used,
                                g, d, 1, d)
            update_row(layer, solver, row, g)
            memset(g, 0, d * sizeof(float32_t))
            cost += d * (n_used + solver.update_cost)
        elif whole:
            cost += solver.update_cost * update_some(layer, solver, row, g)
            memset(g, 0, d * sizeof(float32_t))
        else:
            update_elements(layer, solver, row, scratch.columns, n_columns, g)
            for i in range(n_columns):
                scratch.touched[scratch.columns[i]] = 0
            cost += n_columns * solver.update_cost
        update_biases(layer, solver, row, 1, layer.progress[row].steps, &bias_gradient)
    return cost
