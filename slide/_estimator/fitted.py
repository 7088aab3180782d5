"""Fitted attributes, set or read off the network; `SparseMLPClassifier` documents them."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.sparse import csc_array
from sklearn.utils.validation import check_is_fitted

from slide._base.arrays import Floats, Params
from slide._network.input_stats import note_inputs
from slide._simd import dispatch

if TYPE_CHECKING:
    from slide._data.labels import LabelCoder
    from slide._data.rows import TrainingRows
    from slide._network.network import Network
    from slide._training.course import Course

_STATE = ("_network", "_coder", "_params", "_rng", "_labels_per_row")


class FittedAttributes:
    """Mixin of an estimator whose `_network.network` is a `slide._network.network.Network`."""

    n_features_in_: int
    early_stopping: bool
    _labels_per_row: float

    def _set_fitted(
        self,
        network: Network,
        coder: LabelCoder,
        params: Params,
        rng: np.random.RandomState,
        data: TrainingRows,
        losses: list[float],
        scores: list[float],
        history: list[Params],
    ) -> None:
        """Set all that a fitted estimator has; nothing here can fail."""
        if self._is_fitted():
            losses, scores = self.loss_curve_ + losses, (self.validation_scores_ or []) + scores
            history = self.history_ + history
        else:
            self._labels_per_row = len(data.labels.indices) / len(data)
        kept = scores if self.early_stopping and scores else None
        self._set_trained(network, coder, params, rng, losses, kept, history)

    def _as_of(self, course: Course, coder: LabelCoder, params: Params) -> Self:
        """An estimator as if `fit` had stopped where the Course is; it shares the weights."""
        # For predictions by short lists, without a trace in the training's own.
        network = course.network.twin()
        note_inputs(network, course.data.x, course.n_threads)
        losses, scores, history = list(course.losses), list(course.scores), list(course.history)
        if course.so_far is not None:
            losses.append(course.so_far.mean_loss)
        twin = copy(self)
        twin._set_fitted(network, coder, params, course.rng, course.data, losses, scores, history)
        return twin

    def _is_fitted(self) -> bool:
        return hasattr(self, "_network")

    def _forget(self) -> None:
        """Become unfitted."""
        for name in _fitted_names(self):
            delattr(self, name)

    def _become(self, other: Self) -> None:
        """Take over all that fitting gave another estimator of this class."""
        self._forget()
        for name in _fitted_names(other):
            setattr(self, name, getattr(other, name))

    def _set_trained(
        self,
        network: Network,
        coder: LabelCoder,
        params: Params,
        rng: np.random.RandomState,
        losses: list[float],
        scores: list[float] | None,
        history: list[Params],
    ) -> None:
        """Set what follows from a network and from the course of its training."""
        self._network, self._coder, self._params, self._rng = network, coder, params, rng
        self.classes_ = coder.classes
        self.n_outputs_ = coder.n_classes
        self.n_iter_ = len(losses)
        self.loss_ = losses[-1]
        self.loss_curve_ = losses
        self.history_ = history
        self.best_loss_ = None if scores else min(losses)
        self.validation_scores_ = scores
        self.best_validation_score_ = max(scores) if scores else None

    @property
    def coefs_(self) -> list[Floats]:
        check_is_fitted(self)
        return [layer.coefs for layer in self._network.layers]

    @property
    def intercepts_(self) -> list[Floats]:
        check_is_fitted(self)
        first, *others = [layer.b for layer in self._network.layers]
        x_mean = self._network.x_mean
        if x_mean is not None:
            # What the weights make of a centred row they make of X with this bias.
            shift = x_mean.astype(np.float64) @ self._network.layers[0].coefs
            first = (first - shift).astype(np.float32)
        return [first, *others]

    @property
    def prototypes_(self) -> csc_array | None:
        check_is_fitted(self)
        prototypes = self._network.prototypes
        return None if prototypes is None else prototypes.by_feature

    @property
    def prototype_weight_(self) -> float:
        check_is_fitted(self)
        prototypes = self._network.prototypes
        return 0.0 if prototypes is None else prototypes.weight

    @property
    def t_(self) -> int:
        check_is_fitted(self)
        return self._network.tally.n_samples

    @property
    def compute_fraction_(self) -> float:
        check_is_fitted(self)
        tally = self._network.tally
        return tally.multiply_adds / tally.dense_multiply_adds

    @property
    def hash_params_(self) -> dict[str, Any]:
        check_is_fitted(self)
        return {
            **self._network.settings.describe(),
            "n_rebuilds": self._network.tally.n_rebuilds,
            "instruction_set": dispatch.instruction_set(),
        }


def _fitted_names(estimator: object) -> list[str]:
    return [name for name in vars(estimator) if name.endswith("_") or name in _STATE]
