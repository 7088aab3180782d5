"""Twins of `_prototypes`: each class's mean training row, and the cosines of rows with it."""

import numpy as np


def prototypes(x, labels, n_classes, weights=None, least=0.05):
    """Unit means of each label's rows, weighted by rarity; weights below `least` are cut.

    x : dense (n, n_features); labels : a list of label ids for every row. Returns the prototypes
    (n_classes, n_features), with no limit on their non-zeros, and the features' weights.
    """
    n = len(x)
    counts = (x != 0).sum(axis=0)
    feature_weights = np.where(counts > 0, np.log((n + 1) / (counts + 1)), 0)
    rows = unit(x * feature_weights)
    sums = np.zeros((n_classes, x.shape[1]))
    for i, row in enumerate(labels):
        for label in row:
            sums[label] += rows[i] * (1.0 if weights is None else weights[i])
    sums = unit(sums)
    sums[np.abs(sums) < least] = 0
    return unit(sums), feature_weights


def prototype_scores(x, prototypes, feature_weights, weight):
    """weight times the cosine of every weighted row with every prototype: (n, n_classes)."""
    return weight * unit(x * feature_weights) @ np.asarray(prototypes, np.float64).T


def unit(rows):
    """Rows of length 1; a row of zeros stays one."""
    rows = np.asarray(rows, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)
