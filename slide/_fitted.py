"""Fitted attributes, set or read off the network; `SparseMLPClassifier` documents them."""

from copy import copy

import numpy as np
from sklearn.utils.validation import check_is_fitted

from slide import _simd

_STATE = ("_network", "_coder", "_params", "_rng", "_labels_per_row")


class FittedAttributes:
    """Mixin of an estimator whose `_network` is a `slide._network.Network`."""

    def _set_fitted(self, network, coder, params, rng, data, losses, scores, history):
        """Set all that a fitted estimator has; nothing here can fail."""
        if self._is_fitted():
            losses, scores = self.loss_curve_ + losses, (self.validation_scores_ or []) + scores
            history = self.history_ + history
        else:
            self._labels_per_row = len(data.labels.indices) / len(data)
        scores = scores if self.early_stopping and scores else None
        self._set_trained(network, coder, params, rng, losses, scores, history)

    def _as_of(self, course, coder, params):
        """An estimator as if `fit` had stopped where the Course is; it shares the weights."""
        network = copy(course.network)
        # For predictions by short lists, without a trace in the training's own.
        network.centers = list(network.centers)
        network.note_inputs(course.data.x, course.n_threads)
        losses, scores, history = list(course.losses), list(course.scores), list(course.history)
        if course.so_far is not None:
            losses.append(course.so_far.mean_loss)
        twin = copy(self)
        twin._set_fitted(network, coder, params, course.rng, course.data, losses, scores, history)
        return twin

    def _is_fitted(self):
        return hasattr(self, "_network")

    def _forget(self):
        """Become unfitted."""
        for name in _fitted_names(self):
            delattr(self, name)

    def _become(self, other):
        """Take over all that fitting gave another estimator of this class."""
        self._forget()
        for name in _fitted_names(other):
            setattr(self, name, getattr(other, name))

    def _set_trained(self, network, coder, params, rng, losses, scores, history):
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
    def coefs_(self):
        check_is_fitted(self)
        return [layer.coefs for layer in self._network.layers]

    @property
    def intercepts_(self):
        check_is_fitted(self)
        first, *others = [layer.b for layer in self._network.layers]
        center = self._network.center
        if center is not None:
            # What the weights make of a centred row they make of X with this bias.
            shift = center.astype(np.float64) @ self._network.layers[0].coefs
            first = (first - shift).astype(np.float32)
        return [first, *others]

    @property
    def prototypes_(self):
        check_is_fitted(self)
        prototypes = self._network.prototypes
        return None if prototypes is None else prototypes.by_feature

    @property
    def prototype_weight_(self):
        check_is_fitted(self)
        prototypes = self._network.prototypes
        return 0.0 if prototypes is None else prototypes.weight

    @property
    def t_(self):
        check_is_fitted(self)
        return self._network.tally.n_samples

    @property
    def compute_fraction_(self):
        check_is_fitted(self)
        tally = self._network.tally
        return tally.multiply_adds / tally.dense_multiply_adds

    @property
    def hash_params_(self):
        check_is_fitted(self)
        return {
            **self._network.settings.describe(),
            "n_rebuilds": self._network.tally.n_rebuilds,
            "instruction_set": _simd.instruction_set(),
        }


def _fitted_names(estimator):
    return [name for name in vars(estimator) if name.endswith("_") or name in _STATE]
