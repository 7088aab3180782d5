"""Random initial weights: each is a function of a seed, its row and its place in the row alone.

So rows can be drawn in any order, by any number of threads, and long after the others. Weights are
uniform, which takes integers and one product: every machine draws the same bits.
"""
import numpy as np

from cython.parallel cimport prange

from slide._base.random cimport next64, seed_stream
from slide._base.typedefs cimport float32_t, float64_t, int32_t, int64_t, uint32_t, uint64_t
from slide._simd.dispatch cimport slide_float_to_half
from slide._simd.weights cimport WeightArray, Weights


def draw_rows(uint64_t seed, uint64_t layer, const int32_t[::1] ids, float64_t scale,
              const int32_t[::1] rows, out, int n_threads):
    """Draw rows of weights of mean 0 and standard deviation `scale`.

    Weight j of row rows[i] depends on seed, layer, ids[i] and j, and on nothing else.

    Parameters
    ----------
    seed, layer : int
    ids : int32 (n,), IN
        For a dense first layer the columns of X, for other layers the neurons.
    scale : float
    rows : int32 (n,), IN
        Distinct rows of `out`.
    out : float32 or bfloat16 (n_rows, width), OUT
        Other rows stay as they are. bfloat16 weights are rounded to the nearest.
    n_threads : int

    Notes
    -----
    The cost is one random number per weight. Threads draw different rows, and are the first to
    touch their memory.
    """
    numbers = np.asarray(rows)
    if len(numbers) != ids.shape[0] or len(numbers) and not (
            0 <= numbers.min() <= numbers.max() < len(out)):
        raise ValueError(f"rows must be {ids.shape[0]} rows of the {len(out)} rows of out")
    if ids.shape[0] == 0 or out.shape[1] == 0:
        return
    # 24 random bits give the odd numbers between -2^24 and 2^24, whose deviation is 2^24 / sqrt(3).
    cdef float32_t unit = np.float32(scale * np.sqrt(3.0) / (1 << 24))
    cdef WeightArray array = WeightArray(out)
    cdef Weights *weights = &array.view
    cdef uint64_t of_layer = seed_stream(seed, layer)
    cdef int64_t i
    for i in prange(ids.shape[0], nogil=True, num_threads=max(1, n_threads), schedule="static"):
        _draw(seed_stream(of_layer, <uint64_t>ids[i]), unit, weights, rows[i])


def uniform_rows(seed, layer, ids, width, scale, n_threads):
    """Draw rows as `draw_rows` does, into a new array: float32 (len(ids), width)."""
    out = np.empty((len(ids), width), np.float32)
    draw_rows(seed, layer, ids, scale, np.arange(len(ids), dtype=np.int32), out, n_threads)
    return out


cdef inline float32_t _uniform(uint64_t *state, float32_t unit) noexcept nogil:
    return <float32_t>(2 * <int32_t>(next64(state) >> 40) + 1 - (1 << 24)) * unit


cdef inline uint32_t _to_nearest(float32_t x) noexcept nogil:
    # The noise with which `slide_float_to_half` rounds to the nearest, and on ties to even.
    return 0x7FFF + (slide_float_to_half(x, 0) & 1)


cdef void _draw(uint64_t state, float32_t unit, const Weights *weights,
                int64_t row) noexcept nogil:
    """Fill a row of weights from the stream that starts at `state`; OUT the row."""
    cdef int64_t j, start = row * weights.stride
    cdef float32_t x
    if weights.half == NULL:
        for j in range(weights.width):
            weights.single[start + j] = _uniform(&state, unit)
        return
    for j in range(weights.width):
        x = _uniform(&state, unit)
        weights.half[start + j] = slide_float_to_half(x, _to_nearest(x))
