"""Rows of output weights from centroids: the mean of the samples of each label."""
import numpy as np

from cython.parallel cimport prange
from libc.math cimport sqrtf

from slide._base.signals cimport end_watch, interrupted, start_watch, Watch
from slide._base.typedefs cimport blocks_of, float32_t, int32_t, int64_t
from slide._simd.dispatch cimport SLIDE_BLOCK


def add_label_sums(const float32_t[:, ::1] h, const int64_t[::1] y_indptr,
                   const int32_t[::1] y_indices, int64_t first, float32_t[:, ::1] sums,
                   int n_threads=1):
    """Sum samples by label: sums[l] += h[i] for every label l of row first + i.

    Parameters
    ----------
    h : float32 (n, width), IN
    y_indptr, y_indices : int64, int32, IN
        Labels of all rows, CSR.
    first : int
        The row of h[0].
    sums : float32 (n_classes, width), INOUT
    n_threads : int

    Notes
    -----
    The cost is one addition per label and coordinate: about 1 % of a training epoch. Every thread
    has columns of its own, so that any number of threads gives the same bits.
    """
    cdef int64_t part, width = h.shape[1], n_blocks = blocks_of(width, SLIDE_BLOCK)
    cdef int64_t size = SLIDE_BLOCK * max(<int64_t>1, blocks_of(n_blocks, max(1, n_threads)))
    cdef Watch watch
    _check_sums(h.shape[0], width, y_indptr, y_indices, first, sums)
    start_watch(&watch)
    for part in prange(blocks_of(width, size), nogil=True, num_threads=max(1, n_threads),
                       schedule="static"):
        _add_columns(h, y_indptr, y_indices, first, part * size,
                     min(width, (part + 1) * size), sums, &watch)
    end_watch(&watch)


cdef void _add_columns(const float32_t[:, ::1] h, const int64_t[::1] y_indptr,
                       const int32_t[::1] y_indices, int64_t first, int64_t low, int64_t high,
                       float32_t[:, ::1] sums, Watch *watch) noexcept nogil:
    """Do `add_label_sums` for the columns low..high, in one thread."""
    cdef int64_t i, j, c, label
    for i in range(h.shape[0]):
        if interrupted(watch):
            break
        for j in range(y_indptr[first + i], y_indptr[first + i + 1]):
            label = y_indices[j]
            for c in range(low, high):
                sums[label, c] += h[i, c]


def add_sparse_label_sums(h, const int64_t[::1] y_indptr, const int32_t[::1] y_indices,
                          int64_t first, float32_t[:, ::1] sums, int n_threads=1):
    """Add the samples of a CSR array h to the sums of their labels, as `add_label_sums` does.

    It takes one thread, whatever n_threads.
    """
    cdef const int32_t[::1] indices = h.indices.astype(np.int32, copy=False)
    cdef const int64_t[::1] indptr = h.indptr.astype(np.int64, copy=False)
    cdef const float32_t[::1] values = h.data
    cdef int64_t i, j, c, label
    cdef Watch watch
    _check_sums(h.shape[0], h.shape[1], y_indptr, y_indices, first, sums)
    start_watch(&watch)
    with nogil:
        for i in range(indptr.shape[0] - 1):
            if interrupted(&watch):
                break
            for j in range(y_indptr[first + i], y_indptr[first + i + 1]):
                label = y_indices[j]
                for c in range(indptr[i], indptr[i + 1]):
                    sums[label, indices[c]] += values[c]
    end_watch(&watch)


def center_and_scale(float32_t[:, ::1] sums, const int64_t[::1] counts,
                     const float32_t[::1] mean, float length, int n_threads=1):
    """Center and scale the label sums: sums[l] = length * unit(sums[l] / counts[l] - mean).

    The result is zero for a label that was never seen, and for one whose centroid differs from the
    mean by no more than rounding.

    Parameters
    ----------
    sums : float32 (n_classes, width), INOUT
    counts : int64 (n_classes,), IN
    mean : float32 (width,), IN
    length : float
    n_threads : int
    """
    cdef int64_t i, c, width = sums.shape[1]
    if counts.shape[0] != sums.shape[0] or mean.shape[0] != width:
        raise ValueError("sums, counts and mean must fit each other")
    cdef float32_t rounding = 0
    for c in range(width):
        rounding += mean[c] * mean[c]
    rounding *= 1e-12
    for i in prange(sums.shape[0], nogil=True, num_threads=max(1, n_threads), schedule="static"):
        if counts[i] > 0:
            _center(&sums[i, 0], counts[i], &mean[0], width, length, rounding)


cdef void _center(float32_t *total, int64_t count, const float32_t *mean, int64_t width,
                  float32_t length, float32_t rounding) noexcept nogil:
    """Center and scale the sum of one label; INOUT total (width,)."""
    cdef int64_t c
    cdef float32_t share = 1 / <float32_t>count, norm2 = 0, scale
    for c in range(width):
        total[c] = total[c] * share - mean[c]
        norm2 += total[c] * total[c]
    scale = length / sqrtf(norm2) if norm2 > rounding else 0
    for c in range(width):
        total[c] *= scale


def _check_sums(n, width, y_indptr, y_indices, first, sums):
    """Raise ValueError unless labels and sums fit n rows of this width from `first` on."""
    starts, labels = np.asarray(y_indptr), np.asarray(y_indices)
    if not (0 <= first and first + n < len(starts) and sums.shape[1] == width
            and 0 <= starts[first] and starts[first + n] <= len(labels)):
        raise ValueError("labels and sums must fit the rows")
    used = labels[starts[first]:starts[first + n]]
    if len(used) and not 0 <= used.min() <= used.max() < sums.shape[0]:
        raise ValueError(f"labels must be below the {sums.shape[0]} sums")
