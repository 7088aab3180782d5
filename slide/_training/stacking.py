"""Stacking: the weights of prototypes and SVMs, and the calibration, found on rows not seen yet.

A network is overconfident on its own training rows; a weight fitted there would be too small. So
some rows come late. The first half of the epochs leaves them out, then they decide the weight of
the prototypes (Wolpert 1992, stacked generalisation), and training goes on with them. A few of them
come last: training leaves them out until its last epochs, and they decide the weight of the SVMs
and how sure the probabilities are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from slide._base.arrays import Array, Ids
from slide._network.confidence import Confidence
from slide._network.input_stats import note_inputs
from slide._network.rehash import refresh
from slide._prototypes.label_svms import train_svms
from slide._prototypes.prototypes import make_prototypes
from slide._training.calibration import MOST_ROWS, calibrate_scores, confidence_of
from slide._training.mining import hard_neurons
from slide._training.unseen import as_unseen
from slide._training.weighing import best_weight, best_weights, find_candidates

if TYPE_CHECKING:
    from slide._data.rows import TrainingRows
    from slide._network.network import Network
    from slide._prototypes.label_svms import LabelSvms
    from slide._prototypes.prototypes import Prototypes

# Mean rows of a label from which on all rows are mined for negatives. OEWN, with four rows a label:
# P@1 .365 from all rows, .363 from a third of them in two thirds of the time.
_ROWS_OF_A_LABEL = 10
_SHARE = 0.1


class Stacking:
    """The weight of the prototypes, the scale of the scores and the confidence; see the module.

    Parameters
    ----------
    data : slide._data.rows.TrainingRows
        All rows to train on.
    held_out : slide._data.rows.TrainingRows or None
        Rows to judge by that are never trained on. None: judge by some rows of `data`, which come
        late.
    rng : numpy.random.RandomState
        Draws the late rows.
    multilabel : bool
        Whether a row may have several labels.
    tries_prototypes : bool
        Whether to look for weights of prototypes and SVMs; if not, they are 0.

    Attributes
    ----------
    weight : float or None
        Of the prototypes; None until it is found.
    svm_weight : float
    scale : tuple of two floats or None
        Slope and offset of the scores; None until they are found.
    hard : int32 (n, n_hard) or None
        Hard neurons of the rows, mined before the last rows decided; -1 in rows that were not.
    """

    n_hard = 15  # hard neurons of a row that are negatives of the SVMs

    def __init__(
        self,
        data: TrainingRows,
        held_out: TrainingRows | None,
        rng: np.random.RandomState,
        multilabel: bool,
        tries_prototypes: bool,
    ) -> None:
        self.data, self.held_out, self.multilabel = data, held_out, multilabel
        self.tries_prototypes = tries_prototypes
        self.weight: float | None = None if tries_prototypes else 0.0
        self.svm_weight = 0.0
        self.scale: tuple[float, float] | None = None
        self.confidence = Confidence()
        self.hard: Ids | None = None
        self._of_all: LabelSvms | None = None  # the SVMs of all rows
        none = np.zeros(0, np.int64)
        self.late, self.last = none, none
        if held_out is None:
            order = rng.permutation(len(data))
            late = order[: min(MOST_ROWS, int(_SHARE * len(data)))]
            self.last = np.sort(_with_known_label(late, data, multilabel)[: _n_last(len(data))])
            self.late = np.sort(late) if tries_prototypes else self.last

    @property
    def rows(self) -> Array:
        """Rows to train on now, rising."""
        here = np.ones(len(self.data), bool)
        if self.scale is None:
            here[self.late if self.weight is None else self.last] = False
        return np.flatnonzero(here)

    def weighs_before(self, epoch: int, max_iter: int) -> bool:
        """Whether to `weigh` before this epoch, the middle one; then late rows are trained on too.

        Weighing later gives no better weight, and training lacks the rows for longer: Bibtex (P@1
        .654, .656 at half, .651 before the last epoch), Delicious (.701, .698, .695; .701 without
        late rows).
        """
        return epoch == max_iter // 2 > 0 and self.weight is None and self.held_out is None

    def calibrates_before(self, epoch: int, max_iter: int) -> bool:
        """Whether to `calibrate` before this epoch; then the last rows are trained on too."""
        last = max_iter - max(1, max_iter // 10)
        return epoch == last > 0 and self.scale is None and self.held_out is None

    @np.errstate(under="ignore")
    def weigh(self, network: Network, n_threads: int) -> None:
        """Find the weight of the prototypes that ranks the labels of the judging rows best."""
        judges = self._late_judges()
        note_inputs(network, self.data.x, n_threads)
        made = self._make(self.rows, n_threads)
        candidates = find_candidates(network, made, None, judges, n_threads)
        self.weight = best_weight(candidates, judges, n_threads)

    @np.errstate(under="ignore")
    def calibrate(self, network: Network, n_threads: int) -> None:
        """Find the weight of the SVMs, slope and offset of the scores, and the confidence."""
        assert self.weight is not None
        judges, scale = self._last_judges(), (1.0, 0.0)
        if len(judges):
            note_inputs(network, self.data.x, n_threads)
            if self.tries_prototypes:
                made = self._make(self.rows, n_threads)
                self.hard = self._mine(network, n_threads)
                svms = self._train_svms(made, self.rows, n_threads)
                candidates = find_candidates(network, made, svms, judges, n_threads)
                self.weight, self.svm_weight = best_weights(
                    candidates, judges, self.weight, n_threads
                )
                self._of_all = svms if self.held_out is not None else None
                self._add(network, made, svms)
            try:
                if self.multilabel or self.tries_prototypes:
                    scale, self.confidence = calibrate_scores(
                        network, judges, self.multilabel, n_threads
                    )
                if not self.multilabel:
                    self.confidence = confidence_of(network, judges, *scale, n_threads)
            finally:
                network.set_prototypes(None)
        self.scale = scale

    def apply(self, network: Network, n_threads: int) -> None:
        """Scale the network's scores, and give it the prototypes and SVMs of all rows."""
        if self.weight is None:
            self.weigh(network, n_threads)
        if self.scale is None:
            self.calibrate(network, n_threads)
        assert self.weight is not None and self.scale is not None
        slope, offset = self.scale
        if self.weight or self.svm_weight:
            rows = np.arange(len(self.data))
            made, svms = self._make(rows, n_threads), None
            if self.svm_weight:
                svms = self._of_all or self._train_svms(made, rows, n_threads)
            self._add(network, made, svms)
        output = network.layers[-1]
        for part in output.blocks():
            output.w[part] = output.w[part].astype(np.float32, copy=False) * np.float32(slope)
        output.b *= np.float32(slope)
        output.b += np.float32(offset)
        network.confidence = self.confidence
        network.changed()
        if network.prototypes is not None:
            network.set_prototypes(network.prototypes.times(slope))
        if output.retrieval is not None:
            refresh(network, n_threads)

    def _add(self, network: Network, made: Prototypes, svms: LabelSvms | None) -> None:
        """Give the network prototypes and SVMs with the weights that were found."""
        if self.svm_weight and svms is not None:
            made = made.of_weight(self.weight or 0.0)
            network.set_prototypes(made.with_svms(svms, self.svm_weight))
        elif self.weight:
            network.set_prototypes(made.of_weight(self.weight))

    def _make(self, rows: Array, n_threads: int) -> Prototypes:
        """The prototypes of some rows."""
        data = self.data
        return make_prototypes(data.x, data.labels.only(rows), data.weights, n_threads)

    def _mine(self, network: Network, n_threads: int) -> Ids:
        """Hard neurons of the rows, or of a random share of them where labels have few rows."""
        n, labels = len(self.data), self.data.labels
        share = min(1.0, len(labels.indices) / (_ROWS_OF_A_LABEL * labels.n_classes))
        size = max(1, math.ceil(share * n))
        rows = np.sort(np.random.RandomState(0).permutation(n)[:size])
        data = self.data if len(rows) == n else self.data.take(rows)
        found, cost = hard_neurons(network, data, self.n_hard, n_threads)
        network.tally.multiply_adds += cost
        hard = np.full((n, self.n_hard), -1, np.int32)
        hard[rows] = found
        return hard

    def _train_svms(self, made: Prototypes, rows: Array, n_threads: int) -> LabelSvms:
        """The SVMs of some rows."""
        data, weights = self.data, made.feature_weights
        assert self.hard is not None
        return train_svms(
            csr_array(data.x), data.labels.only(rows), self.hard, data.weights, weights, n_threads
        )

    def _late_judges(self) -> TrainingRows:
        """Rows that decide the weight of the prototypes."""
        if self.held_out is None:
            return self.data.take(self.late)
        return self.held_out.take(np.arange(min(MOST_ROWS, len(self.held_out))))

    def _last_judges(self) -> TrainingRows:
        """Rows that decide the calibration; with one label, those whose label has been learnt."""
        if self.held_out is None:
            return as_unseen(self.data.take(self.last), self.data, among=True)
        rows = np.arange(len(self.held_out))
        if not self.multilabel:
            known = np.isin(self.held_out.labels.indices, self.data.labels.indices)
            rows = np.flatnonzero(known)
        return as_unseen(self.held_out, self.data, among=False).take(rows[:MOST_ROWS])


def _n_last(n: int) -> int:
    """How many of n rows come last."""
    return min(MOST_ROWS, max(n // 25, min(50, n // 20)))


def _with_known_label(late: Array, data: TrainingRows, multilabel: bool) -> Array:
    """Those of the late rows whose label others have too, if rows have one label.

    Training lacks the others' labels, but the classes of predicted rows are known (with their
    numbers of training rows, as those of the rows left here: Good, Biometrika 1953).
    """
    if multilabel:
        return late
    counts = np.bincount(data.labels.indices, minlength=data.labels.n_classes)
    counts -= np.bincount(data.labels.indices[late], minlength=data.labels.n_classes)
    known: Array = late[counts[data.labels.indices[late]] > 0]
    return known
