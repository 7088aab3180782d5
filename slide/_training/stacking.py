"""Stacking: the weight of the prototypes, and the calibration, found on rows not seen yet.

A network is overconfident on its own training rows; a weight fitted there would be too small. So
some rows come late. The first half of the epochs leaves them out, then they decide the weight
(Wolpert 1992, stacked generalisation), and training goes on with them. A few of them come last:
training leaves them out until its last epochs, and they decide how sure the probabilities are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slide._base.arrays import Array, Bools, Floats
from slide._network.confidence import Confidence
from slide._network.input_stats import note_inputs
from slide._network.rehash import refresh
from slide._prediction import lookup
from slide._prototypes.prototypes import make_prototypes
from slide._training.calibration import MOST_ROWS, calibrate_scores, confidence_of
from slide._training.unseen import as_unseen

if TYPE_CHECKING:
    from slide._data.labels import LabelRows
    from slide._data.rows import TrainingRows
    from slide._network.network import Network
    from slide._prototypes.prototypes import Prototypes

# Weights of the cosine that are tried. Precision changes slowly between two neighbours.
_WEIGHTS = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0)
_DEPTH = 50  # labels ranked per row, by the smallest weight and again by the largest
_KS = (1, 3, 5)
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
        Whether to look for a weight of the prototypes; if not, it is 0.
    """

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
        self.scale: tuple[float, float] | None = None  # slope and offset
        self.confidence = Confidence()
        self.prototypes: Prototypes | None = None
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
        """Find the weight that ranks the labels of the judging rows best."""
        judges = self.data.take(self.late) if self.held_out is None else self.held_out
        note_inputs(network, self.data.x, n_threads)
        made = self._make(self.data.labels.only(self.rows), n_threads)
        if self.held_out is not None:
            self.prototypes = made  # made of all rows, so `apply` need not make them again
        scores, cosines, right = _candidates(network, made, judges, n_threads)
        weights = judges.weights if judges.weights is not None else np.ones(len(judges))
        self.weight = _best_weight(scores, cosines, right, weights)

    @np.errstate(under="ignore")
    def calibrate(self, network: Network, n_threads: int) -> None:
        """Find slope and offset of the scores, and the confidence if rows have one label."""
        assert self.weight is not None
        judges, scale = self._last_judges(), (1.0, 0.0)
        if len(judges):
            note_inputs(network, self.data.x, n_threads)
            if self.weight > 0:
                made = self.prototypes or self._make(self.data.labels.only(self.rows), n_threads)
                network.set_prototypes(made.of_weight(self.weight))
            if self.multilabel or self.tries_prototypes:
                scale, self.confidence = calibrate_scores(
                    network, judges, self.multilabel, n_threads
                )
            if not self.multilabel:
                self.confidence = confidence_of(network, judges, *scale, n_threads)
            network.set_prototypes(None)
        self.scale = scale

    def apply(self, network: Network, n_threads: int) -> None:
        """Scale the network's scores, and give it the prototypes of all rows."""
        if self.weight is None:
            self.weigh(network, n_threads)
        if self.scale is None:
            self.calibrate(network, n_threads)
        assert self.weight is not None and self.scale is not None
        slope, offset = self.scale
        output = network.layers[-1]
        for rows in output.blocks():
            output.w[rows] = output.w[rows].astype(np.float32, copy=False) * np.float32(slope)
        output.b *= np.float32(slope)
        output.b += np.float32(offset)
        network.confidence = self.confidence
        network.changed()
        if self.weight > 0:
            made = self.prototypes or self._make(self.data.labels, n_threads)
            network.set_prototypes(made.of_weight(self.weight * slope))
        if output.retrieval is not None:
            refresh(network, n_threads)

    def _make(self, labels: LabelRows, n_threads: int) -> Prototypes:
        return make_prototypes(self.data.x, labels, self.data.weights, n_threads)

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


def _candidates(
    network: Network, prototypes: Prototypes, judges: TrainingRows, n_threads: int
) -> tuple[Floats, Floats, Bools]:
    """Labels that some weight may rank high: network scores, cosines, and which are right.

    Returns three (n, 2 * _DEPTH) arrays. If a label is in a row twice, its second score is -inf.
    With very many classes the labels come from short lists (`slide._prediction.lookup`).
    """
    k, largest = min(_DEPTH, network.n_classes), _WEIGHTS[-1]
    network.set_prototypes(prototypes.of_weight(largest))
    rows = network.rows(judges.x)
    ids, scores = lookup.topk(network, rows, k, n_threads, mode="lsh", apart=True)
    network.set_prototypes(None)
    repeated = (ids[1][:, :, np.newaxis] == ids[0][:, np.newaxis, :]).any(axis=2)
    labels, scores = np.hstack(list(ids)), np.hstack(list(scores))
    cosines = prototypes.cosines(judges.x, labels)
    scores[:, k:] -= np.float32(largest) * cosines[:, k:]
    scores[:, k:][repeated] = -np.inf
    return scores, cosines, judges.labels.contain(labels)


def _best_weight(scores: Floats, cosines: Floats, right: Bools, weights: Array) -> float:
    """The weight of the best ranking; 0 if its gain over weight 0 is below 1.5 standard errors."""
    merits = [_precisions(scores + weight * cosines, right) for weight in _WEIGHTS]
    best = int(np.argmax([np.average(merit, weights=weights) for merit in merits]))
    gains = merits[best] - merits[0]
    mean = np.average(gains, weights=weights)
    error = np.sqrt(np.sum((weights * (gains - mean)) ** 2)) / weights.sum()
    return _WEIGHTS[best] if mean > 1.5 * error else 0.0


def _precisions(scores: Floats, right: Bools) -> Array:
    """Mean of the precisions at 1, 3 and 5, one per row, of the ranking by `scores`."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, : max(_KS)]
    hits = np.take_along_axis(right, best, axis=1)
    return np.asarray(np.mean([hits[:, :k].sum(axis=1) / k for k in _KS], axis=0))
