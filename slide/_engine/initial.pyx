"""Random initial weights: each is a function of a seed, its row and its place in the row alone.

So rows can be drawn in any order, by any number of threads, and long after the others. Weights are
uniform, which takes integers and one product: every machine draws the same bits.
"""
import numpy as np

from cython.parallel cimport prange

from slide._base.random cimport next64, seed_stream
from slide._base.typedefs cimport float32_t, float64_t, int32_t, int64_t, uint64_t


def uniform_rows(uint64_t seed, uint64_t layer, const int32_t[::1] ids, int64_t width,
                 float64_t scale, int n_threads):
    """Draw rows of weights of mean 0 and standard deviation `scale`: float32 (n, width).

    Weight j of row i depends on seed, layer, ids[i] and j, and on nothing else.

    Parameters
    ----------
    seed, layer : int
    ids : int32 (n,), IN
        For a dense first layer the columns of X, for other layers the neurons.
    width, n_threads : int
    scale : float

    Notes
    -----
    The cost is one random number per weight. Threads draw different rows.
    """
    out = np.empty((ids.shape[0], width), np.float32)
    cdef float32_t[:, ::1] view = out
    # 24 random bits give the odd numbers between -2^24 and 2^24, whose deviation is 2^24 / sqrt(3).
    cdef float32_t unit = np.float32(scale * np.sqrt(3.0) / (1 << 24))
    cdef uint64_t of_layer = seed_stream(seed, layer)
    cdef int64_t i
    if width > 0:
        for i in prange(ids.shape[0], nogil=True, num_threads=max(1, n_threads)):
            _draw(seed_stream(of_layer, <uint64_t>ids[i]), width, unit, &view[i, 0])
    return out


cdef void _draw(uint64_t state, int64_t width, float32_t unit, float32_t *row) noexcept nogil:
    """Fill a row from the stream that starts at `state`; OUT row (width,)."""
    cdef int64_t j
    cdef int32_t odd
    for j in range(width):
        odd = 2 * <int32_t>(next64(&state) >> 40) + 1 - (1 << 24)
        row[j] = <float32_t>odd * unit
