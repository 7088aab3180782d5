"""Extreme values and settings: the model is finite, or an error says why it is not."""

import numpy as np
import pytest
from helpers.small_problem import INDICATOR, X, Y, assert_unfitted, classifier
from scipy import sparse

from slide import SparseMLPClassifier


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_divergence(method, n_jobs):
    classes = {"classes": [0, 1, 2]} if method == "partial_fit" else {}
    clf = classifier(learning_rate_init=1e30, batch_size=8, n_jobs=n_jobs)
    with pytest.raises(FloatingPointError, match=r"epoch 1, by step .*learning_rate_init"):
        getattr(clf, method)(X, Y, **classes)
    assert_unfitted(clf)
    clf.set_params(learning_rate_init=1e-3)
    getattr(clf, method)(X, Y, **classes)
    assert np.isfinite(clf.predict_proba(X)).all()


def test_a_later_partial_fit_that_diverges():
    clf = classifier(batch_size=8).partial_fit(X, Y, classes=[0, 1, 2])
    clf.set_params(learning_rate_init=1e30)
    with pytest.raises(FloatingPointError, match="diverged in epoch 2"):
        clf.partial_fit(X, Y)
    assert_unfitted(clf)


@pytest.mark.parametrize("to", [np.asarray, sparse.csr_array])
def test_values_whose_squares_overflow(to):
    clf = classifier()
    with pytest.raises(ValueError, match=r"X must hold values of at most 1e\+16"):
        clf.fit(to(X * np.float32(1e36)), Y)
    assert_unfitted(clf)


@pytest.mark.parametrize("to", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_values_whose_weights_would_overflow(to, method):
    clf = classifier()
    with pytest.raises(ValueError, match=r"X must have rows of a length of at least 1e-16.*scale"):
        getattr(clf, method)(to(X * np.float32(1e-36)), INDICATOR)
    assert_unfitted(clf)


@pytest.mark.parametrize("to", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("scale", [1e-14, 1e14])
def test_extreme_values(to, scale):
    x = X * np.float32(scale)
    try:
        proba = classifier().fit(to(x), Y).predict_proba(to(x))
    except FloatingPointError as error:
        assert "the values of X are too large or too small" in str(error)
    else:
        assert np.isfinite(proba).all()


def test_sizes_beyond_the_data():
    """Tables, candidates, tail and batch that exceed the numbers of rows or classes."""
    clf = classifier(
        batch_size=10_000, tail_size=1_000_000, n_tables=255, n_hash_bits=16, retrieval="rerank"
    ).fit(X, INDICATOR)
    assert clf.t_ == 120
    assert np.isfinite(clf.predict_proba(X)).all()


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("retrieval", ["rerank", "none"])
@pytest.mark.parametrize("tail_size", [0, 1, 2])
def test_tiny_active_sets(loss, retrieval, tail_size):
    clf = classifier(
        loss=loss, retrieval=retrieval, tail_size=tail_size, active_fraction=(1.0, 0.01)
    ).fit(X, INDICATOR)
    assert np.isfinite(clf.predict_proba(X)).all()


def test_constant_X_gives_the_prior():
    y = np.repeat([0, 1], [90, 10])
    proba = (
        SparseMLPClassifier(random_state=0).fit(np.ones((100, 3)), y).predict_proba(np.ones((1, 3)))
    )
    assert abs(proba[0, 1] - 0.1) < 0.05


@pytest.mark.parametrize("weight", [1e-20, 1e20])
def test_a_common_factor_of_the_weights_does_not_count(weight):
    plain = classifier().fit(X, Y, np.ones(len(X)))
    scaled = classifier().fit(X, Y, np.full(len(X), weight))
    np.testing.assert_allclose(scaled.coefs_[0], plain.coefs_[0], rtol=1e-5)


def test_the_units_of_X_do_not_count():
    plain, scaled = classifier().fit(X, Y), classifier().fit(X * np.float32(2.0**-20), Y)
    np.testing.assert_allclose(
        scaled.predict_proba(X * np.float32(2.0**-20)), plain.predict_proba(X), rtol=1e-2, atol=1e-3
    )


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("weight_dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("solver", ["adam", "sgd", "adagrad"])
@pytest.mark.parametrize("active_fraction", ["auto", (0.5, 0.5)], ids=["dense", "sparse"])
@pytest.mark.parametrize("to", [np.asarray, sparse.csr_array])
def test_an_absurd_learning_rate(to, active_fraction, solver, weight_dtype, loss, method):
    clf = classifier(
        learning_rate_init=1e6, batch_size=8, solver=solver, weight_dtype=weight_dtype, loss=loss,
        active_fraction=active_fraction,
    )  # fmt: skip
    arguments = {"classes": [0, 1, 2]} if method == "partial_fit" else {}
    with pytest.raises(FloatingPointError, match=r"in epoch \d+, .*learning_rate_init=1000000"):
        for _ in range(3):
            getattr(clf, method)(to(X), Y, **arguments)
    assert_unfitted(clf)
