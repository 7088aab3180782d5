"""The fitted SparseMLPClassifier within what users pass to this package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slide._base.wrappers import called, transformed, unwrap
from slide._estimator.classifier import SparseMLPClassifier
from slide._estimator.features import check_features

if TYPE_CHECKING:
    from slide._network.fitted import Fitted

_COPIES = ("estimators_", "calibrated_classifiers_")  # attributes that hold several estimators


@dataclass(frozen=True)
class Within:
    """A fitted SparseMLPClassifier and what stands before it.

    Parameters
    ----------
    classifier : SparseMLPClassifier
    fitted : slide._network.fitted.Fitted
        Its result of fitting, read once.
    transformers : list of transformers
        They transform X, in this order, before the classifier sees it.
    """

    classifier: SparseMLPClassifier
    fitted: Fitted
    transformers: list[Any]

    def rows(self, X: Any) -> Any:
        """X as inputs of the network: transformed and checked."""
        X = transformed(X, self.transformers)
        return self.fitted.network.inputs(check_features(self.classifier, self.fitted, X)[0])


def within(estimator: Any, name: str = "estimator") -> Within:
    """Find the fitted SparseMLPClassifier within an estimator; refuse all others.

    `name` is the argument's, for messages.
    """
    inner, transformers = unwrap(estimator, name)
    if not isinstance(inner, SparseMLPClassifier):
        way_out = ""
        if any(hasattr(inner, attribute) for attribute in _COPIES):
            way_out = ", which holds several estimators. Pass one of them"
        raise ValueError(
            f"{name} must be a fitted SparseMLPClassifier, or a pipeline, a search or a frozen "
            f"estimator that holds one; got {called(inner)}{way_out}"
        )
    return Within(inner, inner._result(), transformers)
