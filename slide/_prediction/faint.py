"""Which output neurons almost never reach a row's top k. Short lists scan them last."""

import numpy as np
from scipy.special import ndtr

from slide._base.arrays import Array, Bools, Floats
from slide._base.products import dot, rows_dot

_NEURONS_AT_ONCE = 1 << 14  # neurons taken before Ctrl-C is checked


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
    """Which of `neurons`, all ids in random order, almost never reach the top k: bool (n,).

    Model a neuron's score as normal with mean b_i and deviation |w_i| query_length / sqrt(d). From
    a sample, estimate the 100th-best score. A neuron is faint if its score is below that even for a
    hidden vector along w_i of 1.5 times the usual length. Classes without training rows are faint.
    Faint neurons are still found, only later. If at most n_least others would be left, none counts
    as faint.
    Source: Yan et al., NeurIPS 2018 (ranges of norms).
    """
    n, d = weights.shape
    length2, middle = np.empty(n, np.float32), np.empty(n, np.float32)
    for start in range(0, n, _NEURONS_AT_ONCE):
        part = slice(start, start + _NEURONS_AT_ONCE)
        w = weights[part].astype(np.float32, copy=False)
        length2[part] = np.einsum("ij,ij->i", w, w) - 2 * rows_dot(w, mean)
        middle[part] = rows_dot(w, query_mean)
    length2 += dot(mean, mean)
    middle += biases
    middle -= dot(mean, query_mean)
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
