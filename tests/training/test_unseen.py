"""Judging rows without the features that rows after training do not have."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_array, issparse

from slide._data.columns import Columns
from slide._data.labels import single_rows
from slide._data.rows import TrainingRows
from slide._training.unseen import as_unseen

# The first three rows judge. Each column occurs in two rows at least.
X = np.array(
    [[3, 4, 0, 0], [0, 2, 0, 1], [0, 1, 2, 0], [0, 0, 5, 0], [1, 1, 0, 1], [0, 3, 0, 4]], float
)


def rows_of(x, columns=None):
    labels = single_rows(np.zeros(x.shape[0], np.int64), 1)
    return TrainingRows(x.astype(np.float32), labels, None, columns)


def unseen(x, columns=None):
    data = rows_of(x, columns)
    return as_unseen(data.take(np.arange(3)), data, among=True).x


def test_features_that_too_few_others_have_are_left_out():
    found = unseen(csr_array(X))
    assert_allclose(found.toarray(), [[0, 4, 0, 0], [0, 2, 0, 1], [0, 1, 0, 0]])
    judges, others = rows_of(csr_array(X[:3])), rows_of(csr_array(X[3:]))
    assert_allclose(as_unseen(judges, others, among=False).x.toarray(), found.toarray())


def test_rows_of_the_same_length_keep_it():
    found = unseen(csr_array(X / np.linalg.norm(X, axis=1, keepdims=True)))
    assert_allclose(np.sqrt((found.toarray() ** 2).sum(axis=1)), 1, rtol=1e-6)
    assert_allclose(found.toarray()[0], [0, 1, 0, 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("x", "columns"),
    [
        pytest.param(X, None, id="dense"),
        pytest.param(csr_array(np.pad(X, ((0, 0), (0, 1)))), None, id="an empty column"),
        pytest.param(csr_array(X), Columns.of_ids(9, np.arange(4, dtype=np.int32)), id="narrowed"),
    ],
)
def test_rows_stay_where_later_rows_may_have_other_features(x, columns):
    found, given = unseen(x, columns), rows_of(x).x[:3]
    assert_allclose(*((a.toarray() if issparse(a) else a) for a in (found, given)))
