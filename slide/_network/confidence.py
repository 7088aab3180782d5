"""Confidence: what probabilities add to scores, fitted on rows that training has not seen.

Nothing here changes the ranking of a row's classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from slide._base.arrays import Array, Bools, Floats

# A function of scores, and its derivative.
LogTerm: TypeAlias = Callable[[Array], tuple[Array, Array]]

# Standard deviations of log(slope) and shift before any row is seen. They matter for a few rows.
_SPREAD = np.array([0.7, 2.0])
# Weight of the difference between the best classes' mean probability and their mean correctness.
# Without it, planted problems have differences of up to .07 for .4 % less log loss.
_PULL = 20.0
_FLATTEST = 1e-3  # least factor of the score
_MOST = np.array([4.0, 8.0])  # largest magnitudes of log(slope) and shift


N_LIKELY = 50  # labels of a row that may be likely
_NO_LABELS = 1e-4  # added to their number, for a row whose scores are all low
_SCORES_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Confidence:
    """How sure probabilities are.

    A row with one label: they are proportional to exp(slope * log_term(score + shift)), where
    `slide._network.losses.Loss.log_term` is the function of the loss. This is a temperature (Guo et
    al., On Calibration of Modern Neural Networks, ICML 2017) and a shift.

    A row of a multilabel target, with the sigmoid loss: each is the sigmoid of `log_odds`.
    """

    slope: float = 1.0  # > 0; the inverse of a temperature
    shift: float = 0.0
    crowding: float = 0.0
    bend: float = 0.0  # >= 0; how much less a step counts among high scores than among low ones


def log_odds(scores: Floats, confidence: Confidence) -> Floats:
    """Log odds of independent labels, in place of the scores (n, k).

    The k labels of a row are all labels, or at least its N_LIKELY best.

    They are slope * score + bend * log(sigmoid(score)) + shift + crowding * `_crowd` of the row:
    the more labels of a row have high scores, the less sure is each.
    """
    if confidence == Confidence():
        return scores
    more = (confidence.shift + confidence.crowding * _crowd(scores)).astype(np.float32)
    for block in _blocks(scores):
        bent = log_expit(scores[block])
        bent *= np.float32(confidence.bend)
        scores[block] *= np.float32(confidence.slope)
        scores[block] += bent
        scores[block] += more[block]
    return scores


def _blocks(scores: Array) -> list[slice]:
    """Slices of rows of about _SCORES_AT_ONCE scores."""
    size = max(1, _SCORES_AT_ONCE // scores.shape[1])
    return [slice(first, first + size) for first in range(0, len(scores), size)]


def _crowd(scores: Array) -> Array:
    """Logarithm of about how many labels of a row are likely, (n, 1).

    Only its best ones count: all others would add up to something that training did not see.
    """
    n_others = max(0, scores.shape[1] - N_LIKELY)
    likely = np.empty((len(scores), 1))
    for block in _blocks(scores):
        best = np.partition(scores[block], n_others, axis=1)[:, n_others:]
        best.sort(axis=1)  # the order decides the rounding
        likely[block] = expit(best).sum(axis=1, keepdims=True, dtype=np.float64)
    return np.asarray(np.log(_NO_LABELS + likely))


def fit_log_odds(scores: Array, right: Bools, weights: Array) -> Confidence:
    """Find the Confidence of `log_odds` for the scores (n, k) of each row's N_LIKELY best labels.

    The k-th best label of a row counts 1/k, so that the many unlikely ones do not decide alone: the
    best are surer by .05 on OEWN without that and without the bend.

    right : which of them are labels; weights : of the rows.
    """
    scores = np.asarray(scores, np.float64)
    ranks = (-scores).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable") + 1.0
    crowd = np.broadcast_to(_crowd(scores), scores.shape)
    features = [scores, np.ones(scores.shape), crowd, log_expit(scores)]
    point = fit_logistic(features, right, weights[:, np.newaxis] / ranks, len(scores))
    return Confidence() if point is None else Confidence(*point)


def fit_logistic(
    features: list[Array], right: Bools, weights: Array, n_rows: int
) -> list[float] | None:
    """Find the factors of features whose sum, in a sigmoid, is the probability to be right.

    None if there are none, or if the first factor would not be above 0. A fourth factor is not
    below 0. The factors are drawn to (1, 0, ...), which matters for a few rows. All sums are
    NumPy's, and TNC has its own: the rounding of BLAS depends on its threads and its build.
    """
    weights = weights / weights.sum()
    start = np.eye(len(features))[0]

    def loss(point: Array) -> tuple[float, Array]:
        z = sum(factor * feature for factor, feature in zip(point, features, strict=True))
        excess = weights * (expit(z) - right)
        gradient = np.array([(excess * feature).sum() for feature in features])
        away = point - start
        value = (weights * (np.logaddexp(0, z) - right * z)).sum()
        return value + (away**2).sum() / (2 * n_rows), gradient + away / n_rows

    with np.errstate(all="ignore"):
        bounds = [(_FLATTEST, None), (None, None), (None, None), (0.0, None)][: len(start)]
        point = minimize(loss, start, jac=True, method="TNC", bounds=bounds).x
    return point.tolist() if np.isfinite(point).all() and point[0] > 2 * _FLATTEST else None


def fit_confidence(
    log_term: LogTerm, scores: Array, log_counts: Array, own: Array, weights: Array
) -> Confidence:
    """Find the Confidence of the largest likelihood, at which the best are as sure as right.

    Parameters
    ----------
    log_term : callable
    scores : float (n, m)
        Scores of classes that stand for all classes of a row.
    log_counts : float (n, m)
        Logarithm of the number of classes that a score stands for; -inf: it does not count.
    own : float (n,)
        Scores of the rows' labels.
    weights : float (n,)
        Weights of the rows.
    """
    weights = weights / weights.sum()
    n = 1 / np.square(weights).sum()  # as many rows of equal weights say as much
    rows, best = np.arange(len(scores)), np.where(log_counts > -np.inf, scores, -np.inf).argmax(1)
    right, pull = own >= scores[rows, best], _PULL

    def loss(point: Array) -> tuple[float, Array]:
        slope, shift = np.exp(point[0]), point[1]
        terms, slopes = log_term(scores + shift)
        own_terms, own_slopes = log_term(own + shift)
        logits = slope * terms + log_counts
        largest = logits.max(axis=1, keepdims=True)
        shares = np.exp(logits - largest)
        totals = shares.sum(axis=1, keepdims=True)
        shares /= totals
        value = largest[:, 0] + np.log(totals[:, 0]) - slope * own_terms
        mean_terms, mean_slopes = (shares * terms).sum(axis=1), (shares * slopes).sum(axis=1)
        p, best_term, best_slope = (array[rows, best] for array in (shares, terms, slopes))
        excess = (weights * (p - right)).sum()
        by_slope = mean_terms - own_terms + pull * excess * p * (best_term - mean_terms)
        by_shift = mean_slopes - own_slopes + pull * excess * p * (best_slope - mean_slopes)
        gradient = slope * np.array([(weights * by_slope).sum(), (weights * by_shift).sum()])
        prior = point / _SPREAD
        total = (weights * value).sum() + pull * excess**2 / 2 + (prior**2).sum() / (2 * n)
        return total, gradient + prior / (_SPREAD * n)

    with np.errstate(all="ignore"):
        bounds = list(zip(-_MOST, _MOST, strict=True))
        found = minimize(loss, np.zeros(2), jac=True, method="TNC", bounds=bounds).x
    if not np.isfinite(found).all():
        return Confidence()
    return Confidence(float(np.exp(found[0])), float(found[1]))
