"""The check of X against the features of what is fitted, without a trace on the estimator."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator, ClassifierMixin

from slide._base.arrays import Array
from slide._data.checks import check_rows

if TYPE_CHECKING:
    from slide._network.fitted import Fitted


def check_features(
    estimator: object, fitted: Fitted | None, X: Any, *y: Any
) -> tuple[Any, Array | None]:
    """Check X, and y if given, against the features of `fitted`; None: X decides the features.

    scikit-learn's check reads the width and the names of the features from an estimator, or writes
    them on it. Here a stand-in takes the estimator's place. So X is checked against the very result
    that it then meets, even while another thread fits the estimator again.

    Returns
    -------
    checked
        What `slide._data.checks.check_rows` returns.
    names : object ndarray of str, or None
    """
    stand_in = _kind(type(estimator).__name__)()
    if fitted is not None:
        stand_in.n_features_in_ = fitted.network.n_announced
        if fitted.feature_names is not None:
            stand_in.feature_names_in_ = fitted.feature_names
    checked = check_rows(stand_in, X, *y, reset=fitted is None)
    return checked, getattr(stand_in, "feature_names_in_", None)


@cache
def _kind(name: str) -> Any:
    """A class of stand-ins; scikit-learn's messages name it."""
    return type(name, (ClassifierMixin, BaseEstimator), {})
