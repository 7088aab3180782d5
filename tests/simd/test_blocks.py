"""Kernels that read and move some columns of rows, in blocks, against NumPy."""

import numpy as np
import pytest
from helpers.page_end import at_page_end
from ml_dtypes import bfloat16
from twins import half as halves
from twins.simd import block_columns, momentum

from slide._simd import dispatch

NAMES = dispatch.available()
PAIRS = [name for name in NAMES if dispatch.multiplies_bfloat16(name)]
# Columns of a row, and the first columns of the blocks that are used.
CASES = {
    "one": (16, [0]),
    "all": (48, [0, 16, 32]),
    "some": (144, [16, 32, 112]),
    "short": (5, [0]),
    "last is short": (39, [0, 32]),
    "ends early": (39, [16]),
}

each_case = pytest.mark.parametrize(("width", "starts"), CASES.values(), ids=CASES)
each_name = pytest.mark.parametrize("name", NAMES)
each_ids = pytest.mark.parametrize("ids", [None, [5, 0, 0, 3]], ids=["rows", "ids"])


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def columns_of(width, starts):
    columns = block_columns(starts, 16 * len(starts))
    return columns[columns < width], np.array(starts, np.int32)


def row_ids(ids):
    return None if ids is None else np.array(ids, np.int32)


def end(array):
    """A copy; no memory follows its last element."""
    return at_page_end(array, 0)


@each_name
@each_ids
@each_case
def test_take(name, width, starts, ids, rng):
    rows = rng.standard_normal((6, width)).astype(np.float32)
    columns, starts = columns_of(width, starts)
    expected = rows[slice(None) if ids is None else ids][:, columns]
    out = end(np.full(expected.size, np.nan, np.float32))
    dispatch.take(name, end(rows), width, row_ids(ids), len(expected), starts, len(columns), out)
    np.testing.assert_array_equal(out.reshape(expected.shape), expected)


@each_name
@each_ids
@each_case
def test_take_half(name, width, starts, ids, rng):
    rows = rng.standard_normal((6, width)).astype(bfloat16).view(np.uint16)
    columns, starts = columns_of(width, starts)
    expected = halves.unpack(rows, ids)[:, columns]
    out = end(np.full(expected.size, np.nan, np.float32))
    dispatch.take_half(
        name, end(rows), width, row_ids(ids), len(expected), starts, len(columns), out
    )
    np.testing.assert_array_equal(out.reshape(expected.shape), expected)


@pytest.mark.parametrize("name", PAIRS)
@each_ids
@each_case
def test_take_halves(name, width, starts, ids, rng):
    rows = rng.integers(0, 2**16, (6, width)).astype(np.uint16)
    columns, starts = columns_of(width, starts)
    expected = rows[slice(None) if ids is None else ids][:, columns]
    out = end(np.zeros(expected.size, np.uint16))
    dispatch.take_halves(
        name, end(rows), width, row_ids(ids), len(expected), starts, len(columns), out
    )
    np.testing.assert_array_equal(out.reshape(expected.shape), expected)


@each_name
@each_case
@pytest.mark.parametrize("n", [0, 1, 3])
def test_spread_blocks(name, n, width, starts, rng):
    columns, starts = columns_of(width, starts)
    row, coef = rng.standard_normal(width).astype(np.float32), rng.standard_normal(n)
    ids, coef = np.array([3, 0, 1][:n], np.int32), coef.astype(np.float32)
    before = rng.standard_normal((4, len(columns))).astype(np.float32)
    out, expected = end(before), before.astype(float)
    dispatch.spread_blocks(name, end(row), starts, coef, ids, out, len(columns), len(columns))
    expected[ids] += coef[:, np.newaxis].astype(float) * row[columns]
    np.testing.assert_allclose(out.reshape(expected.shape), expected, rtol=1e-6, atol=1e-6)


@each_name
@each_case
def test_momentum_blocks(name, width, starts, rng):
    columns, starts = columns_of(width, starts)
    w, m = rng.standard_normal((2, width)).astype(np.float32)
    g = rng.standard_normal(len(columns)).astype(np.float32)
    ours, moments = end(w), end(m)
    dispatch.momentum_blocks(name, ours, moments, starts, end(g), 0.25, 0.9)
    w[columns], m[columns] = momentum(w[columns], m[columns], g, 0.25, 0.9)
    np.testing.assert_allclose(ours, w, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(moments, m, rtol=1e-6, atol=1e-6)
    others = np.setdiff1d(np.arange(width), columns)
    np.testing.assert_array_equal(ours[others], w[others])
    np.testing.assert_array_equal(moments[others], m[others])


@each_name
@each_case
def test_momentum_half_blocks(name, width, starts, rng):
    # The bits of a column are those that it gets when the whole row moves.
    columns, starts = columns_of(width, starts)
    w, m = rng.integers(-100, 100, (2, width)) / 8
    w, m = (values.astype(bfloat16).view(np.uint16) for values in (w, m))
    g = np.zeros(width, np.float32)
    g[columns] = rng.integers(-100, 100, len(columns)) / 1024
    whole, whole_moments = halves.momentum_half(w, m, g, 0.25, 0.5, 7)
    ours, moments = end(w), end(m)
    dispatch.momentum_half_blocks(name, ours, moments, starts, end(g[columns]), 0.25, 0.5, 7)
    w[columns], m[columns] = whole[columns], whole_moments[columns]
    np.testing.assert_array_equal(ours, w)
    np.testing.assert_array_equal(moments, m)
