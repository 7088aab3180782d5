"""Diagnostics of a fitted network."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from slide import _predict
from slide._centering import centered
from slide._model import InputRows
from slide._validation import check_rows

__all__ = ["retrieval_recall"]

_ROWS = 256  # rows whose pre-activations are all computed at a time


def retrieval_recall(estimator, X):
    """Share of the neurons of largest pre-activation that every sparse layer computes.

    For each row the active neurons of a layer are held against the as many neurons whose
    pre-activation on the layer's own input is largest. A random choice scores the layer's share of
    active neurons, an exhaustive search 1.

    Parameters
    ----------
    estimator : SparseMLPClassifier
        Fitted, with at least one sparse hidden layer.
    X : {array-like, sparse} of shape (n_samples, n_features)
        Rows to look at; some hundreds are enough.

    Returns
    -------
    recall : dict of int to float
        From the number of a sparse hidden layer, 0 the first, to its mean recall.

    Raises
    ------
    ValueError
        If no hidden layer is sparse.

    Examples
    --------
    >>> from slide import SparseMLPClassifier
    >>> from slide.datasets import make_extreme_classification
    >>> from slide.inspection import retrieval_recall
    >>> X, y = make_extreme_classification(1000, 500, 20, random_state=0)
    >>> clf = SparseMLPClassifier((512,), active_fraction=0.1, retrieval="estimate", random_state=0)
    >>> 0.1 < retrieval_recall(clf.fit(X, y), X)[0] <= 1
    True
    """
    check_is_fitted(estimator)
    network = estimator._network
    sparse = [i for i, layer in enumerate(network.layers) if layer.n_active]
    if not sparse:
        raise ValueError("estimator must have a sparse hidden layer; got dense ones only")
    X = centered(check_rows(estimator, X, reset=False), network.center)
    rows = InputRows(X)
    return {i: _recall(network, i, X, rows) for i in sparse}


def _recall(network, i, X, rows):
    """Mean recall of hidden layer i."""
    layer, hits = network.layers[i], 0
    # The layer itself is the last hidden one of this model, whatever its output layer.
    model = network.model(i + 2)
    for start in range(0, rows.n_rows, _ROWS):
        stop = min(start + _ROWS, rows.n_rows)
        h = X[start:stop] if i == 0 else _predict.hidden(network.model(i + 1), rows, start, stop, 1)
        z = np.asarray(h @ layer.coefs) + layer.b
        best = np.argpartition(-z, layer.n_active - 1, axis=1)[:, : layer.n_active]
        active = _predict.hidden(model, rows, start, stop, 1)
        ids = active.indices.reshape(stop - start, layer.n_active)
        hits += sum(np.isin(a, b).sum() for a, b in zip(ids, best, strict=True))
    return float(hits / (rows.n_rows * layer.n_active))
