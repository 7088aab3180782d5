"""Tests of the pruning of small gradients: its twin, its mean, and what it leaves alone."""

import numpy as np
import pytest
from twins import engine as reference

from slide._engine.entry_points import pruned_gradients


def gradients(n=40, k=13, seed=0, zeros=0.2):
    rng = np.random.default_rng(seed)
    delta = rng.standard_normal((n, k)) * 10.0 ** rng.uniform(-3, 0, (n, k))
    return np.where(rng.random((n, k)) < zeros, 0, delta).astype(np.float32)


def pruned(delta, factor, seed=5, layer=1):
    out = delta.copy()
    pruned_gradients(out, factor, seed, layer)
    return out


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
@pytest.mark.parametrize(("seed", "layer"), [(0, 0), (2**32 - 1, 3)])
def test_pruned_gradients_are_the_twins(factor, seed, layer):
    delta = gradients()
    expected = reference.pruned(delta.astype(float), np.ones(delta.shape), factor, seed, layer)
    np.testing.assert_allclose(pruned(delta, factor, seed, layer), expected, rtol=1e-6)


def test_the_mean_stays():
    """Over many seeds a gradient is right on average, within 4.5 standard errors."""
    delta, n = gradients(4, 9), 20_000
    total, squares = np.zeros(delta.shape), np.zeros(delta.shape)
    for seed in range(n):
        one = pruned(delta, 1.0, seed).astype(float)
        total += one
        squares += one**2
    mean = total / n
    error = np.sqrt(np.maximum(squares / n - mean**2, 0) / n)
    assert (np.abs(mean - delta) <= 4.5 * error + 1e-6 * np.abs(delta)).all()
    assert (error > 0).mean() > 0.5


def test_only_small_gradients_change():
    delta = gradients()
    least = np.sqrt(np.square(delta[delta != 0]).mean())
    out, small = pruned(delta, 1.0), np.abs(delta) < least
    np.testing.assert_array_equal(out[~small], delta[~small])
    assert set(np.unique(np.abs(out[small]).round(5))) == {0, np.float32(least).round(5)}
    assert (np.sign(out) * np.sign(delta) >= 0).all()
    assert (out[delta == 0] == 0).all()
    assert (out != 0).sum() < 0.5 * (delta != 0).sum()


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_gradients_that_are_no_numbers_stay(value):
    # A training that diverges must be noticed; gradients of 0 have no size to compare with.
    delta = np.full((3, 4), value, np.float32)
    np.testing.assert_array_equal(pruned(delta, 1.0), delta)


def test_no_gradients():
    for shape in ((0, 4), (4, 0)):
        pruned_gradients(np.zeros(shape, np.float32), 1.0, 0, 0)
