"""Kernels of one vector under every instruction set of the machine, against their twins."""

import numpy as np
import pytest
from helpers.kernels import (
    EPS,
    NAMES,
    SIZES,
    Output,
    assert_same_bits,
    misaligned,
)
from scipy.linalg import hadamard as hadamard_matrix
from twins import simd as reference

from slide._simd import dispatch

POWERS = [2**i for i in range(11)]

each_name = pytest.mark.parametrize("name", NAMES)
each_size = pytest.mark.parametrize("n", SIZES)


@pytest.fixture
def rng():
    return np.random.default_rng(20)


# ------------------------------------------------- hadamard, sign_bits --


@each_name
@pytest.mark.parametrize("n", [0, *POWERS])
def test_hadamard_of_integers_is_exact(name, n, rng):
    x = rng.integers(-9, 10, n)
    out = Output(x)
    dispatch.hadamard(name, out.array)
    np.testing.assert_array_equal(out.values(), hadamard_matrix(n) @ x if n else x)
    np.testing.assert_array_equal(out.values(), reference.hadamard(x) if n else x)


@pytest.mark.parametrize("n", POWERS)
def test_hadamard_has_the_same_bits_everywhere(n, rng):
    x = (rng.standard_normal(n) * 10.0 ** rng.integers(-6, 6, n)).astype(np.float32)
    x[::5] = -0.0
    results = []
    for name in NAMES:
        out = Output(x)
        dispatch.hadamard(name, out.array)
        results.append(out.values())
        assert_same_bits(results[0], results[-1])
    np.testing.assert_allclose(
        results[0], reference.hadamard(x), rtol=0, atol=12 * EPS * abs(x).sum()
    )


@each_name
@each_size
def test_sign_bits(name, n, rng):
    x = rng.integers(-1, 2, n).astype(np.float32)
    x[rng.permutation(n)[: n // 3]] = -0.0
    x[rng.permutation(n)[: n // 5]] = np.nan
    x[rng.permutation(n)[: n // 5]] = 1e-45  # the smallest number above zero
    out = np.full((n + 63) // 64 + 1, 77, np.uint64)
    dispatch.sign_bits(name, misaligned(x, pad=1.0), out)
    np.testing.assert_array_equal(out[:-1], reference.sign_bits(x))
    assert out[-1] == 77


# -------------------------------------------------------------- exp_sum --


@each_name
@each_size
def test_exp_sum(name, n, rng):
    z = rng.uniform(-20, 20, n).astype(np.float32)
    out = Output(z)
    total = dispatch.exp_sum(name, out.array, -3.3)
    values, expected = reference.exp_sum(z, -3.3)
    np.testing.assert_allclose(out.values(), values, rtol=3e-7)
    assert total == pytest.approx(expected, rel=2e-6, abs=0)


@each_name
def test_exp_sum_is_accurate_everywhere(name):
    z = np.linspace(-87, 88, 1_000_003).astype(np.float32)
    out = z.copy()
    dispatch.exp_sum(name, out, 0.0)
    exact = np.exp(z.astype(np.float64))
    assert (abs(out / exact - 1)).max() < 3e-7


@each_name
def test_exp_sum_clamps(name):
    z = np.array([-np.inf, -1e30, -87.5, 0, 88.5, 1e30, np.inf] * 5, np.float32)
    dispatch.exp_sum(name, z, 0.0)
    low, high = np.exp(-87.0), np.exp(88.0)
    np.testing.assert_allclose(z, [low, low, low, 1, high, high, high] * 5, rtol=3e-7)
    assert np.isfinite(z).all()


@each_name
@pytest.mark.parametrize("n", [s for s in SIZES if s])
def test_exp_sum_passes_nan_and_only_nan(name, n, rng):
    z = rng.standard_normal(n).astype(np.float32)
    clean = z.copy()
    dispatch.exp_sum(name, clean, 0.5)
    for i in {0, n // 2, n - 1}:
        out = z.copy()
        out[i] = np.nan
        assert np.isnan(dispatch.exp_sum(name, out, 0.5))
        assert np.isnan(out[i])
        assert_same_bits(np.delete(out, i), np.delete(clean, i))
    out = z.copy()
    assert np.isnan(dispatch.exp_sum(name, out, np.nan))
    assert np.isnan(out).all()


@each_name
def test_exp_sum_of_an_entry_is_the_same_wherever_it_stands(name, rng):
    z = rng.uniform(-80, 80, 100).astype(np.float32)
    whole = z.copy()
    dispatch.exp_sum(name, whole, 0.0)
    for first, last in [(0, 1), (3, 50), (99, 100), (17, 100)]:
        part = z[first:last].copy()
        dispatch.exp_sum(name, part, 0.0)
        assert_same_bits(part, whole[first:last])


# ----------------------------------------------------------- vector_max --


@each_name
@each_size
def test_vector_max(name, n, rng):
    z = rng.standard_normal(n).astype(np.float32)
    assert dispatch.vector_max(name, misaligned(z)) == reference.vector_max(z)
    for i in range(n):
        z[i] = 50 + i
        assert dispatch.vector_max(name, misaligned(z)) == 50 + i
    z[:] = -np.inf
    assert dispatch.vector_max(name, misaligned(z)) == -np.inf


# -------------------------------------------------------------- sigmoid --


@each_name
@pytest.mark.parametrize("n", [*SIZES, 64 * 16 - 1, 64 * 16, 64 * 16 + 1, 3000])
def test_sigmoid(name, n, rng):
    z = (10 * rng.standard_normal(n)).astype(np.float32)
    out = Output(z)
    total = dispatch.sigmoid(name, out.array)
    values, softplus = reference.sigmoid(z)
    np.testing.assert_allclose(out.values(), values, rtol=6e-7)
    assert total == pytest.approx(softplus, rel=2e-6, abs=0)


@each_name
def test_sigmoid_is_accurate_everywhere(name):
    z = np.linspace(-87, 88, 100_003).astype(np.float32)
    out = z.copy()
    dispatch.sigmoid(name, out)
    np.testing.assert_allclose(out, reference.sigmoid(z)[0], rtol=6e-7)


@each_name
@pytest.mark.parametrize("z", [-1e30, -1e4, -100, -88, -30, -17, 0, 17, 30, 88, 100, 1e4, 1e30])
@pytest.mark.parametrize("n", [1, 8, 17, 2000])
def test_softplus_of_extreme_arguments(name, z, n):
    # One term's error is half a unit in the last place of 1 + exp(z), 6e-8.
    out = np.full(n, z, np.float32)
    total = dispatch.sigmoid(name, out)
    value, softplus = reference.sigmoid(np.float32(z))
    assert total == pytest.approx(n * float(softplus), rel=1e-6, abs=n * 6.1e-8)
    np.testing.assert_allclose(out, float(value), rtol=6e-7, atol=2e-38)


@each_name
def test_sigmoid_of_infinity(name):
    for n in (1, 8, 33):
        out = np.full(n, np.inf, np.float32)
        assert dispatch.sigmoid(name, out) == np.inf
        assert (out == 1).all()
        out = np.full(n, -np.inf, np.float32)
        assert dispatch.sigmoid(name, out) == pytest.approx(0, abs=1e-30)
        assert ((out >= 0) & (out < 2e-38)).all()


@each_name
@pytest.mark.parametrize("n", [s for s in SIZES if s] + [1500])
def test_sigmoid_passes_nan_and_only_nan(name, n, rng):
    z = rng.standard_normal(n).astype(np.float32)
    clean = z.copy()
    dispatch.sigmoid(name, clean)
    for i in {0, n // 2, n - 1}:
        out = z.copy()
        out[i] = np.nan
        assert np.isnan(dispatch.sigmoid(name, out))
        assert np.isnan(out[i])
        assert_same_bits(np.delete(out, i), np.delete(clean, i))


@each_name
def test_sigmoid_of_an_entry_is_the_same_wherever_it_stands(name, rng):
    z = (9 * rng.standard_normal(100)).astype(np.float32)
    whole = z.copy()
    dispatch.sigmoid(name, whole)
    for first, last in [(0, 1), (3, 50), (99, 100), (17, 100)]:
        part = z[first:last].copy()
        dispatch.sigmoid(name, part)
        assert_same_bits(part, whole[first:last])
