"""Calibration: the scale of the scores, and how sure one label's probabilities are.

Both are fitted on rows that training has not seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slide._base.arrays import Array, Floats
from slide._base.n_jobs import in_threads
from slide._engine import predict
from slide._network.confidence import N_LIKELY, Confidence, fit_confidence, fit_log_odds
from slide._network.losses import LOSSES
from slide._prediction import lookup

if TYPE_CHECKING:
    from slide._data.rows import TrainingRows
    from slide._network.network import Network

MOST_ROWS = 2000
_ALL = 2048  # at most so many classes are all scored for a Confidence
_HEAD, _TAIL = 64, 1024  # of more classes: the best of a row, and some that stand for the others
_SCORES = 1 << 26  # most scores computed for a Confidence, unless its rows would be too few
_LEAST_ROWS = 256
_SCORES_AT_ONCE = 1 << 22


def calibrate_scores(
    network: Network, judges: TrainingRows, multilabel: bool, n_threads: int
) -> tuple[tuple[float, float], Confidence]:
    """Slope and offset of the calibrated scores, and the Confidence of these if multilabel."""
    loss, weights = LOSSES[network.settings.loss], _weights(judges)
    k = min(N_LIKELY, network.n_classes)
    ids, scores = lookup.topk(network, network.rows(judges.x), k, n_threads, mode="lsh")
    right, n_labels = judges.labels.contain(ids), np.diff(judges.labels.indptr)
    slope, offset = loss.calibrate(scores, right, n_labels, weights)
    independent = multilabel and loss.score_threshold is not None
    scaled = slope * scores.astype(np.float64) + offset
    confidence = fit_log_odds(scaled, right, weights) if independent else Confidence()
    return (slope, offset), confidence


def confidence_of(
    network: Network, judges: TrainingRows, slope: float, offset: float, n_threads: int
) -> Confidence:
    """The Confidence of rows with one label, for the scores slope * score + offset."""
    n = max(_LEAST_ROWS, _SCORES // network.n_classes)
    judges = judges.take(np.arange(min(n, len(judges))))
    if not len(judges):
        return Confidence()
    scores, log_counts, own = _scores_for_all(network, judges, n_threads)
    scaled = slope * scores.astype(np.float64) + offset
    log_term = LOSSES[network.settings.loss].log_term
    return fit_confidence(log_term, scaled, log_counts, slope * own + offset, _weights(judges))


def _scores_for_all(
    network: Network, judges: TrainingRows, n_threads: int
) -> tuple[Floats, Floats, Array]:
    """Scores that stand for all classes, the logarithms of how many each, scores of the labels.

    Of many classes a row has its best ones, its label, and some others, which stand for the rest.
    """
    model, rows, labels = network.model(), network.rows(judges.x), judges.labels.indices
    n, n_classes = len(judges), network.n_classes
    columns = np.arange(0, n_classes, -(-n_classes // _TAIL))
    few = n_classes <= _ALL
    width = n_classes if few else _HEAD + len(columns) + 1
    found = np.empty((n, width), np.float32)
    log_counts, own = np.zeros((n, width), np.float32), np.empty(n)
    block = max(1, _SCORES_AT_ONCE // n_classes)
    for first in range(0, n, block):
        part = slice(first, min(first + block, n))
        scores = predict.scores(model, rows, first, part.stop, n_threads)
        own[part] = np.take_along_axis(scores, labels[part, np.newaxis], axis=1)[:, 0]
        if few:
            found[part] = scores
        else:
            found[part], log_counts[part] = _some_of_all(scores, labels[part], columns, n_threads)
    return found, log_counts, own


def _some_of_all(
    scores: Floats, labels: Array, columns: Array, n_threads: int
) -> tuple[Floats, Floats]:
    """`_some`, for parts of the rows in threads."""
    parts = [part for part in np.array_split(np.arange(len(scores)), n_threads) if len(part)]
    found = in_threads(
        lambda part: _some(scores[part[0] : part[-1] + 1], labels[part], columns), parts, n_threads
    )
    some, log_counts = (np.vstack(each) for each in zip(*found, strict=True))
    return some, log_counts


def _some(scores: Floats, labels: Array, columns: Array) -> tuple[Floats, Floats]:
    """The best scores of every row, those of `columns` and its label's, and their log counts."""
    n_classes = scores.shape[1]
    best = np.argpartition(scores, n_classes - _HEAD, axis=1)[:, n_classes - _HEAD :]
    in_best = np.zeros(scores.shape, bool)
    np.put_along_axis(in_best, best, True, axis=1)
    tail = ~in_best[:, columns]
    label = labels[:, np.newaxis]
    known = np.take_along_axis(in_best, label, axis=1) | np.isin(label, columns)
    n_others = n_classes - _HEAD - ~known[:, 0]
    each = np.log(n_others / tail.sum(axis=1))[:, np.newaxis]
    log_counts = [np.zeros(best.shape), np.where(tail, each, -np.inf), np.where(known, -np.inf, 0)]
    some = [np.take_along_axis(scores, ids, axis=1) for ids in (best, label)]
    return np.hstack([some[0], scores[:, columns], some[1]]), np.hstack(log_counts)


def _weights(judges: TrainingRows) -> Floats:
    return np.ones(len(judges), np.float32) if judges.weights is None else judges.weights
