"""Losses: prior, probabilities, threshold and calibration of each.

The other half of a loss is its kernel in `slide._engine.losses`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_expit, softmax
from sklearn.linear_model import LogisticRegression

from slide._base.arrays import Array, Bools, Floats, Ints

_Calibrate: TypeAlias = Callable[[Floats, Bools, Ints, Array], tuple[float, float]]


@dataclass(frozen=True)
class Loss:
    """One loss, without its kernel.

    Parameters
    ----------
    name : str
        As in `slide._engine.losses.LOSSES`.
    log_prior : callable
        From the labels' counts (n_classes,) and the number of rows to the output biases before
        training. A label never seen has a finite one.
    n_decisions : callable
        From the number of classes to the number of decisions whose losses add up in a row's.
    log_probabilities : callable
        From scores (n, n_classes) and whether a row may have several labels to the logarithms of
        the probabilities, in place.
    score_threshold : float or None
        A row of a multilabel target gets the labels whose score is above it. None: the labels share
        one probability, and a row gets those that have more of it than one of 1 + labels_per_row
        equals.
    calibrate : callable
        From the scores of a row's candidates (n, k), whether each is a label (n, k), the number of
        the row's labels (n,), candidates or not, and the rows' weights (n,) to (slope, offset).
        slope * score + offset is a score of the right confidence. Scores of -inf do not count.
    """

    name: str
    log_prior: Callable[[Ints, int], Array]
    n_decisions: Callable[[int], int]
    log_probabilities: Callable[[Floats, bool], Floats]
    score_threshold: float | None
    calibrate: _Calibrate


def _shares(counts: Ints, n_rows: int) -> Array:
    """Share of the rows that have each label, as if half a row more had it."""
    return np.asarray((counts + 0.5) / (n_rows + 1.0))


# --------------------------------------------------------------- softmax --


def _log_share(counts: Ints, n_rows: int) -> Array:
    p = _shares(counts, n_rows)
    return np.asarray(np.log(p / p.sum()))


def _log_softmax(scores: Floats, multilabel: bool) -> Floats:
    scores -= scores.max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores


def _softmax_slope(
    scores: Floats, right: Bools, n_labels: Ints, weights: Array
) -> tuple[float, float]:
    """Make the softmax of a row's best label, on average, the share of it that is right.

    A row's probability is shared by its labels.
    """
    best = np.argmax(scores, axis=1)[:, np.newaxis]
    shares = np.take_along_axis(right, best, axis=1)[:, 0] / np.maximum(n_labels, 1)
    target = np.average(shares, weights=weights)

    def excess(log_slope: float) -> float:
        p = softmax(np.exp(log_slope) * scores, axis=1).max(axis=1)
        return float(np.average(p, weights=weights) - target)

    low, high = -5.0, 5.0
    if not excess(low) < 0 < excess(high):
        return 1.0, 0.0
    return float(np.exp(brentq(excess, low, high, xtol=1e-3))), 0.0


# --------------------------------------------------------------- sigmoid --


def _log_odds(counts: Ints, n_rows: int) -> Array:
    p = _shares(counts, n_rows)
    return np.asarray(np.log(p) - np.log1p(-np.minimum(p, 1 - 1e-6)))


def _log_sigmoid(scores: Floats, multilabel: bool) -> Floats:
    """Labels are independent of each other, but those of which a row has exactly one sum to 1."""
    log_expit(scores, out=scores)
    return scores if multilabel else _log_softmax(scores, multilabel)


def _logistic(scores: Floats, right: Bools, n_labels: Ints, weights: Array) -> tuple[float, float]:
    """Make the sigmoid of a candidate's score the probability that it is a label.

    The labels that are no candidates are not missed: candidates were chosen by what the score is
    made of.
    """
    valid = np.isfinite(scores)
    if not right[valid].any() or right[valid].all():
        return 1.0, 0.0
    weights = np.broadcast_to(weights[:, np.newaxis], scores.shape)[valid]
    model = LogisticRegression(C=np.inf, max_iter=1000)
    model.fit(scores[valid][:, np.newaxis], right[valid], sample_weight=weights)
    slope, offset = float(model.coef_[0, 0]), float(model.intercept_[0])
    return (slope, offset) if slope > 0 else (1.0, 0.0)


LOSSES = {
    loss.name: loss
    for loss in (
        Loss(
            name="softmax",
            log_prior=_log_share,
            n_decisions=lambda n_classes: 1,
            log_probabilities=_log_softmax,
            score_threshold=None,
            calibrate=_softmax_slope,
        ),
        Loss(
            name="sigmoid",
            log_prior=_log_odds,
            n_decisions=lambda n_classes: n_classes,
            log_probabilities=_log_sigmoid,
            score_threshold=0.0,
            calibrate=_logistic,
        ),
    )
}
