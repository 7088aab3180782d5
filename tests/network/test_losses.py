"""Losses without their kernels: prior, probabilities, calibration."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from slide._engine import losses as _kernels
from slide._network.confidence import Confidence
from slide._network.losses import LOSSES


def test_every_kernel_has_its_other_half():
    assert list(LOSSES) == list(_kernels.LOSSES)
    assert all(name == loss.name for name, loss in LOSSES.items())


def test_priors_are_the_probabilities_of_the_labels():
    counts, n_rows = np.array([0, 5, 20, 100]), 100
    shares = (counts + 0.5) / 101
    np.testing.assert_allclose(
        softmax(LOSSES["softmax"].log_prior(counts, n_rows)), shares / shares.sum()
    )
    np.testing.assert_allclose(expit(LOSSES["sigmoid"].log_prior(counts, n_rows)), shares)


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_probabilities(name, multilabel):
    scores = np.random.default_rng(3).standard_normal((7, 5)).astype(np.float32)
    expected = softmax(scores, axis=1) if name == "softmax" else expit(scores)
    if name == "sigmoid" and not multilabel:
        expected /= expected.sum(axis=1, keepdims=True)
    out = LOSSES[name].log_probabilities(scores, multilabel, Confidence())
    assert out is scores
    np.testing.assert_allclose(np.exp(out), expected, rtol=1e-5)


def test_calibration_of_sigmoid_finds_slope_and_offset():
    rng = np.random.default_rng(9)
    scores = 4 * rng.standard_normal((4000, 10))
    right = rng.random(scores.shape) < 1 / (1 + np.exp(-(0.4 * scores - 1.5)))
    scores[:, 9] = -np.inf  # these scores do not count
    calibrate, ones = LOSSES["sigmoid"].calibrate, np.ones(4000)
    slope, offset = calibrate(scores, right, ones, ones)
    assert slope == pytest.approx(0.4, abs=0.02) and offset == pytest.approx(-1.5, abs=0.06)
    assert calibrate(scores, np.zeros_like(right), ones, ones) == (1.0, 0.0)
    assert calibrate(-scores[:, :9], right[:, :9], ones, ones) == (1.0, 0.0)


def test_calibration_of_softmax_makes_the_best_as_sure_as_it_is_right():
    rng = np.random.default_rng(10)
    scores = 4 * rng.standard_normal((4000, 10))
    p = np.exp(0.4 * scores)
    p /= p.sum(axis=1, keepdims=True)
    label = (p.cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1)
    right = np.arange(10) == label[:, np.newaxis]
    calibrate, ones = LOSSES["softmax"].calibrate, np.ones(4000)
    assert calibrate(scores, right, ones, ones) == (pytest.approx(0.4, abs=0.03), 0.0)
    assert calibrate(scores, right, 2 * ones, ones)[0] < 0.3
    assert calibrate(scores, np.zeros_like(right), ones, ones) == (1.0, 0.0)
