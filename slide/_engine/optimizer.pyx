"""Lazy solvers: one step on one row of weights, on some of its elements, or on biases.

This file defines every solver completely: its row in SOLVERS and its step in `_step_size`.

Adam, SGD with momentum and Adagrad share one form: a first moment for every weight, and for
every row one step size, computed from the row's gradients alone:

    m = b1 m + (1 - b1) g;  w -= step * m

    adam     step = rate / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon),
             v = b2 v + (1 - b2) mean(g^2)
    adagrad  step = rate / (sqrt(v) + epsilon),  v += mean(g^2),  b1 = 0
    sgd      step = rate / (1 - momentum),  b1 = momentum

Here rate = learning rate * factor, and every layer has its own factor. As the input of a layer
grows, its factor falls and its gradients grow. The setting epsilon is therefore divided by the
factor, so that it means the same whatever the units of X.

Every row has only one second moment (as in Adam-mini, Zhang et al. 2024, and row-wise Adagrad). So
a step keeps the direction of the gradient, whereas the original Adam moves all weights of a rare
feature or label by the same amount. It also saves a third of the memory. Measured: P@1 .331 -> .340
on the dictionary task of bench/xmc.py.

Lazy means that t is the row's own count of steps, and that the moments of a row without a gradient
do not decay. Where the inputs of a row are sparse, the first moment of an element without a
gradient does not decay either.

Weights and first moments in bfloat16 are rounded up or down at random: on average a step counts in
full, however small it is compared with the weight. Second moments and biases are float32.
"""
from typing import NamedTuple

import numpy as np

from libc.math cimport powf, sqrt, sqrtf

from slide._base.random cimport mix64
from slide._base.scratch cimport scratch_array
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
from slide._simd.weights cimport column_of, copies_rows, prefetch_row, Weights

cdef enum:
    ADAM
    SGD
    ADAGRAD

cdef enum:
    CORRECTED = 8192           # length of the table of bias corrections, in steps


class Solver(NamedTuple):
    """The constants of one solver; its step is in `_step_size`.

    `slide._settings.auto` multiplies learning rates by rate_factor, so that the default
    learning_rate_init suits the solver. A solver that normalizes divides a step by the size of the
    gradients. The rates of the other solvers depend only on the size of a layer's input.
    """
    kind: int
    first_decay: str | None   # name of the setting that beta_1 comes from; None: 0
    normalizes: bool
    update_cost: int   # multiplications of one step on one weight, without the penalty
    rate_factor: float


SOLVERS = {
    "adam": Solver(ADAM, "beta_1", True, 4, 1.0),
    "sgd": Solver(SGD, "momentum", False, 3, 100.0),
    # Its steps fall as 1 / sqrt(t).
    "adagrad": Solver(ADAGRAD, None, True, 4, 10.0),
}


cdef int set_solver(SolverView *solver, dict settings, list keep_alive) except -1:
    """Set everything in a solver that stays the same for a training run.

    OUT solver. `settings` has the keys solver, alpha, momentum, beta_1, beta_2, epsilon. The table
    of corrections joins keep_alive.
    """
    cdef float32_t *corrections
    chosen_solver = SOLVERS[settings["solver"]]
    first_decay = chosen_solver.first_decay
    solver.kind = chosen_solver.kind
    solver.beta_1 = 0.0 if first_decay is None else settings[first_decay]
    solver.beta_2 = settings["beta_2"]
    solver.epsilon = settings["epsilon"]
    solver.decay = settings["alpha"]
    solver.update_cost = chosen_solver.update_cost + (settings["alpha"] > 0)
    corrections = <float32_t *>scratch_array(2 * CORRECTED, np.float32, keep_alive)
    _fill_corrections(solver.beta_1, solver.beta_2, corrections)
    solver.corrections = corrections
    return 0


cdef void _fill_corrections(float32_t beta_1, float32_t beta_2, float32_t *out) noexcept nogil:
    """Fill the table of bias corrections for t = 1 .. CORRECTED - 1.

    out[t] = 1 / (1 - beta_1^t), 1 / sqrt(1 - beta_2^t); OUT out (CORRECTED, 2).
    """
    cdef int64_t t
    cdef float64_t p1 = 1, p2 = 1
    out[0] = out[1] = 0
    for t in range(1, CORRECTED):
        p1 *= beta_1
        p2 *= beta_2
        out[2 * t] = <float32_t>(1 / (1 - p1))
        out[2 * t + 1] = <float32_t>(1 / sqrt(1 - p2))


cdef inline void _correction(const SolverView *solver, int32_t steps, float32_t *first,
                             float32_t *second) noexcept nogil:
    if steps < CORRECTED:
        first[0] = solver.corrections[2 * steps]
        second[0] = solver.corrections[2 * steps + 1]
    else:
        first[0] = 1 / (1 - _power(solver.beta_1, steps))
        second[0] = 1 / sqrtf(1 - _power(solver.beta_2, steps))


cdef inline float32_t _power(float32_t beta, int32_t steps) noexcept nogil:
    # beta^steps, or 0 where that is below exp(-20): 1 - beta^steps then rounds to 1.
    return 0 if steps * (1 - beta) > 20 else powf(beta, <float32_t>steps)


cdef inline float32_t _step_size(const SolverView *solver, float32_t factor, int32_t steps,
                                 float32_t *v, float32_t square) noexcept nogil:
    # The step along the first moment, and the new second moment v, after a gradient whose mean
    # square is `square`.
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
    """Prefetch what `update_row` changes, except the weights."""
    prefetch_row(&layer.w_m, row)
    slide_prefetch(layer.progress + row, sizeof(Progress))


cdef inline uint32_t _row_seed(const LayerView *layer, const SolverView *solver,
                               int64_t row) noexcept nogil:
    # Every row starts to read the noise at its own random position.
    cdef int64_t name = layer.ids[row] if layer.ids != NULL else row
    return <uint32_t>mix64((<uint64_t>solver.seed << 32) ^ <uint64_t>name)


cdef void update_row(LayerView *layer, const SolverView *solver, int64_t row,
                     float32_t *gradient) noexcept nogil:
    """Take one step on one row of weights.

    INOUT gradient (width,), of the columns that are used; the penalty's gradient is added to it.
    Columns that are not used stay as they are, and count as zeros in the mean square. Raced: layer.
    Cost: update_cost times width.
    """
    move_row(layer, solver, row, gradient, row_step(layer, solver, row, gradient))


cdef float32_t row_step(LayerView *layer, const SolverView *solver, int64_t row,
                        float32_t *gradient) noexcept nogil:
    """The first half of `update_row`: count the update and return its step size.

    A step size is a chain of divisions and roots. The chains of several rows overlap if they are
    computed before the first row is moved.
    """
    cdef int64_t d = layer.w.width, start = row * layer.w.stride, j
    cdef float32_t square = 0
    cdef Progress *progress = layer.progress + row
    progress.steps += 1
    if solver.decay > 0:
        if not copies_rows(&layer.w):
            chosen().accumulate(&solver.decay, 0, 0, layer.w.single + start, d, NULL, 1, gradient,
                                d, 1, d)
        else:
            for j in range(d):
                gradient[j] += solver.decay * _value(&layer.w, start + column_of(&layer.w, j))
    if solver.kind != SGD:
        square = chosen().square_sum(gradient, d)
    return _step_size(solver, layer.rate, progress.steps, &progress.w_v, square / layer.w.stride)


cdef void move_row(LayerView *layer, const SolverView *solver, int64_t row,
                   const float32_t *gradient, float32_t step) noexcept nogil:
    """The second half of `update_row`: move the weights and their first moments."""
    cdef int64_t d = layer.w.width, start = row * layer.w.stride
    cdef const int32_t *starts = layer.w.starts
    if layer.w.half == NULL and starts == NULL:
        chosen().momentum(layer.w.single + start, layer.w_m.single + start, gradient, d, step,
                          solver.beta_1)
    elif layer.w.half == NULL:
        chosen().momentum_blocks(layer.w.single + start, layer.w_m.single + start, starts,
                                 gradient, d, step, solver.beta_1)
    elif starts == NULL:
        chosen().momentum_half(layer.w.half + start, layer.w_m.half + start, gradient, d, step,
                               solver.beta_1, _row_seed(layer, solver, row))
    else:
        chosen().momentum_half_blocks(layer.w.half + start, layer.w_m.half + start, starts,
                                      gradient, d, step, solver.beta_1,
                                      _row_seed(layer, solver, row))


cdef void update_elements(LayerView *layer, const SolverView *solver, int64_t row,
                          const int32_t *columns, int64_t n, float32_t *gradient) noexcept nogil:
    """Update n columns of a row, as `update_row` does; the other columns are not touched.

    The other columns must have no gradient. IN columns (n,), distinct; INOUT gradient (width,): its
    elements in these columns are read, then set to zero. The mean square is taken over the whole
    row. Cost: update_cost times n.
    """
    cdef int64_t j, c, start = row * layer.w.stride
    cdef float32_t square = 0, step
    cdef Progress *progress = layer.progress + row
    progress.steps += 1
    for j in range(n):
        c = columns[j]
        if solver.decay > 0:
            gradient[c] += solver.decay * _value(&layer.w, start + c)
        square += gradient[c] * gradient[c]
    step = _step_size(solver, layer.rate, progress.steps, &progress.w_v, square / layer.w.stride)
    if layer.w.half == NULL:
        _move_elements(layer.w.single + start, layer.w_m.single + start, columns, n, gradient,
                       step, solver.beta_1)
    else:
        _move_halves(layer.w.half + start, layer.w_m.half + start, columns, n, gradient, step,
                     solver.beta_1, _row_seed(layer, solver, row))
    for j in range(n):
        gradient[columns[j]] = 0


cdef int64_t update_some(LayerView *layer, const SolverView *solver, int64_t row,
                         float32_t *gradient) noexcept nogil:
    """Do the same as `update_elements` for the columns that have a gradient; returns their number.

    IN gradient (width,). Float32 weights only. Cost: update_cost times the columns that move.
    """
    cdef int64_t d = layer.w.width, start = row * layer.w.stride, j
    cdef float32_t step
    cdef Progress *progress = layer.progress + row
    progress.steps += 1
    if solver.decay > 0:
        for j in range(d):
            if gradient[j] != 0:
                gradient[j] += solver.decay * layer.w.single[start + j]
    step = _step_size(solver, layer.rate, progress.steps, &progress.w_v,
                      chosen().square_sum(gradient, d) / layer.w.stride)
    return chosen().momentum_some(layer.w.single + start, layer.w_m.single + start, gradient, d,
                                  step, solver.beta_1)


cdef inline float32_t _value(const Weights *w, int64_t i) noexcept nogil:
    return w.single[i] if w.half == NULL else slide_half_to_float(w.half[i])


cdef void _move_elements(float32_t *w, float32_t *m, const int32_t *columns, int64_t n,
                         const float32_t *g, float32_t step, float32_t b1) noexcept nogil:
    """Move n elements of a row: m = b1 m + (1 - b1) g; w -= step * m."""
    cdef int64_t j, c
    cdef float32_t c1 = 1 - b1
    for j in range(n):
        c = columns[j]
        m[c] = b1 * m[c] + c1 * g[c]
        w[c] -= step * m[c]


cdef void _move_halves(uint16_t *w, uint16_t *m, const int32_t *columns, int64_t n,
                       const float32_t *g, float32_t step, float32_t b1,
                       uint32_t seed) noexcept nogil:
    """Do the same as `_move_elements` in bfloat16, rounded as in the kernel `momentum_half`."""
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
    """Take one step on n biases from first_bias on. Each bias has its own second moment.

    IN gradient (n,), to which no penalty is added; steps, the number of this update. Raced: layer.
    """
    cdef int64_t i
    cdef float32_t step
    cdef Progress *bias = layer.bias_progress + first_bias
    for i in range(n):
        step = _step_size(solver, layer.bias_rate, steps, &bias[i].b_v, gradient[i] * gradient[i])
        bias[i].b_m = solver.beta_1 * bias[i].b_m + (1 - solver.beta_1) * gradient[i]
        layer.b[first_bias + i] -= step * bias[i].b_m
