"""Lazy optimisers: one step on one row of weights, on some of its elements, or on biases.

Adam, SGD with momentum and Adagrad share one form: a first moment for every weight, and for
every row one step size, found from the row's gradient alone:

    m = b1 m + (1 - b1) g;  w -= step * m

    adam     step = rate / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon),
             v = b2 v + (1 - b2) mean(g^2)
    adagrad  step = rate / (sqrt(v) + epsilon),  v += mean(g^2),  b1 = 0
    sgd      step = rate / (1 - momentum),  b1 = momentum

rate = learning rate * factor, the layer's own: its factor falls and its gradients grow as its
input grows, so that epsilon means the same whatever the units of X.

One second moment a row (Adam-mini, Zhang et al. 2024; row-wise Adagrad): a step keeps the
direction of the gradient, where Adam's own makes all weights of a rare feature or label move
alike, and a third of the memory is saved. Measured: P@1 .331 -> .340 on the dictionary task of
bench/xmc.py. Lazy: t is the row's own count of steps, and moments do not decay while a row, or
an element of a row whose input was sparse, has no gradient.

Weights and first moments in bfloat16 are rounded at random, up or down: on average a step counts
as it is, however small beside the weight. What is counted once a row or neuron is float32.
"""
from libc.math cimport powf, sqrt, sqrtf

from slide._base.random cimport mix64
from slide._base.typedefs cimport (
    float32_t,
    float64_t,
    int32_t,
    int64_t,
    uint16_t,
    uint32_t,
    uint64_t,
)
from slide._engine.layer cimport Progress
from slide._simd.dispatch cimport (
    chosen,
    slide_float_to_half,
    slide_half_to_float,
    slide_noise,
    slide_prefetch,
)
from slide._simd.weights cimport prefetch_row, Weights


cdef void adam_corrections(float32_t beta_1, float32_t beta_2, float32_t *out) noexcept nogil:
    """1 / (1 - beta_1^t) and 1 / sqrt(1 - beta_2^t) for t = 1 .. CORRECTIONS - 1; OUT (., 2)."""
    cdef int64_t t
    cdef float64_t p1 = 1, p2 = 1
    out[0] = out[1] = 0
    for t in range(1, CORRECTIONS):
        p1 *= beta_1
        p2 *= beta_2
        out[2 * t] = <float32_t>(1 / (1 - p1))
        out[2 * t + 1] = <float32_t>(1 / sqrt(1 - p2))


cdef inline void _correction(const SolverView *solver, int32_t steps, float32_t *first,
                             float32_t *second) noexcept nogil:
    if steps < CORRECTIONS:
        first[0] = solver.corrections[2 * steps]
        second[0] = solver.corrections[2 * steps + 1]
    else:
        first[0] = 1 / (1 - _power(solver.beta_1, steps))
        second[0] = 1 / sqrtf(1 - _power(solver.beta_2, steps))


cdef inline float32_t _power(float32_t beta, int32_t steps) noexcept nogil:
    # beta^steps, 0 where that is below exp(-20) and so nothing beside 1.
    return 0 if steps * (1 - beta) > 20 else powf(beta, <float32_t>steps)


cdef inline float32_t _step_size(const SolverView *solver, float32_t factor, int32_t steps,
                                 float32_t *v, float32_t square) noexcept nogil:
    # Step along the first moment after a gradient whose mean square is `square`; INOUT v.
    cdef float32_t rate = solver.learning_rate * factor, first, second
    if solver.kind == SGD:
        return rate / (1 - solver.beta_1)
    if solver.kind == ADAGRAD:
        v[0] += square
        return rate / (sqrtf(v[0]) + solver.epsilon / factor)
    _correction(solver, steps, &first, &second)
    v[0] = solver.beta_2 * v[0] + (1 - solver.beta_2) * square
    return rate * first / (sqrtf(v[0]) * second + solver.epsilon / factor)


cdef void prefetch_update(const LayerView *layer, int64_t row) noexcept nogil:
    """Ask for what `update_row` changes, but for the weights."""
    prefetch_row(&layer.w_m, row)
    slide_prefetch(layer.progress + row, sizeof(Progress))


cdef inline uint32_t _row_seed(const SolverView *solver, int64_t row) noexcept nogil:
    # Rows take stretches of the noise that start anywhere.
    return <uint32_t>mix64((<uint64_t>solver.seed << 32) ^ <uint64_t>row)


cdef void update_row(LayerView *layer, const SolverView *solver, int64_t row,
                     float32_t *gradient) noexcept nogil:
    """One step on one row of weights.

    INOUT gradient (width,), to which the penalty's is added. Raced: layer. Cost: update_cost
    times width.
    """
    move_row(layer, solver, row, gradient, row_step(layer, solver, row, gradient))


cdef float32_t row_step(LayerView *layer, const SolverView *solver, int64_t row,
                        float32_t *gradient) noexcept nogil:
    """The first half of `update_row`: counts the update and returns its step.

    Steps take divisions and roots that wait for each other: those of several rows do so at once
    where they are found before the first row is moved.
    """
    cdef int64_t d = layer.width, start = row * d, j
    cdef float32_t square = 0
    cdef Progress *progress = layer.progress + row
    progress.steps += 1
    if solver.decay > 0:
        if layer.w.half == NULL:
            chosen().accumulate(&solver.decay, 0, 0, layer.w.single + start, d, NULL, 1, gradient,
                                d, 1, d)
        else:
            for j in range(d):
                gradient[j] += solver.decay * slide_half_to_float(layer.w.half[start + j])
    if solver.kind != SGD:
        square = chosen().square_sum(gradient, d)
    return _step_size(solver, layer.rate, progress.steps, &progress.w_v, square / d)


cdef void move_row(LayerView *layer, const SolverView *solver, int64_t row,
                   const float32_t *gradient, float32_t step) noexcept nogil:
    """The second half of `update_row`."""
    cdef int64_t d = layer.width, start = row * d
    if layer.w.half == NULL:
        chosen().momentum(layer.w.single + start, layer.w_m.single + start, gradient, d, step,
                          solver.beta_1)
    else:
        chosen().momentum_half(layer.w.half + start, layer.w_m.half + start, gradient, d, step,
                               solver.beta_1, _row_seed(solver, row))


cdef void update_elements(LayerView *layer, const SolverView *solver, int64_t row,
                          const int32_t *columns, int64_t n, float32_t *gradient) noexcept nogil:
    """`update_row` where only the n given columns have a gradient, and only they are touched.

    IN columns (n,), distinct; INOUT gradient (width,), of which the columns' elements are read
    and zeroed. The mean square is that of the whole row. Cost: update_cost times n.
    """
    cdef int64_t j, c, start = row * layer.width
    cdef float32_t square = 0, step
    cdef Progress *progress = layer.progress + row
    progress.steps += 1
    for j in range(n):
        c = columns[j]
        if solver.decay > 0:
            gradient[c] += solver.decay * _value(&layer.w, start + c)
        square += gradient[c] * gradient[c]
    step = _step_size(solver, layer.rate, progress.steps, &progress.w_v, square / layer.width)
    if layer.w.half == NULL:
        _move_elements(layer.w.single + start, layer.w_m.single + start, columns, n, gradient,
                       step, solver.beta_1)
    else:
        _move_halves(layer.w.half + start, layer.w_m.half + start, columns, n, gradient, step,
                     solver.beta_1, _row_seed(solver, row))
    for j in range(n):
        gradient[columns[j]] = 0


cdef inline float32_t _value(const Weights *w, int64_t i) noexcept nogil:
    return w.single[i] if w.half == NULL else slide_half_to_float(w.half[i])


cdef void _move_elements(float32_t *w, float32_t *m, const int32_t *columns, int64_t n,
                         const float32_t *g, float32_t step, float32_t b1) noexcept nogil:
    """m = b1 m + (1 - b1) g, w -= step * m for some elements of a row."""
    cdef int64_t j, c
    cdef float32_t c1 = 1 - b1
    for j in range(n):
        c = columns[j]
        m[c] = b1 * m[c] + c1 * g[c]
        w[c] -= step * m[c]


cdef void _move_halves(uint16_t *w, uint16_t *m, const int32_t *columns, int64_t n,
                       const float32_t *g, float32_t step, float32_t b1,
                       uint32_t seed) noexcept nogil:
    """`_move_elements` in bfloat16, rounded as by the kernel `momentum_half`."""
    cdef int64_t j, c
    cdef float32_t moment, c1 = 1 - b1
    cdef uint32_t noise
    for j in range(n):
        c = columns[j]
        noise = slide_noise(seed + <uint32_t>c)
        moment = b1 * slide_half_to_float(m[c]) + c1 * g[c]
        m[c] = slide_float_to_half(moment, noise >> 16)
        w[c] = slide_float_to_half(slide_half_to_float(w[c]) - step * moment, noise)


cdef void update_biases(LayerView *layer, const SolverView *solver, int64_t first_bias, int64_t n,
                        int32_t steps, const float32_t *gradient) noexcept nogil:
    """One step on n biases from first_bias on, each with a second moment of its own."""
    cdef int64_t i
    cdef float32_t step
    cdef Progress *bias = layer.bias_progress + first_bias
    for i in range(n):
        step = _step_size(solver, layer.bias_rate, steps, &bias[i].b_v, gradient[i] * gradient[i])
        bias[i].b_m = solver.beta_1 * bias[i].b_m + (1 - solver.beta_1) * gradient[i]
        layer.b[first_bias + i] -= step * bias[i].b_m
