"""Fitted attributes, read off the result of fitting; `SparseMLPClassifier` documents them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csc_array, csr_array
from sklearn.utils.validation import check_is_fitted

from slide._base.arrays import Array, Floats, Params
from slide._simd import dispatch

if TYPE_CHECKING:
    from slide._network.fitted import Fitted

# Attributes that earlier versions set besides `_fitted`; pickles of them have these.
_SET_ONCE = ("n_features_in_", "feature_names_in_")
# Attributes that scikit-learn's callbacks set while `fit` runs, and change meanwhile.
_OF_A_FIT = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")


class TooLargeError(MemoryError, AttributeError):
    """The error of an attribute that does not fit into memory; `hasattr` says False."""


class FittedAttributes:
    """Mixin of an estimator whose methods read one `slide._network.fitted.Fitted`.

    `_fitted` is the only attribute that fitting sets. So all the others change at the same moment.
    """

    _fitted: Fitted | None = None

    if TYPE_CHECKING:  # the estimator inherits these from scikit-learn, which has no types

        def __init__(self, **params: Any) -> None: ...

        def get_params(self, deep: bool = True) -> Params: ...

    def __dir__(self) -> list[str]:
        """As scikit-learn's, which reads every attribute, but without one that must be made.

        A notebook's display reads all that `dir` names.
        """
        fitted, names = self._fitted, set(object.__dir__(self))
        if fitted is not None and fitted.network.columns is not None:
            names.discard("coefs_")
        return [name for name in names if hasattr(self, name)]

    def __sklearn_is_fitted__(self) -> bool:
        return self._fitted is not None

    def _result(self) -> Fitted:
        """The result of fitting, or NotFittedError. A method must read it only once per call."""
        while (fitted := self._fitted) is None:
            check_is_fitted(self)  # raises, unless another thread has fitted it just now
        return fitted

    def _forget(self) -> None:
        """Become unfitted."""
        vars(self).pop("_fitted", None)

    def __getstate__(self) -> dict[str, Any]:
        """A copy of the state at one moment: another thread may fit while a pickle is written."""
        state: Any = super().__getstate__()
        return {name: value for name, value in {**state}.items() if name not in _OF_A_FIT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a pickle, also of one that an earlier version wrote."""
        own = {name: value for name, value in state.items() if name not in _SET_ONCE}
        super().__setstate__(own)  # type: ignore[misc]
        names = state.get("feature_names_in_")
        if names is not None and self._fitted is not None:
            self._fitted = replace(self._fitted, feature_names=names)

    @property
    def n_features_in_(self) -> int:
        return self._result().network.n_announced

    @property
    def feature_names_in_(self) -> Array:
        names = self._result().feature_names
        if names is None:
            raise AttributeError("feature_names_in_: X had no names in fit")
        return names

    @property
    def classes_(self) -> Array:
        return self._result().coder.classes

    @property
    def n_outputs_(self) -> int:
        return self._result().coder.n_classes

    @property
    def n_iter_(self) -> int:
        return self._result().n_iter

    @property
    def loss_(self) -> float:
        return self._result().losses[-1]

    @property
    def loss_curve_(self) -> list[float]:
        return self._result().loss_curve

    @property
    def best_loss_(self) -> float | None:
        fitted = self._result()
        return None if fitted.scores else min(fitted.loss_curve)

    @property
    def validation_scores_(self) -> list[float] | None:
        return self._result().score_curve or None

    @property
    def best_validation_score_(self) -> float | None:
        return max(self._result().score_curve, default=None)

    @property
    def history_(self) -> list[Params]:
        return self._result().records

    @property
    def coefs_(self) -> list[Floats]:
        network = self._result().network
        try:
            return network.coefs()
        except MemoryError as error:
            raise TooLargeError(
                f"coefs_ has weights of all {network.n_announced} columns of X, also of those that "
                "never occurred; they do not fit into memory"
            ) from error

    @property
    def intercepts_(self) -> list[Floats]:
        network = self._result().network
        first, *others = [layer.b for layer in network.layers]
        if network.x_mean is not None:
            # X gives the same pre-activations with this bias as centred rows with `layer.b`.
            shift = np.einsum("i,ij->j", network.x_mean, network.layers[0].coefs, dtype=np.float64)
            first = (first - shift).astype(np.float32)
        return [first, *others]

    @property
    def prototypes_(self) -> csc_array | csr_array | None:
        network = self._result().network
        if network.prototypes is None or network.columns is None:
            return None if network.prototypes is None else network.prototypes.by_feature
        return network.prototypes.at_columns(network.columns)

    @property
    def prototype_weight_(self) -> float:
        prototypes = self._result().network.prototypes
        return 0.0 if prototypes is None else prototypes.weight

    @property
    def svm_weight_(self) -> float:
        prototypes = self._result().network.prototypes
        return 0.0 if prototypes is None else prototypes.svm_weight

    @property
    def t_(self) -> int:
        return self._result().network.tally.n_samples

    @property
    def compute_fraction_(self) -> float:
        tally = self._result().network.tally
        return tally.multiply_adds / tally.dense_multiply_adds

    @property
    def hash_params_(self) -> dict[str, Any]:
        network = self._result().network
        return {
            **network.settings.describe(),
            "n_rebuilds": network.tally.n_rebuilds,
            "instruction_set": dispatch.instruction_set(),
        }


def attributes_of(fitted: Fitted) -> FittedAttributes:
    """The fitted attributes of one result, for those who read several of them."""
    found = FittedAttributes()
    found._fitted = fitted
    return found
