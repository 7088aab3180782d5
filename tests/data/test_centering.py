"""Tests of centering: dense features are centred in any container, sparse ones are not."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from slide import SparseMLPClassifier
from slide._data.centering import centered, centered_by_mean


@pytest.fixture
def data():
    """256 rows of small whole numbers, so that means and differences are exact in float32."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 256)
    X = rng.integers(-3, 4, (256, 12)) + 4 * np.eye(4, 12, dtype=int)[y]
    return X.astype(np.float32), y


def fit(X, y, **params):
    params = {"hidden_layer_sizes": (32,), "max_iter": 5, "random_state": 0, **params}
    return SparseMLPClassifier(**params).fit(X, y)


@pytest.mark.parametrize("form", [np.asarray, csr_array])
@pytest.mark.parametrize("weights", [None, np.arange(1, 257, dtype=np.float32)])
def test_center_is_the_mean(data, form, weights):
    X = form(data[0])
    expected = np.average(data[0].astype(np.float64), axis=0, weights=weights)
    rows, center = centered_by_mean(X, weights)
    assert center.dtype == np.float32
    assert_allclose(center, expected, rtol=1e-6)
    assert_array_equal(rows, data[0] - center)
    assert_array_equal(centered(X, center), rows)
    assert_array_equal(X.toarray() if form is csr_array else X, data[0])


@pytest.mark.parametrize("form", [np.asarray, csr_array])
def test_a_quarter_of_values_is_not_dense(form):
    X = np.zeros((8, 8), np.float32)
    X[::2, ::2] = 3
    sparse = form(X)
    rows, center = centered_by_mean(sparse, None)
    assert rows is sparse and center is None
    assert centered(sparse, None) is sparse
    X[1, 1] = 3
    assert centered_by_mean(form(X), None)[1] is not None


@pytest.mark.parametrize("n_rows", [1, 2, 5])
def test_rows_that_are_all_alike_stay(n_rows):
    for X in (np.ones((n_rows, 3), np.float32), csr_array(np.ones((n_rows, 3), np.float32))):
        rows, center = centered_by_mean(X, None)
        assert rows is X and center is None


@pytest.mark.parametrize("active_fraction", [1.0, (0.25, 1.0)])
def test_a_shift_of_the_features_changes_nothing(data, active_fraction):
    X, y = data
    here = fit(X, y, active_fraction=active_fraction)
    there = fit(X + 64, y, active_fraction=active_fraction)
    assert_array_equal(here.decision_function(X), there.decision_function(X + 64))
    assert here.score(X, y) > 0.8


def test_weights_are_those_of_the_features_as_they_came(data):
    X, y = data
    clf = fit(X + 64, y, active_fraction=1.0)
    hidden = np.maximum((X + 64) @ clf.coefs_[0] + clf.intercepts_[0], 0)
    scores = hidden @ clf.coefs_[1] + clf.intercepts_[1]
    assert_allclose(scores, clf.decision_function(X + 64), atol=1e-3)


def test_csr_of_dense_features_trains_the_same(data):
    X, y = data
    a, b = fit(X, y), fit(csr_array(X), y)
    assert_array_equal(a.decision_function(csr_array(X)), b.decision_function(X))


def test_the_first_batch_decides_unless_it_is_far_off(data):
    X, y = data
    clf = SparseMLPClassifier((32,), random_state=0)
    clf.partial_fit(X[:100], y[:100], classes=range(4))
    center = clf._fitted.network.x_mean.copy()
    assert_array_equal(center, X[:100].mean(axis=0, dtype=np.float64).astype(np.float32))
    clf.partial_fit(X[100:], y[100:])
    assert_array_equal(clf._fitted.network.x_mean, center)
    clf.partial_fit(X[100:] + 64, y[100:])
    assert (clf._fitted.network.x_mean > center + 16).all()


def test_going_on_keeps_the_center(data):
    X, y = data
    clf = fit(X, y, warm_start=True)
    center = clf._fitted.network.x_mean.copy()
    clf.fit(X + 1, y)
    assert_array_equal(clf._fitted.network.x_mean, center)
