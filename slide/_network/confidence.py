"""Confidence: how sure the probabilities are of rows with one label, fitted on unseen rows.

A temperature (Guo et al., On Calibration of Modern Neural Networks, ICML 2017) and a shift. Both
keep the ranking of the classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.optimize import minimize

from slide._base.arrays import Array

# A function of scores, and its derivative.
LogTerm: TypeAlias = Callable[[Array], tuple[Array, Array]]

# Standard deviations of log(slope) and shift before any row is seen. They matter for a few rows.
_SPREAD = np.array([0.7, 2.0])
_MOST = np.array([4.0, 8.0])  # largest magnitudes of log(slope) and shift


@dataclass(frozen=True)
class Confidence:
    """A row's probabilities are proportional to exp(slope * log_term(score + shift)).

    `slide._network.losses.Loss.log_term` is the function of the loss.
    """

    slope: float = 1.0  # > 0; the inverse of a temperature
    shift: float = 0.0


def fit_confidence(
    log_term: LogTerm, scores: Array, log_counts: Array, own: Array, weights: Array
) -> Confidence:
    """Find the Confidence of the largest likelihood.

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
        by_slope = (shares * terms).sum(axis=1) - own_terms
        by_shift = (shares * slopes).sum(axis=1) - own_slopes
        gradient = slope * np.array([(weights * by_slope).sum(), (weights * by_shift).sum()])
        prior = point / _SPREAD
        value = (weights * value).sum() + (prior**2).sum() / (2 * n)
        return value, gradient + prior / (_SPREAD * n)

    with np.errstate(all="ignore"):
        bounds = list(zip(-_MOST, _MOST, strict=True))
        found = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=bounds).x
    if not np.isfinite(found).all():
        return Confidence()
    return Confidence(float(np.exp(found[0])), float(found[1]))
