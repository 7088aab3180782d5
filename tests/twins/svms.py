"""Twin of `_prototypes.svms`: dual coordinate descent for linear SVMs, one label at a time."""

import numpy as np

from twins.random import SplitMix64, seed_stream


def svms(x, labels, hard, n_classes, feature_weights, sample_weights=None, sweeps=6, c=1.0,
         tolerance=0.1):  # fmt: skip
    """Weights (n_classes, n_features) over rows of length 1, biases, and the rows' scale.

    x : dense (n, n_features); labels, hard : a list of label ids for every row, the right and the
    wrong ones. No weight is cut.
    """
    x = np.where(feature_weights == 0, 0, np.asarray(x, np.float64))
    lengths = np.linalg.norm(x * feature_weights, axis=1)
    rows = np.divide(x, lengths[:, np.newaxis], out=np.zeros_like(x), where=lengths[:, None] > 0)
    norms = np.linalg.norm(rows, axis=1)
    scale = np.count_nonzero(norms) / norms.sum()
    rows *= scale
    weights, biases = np.zeros((n_classes, x.shape[1])), np.zeros(n_classes)
    for label in range(n_classes):
        right = [i for i, row in enumerate(labels) if label in row]
        wrong = [i for i, row in enumerate(hard) if label in row and len(labels[i])]
        y = np.array([1.0] * len(right) + [-1.0] * len(wrong))
        at = np.array(right + wrong, np.int64)
        cost = c * (np.ones(len(at)) if sample_weights is None else sample_weights[at])
        weights[label], biases[label] = dual_descent(rows[at], y, cost, label, sweeps, tolerance)
    return weights, biases, scale


def dual_descent(v, y, cost, label, sweeps, tolerance):
    """The weights and the bias of one machine; a row of cost 0 is left out."""
    w, b, a, order = np.zeros(v.shape[1]), 0.0, np.zeros(len(v)), np.arange(len(v))
    random = SplitMix64(seed_stream(0, label))
    for _ in range(sweeps):
        for i in range(len(v)):
            j = i + random.below(len(v) - i)
            order[[i, j]] = order[[j, i]]
        largest = 0.0
        for i in order:
            if cost[i] <= 0:
                continue
            soft = 0.5 / cost[i]
            gradient = y[i] * (w @ v[i] + b) - 1 + soft * a[i]
            if a[i] == 0 and gradient >= 0:
                continue
            new = max(0.0, a[i] - gradient / (v[i] @ v[i] + 1 + soft))
            w, b = w + y[i] * (new - a[i]) * v[i], b + y[i] * (new - a[i])
            a[i], largest = new, max(largest, abs(gradient))
        if largest < tolerance:
            break
    return w, b


def margins(x, weights, biases, feature_weights, scale):
    """Margins (n, n_classes) of rows."""
    x = np.where(feature_weights == 0, 0, np.asarray(x, np.float64))
    lengths = np.linalg.norm(x * feature_weights, axis=1, keepdims=True)
    return scale * x / np.where(lengths > 0, lengths, 1) @ weights.T + biases
