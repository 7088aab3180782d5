"""Recall of the hashing in a fitted network: in hidden layers and in prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from slide._base.n_jobs import resolve_n_jobs
from slide._base.rows import InputRows
from slide._data.checks import check_rows
from slide._engine import predict
from slide._prediction import lookup
from slide._settings.rules import check_k, check_n_candidates

if TYPE_CHECKING:
    from slide._estimator.classifier import SparseMLPClassifier
    from slide._network.network import Network

__all__ = ["prediction_recall", "retrieval_recall"]

_ROWS = 256  # rows per block, whose pre-activations are all computed


def retrieval_recall(estimator: SparseMLPClassifier, X: Any) -> dict[int, float]:
    """Measure how many of the neurons with the largest pre-activations a sparse layer computes.

    Suppose that a layer has n active neurons. For each row they are compared with the n neurons
    that have the largest pre-activations on the layer's own input. The recall is the share of these
    neurons that are active. It would be 1 for an exhaustive search, and equal to the layer's share
    of active neurons for random neurons.

    Parameters
    ----------
    estimator : SparseMLPClassifier
        Fitted estimator with at least one sparse hidden layer.
    X : {array-like, sparse} of shape (n_samples, n_features)
        Rows to test; some hundreds are enough.

    Returns
    -------
    recall : dict of int to float
        Mean recall of every sparse hidden layer. Keys are the layers' numbers, from 0.

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
    network = estimator._result().network
    sparse = [i for i, layer in enumerate(network.layers) if layer.n_active]
    if not sparse:
        raise ValueError("estimator must have a sparse hidden layer; got dense ones only")
    X = network.inputs(check_rows(estimator, X, reset=False))
    rows = InputRows(X)
    with network.guard.reading():
        return {i: _recall(network, i, X, rows) for i in sparse}


def _recall(network: Network, i: int, X: Any, rows: InputRows) -> float:
    """Compute the mean recall of hidden layer i."""
    layer, hits = network.layers[i], 0
    # In this model the layer is the last hidden one; the model's output layer does not matter.
    model = network.model(i + 2)
    for start in range(0, rows.n_rows, _ROWS):
        stop = min(start + _ROWS, rows.n_rows)
        h = X[start:stop] if i == 0 else predict.hidden(network.model(i + 1), rows, start, stop, 1)
        z = np.asarray(h @ layer.coefs) + layer.b
        best = np.argpartition(-z, layer.n_active - 1, axis=1)[:, : layer.n_active]
        active = predict.hidden(model, rows, start, stop, 1)
        ids = active.indices.reshape(stop - start, layer.n_active)
        hits += sum(np.isin(a, b).sum() for a, b in zip(ids, best, strict=True))
    return float(hits / (rows.n_rows * layer.n_active))


def prediction_recall(
    estimator: SparseMLPClassifier, X: Any, k: int = 1, *, n_candidates: int | str = "auto"
) -> float:
    """Measure the share of the best k classes that prediction with `predict_mode` "lsh" finds.

    Each row is predicted in both modes, whatever the estimator's `predict_mode` is. The true labels
    of the rows do not matter. If "lsh" is exact, for example with few classes, the recall is 1.

    Parameters
    ----------
    estimator : SparseMLPClassifier
        Fitted estimator.
    X : {array-like, sparse} of shape (n_samples, n_features)
        Rows to test; some hundreds are enough.
    k : int, default=1
        Number of classes per row, at most the number of all classes.
    n_candidates : "auto" or int, default="auto"
        Parameter of :meth:`slide.SparseMLPClassifier.predict_topk`.

    Returns
    -------
    recall : float
        Mean recall, in [0, 1].

    Examples
    --------
    >>> from slide import SparseMLPClassifier
    >>> from slide.datasets import make_extreme_classification
    >>> from slide.inspection import prediction_recall
    >>> X, Y = make_extreme_classification(3000, 2000, 20_000, n_labels=3, random_state=0)
    >>> clf = SparseMLPClassifier((64,), max_iter=3, random_state=0).fit(X, Y)
    >>> prediction_recall(clf, X[:200], k=5) > 0.9
    True
    """
    check_is_fitted(estimator)
    network = estimator._result().network
    rows = network.rows(network.inputs(check_rows(estimator, X, reset=False)))
    k = check_k(k, network.n_classes)
    n_candidates = check_n_candidates(n_candidates, k)
    n_threads, hits = resolve_n_jobs(estimator.n_jobs), 0
    best, _ = lookup.topk(network, rows, k, n_threads)
    found, _ = lookup.topk(network, rows, k, n_threads, "lsh", n_candidates)
    for ours, theirs in zip(found, best, strict=True):
        hits += np.isin(ours, theirs).sum()
    return float(hits / best.size)
