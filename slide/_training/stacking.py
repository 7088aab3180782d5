"""How much the prototypes count beside the network: found on rows that neither has seen.

On its own training rows a network is surer than it should be, so that what else is known would
count for little there. So some rows come late: the first half of the epochs leaves them out, then
what they say decides (Wolpert 1992, stacked generalisation), and the second half takes them too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from slide._base.arrays import Array, Bools, Floats
from slide._network.input_stats import note_inputs
from slide._network.rehash import refresh
from slide._prediction import lookup
from slide._prototypes.prototypes import make_prototypes

if TYPE_CHECKING:
    from slide._data.labels import LabelRows
    from slide._data.rows import TrainingRows
    from slide._network.network import Network
    from slide._prototypes.prototypes import Prototypes

# Of the cosines in a score. The share of right labels changes slowly between two of them.
_WEIGHTS = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0)
_DEPTH = 50  # labels a row that are looked at, of the least and of the largest weight each
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
        Rows to judge by that are never trained on. Without them, some of `data` come late.
    rng : numpy.random.RandomState
        Draws the late rows.
    """

    def __init__(
        self, data: TrainingRows, held_out: TrainingRows | None, rng: np.random.RandomState
    ) -> None:
        self.data = data
        self.rows = np.arange(len(data))  # to train on until `weigh`
        self.weight: float | None = None
        self.prototypes: Prototypes | None = None
        if held_out is None:
            order = rng.permutation(len(data))
            n_late = min(_MOST_ROWS, int(_SHARE * len(data)))
            self.rows = np.sort(order[n_late:])
            held_out = data.take(np.sort(order[:n_late]))
        self.judges = held_out

    def weighs_before(self, epoch: int, max_iter: int) -> bool:
        """Whether to `weigh` before this epoch, half of the way, so that it may take the late rows.

        Later the weight is no better and the rows are missed: Bibtex (P@1 .654, .656 at half, .651
        before the last epoch), Delicious (.701, .698, .695; .701 without late rows).
        """
        return epoch == max_iter // 2 > 0 and self.weight is None and self._some_come_late()

    @np.errstate(under="ignore")
    def weigh(self, network: Network, n_threads: int) -> None:
        """Find the weight that ranks the judges' labels best, then slope and offset."""
        judges = self.judges
        note_inputs(network, self.data.x, n_threads)
        made = self._make(self.data.labels.only(self.rows), n_threads)
        if not self._some_come_late():
            self.prototypes = made  # of all rows: to be kept
        scores, cosines, right = _candidates(network, made, judges, n_threads)
        weights = judges.weights if judges.weights is not None else np.ones(len(judges))
        self.weight = _best_weight(scores, cosines, right, weights)
        scores += self.weight * cosines
        if network.settings.loss == "sigmoid":
            self.slope, self.offset = _logistic(scores, right, weights)
        else:
            n_labels = np.diff(judges.labels.indptr)
            self.slope, self.offset = _softmax_slope(scores, right, n_labels, weights), 0.0

    def apply(self, network: Network, n_threads: int) -> None:
        """Give the network its prototypes, of all rows, and its scores their scale."""
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
    """Labels that any weight may rank high: their scores by the network, cosines, rightness.

    Three (n, 2 * _DEPTH) arrays; scores are -inf at what a row names twice. Of very many labels
    they come from short lists (`slide._prediction.lookup`), for which `network` knows its inputs.
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
    """The weight of the best ranking; 0 when it gains less than 1.5 standard errors over that."""
    merits = [_precisions(scores + weight * cosines, right) for weight in _WEIGHTS]
    best = int(np.argmax([np.average(merit, weights=weights) for merit in merits]))
    gains = merits[best] - merits[0]
    mean = np.average(gains, weights=weights)
    error = np.sqrt(np.sum((weights * (gains - mean)) ** 2)) / weights.sum()
    return _WEIGHTS[best] if mean > 1.5 * error else 0.0


def _precisions(scores: Floats, right: Bools) -> Array:
    """Mean of the precisions at 1, 3 and 5 of each row's ranking by `scores`."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, : max(_KS)]
    hits = np.take_along_axis(right, best, axis=1)
    return np.asarray(np.mean([hits[:, :k].sum(axis=1) / k for k in _KS], axis=0))


def _logistic(scores: Floats, right: Bools, weights: Array) -> tuple[float, float]:
    """Slope and offset after which the sigmoid of a score is its label's probability.

    That of a label among the candidates: they were chosen by what the score is made of, so that
    the others are not missed.
    """
    valid = np.isfinite(scores)
    if not right[valid].any() or right[valid].all():
        return 1.0, 0.0
    weights = np.broadcast_to(weights[:, np.newaxis], scores.shape)[valid]
    model = LogisticRegression(C=np.inf, max_iter=1000)
    model.fit(scores[valid][:, np.newaxis], right[valid], sample_weight=weights)
    slope, offset = float(model.coef_[0, 0]), float(model.intercept_[0])
    return (slope, offset) if slope > 0 else (1.0, 0.0)


def _softmax_slope(scores: Floats, right: Bools, n_labels: Array, weights: Array) -> float:
    """Slope after which the best label's softmax is, on average, what it is right in.

    A row's probability is shared by its labels, n_labels of them, candidates or not.
    """
    best = np.argmax(scores, axis=1)[:, np.newaxis]
    shares = np.take_along_axis(right, best, axis=1)[:, 0] / np.maximum(n_labels, 1)
    target = np.average(shares, weights=weights)

    def excess(log_slope: float) -> float:
        p = softmax(np.exp(log_slope) * scores, axis=1).max(axis=1)
        return float(np.average(p, weights=weights) - target)

    low, high = -5.0, 5.0
    if not excess(low) < 0 < excess(high):
        return 1.0
    return float(np.exp(brentq(excess, low, high, xtol=1e-3)))
