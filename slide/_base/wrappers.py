"""Estimators that wrap another one: pipelines, searches, frozen ones; and how any of them ranks.

Wrappers of other packages are known by their attributes: a pipeline is a list of `steps`, a search
has a `best_estimator_`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.utils.validation import check_is_fitted

from slide._base.arrays import Array
from slide._base.values import shown

_RANKING = ("predict_topk", "decision_function", "predict_proba")  # methods, in this order


def unwrap(estimator: Any, name: str = "estimator") -> tuple[Any, list[Any]]:
    """Find the estimator within wrappers, and the transformers that X passes before it.

    Understood are pipelines (imbalanced-learn's too), searches, RFE, and frozen, threshold and
    self-training classifiers, in any nesting.

    Parameters
    ----------
    estimator : estimator
    name : str, default="estimator"
        Name of the argument, for messages.

    Returns
    -------
    inner : estimator
        The estimator within, or `estimator` itself if it is no such wrapper.
    transformers : list of transformers
        Those of the pipelines, in order.

    Raises
    ------
    NotFittedError
        When a wrapper is not fitted.
    ValueError
        When a pipeline ends without an estimator, or a search has kept none.
    """
    # Imported here, because importing them takes longer than importing this package.
    from sklearn.feature_selection import RFE
    from sklearn.semi_supervised import SelfTrainingClassifier

    transformers: list[Any] = []
    while not isinstance(estimator, type):
        # A frozen estimator also has the attributes of the one that it holds.
        if isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        elif _is_pipeline(estimator):
            transformers += _transformers_of(estimator)
            estimator = _last_of(estimator, name)
        elif isinstance(estimator, FixedThresholdClassifier):
            estimator = getattr(estimator, "estimator_", estimator.estimator)
        elif isinstance(estimator, TunedThresholdClassifierCV | SelfTrainingClassifier | RFE):
            check_is_fitted(estimator, "estimator_")
            if isinstance(estimator, RFE):
                transformers.append(estimator)
            estimator = estimator.estimator_
        elif _is_search(estimator):
            estimator = _best_of(estimator, name)
        else:
            break
    return estimator, transformers


def transformed(X: Any, transformers: list[Any]) -> Any:
    """X as the estimator behind the transformers sees it."""
    for transformer in transformers:
        X = transformer.transform(X)
    return X


def rank(estimator: Any, X: Any, k: int) -> Array:
    """Rank the classes of any fitted estimator.

    It ranks by the `predict_topk` of the estimator within, else by the scores of all classes.

    Parameters
    ----------
    estimator : estimator
    X
        As `estimator` takes it.
    k : int

    Returns
    -------
    labels : ndarray of shape (n_samples, at most k)
        The k best classes of every row, or all of them if there are fewer; the best come first.
    """
    inner, transformers = unwrap(estimator)
    X = transformed(X, transformers)
    known = [] if isinstance(inner, type) else [name for name in _RANKING if hasattr(inner, name)]
    if "predict_topk" in known:
        return np.asarray(inner.predict_topk(X, k=k)[0])
    for name in known:
        scores = getattr(inner, name)(X)
        if isinstance(scores, list):  # of several outputs
            continue
        if np.ndim(scores) == 1:  # of the second of two classes
            scores = np.column_stack([-scores, scores])
        classes = getattr(inner, "classes_", None)
        if isinstance(classes, np.ndarray) and np.shape(scores)[1:] == classes.shape:
            return np.asarray(classes[np.argsort(-scores, axis=1, kind="stable")[:, :k]])
    raise ValueError(
        "estimator must have predict_topk, or decision_function or predict_proba with one column "
        f"for each of its classes_; got {called(inner)}"
    )


def called(estimator: Any) -> str:
    """What to call an argument in a message: the `repr` of an estimator is long."""
    if isinstance(estimator, type):
        return f"the class {estimator.__name__}"
    return f"a {type(estimator).__name__}" if hasattr(estimator, "fit") else shown(estimator)


def _is_pipeline(estimator: Any) -> bool:
    steps = getattr(estimator, "steps", None)
    return (
        isinstance(steps, list | tuple)
        and len(steps) > 0
        and all(isinstance(step, tuple) and len(step) == 2 for step in steps)
    )


def _transformers_of(pipeline: Any) -> list[Any]:
    """The steps that transform X in a prediction. Samplers work only in a training."""
    steps = [step for _, step in pipeline.steps[:-1]]
    return [step for step in steps if not (_is_empty(step) or hasattr(step, "fit_resample"))]


def _last_of(pipeline: Any, name: str) -> Any:
    last = pipeline.steps[-1][1]
    if _is_empty(last):
        raise ValueError(f"{name} must end with an estimator; got a pipeline that ends in {last!r}")
    return last


def _is_search(estimator: Any) -> bool:
    # Some classifiers also have a `refit`, but hold no other estimator.
    return hasattr(estimator, "best_estimator_") or (
        hasattr(estimator, "refit") and hasattr(estimator, "estimator")
    )


def _best_of(search: Any, name: str) -> Any:
    if not hasattr(search, "best_estimator_"):
        check_is_fitted(search)
        raise ValueError(
            f"{name} must hold a fitted estimator; got a {type(search).__name__} with "
            f"refit={search.refit!r}, which keeps none. Search with refit=True"
        )
    return search.best_estimator_


def _is_empty(step: Any) -> bool:
    return step is None or (isinstance(step, str) and step == "passthrough")
