"""The mean neuron, and which can hardly ever be among the best of a row; for the short lists."""

import numpy as np
from scipy.special import ndtr

from slide._base.arrays import Array, Bools, Floats

_NEURONS_AT_ONCE = 1 << 14  # neurons between two looks at Python's signals


def mean_row(weights: Array) -> Floats:
    """The mean of the rows of `weights`, float32 or bfloat16 (n, d): float32 (d,)."""
    total = np.zeros(weights.shape[1])
    for start in range(0, len(weights), _NEURONS_AT_ONCE):
        total += weights[start : start + _NEURONS_AT_ONCE].sum(axis=0, dtype=np.float64)
    return (total / len(weights)).astype(np.float32)


def faint(
    weights: Array,
    biases: Floats,
    mean: Floats,
    query_mean: Floats,
    query_length: float,
    neurons: Array,
    n_least: int,
) -> Bools:
    """Which of the `neurons`, random, can hardly ever be among the best: bool (n,).

    Were hidden vectors spread evenly around their mean, the score of neuron i would have the mean
    b_i and the deviation |w_i| query_length / sqrt(d). So a usual score of the hundredth best is
    known from a sample, and a neuron is faint whose score at its best, w_i along a hidden vector of
    1.5 times the usual length, stays below. Classes without training rows are. What is taken for
    faint is found all the same, only later. Where no more than n_least others are left, none is
    taken for it. Source: Yan et al., NeurIPS 2018 (ranges of norms).
    """
    n, d = weights.shape
    length2, middle = np.empty(n, np.float32), np.empty(n, np.float32)
    for start in range(0, n, _NEURONS_AT_ONCE):
        part = slice(start, start + _NEURONS_AT_ONCE)
        w = weights[part].astype(np.float32, copy=False)
        # einsum: its sums have one order, whatever the threads of BLAS do.
        length2[part] = np.einsum("ij,ij->i", w, w) - 2 * np.einsum("ij,j->i", w, mean)
        middle[part] = np.einsum("ij,j->i", w, query_mean)
    length2 += mean @ mean
    middle += biases
    middle -= np.vdot(mean, query_mean)
    reach = query_length * np.sqrt(np.maximum(length2, 0))
    sample = neurons[:4096]
    spread = np.maximum(reach[sample] / np.sqrt(d), 1e-30)
    low, high = middle[sample].min(), (middle + reach).max()
    for _ in range(50):
        score = (low + high) / 2
        above = ndtr((middle[sample] - score) / spread).mean() * len(neurons)
        low, high = (score, high) if above > 100 else (low, score)
    found = (middle + 1.5 * reach < low)[neurons]
    return found if len(neurons) - found.sum() > n_least else np.zeros(len(neurons), bool)
