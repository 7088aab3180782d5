"""Tests of the random initial weights."""

import numpy as np
import pytest
from ml_dtypes import bfloat16
from twins import random as twin

from slide._engine.initial import draw_rows, uniform_rows

IDS = np.array([0, 1, 77, 2**31 - 1], np.int32)


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_weights_are_those_of_the_twin(seed):
    found = uniform_rows(seed, 2, IDS, 9, 0.3, 1)
    expected = twin.uniform_rows(seed, 2, IDS.tolist(), 9, 0.3)
    np.testing.assert_array_equal(found, expected)


def test_neither_threads_nor_other_rows_change_a_weight():
    ids = np.arange(500, dtype=np.int32)
    one = uniform_rows(3, 0, ids, 40, 1.0, 1)
    np.testing.assert_array_equal(uniform_rows(3, 0, ids, 40, 1.0, 4), one)
    np.testing.assert_array_equal(uniform_rows(3, 0, ids[123:124], 40, 1.0, 1)[0], one[123])
    np.testing.assert_array_equal(uniform_rows(3, 0, ids, 7, 1.0, 1), one[:, :7])


def test_seeds_layers_and_rows_differ():
    rows = [uniform_rows(seed, layer, IDS, 50, 1.0, 1) for seed in (1, 2) for layer in (0, 1)]
    assert len(np.unique(np.vstack(rows))) > 0.999 * 16 * 50


def test_mean_and_deviation():
    w = uniform_rows(0, 0, np.arange(2000, dtype=np.int32), 100, 0.5, 2).astype(np.float64)
    n = w.size
    assert abs(w.mean()) < 4 * 0.5 / np.sqrt(n)
    assert abs(w.std() / 0.5 - 1) < 4 / np.sqrt(n)
    assert 0.999 * 0.5 * np.sqrt(3) < np.abs(w).max() <= 0.5 * np.sqrt(3)
    # Neighbours in a row and in a column are not correlated.
    for one, other in ((w[:, 1:], w[:, :-1]), (w[1:], w[:-1])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(n)


def test_no_rows_and_no_width():
    assert uniform_rows(0, 0, IDS[:0], 5, 1.0, 2).shape == (0, 5)
    assert uniform_rows(0, 0, IDS, 0, 1.0, 2).shape == (4, 0)


@pytest.mark.parametrize("dtype", [np.float32, bfloat16])
def test_rows_are_drawn_in_their_places(dtype):
    drawn, out = uniform_rows(5, 1, IDS, 33, 0.3, 1), np.ones((9, 33), dtype)
    rows = np.array([7, 0, 3, 8], np.int32)
    draw_rows(5, 1, IDS, 0.3, rows, out, 2)
    np.testing.assert_array_equal(out[rows], drawn.astype(dtype))
    assert (np.delete(out, rows, axis=0) == 1).all()


@pytest.mark.parametrize("rows", [[0, 1, 2], [0, 1, 2, 9], [-1, 1, 2, 3]])
def test_rows_that_do_not_fit_are_refused(rows):
    with pytest.raises(ValueError, match="rows must be 4 rows of the 9 rows of out"):
        draw_rows(5, 1, IDS, 0.3, np.array(rows, np.int32), np.ones((9, 3), np.float32), 1)
