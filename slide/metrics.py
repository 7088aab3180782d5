"""Metrics of ranked labels, as `predict_topk` returns them. Sparse indicators stay sparse."""

from collections.abc import Callable
from functools import partial
from math import fsum, log
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from slide._base.arrays import Array
from slide._base.handlers import raise_from_handler
from slide._base.values import as_float, as_int, refusing, shown
from slide._base.wrappers import rank
from slide._data.exact import exact_array
from slide._data.gains import ndcg_of_rows
from slide._data.label_values import same_labels, type_of
from slide._data.labels import LabelRows
from slide._data.target import read_indicator, read_target

Scorer: TypeAlias = Callable[[Any, Any, Any], float]

__all__ = [
    "label_propensities",
    "ndcg_at_k",
    "ndcg_at_k_scorer",
    "precision_at_k",
    "precision_at_k_scorer",
    "psp_at_k",
    "psp_at_k_scorer",
    "recall_at_k",
    "recall_at_k_scorer",
]


# ---------------------------------------------------------------- metrics --


def precision_at_k(y_true: Any, y_ranked: npt.ArrayLike, k: int = 1) -> float:
    """Compute the share of right labels among the `k` best-ranked, averaged over the rows.

    Parameters
    ----------
    y_true : {array-like, sparse} of shape (n_samples, n_labels) or array-like of shape (n_samples,)
        Label indicator of zeros and ones, or the one label of each row, in any form that `fit`
        takes: one dense column is one label per row. A row without labels counts as `k` misses.
    y_ranked : array-like of shape (n_samples, at least k)
        Labels of each row, best first. They are column indices if `y_true` is an indicator, label
        values otherwise. The first `k` of a row must differ.
    k : int, default=1
        Number of labels per row to evaluate.

    Returns
    -------
    precision : float
        Right labels ÷ (`k` × `n_samples`), between 0 and 1.

    Raises
    ------
    ValueError
        If the shapes do not match. If `k` is not an int between 1 and the number of columns of
        `y_ranked`. If a `y_true` of two dimensions holds values other than zeros and ones. If
        `y_ranked` has a label that is out of range, repeated within a row, or of another kind.

    Examples
    --------
    >>> from slide.metrics import precision_at_k
    >>> precision_at_k([[1, 0, 1], [0, 1, 0]], [[2, 0], [1, 2]], k=2)
    0.75
    >>> precision_at_k(["cat", "dog"], [["cat", "cow"], ["cow", "dog"]], k=1)
    0.5
    """
    hits, _ = _judge(y_true, y_ranked, k)
    return float(np.count_nonzero(hits) / hits.size)


def recall_at_k(y_true: Any, y_ranked: npt.ArrayLike, k: int = 1) -> float:
    """Compute the share of a row's labels that are among the `k` best-ranked, averaged over rows.

    Parameters
    ----------
    y_true : {array-like, sparse} of shape (n_samples, n_labels) or array-like of shape (n_samples,)
        Label indicator of zeros and ones, or the one label of each row, in any form that `fit`
        takes: one dense column is one label per row. A row without labels counts as 0.
    y_ranked : array-like of shape (n_samples, at least k)
        Labels of each row, best first, as `precision_at_k` takes them.
    k : int, default=1
        Number of labels per row to evaluate.

    Returns
    -------
    recall : float
        Mean of right labels ÷ labels of the row, between 0 and 1. A row with more than `k` labels
        cannot reach 1.

    Raises
    ------
    ValueError
        In the same cases as `precision_at_k`.

    Examples
    --------
    >>> from slide.metrics import recall_at_k
    >>> recall_at_k([[1, 0, 1], [0, 1, 0]], [[2, 1], [1, 2]], k=2)
    0.75
    """
    hits, n_true = _judge(y_true, y_ranked, k)
    return float(np.mean(np.count_nonzero(hits, axis=1) / np.maximum(n_true, 1)))


def ndcg_at_k(y_true: Any, y_ranked: npt.ArrayLike, k: int = 1) -> float:
    """Compute the normalised discounted cumulative gain of the `k` best-ranked labels.

    A right label at place i (from 1) gains 1 ÷ log2(i + 1). The sum is divided by the gain of the
    best ranking, which has the labels of the row (at most `k`) in the first places.

    Parameters
    ----------
    y_true : {array-like, sparse} of shape (n_samples, n_labels) or array-like of shape (n_samples,)
        Label indicator of zeros and ones, or the one label of each row, in any form that `fit`
        takes: one dense column is one label per row. A row without labels counts as 0.
    y_ranked : array-like of shape (n_samples, at least k)
        Labels of each row, best first, as `precision_at_k` takes them.
    k : int, default=1
        Number of labels per row to evaluate.

    Returns
    -------
    ndcg : float
        Mean over the rows, between 0 and 1.

    Raises
    ------
    ValueError
        In the same cases as `precision_at_k`.

    References
    ----------
    K. Järvelin, J. Kekäläinen. Cumulated gain-based evaluation of IR techniques. ACM TOIS 2002.

    Examples
    --------
    >>> from slide.metrics import ndcg_at_k
    >>> ndcg_at_k([[1, 0, 0], [0, 1, 1]], [[2, 1, 0], [1, 2, 0]], k=3)
    0.75
    """
    return float(np.mean(ndcg_of_rows(*_judge(y_true, y_ranked, k))))


def psp_at_k(
    y_true: Any, y_ranked: npt.ArrayLike, propensities: npt.ArrayLike, k: int = 1
) -> float:
    """Compute the propensity scored precision of the `k` best-ranked labels.

    A right label gains 1 ÷ its propensity. So a rare label, which the data often lack, is worth
    more than a frequent one. The sum over all rows is divided by the sum for the best rankings. In
    the best ranking of a row its `k` labels with the smallest propensities come first.

    Parameters
    ----------
    y_true : {array-like, sparse} of shape (n_samples, n_labels)
        Label indicator of zeros and ones. A row without labels gains nothing and loses nothing.
    y_ranked : array-like of shape (n_samples, at least k)
        Columns of `y_true` for each row, best first. The first `k` of a row must differ.
    propensities : array-like of shape (n_labels,)
        For every label, the probability that it was recorded if it applies, in (0, 1].
        `label_propensities` estimates these probabilities. Do not pass their inverses.
    k : int, default=1
        Number of labels per row to evaluate.

    Returns
    -------
    psp : float
        Precision, between 0 and 1; 0 if no row has a label.

    Raises
    ------
    ValueError
        In the same cases as `precision_at_k`. Also if `y_true` is not an indicator, or if
        `propensities` holds a value outside of (0, 1] or its length is not the number of columns of
        `y_true`.

    References
    ----------
    H. Jain, Y. Prabhu, M. Varma. Extreme multi-label loss functions for recommendation, tagging,
    ranking & other missing label applications. KDD 2016. The normalisation is that of the
    Extreme Classification Repository.

    Examples
    --------
    >>> from slide.metrics import psp_at_k
    >>> psp_at_k([[1, 1, 0], [0, 1, 0]], [[0, 2], [1, 2]], propensities=[0.5, 0.25, 1.0], k=1)
    0.75
    """
    y_true = read_indicator(y_true, "y_true")
    hits, n_true = _judge(y_true, y_ranked, k)
    weights = 1 / _check_propensities(propensities, y_true.n_classes)
    k = hits.shape[1]
    gains = weights[exact_array(y_ranked, "y_ranked")[:, :k][hits]]

    # Sort the labels of each row by weight, the largest first, and find their places in that order.
    rows = np.repeat(np.arange(len(y_true)), n_true)
    best = weights[y_true.indices]
    order = np.lexsort((-best, rows))
    places = np.arange(len(rows)) - np.repeat(np.cumsum(n_true) - n_true, n_true)
    best = best[order][places < k]
    # Exact sums: a perfect ranking is exactly 1, in whatever order the rows come.
    return fsum(gains) / fsum(best) if len(best) else 0.0


def label_propensities(Y_train: Any, A: float = 0.55, B: float = 1.5) -> npt.NDArray[np.float64]:
    """Estimate the probability that a label was recorded if it applies, from its frequency.

    The propensity of a label that n of the N rows have is ``1 / (1 + C * (n + B) ** -A)``, with
    ``C = (log(N) - 1) * (B + 1) ** A``. The formula assumes that rare labels are forgotten more
    often.

    Parameters
    ----------
    Y_train : {array-like, sparse} of shape (n_samples, n_labels)
        Label indicator of zeros and ones of the training rows. It needs at least three rows: with
        fewer, C is negative and the results are not probabilities. If every row has one label,
        `LabelBinarizer` with ``sparse_output=True`` makes the indicator.
    A, B : float, default=0.55, 1.5
        Constants of the data set. The Extreme Classification Repository uses 0.5 and 0.4 for data
        from Wikipedia (WikiLSHTC-325K, Wikipedia-500K), 0.6 and 2.6 for data from Amazon
        (Amazon-670K, Amazon-3M), and the defaults for all others.

    Returns
    -------
    propensities : ndarray of shape (n_labels,), dtype=float64
        Propensities, between 0 and 1. Other packages ask for their inverses.

    Raises
    ------
    ValueError
        If `Y_train` is not such an indicator, or if `A` or `B` is not a finite number above 0.

    References
    ----------
    H. Jain, Y. Prabhu, M. Varma. Extreme multi-label loss functions for recommendation, tagging,
    ranking & other missing label applications. KDD 2016.

    Examples
    --------
    >>> from slide.metrics import label_propensities
    >>> label_propensities([[1, 0], [1, 0], [1, 1], [1, 0]]).round(3)
    array([0.8  , 0.721])
    """
    Y_train = read_indicator(Y_train, "Y_train")
    n_samples, n_labels = len(Y_train), Y_train.n_classes
    if n_samples < 3:
        raise ValueError(f"Y_train must have at least 3 rows; got {n_samples}")
    for name, value in (("A", A), ("B", B)):
        number = as_float(value)
        if number is None or not 0 < number < np.inf:
            raise ValueError(f"{name} must be a finite number above 0; got {shown(value)}")
    A, B = float(A), float(B)
    counts = np.bincount(Y_train.indices, minlength=n_labels)
    # Take the power of the ratio: with a large A the powers of its parts would overflow.
    with np.errstate(over="ignore"):
        found: npt.NDArray[np.float64] = 1 / (
            1 + (log(n_samples) - 1) * ((B + 1) / (counts + B)) ** A
        )
    return found


# ---------------------------------------------------------------- scorers --


def precision_at_k_scorer(k: int = 1) -> Scorer:
    """Make a scorer of `precision_at_k`, for example for ``GridSearchCV(scoring=...)``.

    Parameters
    ----------
    k : int, default=1
        Number of labels per row to evaluate, or all if the estimator knows fewer.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y)`` ranks with ``estimator.predict_topk(X, k=k)`` and returns the
        precision, a float. The estimator can be inside pipelines, searches and other wrappers, see
        `slide.inspection`. Without `predict_topk` it ranks by `decision_function`, else by
        `predict_proba`. The scorer can be pickled.

    Raises
    ------
    ValueError
        If `k` is not an int of at least 1. The scorer raises it if the estimator cannot rank.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from slide import SparseMLPClassifier
    >>> from slide.metrics import precision_at_k_scorer
    >>> search = GridSearchCV(
    ...     SparseMLPClassifier(), {"dropout": [0.0, 0.3]}, scoring=precision_at_k_scorer(k=5)
    ... )
    """
    return _scorer(precision_at_k, k)


def recall_at_k_scorer(k: int = 1) -> Scorer:
    """Make a scorer of `recall_at_k`; see `precision_at_k_scorer`.

    Parameters
    ----------
    k : int, default=1
        Number of labels per row to evaluate.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y)`` returns the recall, a float.

    Examples
    --------
    >>> from slide.metrics import recall_at_k_scorer
    >>> scorer = recall_at_k_scorer(k=5)
    """
    return _scorer(recall_at_k, k)


def ndcg_at_k_scorer(k: int = 1) -> Scorer:
    """Make a scorer of `ndcg_at_k`; see `precision_at_k_scorer`.

    Parameters
    ----------
    k : int, default=1
        Number of labels per row to evaluate.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y)`` returns the gain, a float.

    Examples
    --------
    >>> from slide.metrics import ndcg_at_k_scorer
    >>> scorer = ndcg_at_k_scorer(k=5)
    """
    return _scorer(ndcg_at_k, k)


def psp_at_k_scorer(propensities: npt.ArrayLike, k: int = 1) -> Scorer:
    """Make a scorer of `psp_at_k`; see `precision_at_k_scorer`.

    Parameters
    ----------
    propensities : array-like of shape (n_labels,)
        Propensities from `label_propensities`, the same for every split of a search.
    k : int, default=1
        Number of labels per row to evaluate.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, Y)``, with an indicator Y, returns the precision, a float.

    Examples
    --------
    >>> from slide.metrics import label_propensities, psp_at_k_scorer
    >>> Y = [[1, 0], [1, 0], [1, 1], [1, 0]]
    >>> scorer = psp_at_k_scorer(label_propensities(Y), k=1)
    """
    return _scorer(psp_at_k, k, propensities=propensities)


def _scorer(metric: Callable[..., float], k: Any, **params: Any) -> Scorer:
    number = as_int(k)
    if number is None or number < 1:
        raise ValueError(f"k must be an int >= 1; got {shown(k)}")
    return partial(_score, metric=metric, k=number, **params)


def _score(
    estimator: Any, X: Any, y: Any, *, metric: Callable[..., float], k: int, **params: Any
) -> float:
    y_ranked = rank(estimator, X, k)
    return metric(y, y_ranked, k=min(k, y_ranked.shape[1]), **params)


# ---------------------------------------------------------------- checking --


def _judge(y_true: Any, y_ranked: Any, k: Any) -> tuple[Array, Array]:
    """Check all three arguments and compare the ranked labels with the true ones.

    Returns
    -------
    hits : bool ndarray of shape (n_samples, k)
        Which of the ranked labels are right.
    n_true : int ndarray of shape (n_samples,)
        How many labels each row has.
    """
    target = y_true if isinstance(y_true, LabelRows) else read_target(y_true, "y_true").labels
    y_ranked = exact_array(y_ranked, "y_ranked")
    _check_ranked(target, y_ranked, k)
    y_ranked = y_ranked[:, : int(k)]
    with refusing("y_ranked"):
        try:
            in_order = np.sort(y_ranked, axis=1)
        except TypeError as error:
            raise_from_handler(error)
            raise ValueError(
                f"y_ranked must hold labels of one type that sorts; {error}"
            ) from error
        repeats = np.asarray(in_order[:, 1:] == in_order[:, :-1], bool).any(axis=1)
    if repeats.any():
        row = int(np.argmax(repeats))
        labels = shown(y_ranked[row].tolist())
        raise ValueError(f"y_ranked has a label twice in row {row}: {labels}")
    if not isinstance(target, LabelRows):
        with refusing("y_true"):
            hits = same_labels(y_ranked, target[:, np.newaxis])
        if not hits.any():
            _check_types(target, y_ranked.ravel())
        return hits, np.ones(len(target), dtype=np.int64)
    if y_ranked.min() < 0 or y_ranked.max() >= target.n_classes:
        raise ValueError(
            f"y_ranked must hold column indices of y_true, in [0, {target.n_classes}); "
            f"got values from {y_ranked.min()} to {y_ranked.max()}"
        )
    return target.contain(y_ranked.astype(np.int64)), np.diff(target.indptr)


def _check_ranked(target: Array | LabelRows, y_ranked: Array, k: Any) -> None:
    """Check the shape and the dtype of `y_ranked` against the true labels, and `k`."""
    if y_ranked.ndim != 2:
        raise ValueError(f"y_ranked must have 2 dimensions; got shape {y_ranked.shape}")
    n_samples = len(target)
    if y_ranked.shape[0] != n_samples or n_samples == 0:
        raise ValueError(
            "y_true and y_ranked must have the same number of rows, at least one; "
            f"got {n_samples} and {y_ranked.shape[0]}"
        )
    number = as_int(k)
    if number is None or not 1 <= number <= y_ranked.shape[1]:
        raise ValueError(
            "k must be an int between 1 and the number of columns of y_ranked, "
            f"{y_ranked.shape[1]}; got {shown(k)}"
        )
    if not isinstance(target, LabelRows):
        if "O" not in (target.dtype.kind, y_ranked.dtype.kind):
            _check_types(target, y_ranked.ravel())
    elif y_ranked.dtype.kind not in "iu":
        raise ValueError(
            "y_ranked must hold integers, column indices of the indicator y_true; "
            f"got {y_ranked.dtype}"
        )


def _check_types(target: Array, y_ranked: Array) -> None:
    """Refuse ranked labels of another type than the true ones, such as texts for numbers."""
    kinds = [type_of(labels) for labels in (target, y_ranked)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"y_ranked must hold labels of the type of y_true's, {kinds[0]} such as "
            f"{shown(target[:1].tolist()[0])}; got {kinds[1]} such as "
            f"{shown(y_ranked[:1].tolist()[0])}"
        )


def _check_propensities(propensities: Any, n_labels: int) -> Any:
    propensities = exact_array(propensities, "propensities")
    if propensities.shape != (n_labels,) or propensities.dtype.kind not in "iuf":
        raise ValueError(
            f"propensities must hold a number for each column of y_true, {n_labels}; "
            f"got shape {propensities.shape} of {propensities.dtype}"
        )
    good = (propensities > 0) & (propensities <= 1)
    if not good.all():
        raise ValueError(
            "propensities must be above 0 and at most 1 (not their inverses); "
            f"got {propensities[np.argmin(good)]}"
        )
    return propensities
