"""Vector kernels of every instruction set that the machine has, against their twins."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.page_end import at_page_end
from scipy.linalg import hadamard as hadamard_matrix
from twins import simd as reference

from slide._simd import dispatch

NAMES = dispatch.available()
SIZES = [0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 257]
POWERS = [2**i for i in range(11)]
EPS = float(np.finfo(np.float32).eps)
CANARY = np.float32(-12345.0)

each_name = pytest.mark.parametrize("name", NAMES)
each_size = pytest.mark.parametrize("n", SIZES)


@pytest.fixture
def rng():
    return np.random.default_rng(20)


def misaligned(values, pad=np.nan):
    """A copy that is read-only; beyond its end lie a NaN and then no memory."""
    out = at_page_end(np.asarray(values, np.float32), pad)
    out.flags.writeable = False
    return out


class Output:
    """A misaligned array to write to, between canaries."""

    def __init__(self, values):
        values = np.asarray(values, np.float32).ravel()
        self.buffer = np.full(values.size + 41, CANARY)
        self.array = self.buffer[1 : 1 + values.size]
        self.array[...] = values

    def values(self, shape=-1):
        assert self.buffer[0] == CANARY
        assert (self.buffer[1 + self.array.size :] == CANARY).all()
        return self.array.copy().reshape(shape)


def bits(a):
    return np.asarray(a, np.float32).view(np.int32)


def assert_same_bits(a, b):
    np.testing.assert_array_equal(bits(a), bits(b))


def read_only(ids):
    ids = at_page_end(np.array(ids, np.int32), 2**30)
    ids.flags.writeable = False
    return ids


# ----------------------------------------------------------------- dots --


def run_dots(name, rows, x, ids=None, bias=None, n_rows=None, d=None, pad=3):
    """dots() into an output whose rows are `pad` wider than what is written."""
    n_rows = n_rows if n_rows is not None else len(rows if ids is None else ids)
    out = Output(np.full((len(x), n_rows + pad), CANARY))
    dispatch.dots(
        name, misaligned(rows), rows.shape[1], None if ids is None else read_only(ids),
        None if bias is None else misaligned(bias), n_rows, misaligned(x), x.shape[1], len(x),
        rows.shape[1] if d is None else d, out.array, n_rows + pad,
    )  # fmt: skip
    result = out.values((len(x), n_rows + pad))
    assert (result[:, n_rows:] == CANARY).all()
    return result[:, :n_rows]


def dots_tolerance(rows, x, ids=None, bias=None):
    magnitude = reference.dots(abs(rows), abs(x), ids, None if bias is None else abs(bias))
    return (rows.shape[1] / 4 + 4) * EPS * magnitude


@each_name
@each_size
def test_dots(name, n, rng):
    for n_rows, n_x in [(9, 6), (1, 1), (4, 4), (0, 3), (3, 0)]:
        rows = rng.standard_normal((max(n_rows, 1), n)).astype(np.float32)[:n_rows]
        x = rng.standard_normal((n_x, n)).astype(np.float32)
        bias = rng.standard_normal(n_rows).astype(np.float32)
        for b in (None, bias):
            error = abs(run_dots(name, rows, x, bias=b) - reference.dots(rows, x, bias=b))
            assert (error <= dots_tolerance(rows, x, bias=b)).all()


@each_name
@each_size
def test_dots_of_n_rows_and_of_n_vectors(name, n, rng):
    for n_rows, n_x in [(n, 5), (5, n)]:
        rows = rng.standard_normal((n_rows, 10)).astype(np.float32)
        x = rng.standard_normal((n_x, 10)).astype(np.float32)
        error = abs(run_dots(name, rows, x) - reference.dots(rows, x))
        assert (error <= dots_tolerance(rows, x)).all()


@each_name
@pytest.mark.parametrize("n_ids", [0, 1, 3, 4, 5, 11, 40])
def test_dots_gathers_rows_and_biases_by_id(name, n_ids, rng):
    rows = rng.standard_normal((20, 17)).astype(np.float32)
    x = rng.standard_normal((5, 17)).astype(np.float32)
    bias = rng.standard_normal(20).astype(np.float32)
    ids = rng.integers(0, 20, n_ids)  # some twice
    for b in (None, bias):
        expected = reference.dots(rows, x, ids, b)
        error = abs(run_dots(name, rows, x, ids, b) - expected)
        assert (error <= dots_tolerance(rows, x, ids, b)).all()


@each_name
def test_dots_reads_d_of_the_leading_dimension(name, rng):
    rows = rng.standard_normal((6, 30)).astype(np.float32)
    x = rng.standard_normal((6, 30)).astype(np.float32)
    short_rows, short_x = rows[:, :19].copy(), x[:, :19].copy()
    rows[:, 19:] = np.nan
    x[:, 19:] = np.nan
    assert_same_bits(run_dots(name, rows, x, d=19), run_dots(name, short_rows, short_x))


@each_name
@each_size
def test_dots_of_a_pair_is_the_same_wherever_it_stands(name, n, rng):
    rows = rng.standard_normal((11, n)).astype(np.float32)
    x = rng.standard_normal((9, n)).astype(np.float32)
    bias = rng.standard_normal(11).astype(np.float32)
    block = run_dots(name, rows, x, bias=bias)
    for i in range(11):
        for b in range(9):
            alone = run_dots(name, rows[i : i + 1], x[b : b + 1], bias=bias[i : i + 1])
            assert_same_bits(alone[0, 0], block[b, i])
    order, places = rng.permutation(11), rng.permutation(9)
    shuffled = run_dots(name, rows, x[places], ids=order, bias=bias)
    assert_same_bits(shuffled, block[places][:, order])


@each_name
def test_dots_keeps_nan_and_infinity_to_their_pair(name, rng):
    rows = rng.standard_normal((9, 33)).astype(np.float32)
    x = rng.standard_normal((7, 33)).astype(np.float32)
    rows[3, 32], rows[6, 0], x[2, 15] = np.nan, np.inf, np.nan
    out = run_dots(name, rows, x)
    bad = np.zeros((7, 9), bool)
    bad[:, 3] = bad[2] = True
    np.testing.assert_array_equal(np.isnan(out), bad)
    np.testing.assert_array_equal(np.isinf(out[:, 6]), np.arange(7) != 2)


# ----------------------------------------------------------- accumulate --


def run_accumulate(name, coef, rows, out, ids=None, transposed=False, pad=2):
    """coef (n_out, n_rows); transposed: it lies in memory as (n_rows, n_out)."""
    n_out, n_rows = coef.shape
    d = rows.shape[1]
    padded = np.full((n_out, d + pad), CANARY)
    padded[:, :d] = out
    result = Output(padded)
    si, sk = (1, n_out) if transposed else (n_rows, 1)
    dispatch.accumulate(
        name, misaligned(coef.T if transposed else coef), si, sk, misaligned(rows), d,
        None if ids is None else read_only(ids), n_rows, result.array, d + pad, n_out, d,
    )  # fmt: skip
    padded = result.values((n_out, d + pad))
    assert (padded[:, d:] == CANARY).all()
    return padded[:, :d]


def accumulate_problem(rng, n_out, n_rows, d):
    return (
        rng.standard_normal((n_out, n_rows)).astype(np.float32),
        rng.standard_normal((n_rows, d)).astype(np.float32),
        rng.standard_normal((n_out, d)).astype(np.float32),
    )


def assert_accumulates(name, coef, rows, out, ids=None, transposed=False):
    result = run_accumulate(name, coef, rows, out, ids, transposed)
    expected = reference.accumulate(coef, rows, out, ids)
    magnitude = reference.accumulate(abs(coef), abs(rows), abs(out), ids)
    assert (abs(result - expected) <= (coef.shape[1] / 4 + 4) * EPS * magnitude).all()
    return result


@each_name
@each_size
@pytest.mark.parametrize("transposed", [False, True])
def test_accumulate(name, n, transposed, rng):
    for n_out, n_rows, d in [(6, 5, n), (6, n, 9), (n, 5, 9), (1, 40, n), (4, 33, n)]:
        assert_accumulates(name, *accumulate_problem(rng, n_out, n_rows, d), None, transposed)


@each_name
@pytest.mark.parametrize("n_ids", [0, 1, 5, 32, 33, 70])
def test_accumulate_gathers_rows_by_id(name, n_ids, rng):
    coef, _, out = accumulate_problem(rng, 5, n_ids, 33)
    rows = rng.standard_normal((20, 33)).astype(np.float32)
    assert_accumulates(name, coef, rows, out, rng.integers(0, 20, n_ids))


@each_name
@each_size
def test_accumulate_of_a_row_is_the_same_wherever_it_stands(name, n, rng):
    coef, rows, out = accumulate_problem(rng, 7, 41, n)
    block = run_accumulate(name, coef, rows, out)
    for i in range(7):
        alone = run_accumulate(name, coef[i : i + 1], rows, out[i : i + 1])
        assert_same_bits(alone[0], block[i])
    for cut in (n // 2, n // 3):  # and whatever the columns beside it
        assert_same_bits(run_accumulate(name, coef, rows[:, :cut], out[:, :cut]), block[:, :cut])


@each_name
def test_accumulate_adds_in_rising_order(name, rng):
    # So the sum may be cut into calls anywhere, and rows of coefficient 0 may be left out.
    coef, rows, out = accumulate_problem(rng, 5, 70, 50)
    whole = run_accumulate(name, coef, rows, out)
    for cut in (1, 31, 32, 33, 69):
        part = run_accumulate(name, coef[:, :cut], rows[:cut], out)
        assert_same_bits(run_accumulate(name, coef[:, cut:], rows[cut:], part), whole)
    coef[:, ::3] = 0
    kept = np.flatnonzero(coef[0])
    assert_same_bits(
        run_accumulate(name, coef[:, kept], rows, out, ids=kept),
        run_accumulate(name, coef, rows, out),
    )


@each_name
def test_accumulate_passes_nan(name, rng):
    coef, rows, out = accumulate_problem(rng, 5, 6, 33)
    coef[2, 4], rows[1, 32] = np.nan, np.nan
    bad = np.zeros((5, 33), bool)
    bad[2] = bad[:, 32] = True
    np.testing.assert_array_equal(np.isnan(run_accumulate(name, coef, rows, out)), bad)


# ----------------------------------------- spread, gather_sum, square_sum --


@each_name
@each_size
def test_spread(name, n, rng):
    ids = rng.integers(0, 5, 9)  # some twice
    row, coef = rng.standard_normal(n).astype(np.float32), rng.standard_normal(9)
    before = rng.standard_normal((5, n + 2)).astype(np.float32)
    out = Output(before)
    coef = coef.astype(np.float32)
    dispatch.spread(name, misaligned(row), misaligned(coef), read_only(ids), out.array, n + 2)
    after = out.values((5, n + 2))
    assert_same_bits(after[:, n:], before[:, n:])
    expected = reference.spread(row, coef, ids, before[:, :n])
    np.testing.assert_allclose(after[:, :n], expected, rtol=1e-5, atol=1e-5)


@each_name
def test_spread_to_nothing(name):
    out = Output(np.ones(4))
    dispatch.spread(name, misaligned(np.ones(4)), misaligned([]), read_only([]), out.array, 4)
    assert_same_bits(out.values(), np.ones(4))


@each_name
@each_size
@pytest.mark.parametrize("n_ids", [0, 1, 6])
def test_gather_sum(name, n, n_ids, rng):
    rows = rng.standard_normal((4, n)).astype(np.float32)
    coef = rng.standard_normal(n_ids).astype(np.float32)
    ids, out = rng.integers(0, 4, n_ids), Output(np.full(n, np.nan))
    dispatch.gather_sum(name, misaligned(coef), misaligned(rows), n, read_only(ids), out.array)
    expected = reference.gather_sum(coef, rows, ids)
    np.testing.assert_allclose(out.values(), expected, rtol=1e-5, atol=1e-5)


@each_name
@each_size
def test_square_sum(name, n, rng):
    x = rng.standard_normal(n).astype(np.float32)
    expected = reference.square_sum(x)
    assert dispatch.square_sum(name, misaligned(x)) == pytest.approx(expected, rel=1e-6)


# ------------------------------------------------------------- momentum --


@each_name
@each_size
def test_momentum(name, n, rng):
    w, m, g = rng.standard_normal((3, n)).astype(np.float32)
    outputs = Output(w), Output(m)
    dispatch.momentum(name, *(o.array for o in outputs), misaligned(g), 0.01, 0.9)
    expected = reference.momentum(w, m, g, 0.01, 0.9)
    for output, twin in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(output.values(), twin, rtol=4 * EPS, atol=4 * EPS)


@each_name
def test_momentum_without_a_gradient(name):
    w, m = np.ones(19, np.float32), np.zeros(19, np.float32)
    dispatch.momentum(name, w, m, np.zeros(19, np.float32), 0.5, 0.9)
    assert (w == 1).all() and (m == 0).all()


@each_name
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_momentum_shows_a_gradient_that_is_no_number(name, value):
    w, m = np.ones((2, 33), np.float32)
    g = np.ones(33, np.float32)
    g[[0, 20, 32]] = value
    dispatch.momentum(name, w, m, g, 0.1, 0.9)
    np.testing.assert_array_equal(np.flatnonzero(~np.isfinite(w)), [0, 20, 32])


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


# --------------------------------------------------- gather_dot, code_scores --


@each_name
@each_size
def test_gather_dot(name, n, rng):
    row = rng.standard_normal(50).astype(np.float32)
    values = rng.standard_normal(n).astype(np.float32)
    ids = rng.integers(0, 50, n)  # some twice
    result = dispatch.gather_dot(name, misaligned(row), read_only(ids), misaligned(values))
    bound = reference.gather_dot(abs(row), ids, abs(values))
    error = abs(result - reference.gather_dot(row, ids, values))
    assert error <= (n / 4 + 4) * EPS * bound
    # A dense row against all of its places is a plain dot product.
    result = dispatch.gather_dot(name, misaligned(values), read_only(range(n)), misaligned(values))
    assert result == pytest.approx((values.astype(float) ** 2).sum(), rel=1e-5)


@each_name
@pytest.mark.parametrize("n", [1, 4, 9, 33])
def test_gather_dot_reads_only_its_ids_and_passes_nan(name, n, rng):
    row = np.full(3 * n, np.nan, np.float32)
    row[::3] = rng.standard_normal(n)
    values = rng.standard_normal(n).astype(np.float32)
    ids = read_only(rng.permutation(n) * 3)
    assert np.isfinite(dispatch.gather_dot(name, row, ids, values))
    for i in {0, n // 2, n - 1}:
        bad = values.copy()
        bad[i] = np.nan
        assert np.isnan(dispatch.gather_dot(name, row, ids, bad))


def code_problem(rng, n, n_words):
    codes = rng.integers(0, 2**64, (n, n_words), np.uint64, endpoint=False)
    query = rng.integers(0, 2**64, n_words, np.uint64, endpoint=False)
    if n > 2:
        codes[1], codes[2] = query, ~query  # both ends of the curve
    curve = rng.standard_normal(64 * n_words + 1)
    return codes, query, curve, *rng.standard_normal((2, n))


def run_code_scores(name, codes, query, curve, norm, bias, ids=None):
    codes_at_end, query = at_page_end(codes, 77), at_page_end(query, 77)
    codes_at_end.flags.writeable = query.flags.writeable = False
    out = Output(np.zeros(len(codes) if ids is None else len(ids)))
    dispatch.code_scores(
        name, codes_at_end, len(query), None if ids is None else read_only(ids), query,
        misaligned(curve), misaligned(norm), misaligned(bias), out.array,
    )  # fmt: skip
    return out.values()


@each_name
@each_size
@pytest.mark.parametrize("n_words", [1, 4, 5])
def test_code_scores(name, n, n_words, rng):
    problem = code_problem(rng, n, n_words)
    expected = reference.code_scores(problem[0], np.arange(n), *problem[1:])
    every = run_code_scores(name, *problem)
    np.testing.assert_allclose(every, expected, rtol=4 * EPS, atol=8 * EPS)
    ids = rng.permutation(n)[: n // 2 + 1]
    assert_same_bits(run_code_scores(name, *problem, ids), every[ids])


@each_name
@each_size
def test_code_scores_of_codes_of_n_words(name, n, rng):
    if n == 0:  # all distances are 0
        assert run_code_scores(name, *code_problem(rng, 3, 0)).shape == (3,)
        return
    problem = code_problem(rng, 5, n)
    expected = reference.code_scores(problem[0], np.arange(5), *problem[1:])
    np.testing.assert_allclose(
        run_code_scores(name, *problem), expected, rtol=4 * EPS, atol=8 * EPS
    )


# --------------------------------------------------------------- choice --


def import_simd(forced):
    """Import slide._simd.dispatch in a fresh process under SLIDE_SIMD=forced (None: unset)."""
    environment = {k: v for k, v in os.environ.items() if k != "SLIDE_SIMD"}
    if forced is not None:
        environment["SLIDE_SIMD"] = forced
    root = Path(dispatch.__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", "import slide._simd.dispatch as s; print(s.instruction_set())"],
        cwd=root, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_every_machine_has_scalar():
    assert NAMES[-1] == "scalar"
    assert set(NAMES) <= {"avx512", "avx2", "scalar"}
    assert dispatch.instruction_set() in NAMES


@each_name
def test_an_instruction_set_can_be_forced(name):
    done = import_simd(name)
    assert (done.returncode, done.stdout.strip()) == (0, name), done.stderr


def test_without_force_the_widest_is_taken():
    assert import_simd(None).stdout.strip() == NAMES[0]


def test_a_forced_name_that_nobody_knows_fails_on_import():
    done = import_simd("nonsense")
    assert done.returncode != 0
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("ValueError") and "SLIDE_SIMD='nonsense'" in message
    assert all(name in message for name in NAMES)


def test_doors_refuse_an_unknown_name():
    with pytest.raises(ValueError, match=r"nonsense.*scalar"):
        dispatch.hadamard("nonsense", np.zeros(4, np.float32))
