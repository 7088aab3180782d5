"""The result of fitting, as one immutable object."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from slide._base.arrays import Array, Params

if TYPE_CHECKING:
    from slide._data.labels import LabelCoder
    from slide._network.network import Network

# Values of earlier trainings that a result keeps: 32 bytes a loss, 1.6 kB a record.
_LOSSES_BEFORE = 499
_HISTORY_BEFORE = 31


@dataclass(frozen=True)
class Fitted:
    """Everything that `fit` gives an estimator. The estimator replaces it only as a whole.

    A method reads it once and then works with one network and its own classes, even while another
    thread fits the estimator again.

    Parameters
    ----------
    network : slide._network.network.Network
    coder : slide._data.labels.LabelCoder
        Classes, and the form in which y came.
    params : dict
        Parameters of the estimator that the network was trained with, checked.
    rng : numpy.random.RandomState
        Draws the order of the rows when training goes on.
    labels_per_row : float
        Mean number of labels of a row, over all rows that were trained on.
    losses : tuple of float
        Training loss of the last epochs and calls of `partial_fit`, see `after`.
    scores : tuple of float
        Validation scores of the epochs; empty without `early_stopping`.
    history : tuple of dict
        See `SparseMLPClassifier.history_`.
    feature_names : object ndarray of str, or None
        Names of the columns of X, if it had any.
    n_earlier : int
        Epochs and calls of `partial_fit` whose losses are no longer kept.
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
    n_earlier: int = 0

    @property
    def n_iter(self) -> int:
        """Number of all epochs and calls of `partial_fit`."""
        return self.n_earlier + len(self.losses)

    def after(self, before: Fitted | None) -> Fitted:
        """Join the curves of `before` to this result, whose training went on from it.

        Of `before` only the last values are kept: endless training must not fill the memory.
        """
        if before is None:
            return self
        losses = before.losses[-_LOSSES_BEFORE:]
        new = sum(epoch["n_samples"] for epoch in self.history)
        share = new / self.network.tally.n_samples
        return replace(
            self,
            labels_per_row=before.labels_per_row
            + share * (self.labels_per_row - before.labels_per_row),
            losses=losses + self.losses,
            # Scores of an earlier training say nothing about a training without scores.
            scores=before.scores[-_LOSSES_BEFORE:] + self.scores if self.scores else (),
            history=before.history[-_HISTORY_BEFORE:] + self.history,
            feature_names=before.feature_names,
            n_earlier=before.n_iter - len(losses),
        )
