"""Linear support vector machines, one per label, trained by dual coordinate descent.

The machine of label l minimises, with the bias b as the weight of one more feature whose value is
1 in every row,

    |w|^2 / 2 + b^2 / 2 + C sum_i c_i max(0, 1 - y_i (w . v_i + b))^2

over the rows that have the label (y = 1) and the rows where it is a hard neuron (y = -1); v_i is
row i of X times its factor, and c_i its sample weight. A sweep visits all rows of the label in
random order and minimises the dual in one variable a_i at a time, w = sum_i a_i y_i v_i. Labels do
not depend on each other, so the result does not depend on the number of threads.

Source: Hsieh et al., ICML 2008 (the algorithm); Babbar and Schoelkopf, DiSMEC, WSDM 2017 (one
machine per label, small weights cut).
"""
import numpy as np

from cython.parallel cimport prange
from libc.math cimport fabs, fabsf, fmax, isfinite

from slide._base.openmp cimport omp_get_thread_num
from slide._base.random cimport next_below, seed_stream
from slide._base.rows cimport InputRows, InputView
from slide._base.scratch cimport scratch_array
from slide._base.signals cimport end_watch, interrupted, start_watch, Watch
from slide._base.typedefs cimport (
    float32_t,
    float64_t,
    int32_t,
    int64_t,
    uint32_t,
    uint64_t,
    uint8_t,
)
from slide._prototypes.index cimport inverse_length
from slide._simd.dispatch cimport chosen, slide_prefetch

from slide._prototypes.means import check_shapes

cdef enum:
    AHEAD = 2                  # rows between a prefetch and its use
    CHECKED = 1024             # rows between two looks at signals

# Inputs that all threads read.
cdef struct SvmsView:
    const InputView *x
    const float32_t *factors         # (n_rows,) factor of each row
    const float32_t *squares         # (n_rows,) squared length of each row times its factor, + 1
    const float32_t *sample_weights  # (n_rows,) c, or NULL: all are 1
    const int64_t *right_indptr      # (n_classes + 1,) the rows that have a label
    const int32_t *right
    const int64_t *wrong_indptr      # (n_classes + 1,) the rows where it is a hard neuron
    const int32_t *wrong
    float64_t c
    float64_t tolerance              # largest gradient of a sweep that is the last
    int64_t n_sweeps                 # at most
    float32_t least                  # smallest weight that is kept

# The machines of a range of labels.
cdef struct SvmPart:
    int64_t first, last
    int32_t *features          # label after label; there is room for as many as can be kept
    float32_t *weights

# Private to a thread.
cdef struct SvmScratch:
    float32_t *weights         # (n_features,) zeros between two labels
    uint8_t *seen              # (n_features,) zeros between two labels
    int32_t *features          # (n_features + 1,) the features that the label's rows have
    float32_t *duals           # (most rows of a label,) a
    int32_t *order             # (most rows of a label,)


cdef int64_t _list_features(const SvmsView *view, const int32_t *rows, int64_t n_rows,
                            SvmScratch *scratch, int64_t n) noexcept nogil:
    """Add the features of some rows to the n that are listed, each once; returns their number."""
    cdef int64_t i, p
    cdef int32_t feature
    for i in range(n_rows):
        for p in range(view.x.indptr[rows[i]], view.x.indptr[rows[i] + 1]):
            feature = view.x.indices[p]
            scratch.features[n] = feature
            n += not scratch.seen[feature]
            scratch.seen[feature] = 1
    return n


cdef float64_t _move(const SvmsView *view, int32_t row, float32_t y, float32_t *dual,
                     float64_t *bias, float32_t *weights) noexcept nogil:
    """Minimise the dual in the variable of one row; returns the size of its projected gradient.

    g = y (w . v + b) - 1 + a / (2 C c);  a <- max(0, a - g / (|v|^2 + 1 + 1 / (2 C c)))

    INOUT dual, bias, weights (n_features,). Cost: two multiply-adds per value of the row, the
    second only if the variable moves.
    """
    cdef int64_t p, first = view.x.indptr[row], size = view.x.indptr[row + 1] - first
    cdef const int32_t *features = view.x.indices + first
    cdef const float32_t *values = view.x.values + first
    cdef float64_t cost = view.c * (view.sample_weights[row] if view.sample_weights != NULL else 1)
    cdef float64_t soft, gradient, before = dual[0], after
    cdef float32_t step
    if cost <= 0:
        return 0
    soft = 0.5 / cost
    gradient = y * (<float64_t>view.factors[row] * chosen().gather_dot(
        weights, features, values, size) + bias[0]) - 1 + soft * before
    if before == 0 and gradient >= 0:
        return 0
    dual[0] = <float32_t>fmax(0, before - gradient / (view.squares[row] + soft))
    after = dual[0]
    bias[0] += y * (after - before)
    step = <float32_t>(y * (after - before) * view.factors[row])
    for p in range(size):
        weights[features[p]] += step * values[p]
    return fabs(gradient)


cdef float64_t _train(const SvmsView *view, int64_t label, SvmScratch *scratch, int64_t *n_listed,
                      Watch *watch) noexcept nogil:
    """Train the machine of one label; returns its bias.

    OUT scratch.weights; scratch.features, the n_listed features whose weights may not be zero.
    """
    cdef const int32_t *right = view.right + view.right_indptr[label]
    cdef const int32_t *wrong = view.wrong + view.wrong_indptr[label]
    cdef int64_t n_right = view.right_indptr[label + 1] - view.right_indptr[label]
    cdef int64_t n = n_right + view.wrong_indptr[label + 1] - view.wrong_indptr[label]
    cdef int64_t i, j, _sweep
    cdef int32_t at
    cdef float64_t bias = 0, largest
    cdef uint64_t random = seed_stream(0, <uint64_t>label)
    n_listed[0] = _list_features(view, right, n_right, scratch, 0)
    n_listed[0] = _list_features(view, wrong, n - n_right, scratch, n_listed[0])
    for i in range(n):
        scratch.duals[i], scratch.order[i] = 0, <int32_t>i
    for _sweep in range(view.n_sweeps):
        largest = 0
        for i in range(n):
            j = i + next_below(&random, <uint32_t>(n - i))
            at = scratch.order[j]
            scratch.order[j] = scratch.order[i]
            scratch.order[i] = at
        for i in range(n):
            if i % CHECKED == 0 and interrupted(watch):
                return 0
            if i + AHEAD < n:
                at = scratch.order[i + AHEAD]
                at = right[at] if at < n_right else wrong[at - n_right]
                j = (view.x.indptr[at + 1] - view.x.indptr[at]) * sizeof(float32_t)
                slide_prefetch(view.x.indices + view.x.indptr[at], j)
                slide_prefetch(view.x.values + view.x.indptr[at], j)
            at = scratch.order[i]
            largest = fmax(largest, _move(
                view, right[at] if at < n_right else wrong[at - n_right],
                1 if at < n_right else -1, &scratch.duals[at], &bias, scratch.weights))
        if largest < view.tolerance:
            break
    return bias


cdef void _solve(const SvmsView *view, const SvmPart *part, SvmScratch *scratch, int32_t *lengths,
                 float32_t *biases, Watch *watch) noexcept nogil:
    """Train the machines of a part's labels.

    OUT the arrays of the part; lengths (n_classes,), the number of weights kept of each label;
    biases (n_classes,).
    """
    cdef int64_t label, j, n_listed = 0, n = 0, before
    cdef int32_t feature
    cdef float32_t weight
    cdef bint fits
    for label in range(part.first, part.last):
        if interrupted(watch):
            return
        biases[label] = <float32_t>_train(view, label, scratch, &n_listed, watch)
        # Values near the limits of float32 can overflow; such a machine is left out.
        fits = isfinite(biases[label])
        if not fits:
            biases[label] = 0
        before = n
        for j in range(n_listed):
            feature = scratch.features[j]
            weight = scratch.weights[feature]
            scratch.weights[feature], scratch.seen[feature] = 0, 0
            part.features[n], part.weights[n] = feature, weight
            n += fits and fabsf(weight) >= view.least and isfinite(weight)
        lengths[label] = <int32_t>(n - before)


cdef class Svms:
    """The linear support vector machines of all labels; see the module.

    Parameters
    ----------
    x : InputRows, sparse
    feature_weights : float32 (n_features,), IN
        A row's factor gives it length `scale` once its features are weighted by these.
    sample_weights : float32 (n,) or None, IN
        c, at least 0.
    right, wrong : pairs of int64 (n_classes + 1,) and int32, IN
        The rows that have each label, and the rows where it is a hard neuron.
    c, tolerance, n_sweeps, least
        As in SvmsView.
    n_threads : int

    Attributes
    ----------
    biases : float32 (n_classes,)
    lengths : int32 (n_classes,)
        Number of weights that are kept of each label.
    scale : float
        Chosen so that the mean length of a row times its factor is 1.
    """
    cdef SvmsView view
    cdef SvmScratch *scratch
    cdef int n_threads
    cdef readonly object biases, lengths
    cdef readonly float64_t scale
    cdef object _keep_alive

    def __init__(self, InputRows x, const float32_t[::1] feature_weights, sample_weights, right,
                 wrong, float64_t c, float64_t tolerance, int64_t n_sweeps, float32_t least,
                 int n_threads):
        cdef const float32_t[::1] sample_weights_view
        cdef const int64_t[::1] right_indptr = right[0], wrong_indptr = wrong[0]
        cdef const int32_t[::1] right_rows = right[1], wrong_rows = wrong[1]
        cdef int64_t i, n_features = x.view.n_features
        if len(right[0]) != len(wrong[0]) or len(right[0]) < 2:
            raise ValueError(
                f"right and wrong must be of as many labels; got {len(right[0]) - 1} and "
                f"{len(wrong[0]) - 1}"
            )
        for rows_of_labels in (right, wrong):
            check_shapes(x, sample_weights, feature_weights, *rows_of_labels)
        self._keep_alive = keep_alive = [x, sample_weights, right, wrong]
        self.n_threads = n_threads
        factors, squares, self.scale = _factors(x, feature_weights, n_threads)
        cdef const float32_t[::1] factors_view = factors, squares_view = squares
        keep_alive += [factors, squares]
        self.view = SvmsView(&x.view, &factors_view[0], &squares_view[0], NULL, &right_indptr[0],
                             NULL, &wrong_indptr[0], NULL, c, tolerance, n_sweeps, least)
        if sample_weights is not None:
            sample_weights_view = sample_weights
            self.view.sample_weights = &sample_weights_view[0]
        if right_rows.shape[0]:
            self.view.right = &right_rows[0]
        if wrong_rows.shape[0]:
            self.view.wrong = &wrong_rows[0]
        self.lengths = np.zeros(right_indptr.shape[0] - 1, np.int32)
        self.biases = np.zeros(right_indptr.shape[0] - 1, np.float32)
        most = np.max(np.diff(right[0]) + np.diff(wrong[0]), initial=0)
        self.scratch = <SvmScratch *>scratch_array(n_threads * sizeof(SvmScratch), np.uint8,
                                                   keep_alive)
        for i in range(n_threads):
            self.scratch[i].weights = <float32_t *>scratch_array(n_features, np.float32, keep_alive)
            self.scratch[i].seen = <uint8_t *>scratch_array(n_features, np.uint8, keep_alive)
            self.scratch[i].features = <int32_t *>scratch_array(n_features + 1, np.int32,
                                                                keep_alive)
            self.scratch[i].duals = <float32_t *>scratch_array(most, np.float32, keep_alive)
            self.scratch[i].order = <int32_t *>scratch_array(most, np.int32, keep_alive)

    def train(self, const int64_t[::1] bounds, const int64_t[::1] rooms):
        """Train the machines of some ranges of labels, which the threads share out.

        Parameters
        ----------
        bounds : int64 (n_parts + 1,), IN
            First label of each range, and the last label + 1.
        rooms : int64 (n_parts,), IN
            The most weights that each range can have: for each label as many as its rows have
            values, or n_features if that is less.

        Returns
        -------
        features, weights : int32, float32
            The weights of at least `least`, label after label; `lengths` has their numbers.
        """
        cdef int64_t i, n_parts = rooms.shape[0]
        starts = np.concatenate(([0], np.cumsum(rooms)))
        # Most of this room is never written, and so it takes no memory. A part's last place takes
        # what is not kept.
        features = np.empty(starts[n_parts] + n_parts, np.int32)
        weights = np.empty(starts[n_parts] + n_parts, np.float32)
        parts, lengths = np.zeros(n_parts * sizeof(SvmPart), np.uint8), self.lengths
        cdef uint8_t[::1] memory = parts
        cdef SvmPart *part = <SvmPart *>&memory[0]
        cdef const int64_t[::1] starts_view = starts
        cdef int32_t[::1] features_view = features, lengths_view = self.lengths
        cdef float32_t[::1] weights_view = weights, biases_view = self.biases
        cdef Watch watch
        for i in range(n_parts):
            part[i] = SvmPart(bounds[i], bounds[i + 1], &features_view[starts_view[i] + i],
                              &weights_view[starts_view[i] + i])
        start_watch(&watch)
        for i in prange(n_parts, nogil=True, num_threads=self.n_threads, schedule="dynamic"):
            _solve(&self.view, &part[i], &self.scratch[omp_get_thread_num()], &lengths_view[0],
                   &biases_view[0], &watch)
        end_watch(&watch)
        found = [slice(starts[i] + i, starts[i] + i + lengths[bounds[i]:bounds[i + 1]].sum())
                 for i in range(n_parts)]
        return (np.concatenate([features[at] for at in found]),
                np.concatenate([weights[at] for at in found]))


def _factors(InputRows x, const float32_t[::1] feature_weights, int n_threads):
    """The factor of every row, and the squared length that it then has, plus 1; the scale.

    Both are float32 (n,). The factor of a row of zeros is 0.
    """
    cdef int64_t i, p
    cdef const InputView *view = &x.view
    cdef float64_t square
    factors, squares = np.empty(x.n_rows), np.empty(x.n_rows)
    cdef float64_t[::1] factors_view = factors, squares_view = squares
    for i in prange(x.n_rows, nogil=True, num_threads=n_threads, schedule="static"):
        factors_view[i] = inverse_length(&feature_weights[0], view, i)
        square = 0
        for p in range(view.indptr[i], view.indptr[i + 1]):
            square = square + <float64_t>view.values[p] * view.values[p]
        squares_view[i] = square
    lengths = factors * np.sqrt(squares)
    scale = np.count_nonzero(lengths) / max(lengths.sum(), np.finfo(np.float32).tiny)
    # The factor of a very short row would be infinite: it is bounded.
    factors = np.minimum(scale * factors, np.finfo(np.float32).max)
    squares = np.minimum(squares * factors * factors, np.finfo(np.float32).max / 2) + 1
    return factors.astype(np.float32), squares.astype(np.float32), scale
