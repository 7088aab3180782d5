"""Confidence: planted temperatures are found, rankings stay, and nothing is ever worse for it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, log_expit, log_softmax, softmax

from slide._network.confidence import N_LIKELY, Confidence, fit_confidence, fit_log_odds, log_odds
from slide._network.losses import LOSSES


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def draw(p, rng):
    """A class of every row, by its probabilities (n, k)."""
    return (p.cumsum(axis=1) < rng.random((len(p), 1))).sum(axis=1).clip(max=p.shape[1] - 1)


@pytest.mark.parametrize(("slope", "shift"), [(1.7, 1.0), (0.6, -1.0)])
def test_a_planted_slope_and_shift_are_found(slope, shift, rng):
    scores = 3 * rng.standard_normal((5000, 40)) - 3
    labels = draw(softmax(slope * log_expit(scores + shift), axis=1), rng)
    own, ones = scores[np.arange(5000), labels], np.ones(5000)
    term = LOSSES["sigmoid"].log_term
    found = fit_confidence(term, scores, np.zeros_like(scores), own, ones)
    assert found.slope == pytest.approx(slope, rel=0.06)
    assert found.shift == pytest.approx(shift, abs=0.3)


def test_a_planted_temperature_is_found_under_softmax(rng):
    scores = 3 * rng.standard_normal((5000, 40))
    labels = draw(softmax(0.5 * scores, axis=1), rng)
    own, ones = scores[np.arange(5000), labels], np.ones(5000)
    term = LOSSES["softmax"].log_term
    found = fit_confidence(term, scores, np.zeros_like(scores), own, ones)
    assert found.slope == pytest.approx(0.5, rel=0.04)


def test_a_score_may_stand_for_many_classes(rng):
    scores = np.repeat(3 * rng.standard_normal((2000, 30)) - 3, 4, axis=1)
    labels = draw(softmax(2 * log_expit(scores), axis=1), rng)
    own, ones, term = scores[np.arange(2000), labels], np.ones(2000), LOSSES["sigmoid"].log_term
    everything = fit_confidence(term, scores, np.zeros_like(scores), own, ones)
    few = scores[:, ::4]
    four = np.full(few.shape, np.log(4.0))
    # The best class must stand for itself alone.
    best = few.argmax(axis=1)[:, np.newaxis]
    few = np.hstack([few, np.repeat(np.take_along_axis(few, best, axis=1), 4, axis=1)])
    np.put_along_axis(four, best, -np.inf, axis=1)
    four = np.hstack([four, np.zeros((2000, 4))])
    found = fit_confidence(term, few, four, own, ones)
    assert_allclose([found.slope, found.shift], [everything.slope, everything.shift], rtol=1e-3)


def test_few_or_odd_rows_give_a_finite_confidence(rng):
    term = LOSSES["sigmoid"].log_term
    for n in (1, 2, 5):
        scores = 30 * rng.standard_normal((n, 6))
        for own in (scores.max(axis=1), scores.min(axis=1)):
            found = fit_confidence(term, scores, np.zeros_like(scores), own, np.ones(n))
            assert found.slope > 0 and np.isfinite([found.slope, found.shift]).all()
        right = scores == scores.min(axis=1, keepdims=True)
        assert np.isfinite(fit_log_odds(scores, right, np.ones(n)).crowding)


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_rankings_stay(name, multilabel, rng):
    scores = rng.standard_normal((50, 20)).astype(np.float32)
    confidence = Confidence(2.5, -1.5, -0.8, 0.7)
    found = LOSSES[name].log_probabilities(scores.copy(), multilabel, confidence)
    assert_array_equal(np.argsort(found, axis=1), np.argsort(scores, axis=1))


def test_probabilities_of_one_label(rng):
    scores = rng.standard_normal((7, 5)).astype(np.float32)
    confidence = Confidence(2.5, -1.5)
    sigmoid = LOSSES["sigmoid"].log_probabilities(scores.copy(), False, confidence)
    assert_allclose(sigmoid, log_softmax(2.5 * log_expit(scores - 1.5), axis=1), rtol=1e-5)
    plain = LOSSES["softmax"].log_probabilities(scores.copy(), False, confidence)
    assert_allclose(plain, log_softmax(2.5 * scores, axis=1), rtol=1e-5)


def test_log_odds_fall_with_the_number_of_likely_labels(rng):
    scores = (3 * rng.standard_normal((4000, 20)) - 2).astype(np.float32)
    crowd = np.log(1e-4 + expit(scores.astype(float)).sum(axis=1, keepdims=True))
    expected = 1.2 * scores + 0.3 * log_expit(scores) + 0.5 - 0.7 * crowd
    found = log_odds(scores.copy(), Confidence(1.2, 0.5, -0.7, 0.3))
    assert_allclose(found, expected, atol=1e-4)
    right = rng.random(scores.shape) < expit(expected)
    fitted = fit_log_odds(scores, right, np.ones(4000))
    assert fitted.crowding == pytest.approx(-0.7, abs=0.1)
    assert_allclose(log_odds(scores.copy(), fitted), expected, atol=0.5)
    assert_array_equal(log_odds(scores.copy(), Confidence()), scores)


def test_labels_that_are_not_likely_do_not_matter(rng):
    few = rng.standard_normal((40, N_LIKELY)).astype(np.float32)
    many = np.hstack([few, np.full((40, 500), -9, np.float32)])[:, rng.permutation(550)]
    confidence = Confidence(1.2, 0.5, -0.7, 0.3)
    expected = np.sort(log_odds(few, confidence), axis=1)
    found = np.sort(log_odds(many, confidence), axis=1)[:, 500:]
    assert_array_equal(found, expected)
