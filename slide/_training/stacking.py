"""Stacking: the weight of the prototypes, found on rows that training has not seen yet.

A network is overconfident on its own training rows; a weight fitted there would be too small. So
some rows come late. The first half of the epochs leaves them out, then they decide the weight
(Wolpert 1992, stacked generalisation), and the second half trains on them too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slide._base.arrays import Array, Bools, Floats
from slide._network.input_stats import note_inputs
from slide._network.losses import LOSSES
from slide._network.rehash import refresh
from slide._prediction import lookup
from slide._prototypes.prototypes import make_prototypes

if TYPE_CHECKING:
    from slide._data.labels import LabelRows
    from slide._data.rows import TrainingRows
    from slide._network.network import Network
    from slide._prototypes.prototypes import Prototypes

# Weights of the cosine that are tried. Precision changes slowly between two neighbours.
_WEIGHTS = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0)
_DEPTH = 50  # labels ranked per row, by the smallest weight and again by the largest
_KS = (1, 3, 5)
_MOST_ROWS = 2000
_SHARE = 0.1


class Stacking:
    """The weight of the prototypes, and the scale of the scores; see the module.

    Parameters
    ----------
    data : slide._data.rows.TrainingRows
        All rows to train on.
    held_out : slide._data.rows.TrainingRows or None
        Rows to judge by that are never trained on. None: judge by some rows of `data`, which come
        late.
    rng : numpy.random.RandomState
        Draws the late rows.
    """

    def __init__(
        self, data: TrainingRows, held_out: TrainingRows | None, rng: np.random.RandomState
    ) -> None:
        self.data = data
        self.rows = np.arange(len(data))  # rows to train on until `weigh` is called
        self.weight: float | None = None
        self.prototypes: Prototypes | None = None
        if held_out is None:
            order = rng.permutation(len(data))
            n_late = min(_MOST_ROWS, int(_SHARE * len(data)))
            self.rows = np.sort(order[n_late:])
            held_out = data.take(np.sort(order[:n_late]))
        self.judges = held_out

    def weighs_before(self, epoch: int, max_iter: int) -> bool:
        """Whether to `weigh` before this epoch, the middle one; then late rows are trained on too.

        Weighing later gives no better weight, and training lacks the rows for longer: Bibtex (P@1
        .654, .656 at half, .651 before the last epoch), Delicious (.701, .698, .695; .701 without
        late rows).
        """
        return epoch == max_iter // 2 > 0 and self.weight is None and self._some_come_late()

    @np.errstate(under="ignore")
    def weigh(self, network: Network, n_threads: int) -> None:
        """Find the weight that ranks the labels of the judging rows best, then slope and offset."""
        judges = self.judges
        note_inputs(network, self.data.x, n_threads)
        made = self._make(self.data.labels.only(self.rows), n_threads)
        if not self._some_come_late():
            self.prototypes = made  # made of all rows, so `apply` need not make them again
        scores, cosines, right = _candidates(network, made, judges, n_threads)
        weights = judges.weights if judges.weights is not None else np.ones(len(judges))
        self.weight = _best_weight(scores, cosines, right, weights)
        scores += self.weight * cosines
        calibrate, n_labels = LOSSES[network.settings.loss].calibrate, np.diff(judges.labels.indptr)
        self.slope, self.offset = calibrate(scores, right, n_labels, weights)

    def apply(self, network: Network, n_threads: int) -> None:
        """Scale the network's scores, and give it the prototypes of all rows."""
        if self.weight is None:
            self.weigh(network, n_threads)
        assert self.weight is not None
        output = network.layers[-1]
        for rows in output.blocks():
            output.w[rows] = output.w[rows].astype(np.float32, copy=False) * np.float32(self.slope)
        output.b *= np.float32(self.slope)
        output.b += np.float32(self.offset)
        network.changed()
        if self.weight > 0:
            made = self.prototypes or self._make(self.data.labels, n_threads)
            network.set_prototypes(made.of_weight(self.weight * self.slope))
        if output.retrieval is not None:
            refresh(network, n_threads)

    def _make(self, labels: LabelRows, n_threads: int) -> Prototypes:
        return make_prototypes(self.data.x, labels, self.data.weights, n_threads)

    def _some_come_late(self) -> bool:
        return len(self.rows) < len(self.data)


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
