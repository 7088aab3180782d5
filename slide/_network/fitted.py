"""The result of fitting, as one immutable object."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from slide._base.arrays import Array, Params
from slide._network.older import Older

if TYPE_CHECKING:
    from slide._data.coder import LabelCoder
    from slide._network.network import Network

T = TypeVar("T")

# Values of earlier trainings that a result keeps as they are: 32 bytes a loss, 1.6 kB a record.
_LOSSES_BEFORE = 99
_HISTORY_BEFORE = 15
_NOTHING = Older()


@dataclass(frozen=True)
class Fitted:
    """Everything that `fit` gives an estimator. The estimator replaces it only as a whole.

    A method reads it once and then works with one network and its own classes, even while another
    thread fits the estimator again.

    Parameters
    ----------
    network : slide._network.network.Network
    coder : slide._data.coder.LabelCoder
        Classes, and the form in which y came.
    params : dict
        Parameters of the estimator that the network was trained with, checked.
    rng : numpy.random.RandomState
        Draws the order of the rows when training goes on.
    labels_per_row : float
        Mean number of labels of a row, over all rows that were trained on.
    losses : tuple of float
        Training loss of every epoch and of every call of `partial_fit`, but for `older` ones.
    scores : tuple of float
        Validation scores of the epochs; empty without `early_stopping`.
    history : tuple of dict
        See `SparseMLPClassifier.history_`; without `older` ones.
    feature_names : object ndarray of str, or None
        Names of the columns of X, if it had any.
    older : slide._network.older.Older
        What is kept of epochs and calls before these.
    """

    network: Network
    coder: LabelCoder
    params: Params
    rng: np.random.RandomState
    labels_per_row: float
    losses: tuple[float, ...]
    scores: tuple[float, ...] = ()
    history: tuple[Params, ...] = ()
    feature_names: Array | None = None
    older: Older = _NOTHING

    @property
    def n_iter(self) -> int:
        """Number of all epochs and calls of `partial_fit`."""
        return len(self.older.losses) + len(self.losses)

    @property
    def loss_curve(self) -> list[float]:
        """Training loss of every epoch and call."""
        return [*self.older.losses.tolist(), *self.losses]

    @property
    def score_curve(self) -> list[float]:
        """Validation score of every epoch; empty without `early_stopping`."""
        return [*self.older.scores.tolist(), *self.scores]

    @property
    def records(self) -> list[Params]:
        """The record of every epoch and call."""
        return [*self.older.records(), *self.history]

    def after(self, before: Fitted | None) -> Fitted:
        """Join the curves of `before` to this result, whose training went on from it.

        Of `before` only the last values are kept as they are.
        """
        if before is None:
            return self
        losses, scores = (_cut(curve, _LOSSES_BEFORE) for curve in (before.losses, before.scores))
        history = _cut(before.history, _HISTORY_BEFORE)
        older = before.older.then(losses[0], scores[0], history[0])
        new = sum(epoch["n_samples"] for epoch in self.history)
        share = new / self.network.tally.n_samples
        return replace(
            self,
            labels_per_row=before.labels_per_row
            + share * (self.labels_per_row - before.labels_per_row),
            losses=losses[1] + self.losses,
            # Scores of an earlier training say nothing about a training without scores.
            scores=scores[1] + self.scores if self.scores else (),
            history=history[1] + self.history,
            feature_names=before.feature_names,
            older=older if self.scores else older.without_scores(),
        )


def _cut(values: tuple[T, ...], n: int) -> tuple[tuple[T, ...], tuple[T, ...]]:
    """All but the last n values, and the last n."""
    return values[:-n], values[-n:]
