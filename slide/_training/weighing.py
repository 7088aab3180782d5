"""The weights of prototypes and SVMs in a score, chosen by the precision on rows not seen yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from slide._base.arrays import Array, Bools, Floats, Ids
from slide._base.n_jobs import in_threads
from slide._prediction import lookup

if TYPE_CHECKING:
    from slide._data.rows import TrainingRows
    from slide._network.network import Network
    from slide._prototypes.label_svms import LabelSvms
    from slide._prototypes.prototypes import Prototypes

# Weights of the cosine that are tried. Precision changes slowly between two neighbours.
_WEIGHTS = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0)
# Weights of the margin, each of which is tried with every weight of the cosine.
_SVM_WEIGHTS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_DEPTH = 50  # labels ranked per row, by the smallest weight and again by the largest
_SCORED = 200  # labels scored for that, if they come from short lists
_KS = (1, 3, 5)
_FEWEST = 10  # judging rows; fewer decide nothing


@dataclass(frozen=True)
class Candidates:
    """Labels that some weights may rank high, for every judging row; all (n, k).

    Parameters
    ----------
    scores, cosines, margins : float32
        Of network, prototypes and SVMs. If a label is in a row twice, its second score is -inf.
    right : bool
        False for the second one.
    """

    scores: Floats
    cosines: Floats
    margins: Floats
    right: Bools

    def merits(self, weight: float, svm_weight: float) -> Array:
        """Mean of the precisions at 1, 3 and 5 of every row, ranked with these weights."""
        total = self.scores + np.float32(weight) * self.cosines
        total += np.float32(svm_weight) * self.margins
        most = min(max(_KS), total.shape[1])
        best = np.argpartition(-total, most - 1, axis=1)[:, :most]
        order = np.argsort(-np.take_along_axis(total, best, axis=1), axis=1, kind="stable")
        hits = np.take_along_axis(self.right, np.take_along_axis(best, order, axis=1), axis=1)
        return np.asarray(np.mean([hits[:, :k].sum(axis=1) / k for k in _KS], axis=0))


def find_candidates(
    network: Network,
    prototypes: Prototypes,
    svms: LabelSvms | None,
    judges: TrainingRows,
    n_threads: int,
) -> Candidates:
    """The _DEPTH best labels of the network, and those with the largest weights of the others.

    With very many classes the labels come from short lists (`slide._prediction.lookup`).
    """
    k, x, rows = min(_DEPTH, network.n_classes), judges.x, network.rows
    n = min(_SCORED, network.n_classes)
    try:
        network.set_prototypes(prototypes.of_weight(_WEIGHTS[-1]))
        ids, best = lookup.topk(network, rows(x), k, n_threads, "lsh", n, apart=True)
        found = [*zip(ids, best, strict=True)]
        if svms is not None:
            alone = prototypes.of_weight(0.0).with_svms(svms, 1.0)
            network.set_prototypes(alone.times(_SVM_WEIGHTS[-1]))
            found.append(lookup.topk(network, rows(x), k, n_threads, "lsh", n))
    finally:
        network.set_prototypes(None)
    labels, scores = (np.hstack(parts) for parts in zip(*found, strict=True))
    cosines, margins = prototypes.products(x, labels), np.zeros_like(scores)
    scores[:, k : 2 * k] -= np.float32(_WEIGHTS[-1]) * cosines[:, k : 2 * k]
    if svms is not None:
        margins = alone.products(x, labels) + svms.biases[labels]
        scores[:, 2 * k :] -= np.float32(_SVM_WEIGHTS[-1]) * margins[:, 2 * k :]
    repeated = _repeated(labels)
    scores[repeated] = -np.inf
    return Candidates(scores, cosines, margins, judges.labels.contain(labels) & ~repeated)


def _repeated(labels: Ids) -> Bools:
    """Which labels stand further left in their row too."""
    order = np.argsort(labels, axis=1, kind="stable")
    rising = np.take_along_axis(labels, order, axis=1)
    repeated = np.zeros(labels.shape, bool)
    np.put_along_axis(repeated, order[:, 1:], rising[:, 1:] == rising[:, :-1], axis=1)
    return repeated


def best_weight(candidates: Candidates, judges: TrainingRows, n_threads: int) -> float:
    """The weight of the cosine that ranks best; 0 if it does not clearly beat 0."""
    return _better(candidates, judges, (0.0, 0.0), product(_WEIGHTS[1:], (0.0,)), n_threads)[0]


def best_weights(
    candidates: Candidates, judges: TrainingRows, weight: float, n_threads: int
) -> tuple[float, float]:
    """The weights of cosine and margin that rank best; if not clearly: `weight`, and no margin."""
    others = product(_WEIGHTS, _SVM_WEIGHTS)
    return _better(candidates, judges, (weight, 0.0), others, n_threads)


def _better(
    candidates: Candidates,
    judges: TrainingRows,
    usual: tuple[float, float],
    others: Iterable[tuple[float, float]],
    n_threads: int,
) -> tuple[float, float]:
    """The best of some other weights if it gains 1.5 standard errors or more, else the usual."""
    if len(judges) < _FEWEST:
        return usual
    sample_weights = judges.weights if judges.weights is not None else np.ones(len(judges))
    pairs = list(others)
    found = in_threads(lambda weights: candidates.merits(*weights), pairs, n_threads)
    merits = dict(zip(pairs, found, strict=True))
    best = max(merits, key=lambda weights: np.average(merits[weights], weights=sample_weights))
    gains = merits[best] - candidates.merits(*usual)
    mean = np.average(gains, weights=sample_weights)
    error = np.sqrt(np.sum((sample_weights * (gains - mean)) ** 2)) / sample_weights.sum()
    return best if mean > 1.5 * error else usual
