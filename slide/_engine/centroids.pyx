"""Rows of output weights from centroids: the mean of the samples of each label."""
import numpy as np

from libc.math cimport sqrtf

from slide._base.signals cimport end_watch, interrupted, start_watch, Watch
from slide._base.typedefs cimport float32_t, int32_t, int64_t


def add_label_sums(const float32_t[:, ::1] h, const int64_t[::1] y_indptr,
                   const int32_t[::1] y_indices, int64_t first, float32_t[:, ::1] sums):
    """Sum samples by label: sums[l] += h[i] for every label l of row first + i.

    Parameters
    ----------
    h : float32 (n, width), IN
    y_indptr, y_indices : int64, int32, IN
        Labels of all rows, CSR.
    first : int
        The row of h[0].
    sums : float32 (n_classes, width), INOUT

    Notes
    -----
    The cost is one addition per label and coordinate, in one thread: about 1 % of a training epoch.
    """
    cdef int64_t i, j, c, label, width = h.shape[1]
    cdef Watch watch
    _check_sums(h.shape[0], width, y_indptr, y_indices, first, sums)
    start_watch(&watch)
    with nogil:
        for i in range(h.shape[0]):
            if interrupted(&watch):
                break
            for j in range(y_indptr[first + i], y_indptr[first + i + 1]):
                label = y_indices[j]
                for c in range(width):
                    sums[label, c] += h[i, c]
    end_watch(&watch)


def add_sparse_label_sums(h, const int64_t[::1] y_indptr, const int32_t[::1] y_indices,
                          int64_t first, float32_t[:, ::1] sums):
    """Add the samples of a CSR array h to the sums of their labels, as `add_label_sums` does."""
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
                     const float32_t[::1] mean, float length):
    """Center and scale the label sums: sums[l] = length * unit(sums[l] / counts[l] - mean).

    The result is zero for a label that was never seen, and for one whose centroid differs from the
    mean by no more than rounding.

    Parameters
    ----------
    sums : float32 (n_classes, width), INOUT
    counts : int64 (n_classes,), IN
    mean : float32 (width,), IN
    length : float
    """
    cdef int64_t i, c, width = sums.shape[1]
    if counts.shape[0] != sums.shape[0] or mean.shape[0] != width:
        raise ValueError("sums, counts and mean must fit each other")
    cdef float32_t share, norm2, scale, rounding = 0
    with nogil:
        for c in range(width):
            rounding += mean[c] * mean[c]
        rounding *= 1e-12
        for i in range(sums.shape[0]):
            if counts[i] == 0:
                continue
            share = 1 / <float32_t>counts[i]
            norm2 = 0
            for c in range(width):
                sums[i, c] = sums[i, c] * share - mean[c]
                norm2 += sums[i, c] * sums[i, c]
            scale = length / sqrtf(norm2) if norm2 > rounding else 0
            for c in range(width):
                sums[i, c] *= scale


def _check_sums(n, width, y_indptr, y_indices, first, sums):
    """Raise ValueError unless labels and sums fit n rows of this width from `first` on."""
    starts, labels = np.asarray(y_indptr), np.asarray(y_indices)
    if not (0 <= first and first + n < len(starts) and sums.shape[1] == width
            and 0 <= starts[first] and starts[first + n] <= len(labels)):
        raise ValueError("labels and sums must fit the rows")
    used = labels[starts[first]:starts[first + n]]
    if len(used) and not 0 <= used.min() <= used.max() < sums.shape[0]:
        raise ValueError(f"labels must be below the {sums.shape[0]} sums")
