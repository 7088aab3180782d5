"""The kernel `sift`: its bounds contain the products, and the list is the neurons that reach."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from twins import sieve as twin

from slide._simd import dispatch

NAMES = [name for name in dispatch.available() if dispatch.multiplies_bytes(name)]
pytestmark = pytest.mark.skipif(not NAMES, reason="this processor does not multiply bytes")


def vectors(n, d, seed, signed=True):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) * rng.lognormal(0, 1, (n, 1))
    return (x if signed else np.maximum(x, 0)).astype(np.float32)


def lists(name, rows, first, n, x):
    """The list of every vector: ids, upper and lower bounds."""
    n_x = len(x["codes"])
    ids, counts = np.zeros((n_x, n + 16), np.int32), np.zeros(n_x, np.int64)
    most, least = np.zeros((2, n_x, n + 16), np.float32)
    dispatch.sift(name, rows, first, n, x, ids, most, least, counts)
    return [(ids[i, :k], most[i, :k], least[i, :k]) for i, k in enumerate(counts)]


@pytest.mark.parametrize("d", [1, 4, 30, 64, 257])
@pytest.mark.parametrize("n_x", [1, 3, 4, 9])
@pytest.mark.parametrize(("first", "n"), [(0, 64), (0, 200), (64, 100), (128, 5)])
@pytest.mark.parametrize("with_more", [False, True])
def test_lists_and_bounds(d, n_x, first, n, with_more):
    w, h = vectors(230, d, 0), vectors(n_x, d, 1, signed=n_x % 2 == 0)
    bias = vectors(1, 230, 2)[0]
    more = vectors(n_x, n, 3) if with_more else None
    rows, x = twin.byte_rows(w, bias), twin.byte_vectors(h)
    exact = (h.astype(np.float64) @ w[first : first + n].T.astype(np.float64)) + bias[
        first : first + n
    ]
    exact = exact if more is None else exact + more
    most, least = twin.bounds(rows, x, first, n, more)
    assert (least <= exact).all() and (exact <= most).all()
    x = {**x, "more": more, "threshold": np.quantile(most, 0.7, axis=1).astype(np.float32)}
    x["threshold"][0] = -np.inf
    for name in NAMES:
        found = lists(name, rows, first, n, x)
        for i, (ids, upper, lower) in enumerate(found):
            assert (np.diff(ids) > 0).all() and (upper >= x["threshold"][i]).all()
            here = ids - first
            size = np.abs(most[i]).max() + 1
            assert_allclose(upper, most[i, here], atol=1e-5 * size)
            assert_allclose(lower, least[i, here], atol=1e-5 * size)
            clear = np.flatnonzero(most[i] > x["threshold"][i] + 1e-4 * size)
            assert np.isin(clear, here).all()
        assert_array_equal(found[0][0], np.arange(first, first + n))


def test_nan_is_listed():
    w, h = vectors(64, 8, 0), vectors(2, 8, 1)
    rows, x = twin.byte_rows(w, np.zeros(64, np.float32)), twin.byte_vectors(h)
    rows["error"][5] = np.nan
    x = {**x, "more": None, "threshold": np.array([np.inf, 1e30], np.float32)}
    for name in NAMES:
        for ids, *_ in lists(name, rows, 0, 64, x):
            assert_array_equal(ids, [5])
