"""Losses: prior, probabilities, threshold and calibration of each.

The other half of a loss is its kernel in `slide._engine.losses`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, log_expit, softmax

from slide._base.arrays import Array, Bools, Floats, Ints
from slide._network.confidence import Confidence, LogTerm, fit_logistic, log_odds

_PRIOR_ROWS = 10  # so many rows say that the scores are calibrated already

_Calibrate: TypeAlias = Callable[[Floats, Bools, Ints, Array], tuple[float, float]]


@dataclass(frozen=True)
class Loss:
    """One loss, without its kernel.

    Parameters
    ----------
    name : str
        As in `slide._engine.losses.LOSSES`.
    log_prior : callable
        Maps the labels' counts (n_classes,) and the number of rows to the initial output biases. A
        label that was never seen has a finite bias too.
    n_decisions : callable
        Maps the number of classes to the number of decisions, whose losses add up to a row's loss.
    log_probabilities : callable
        Maps scores (n, n_classes), whether a row may have several labels, and the Confidence, to
        the logarithms of the probabilities, in place.
    log_term : callable
        The function of scores, with its derivative, that a Confidence is about.
    score_threshold : float or None
        A row of a multilabel target gets the labels whose `log_odds` are above it. None: the
        probabilities of a row sum to 1, and it gets the labels above 1 / (1 + labels_per_row).
    calibrate : callable
        Maps the scores of each row's candidates (n, k), whether each candidate is a label (n, k),
        the number of all labels of each row (n,), and the rows' weights (n,) to (slope, offset).
        slope * score + offset is a calibrated score. Scores of -inf do not count.
    """

    name: str
    log_prior: Callable[[Ints, int], Array]
    n_decisions: Callable[[int], int]
    log_probabilities: Callable[[Floats, bool, Confidence], Floats]
    log_term: LogTerm
    score_threshold: float | None
    calibrate: _Calibrate


def _shares(counts: Ints, n_rows: int) -> Array:
    """Share of the rows that have each label, with half a row added to each count."""
    return np.asarray((counts + 0.5) / (n_rows + 1.0))


# --------------------------------------------------------------- softmax --


def _log_share(counts: Ints, n_rows: int) -> Array:
    p = _shares(counts, n_rows)
    return np.asarray(np.log(p / p.sum()))


def _log_softmax(scores: Floats, multilabel: bool, confidence: Confidence) -> Floats:
    if not multilabel:
        scores *= np.float32(confidence.slope)
    scores -= scores.max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores


def _softmax_slope(
    scores: Floats, right: Bools, n_labels: Ints, weights: Array
) -> tuple[float, float]:
    """Find the slope at which the best labels' mean probability equals their mean correctness.

    A best label that is right counts 1 / (number of the row's labels), a wrong one 0.
    """
    best = np.argmax(scores, axis=1)[:, np.newaxis]
    shares = np.take_along_axis(right, best, axis=1)[:, 0] / np.maximum(n_labels, 1)
    target = np.average(shares, weights=weights)

    def mean_probability(log_slope: float) -> float:
        p = softmax(np.exp(log_slope) * scores, axis=1).max(axis=1)
        return float(np.average(p, weights=weights))

    prior = _PRIOR_ROWS / (_PRIOR_ROWS + len(scores))
    target = (1 - prior) * target + prior * mean_probability(0.0)

    def excess(log_slope: float) -> float:
        return mean_probability(log_slope) - target

    low, high = -5.0, 5.0
    if not excess(low) < 0 < excess(high):
        return 1.0, 0.0
    return float(np.exp(brentq(excess, low, high, xtol=1e-3))), 0.0


# --------------------------------------------------------------- sigmoid --


def _log_odds(counts: Ints, n_rows: int) -> Array:
    p = _shares(counts, n_rows)
    return np.asarray(np.log(p) - np.log1p(-np.minimum(p, 1 - 1e-6)))


def _log_sigmoid(scores: Floats, multilabel: bool, confidence: Confidence) -> Floats:
    """Log probabilities: independent labels if multilabel; else a row's labels sum to 1."""
    if multilabel:
        log_odds(scores, confidence)
    else:
        scores += np.float32(confidence.shift)
    log_expit(scores, out=scores)
    return scores if multilabel else _log_softmax(scores, multilabel, confidence)


def _log_sigmoid_term(scores: Array) -> tuple[Array, Array]:
    return log_expit(scores), expit(-scores)


def _logistic(scores: Floats, right: Bools, n_labels: Ints, weights: Array) -> tuple[float, float]:
    """Fit slope and offset so that the sigmoid of a candidate's score is its probability.

    Labels that are not candidates are left out. They are not needed: the terms of the score alone
    chose the candidates, whether they are right or not.
    """
    valid = np.isfinite(scores)
    if not right[valid].any() or right[valid].all():
        return 1.0, 0.0
    weights = np.broadcast_to(weights[:, np.newaxis], scores.shape)[valid]
    known = scores[valid].astype(np.float64)
    point = fit_logistic([known, np.ones_like(known)], right[valid], weights, len(scores))
    return (1.0, 0.0) if point is None else (point[0], point[1])


LOSSES = {
    loss.name: loss
    for loss in (
        Loss(
            name="softmax",
            log_prior=_log_share,
            n_decisions=lambda n_classes: 1,
            log_probabilities=_log_softmax,
            log_term=lambda scores: (scores, np.ones_like(scores)),
            score_threshold=None,
            calibrate=_softmax_slope,
        ),
        Loss(
            name="sigmoid",
            log_prior=_log_odds,
            n_decisions=lambda n_classes: n_classes,
            log_probabilities=_log_sigmoid,
            log_term=_log_sigmoid_term,
            score_threshold=0.0,
            calibrate=_logistic,
        ),
    )
}
