"""Hashing many rows at once gives the same bits as one at a time, with every instruction set."""

import numpy as np
import pytest
from helpers.kernels import misaligned
from helpers.page_end import at_page_end
from twins import hashing as reference
from twins import simd as reference_simd

from slide._hashing.simhash import SimHash
from slide._simd import dispatch

EPS = float(np.finfo(np.float32).eps)
SIZES = [0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 1023]
SHAPES = [(1, 1), (7, 9), (50, 14), (16, 16), (64, 16)]  # L and K; the last of 1,024 bits

each_name = pytest.mark.parametrize("name", dispatch.available())
each_width = pytest.mark.parametrize("n_in", [1, 7, 64, 128, 200, 300, 1025])


@pytest.fixture
def rng():
    return np.random.default_rng(50)


def simhasher(n_in, n_tables, n_bits, n_rounds=3):
    random_state = np.random.RandomState(n_in)
    return SimHash.draw(n_in, n_tables, n_bits, random_state, n_rounds=n_rounds)


def simhash(name, hasher, shape, x, extras=(None, None), ids=None, n=None, pad=3):
    """Codes of n rows of x, written to an array that is `pad` wider."""
    n = n if n is not None else len(x)
    codes = np.full((shape[0], n + pad), 0xABCD, np.uint16)
    extras = [None if e is None else misaligned(e[:n]) for e in extras]
    ids = None if ids is None else misaligned(ids, np.int32)
    scratch = at_page_end(np.full(hasher.rows_scratch_size + 8, np.nan, np.float32), np.nan)
    dispatch.simhash(name, hasher.parameters, x.shape[1], *shape, misaligned(x), x.shape[1], ids, n,
                     *extras, scratch[:-8], codes)  # fmt: skip
    assert np.isnan(scratch[-8:]).all() and (codes[:, n:] == 0xABCD).all()
    return codes[:, :n]


@each_name
@each_width
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_have_the_codes_that_one_vector_has(name, n_in, shape, rng):
    hasher = simhasher(n_in, *shape)
    x = rng.standard_normal((SIZES[-1], n_in)).astype(np.float32)
    x *= 10.0 ** rng.integers(-3, 3, x.shape).astype(np.float32)
    x[5] = 0
    x[rng.random(x.shape) < 0.1] = -0.0
    extras = rng.standard_normal((2, len(x))).astype(np.float32)
    extras[:, ::7] = 0
    for given in (extras, (None, None)):
        expected = hasher.codes(x, None, *given)
        for n in SIZES:
            codes = simhash(name, hasher, shape, x, given, n=n)
            np.testing.assert_array_equal(codes, expected[:, :n])


@each_name
@pytest.mark.parametrize(("n_in", "shape"), [(128, (50, 14)), (700, (16, 16)), (100, (255, 16))])
def test_simhash_of_integers_is_its_twin(name, n_in, shape, rng):
    # Every sum of the transform is an integer below 2^24, so float32 makes no error.
    hasher = simhasher(n_in, *shape)
    x = rng.integers(-2, 3, (19, n_in)).astype(np.float32)
    x[:, 200:] = 0
    projections = reference.simhash_projections(hasher.parameters, x)
    assert abs(projections).max() < 2**24
    expected = reference.simhash_codes(projections, *shape)
    np.testing.assert_array_equal(simhash(name, hasher, shape, x), expected)


@each_name
@pytest.mark.parametrize("n_in", [40, 300])
def test_simhash_gathers_rows_by_id_and_takes_two_rounds(name, n_in, rng):
    shape = 6, 11
    hasher = simhasher(n_in, *shape, n_rounds=2)
    x = rng.standard_normal((20, n_in)).astype(np.float32)
    extras = rng.standard_normal((2, 37)).astype(np.float32)
    ids = rng.integers(0, 20, 37)  # some ids occur twice
    expected = hasher.codes(x[ids], None, *extras)
    codes = simhash(name, hasher, shape, x, extras, ids, len(ids))
    np.testing.assert_array_equal(codes, expected)


@each_name
def test_a_row_of_nan_leaves_its_neighbours_alone(name, rng):
    hasher = simhasher(33, 5, 8)
    x = rng.standard_normal((16, 33)).astype(np.float32)
    expected = simhash(name, hasher, (5, 8), x)
    x[3] = np.nan
    codes = simhash(name, hasher, (5, 8), x)
    assert (codes[:, 3] == 0).all()
    np.testing.assert_array_equal(np.delete(codes, 3, 1), np.delete(expected, 3, 1))


@each_name
@pytest.mark.parametrize("d", [*SIZES[:-1], 257])
def test_statistics_have_the_bits_of_dots(name, d, rng):
    mean = rng.standard_normal(d).astype(np.float32)
    for n in [0, 1, 3, 4, 5, 8, 33]:
        rows = rng.standard_normal((n, d)).astype(np.float32)
        bias = rng.standard_normal(n).astype(np.float32)
        out = np.full((2, n + 3), -12345.0, np.float32)
        along, norm2 = out
        dispatch.statistics(name, misaligned(rows), d, misaligned(bias), n, misaligned(mean),
                            along, norm2)  # fmt: skip
        assert (out[:, n:] == -12345).all()
        dots = np.empty((2, n), np.float32)
        dispatch.dots(name, misaligned(rows), d, None, misaligned(bias), n, misaligned(mean), d, 1,
                      d, dots[0], n)  # fmt: skip
        for i in range(n):
            row = misaligned(rows[i])
            dispatch.dots(name, row, d, None, None, 1, row, d, 1, d, dots[1, i:], 1)
        np.testing.assert_array_equal(out[:, :n].view(np.int32), dots.view(np.int32))
        expected = reference_simd.dots(rows, mean[None], bias=bias)[0], (rows**2.0).sum(axis=1)
        magnitude = reference_simd.dots(abs(rows), abs(mean)[None], bias=abs(bias))[0], expected[1]
        for found, twin, scale in zip(out, expected, magnitude, strict=True):
            assert (abs(found[:n] - twin) <= (d / 4 + 4) * EPS * scale).all()
