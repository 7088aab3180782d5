"""Kernels of rows of weights under every instruction set of the machine, against their twins."""

import numpy as np
import pytest
from helpers.kernels import (
    CANARY,
    EPS,
    NAMES,
    SIZES,
    Output,
    assert_same_bits,
    misaligned,
    read_only,
)
from helpers.page_end import at_page_end
from twins import simd as reference

from slide._simd import dispatch

each_name = pytest.mark.parametrize("name", NAMES)
each_size = pytest.mark.parametrize("n", SIZES)


@pytest.fixture
def rng():
    return np.random.default_rng(20)


# ----------------------------------------------------------------- dots --


def run_dots(name, rows, x, ids=None, bias=None, n_rows=None, d=None, pad=3):
    """Run `dots` on an output whose rows have `pad` elements more than are written."""
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
    ids = rng.integers(0, 20, n_ids)  # some ids occur twice
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
    """Run `accumulate`. coef : (n_out, n_rows); transposed : in memory it is (n_rows, n_out)."""
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
    for cut in (n // 2, n // 3):  # the other columns do not matter either
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
    ids = rng.integers(0, 5, 9)  # some ids occur twice
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
@each_size
def test_momentum_some(name, n, rng):
    w, m, g = rng.standard_normal((3, n)).astype(np.float32)
    g[rng.random(n) < 0.6] = 0
    outputs = Output(w), Output(m)
    moved = dispatch.momentum_some(name, *(o.array for o in outputs), misaligned(g), 0.01, 0.9)
    *expected, n_moved = reference.momentum_some(w, m, g, 0.01, 0.9)
    assert moved == n_moved
    for output, twin, before in zip(outputs, expected, (w, m), strict=True):
        np.testing.assert_allclose(output.values(), twin, rtol=4 * EPS, atol=4 * EPS)
        np.testing.assert_array_equal(output.values()[g == 0], before[g == 0])


@each_name
def test_momentum_without_a_gradient(name):
    w, m = np.ones(19, np.float32), np.zeros(19, np.float32)
    dispatch.momentum(name, w, m, np.zeros(19, np.float32), 0.5, 0.9)
    assert (w == 1).all() and (m == 0).all()


@each_name
@pytest.mark.parametrize("step", [dispatch.momentum, dispatch.momentum_some])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_momentum_shows_a_gradient_that_is_no_number(name, value, step):
    w, m = np.ones((2, 33), np.float32)
    g = np.ones(33, np.float32)
    g[[0, 20, 32]] = value
    step(name, w, m, g, 0.1, 0.9)
    np.testing.assert_array_equal(np.flatnonzero(~np.isfinite(w)), [0, 20, 32])


# --------------------------------------------------- gather_dot, code_scores --


@each_name
@each_size
def test_gather_dot(name, n, rng):
    row = rng.standard_normal(50).astype(np.float32)
    values = rng.standard_normal(n).astype(np.float32)
    ids = rng.integers(0, 50, n)  # some ids occur twice
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


# ---------------------------------------------------------------- top k --


@each_name
@each_size
def test_keys_rise_and_are_counted(name, n, rng):
    x = misaligned((rng.standard_normal(n) * 10.0 ** rng.integers(-30, 30, n)).astype(np.float32))
    keys = np.empty(n, np.int32)
    dispatch.rising_keys(name, x, keys)
    np.testing.assert_array_equal(keys, reference.rising_keys(x))
    np.testing.assert_array_equal(np.argsort(keys, kind="stable"), np.argsort(x, kind="stable"))
    for least in (*keys[:3], 0, np.iinfo(np.int32).max):
        assert dispatch.reaching(name, keys, least) == np.sum(keys >= least)
