"""Tests of the columns that occur: what they are, their inputs, rows with these columns only."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from slide._data.columns import Columns, columns_that_pay, occurring

WIDTHS = [50, 5_000, 2**24, 2**31 - 1]


def wide_rows(ids, n_announced, rng, n=20):
    """CSR rows of 5 of the columns `ids` each."""
    places = np.array([np.sort(rng.choice(len(ids), 5, replace=False)) for _ in range(n)])
    values = rng.uniform(0.5, 1, places.size).astype(np.float32)
    indices = np.asarray(ids, np.int32)[places.ravel()]
    return csr_array((values, indices, np.arange(0, places.size + 1, 5)), (n, n_announced))


def some_ids(n, n_announced, rng):
    return np.unique(rng.integers(0, n_announced, n)).astype(np.int32)


@pytest.mark.parametrize("n_announced", WIDTHS)
def test_columns_with_a_value_occur(n_announced):
    rng = np.random.default_rng(0)
    x = wide_rows(some_ids(12, n_announced, rng), n_announced, rng)
    np.testing.assert_array_equal(occurring(x), np.unique(x.indices))
    assert occurring(x).dtype == np.int32
    assert len(occurring(x[:0])) == 0


def test_a_dense_array_has_the_same_columns():
    x = np.zeros((3, 6), np.float32)
    x[0, 4], x[2, 1] = 1, -2
    np.testing.assert_array_equal(occurring(x), [1, 4])


@pytest.mark.parametrize("n_announced", WIDTHS)
def test_selected_rows_have_the_values_of_known_columns(n_announced):
    rng = np.random.default_rng(1)
    ids = rng.permutation(some_ids(14, n_announced, rng))
    x = wide_rows(np.sort(ids), n_announced, rng)
    columns = Columns.of_ids(n_announced, ids[:10])
    np.testing.assert_array_equal(columns.ids, ids[:10])
    selected = columns.select(x)
    assert selected.has_sorted_indices
    for i in range(x.shape[0]):
        start, stop = x.indptr[i : i + 2]
        value = dict(zip(x.indices[start:stop].tolist(), x.data[start:stop], strict=True))
        expected = [value.get(column, 0) for column in ids[:10].tolist()]
        np.testing.assert_array_equal(selected[[i]].toarray()[0], expected)


def test_dense_and_sparse_rows_are_selected_alike():
    rng = np.random.default_rng(2)
    x = wide_rows(np.arange(0, 60, 3), 60, rng)
    columns = Columns.of_ids(60, np.array([9, 3, 57, 1], np.int32))
    np.testing.assert_array_equal(columns.select(x).toarray(), columns.select(x.toarray()))


def test_rows_of_known_columns_share_their_values():
    rng = np.random.default_rng(3)
    x = wide_rows(np.arange(7, 40, 3), 10_000, rng)
    before = x.copy()
    selected = Columns.of_ids(10_000, occurring(x)).select(x)
    assert np.shares_memory(selected.data, x.data)
    # Columns in another order must not reorder the values of x.
    Columns.of_ids(10_000, occurring(x)[::-1].copy()).select(x)
    assert (x != before).nnz == 0


def test_new_columns_get_later_inputs():
    rng = np.random.default_rng(4)
    columns = Columns.of_ids(1000, np.array([5, 900], np.int32))
    assert columns.joined(wide_rows([5, 900, 5, 900, 5], 1000, rng)[:0]) is columns
    joined = columns.joined(csr_array(([1.0, 1.0, 1.0], [7, 5, 2], [0, 2, 3]), (2, 1000)))
    np.testing.assert_array_equal(joined.ids, [5, 900, 2, 7])
    np.testing.assert_array_equal(joined.known, [2, 5, 7, 900])
    assert len(joined) == 4
    np.testing.assert_array_equal(columns.ids, [5, 900])


def test_a_narrower_network_must_save_more_than_its_indices_cost():
    rng = np.random.default_rng(5)
    x = wide_rows(np.arange(50), 50, rng, n=400)
    assert columns_that_pay(x, 8) is None  # all occur
    wide = csr_array((x.data, x.indices, x.indptr), (400, 10**6))
    np.testing.assert_array_equal(columns_that_pay(wide, 8).ids, np.arange(50))
    few_missing = csr_array((x.data, x.indices, x.indptr), (400, 60))
    assert columns_that_pay(few_missing, 8) is None
    dense = np.zeros((400, 2000), np.float32)
    dense[:, 5:15] = 1
    np.testing.assert_array_equal(columns_that_pay(dense, 8).ids, np.arange(5, 15))
    dense[:, :1000] = 1
    assert columns_that_pay(dense, 8) is None


def test_rows_of_zeros_keep_one_column():
    empty = csr_array((4, 2**31 - 1), dtype=np.float32)
    assert len(columns_that_pay(empty, 8)) == 1
