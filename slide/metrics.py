"""Metrics on ranked labels, as `predict_topk` returns them; nothing is ever made dense."""

from functools import partial
from numbers import Integral

import numpy as np
from scipy.sparse import csr_array, issparse
from sklearn.pipeline import Pipeline

__all__ = ["precision_at_k", "precision_at_k_scorer"]


def precision_at_k(y_true, y_ranked, k=1):
    """Compute the share of right labels among the `k` ranked best, averaged over the rows.

    Parameters
    ----------
    y_true : {array-like, sparse} of shape (n_samples, n_labels) or array-like of shape (n_samples,)
        Label indicator of zeros and ones, or the one label of each row. A row without labels
        counts as `k` misses.
    y_ranked : array-like of shape (n_samples, at least k)
        Labels of each row, best first, none twice among the first `k`: column indices where
        `y_true` is an indicator, label values otherwise.
    k : int, default=1
        How many labels of a row to judge.

    Returns
    -------
    precision : float
        Right labels ÷ (`k` × `n_samples`), between 0 and 1.

    Raises
    ------
    ValueError
        If the shapes do not fit together, if `k` is not an int between 1 and the number of columns
        of `y_ranked`, if `y_true` has two dimensions and holds anything but zeros and ones, or if
        `y_ranked` has a label that is out of range, twice in a row, or of another kind.

    Examples
    --------
    >>> from slide.metrics import precision_at_k
    >>> precision_at_k([[1, 0, 1], [0, 1, 0]], [[2, 0], [1, 2]], k=2)
    0.75
    >>> precision_at_k(["cat", "dog"], [["cat", "cow"], ["cow", "dog"]], k=1)
    0.5
    """
    y_true = csr_array(y_true) if issparse(y_true) else np.asarray(y_true)
    y_ranked = np.asarray(y_ranked)
    _check_ranked(y_true, y_ranked, k)
    y_ranked = y_ranked[:, :k]
    try:
        in_order = np.sort(y_ranked, axis=1)
    except TypeError as error:
        raise ValueError(f"y_ranked must hold labels of one type that sorts; {error}") from error
    repeats = (in_order[:, 1:] == in_order[:, :-1]).any(axis=1)
    if repeats.any():
        row = int(np.argmax(repeats))
        raise ValueError(f"y_ranked has a label twice in row {row}: {y_ranked[row].tolist()}")
    if y_true.ndim == 1:
        hits = np.count_nonzero(y_ranked == y_true[:, np.newaxis])
    else:
        hits = _count_hits(y_true, y_ranked)
    return float(hits / y_ranked.size)


def precision_at_k_scorer(k=1):
    """Make a scorer of `precision_at_k` for ``GridSearchCV(scoring=...)`` and its like.

    Parameters
    ----------
    k : int, default=1
        How many labels of a row to judge.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y)`` ranks with ``estimator.predict_topk(X, k=k)`` and returns the
        precision, a float. A `Pipeline` is taken too when its last step has `predict_topk`. The
        scorer can be pickled.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from slide import SparseMLPClassifier
    >>> from slide.metrics import precision_at_k_scorer
    >>> search = GridSearchCV(
    ...     SparseMLPClassifier(), {"dropout": [0.0, 0.3]}, scoring=precision_at_k_scorer(k=5)
    ... )
    """
    return partial(_score_precision_at_k, k=k)


def _score_precision_at_k(estimator, X, y, *, k):
    while isinstance(estimator, Pipeline):
        if len(estimator) > 1:
            X = estimator[:-1].transform(X)
        estimator = estimator[-1]
    return precision_at_k(y, estimator.predict_topk(X, k=k)[0], k=k)


def _check_ranked(y_true, y_ranked, k):
    """Check the shapes and dtypes of `y_true` and `y_ranked`, and `k`."""
    if y_ranked.ndim != 2:
        raise ValueError(f"y_ranked must have 2 dimensions; got shape {y_ranked.shape}")
    if y_true.ndim != 2 and (y_true.ndim != 1 or issparse(y_true)):
        raise ValueError(f"y_true must have 2 dimensions, or 1 if dense; got shape {y_true.shape}")
    n_samples = y_true.shape[0]
    if y_ranked.shape[0] != n_samples or n_samples == 0:
        raise ValueError(
            "y_true and y_ranked must have the same number of rows, at least one; "
            f"got {n_samples} and {y_ranked.shape[0]}"
        )
    is_int = isinstance(k, Integral) and not isinstance(k, bool)
    if not is_int or not 1 <= k <= y_ranked.shape[1]:
        raise ValueError(
            "k must be an int between 1 and the number of columns of y_ranked, "
            f"{y_ranked.shape[1]}; got {k!r}"
        )
    if y_true.ndim == 1:
        numeric = [array.dtype.kind in "biuf" for array in (y_true, y_ranked)]
        if "O" not in (y_true.dtype.kind, y_ranked.dtype.kind) and numeric[0] != numeric[1]:
            raise ValueError(
                "y_ranked must hold labels of the kind of y_true's, "
                f"{y_true.dtype}; got {y_ranked.dtype}"
            )
    elif y_ranked.dtype.kind not in "iu":
        raise ValueError(
            "y_ranked must hold integers, column indices of the indicator y_true; "
            f"got {y_ranked.dtype}"
        )


def _count_hits(indicator, y_ranked):
    """Count the (row, label) pairs of `y_ranked` that the indicator, sparse or dense, has."""
    n_labels = indicator.shape[1]
    entries = indicator.data if issparse(indicator) else indicator
    if not np.isin(entries, (0, 1)).all():
        raise ValueError("y_true of two dimensions must be an indicator of zeros and ones")
    if y_ranked.min() < 0 or y_ranked.max() >= n_labels:
        raise ValueError(
            f"y_ranked must hold column indices of y_true, in [0, {n_labels}); "
            f"got values from {y_ranked.min()} to {y_ranked.max()}"
        )
    rows, columns = indicator.nonzero()
    true_pairs = rows.astype(np.int64) * n_labels + columns
    row_starts = np.arange(len(y_ranked), dtype=np.int64)[:, np.newaxis] * n_labels
    return np.count_nonzero(np.isin(row_starts + y_ranked.astype(np.int64), true_pairs))
