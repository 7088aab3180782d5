"""The result of fitting, as one immutable object."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from slide._base.arrays import Params

if TYPE_CHECKING:
    from slide._data.labels import LabelCoder
    from slide._network.network import Network


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
        Training loss of every epoch and of every call of `partial_fit`.
    scores : tuple of float
        Validation scores of the epochs; empty without `early_stopping`.
    history : tuple of dict
        See `SparseMLPClassifier.history_`.
    """

    network: Network
    coder: LabelCoder
    params: Params
    rng: np.random.RandomState
    labels_per_row: float
    losses: tuple[float, ...]
    scores: tuple[float, ...] = ()
    history: tuple[Params, ...] = ()

    def after(self, before: Fitted | None) -> Fitted:
        """Join the curves of `before` to this result, whose training went on from it."""
        if before is None:
            return self
        new = sum(epoch["n_samples"] for epoch in self.history)
        share = new / self.network.tally.n_samples
        return replace(
            self,
            labels_per_row=before.labels_per_row
            + share * (self.labels_per_row - before.labels_per_row),
            losses=before.losses + self.losses,
            # Scores of an earlier training say nothing about a training without scores.
            scores=before.scores + self.scores if self.scores else (),
            history=before.history + self.history,
        )
