"""The sieve: the same top k as from all scores, to the bit."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from twins import sieve as twin

from slide import SparseMLPClassifier
from slide._base.rows import InputRows
from slide._engine import predict
from slide._engine.model import Model
from slide._network.layer import Layer
from slide._prediction import lookup, sieve
from slide._prediction.sieve import Sieve
from slide.datasets import make_extreme_classification

pytestmark = pytest.mark.skipif(not sieve.pays(), reason="this processor does not multiply bytes")


def layers_of(width, n_classes, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    layers = []
    for n_in, n_out in ((50, width), (width, n_classes)):
        layer = Layer.zeros(n_in, n_out, not layers, 0, dtype)
        layer.w[:] = rng.standard_normal(layer.w.shape).astype(np.float32) / np.sqrt(n_in)
        layer.b[:] = rng.standard_normal(n_out)
        layers.append(layer)
    return layers


def rows_of(n, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 50)).astype(np.float32)


def assert_exact(layers, x, k, n_threads=1, activation="relu", prototypes=None):
    model = Model(layers, activation, "sigmoid", prototypes)
    rows = InputRows(x)
    found = Sieve(layers[-1].w, layers[-1].b, n_threads).topk(model, rows, k, n_threads)
    expected = predict.topk(model, rows, k, 1)
    for ours, theirs in zip(found, expected, strict=True):
        assert_array_equal(ours.view(np.int32), theirs.view(np.int32))


@pytest.mark.parametrize("width", [1, 7, 64, 130])
@pytest.mark.parametrize("n_classes", [3, 64, 2047, 5000])
@pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])
def test_the_best_are_those_of_all_scores(width, n_classes, activation):
    layers = layers_of(width, n_classes)
    for k in (1, min(5, n_classes), min(256, n_classes)):
        assert_exact(layers, rows_of(70), k, activation=activation)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("n", [0, 1, 15, 65, 200])
def test_any_number_of_rows_and_threads(n, n_threads):
    assert_exact(layers_of(40, 3000), rows_of(n), 5, n_threads)


def test_weights_in_bfloat16():
    from ml_dtypes import bfloat16

    assert_exact(layers_of(64, 3000, dtype=bfloat16), rows_of(70), 5)


def test_equal_scores():
    """Among equal scores the lower id wins, however many neurons are equal."""
    layers = layers_of(32, 6000)
    layers[-1].w[...] = layers[-1].w[:1]
    layers[-1].b[...] = 0.5
    assert_exact(layers, rows_of(70), 5)
    layers[-1].w[...] = 0
    layers[-1].b[...] = 0
    assert_exact(layers, rows_of(70), 5)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e15])
def test_weights_of_any_size(scale):
    layers = layers_of(32, 3000)
    layers[-1].w *= np.float32(scale)
    layers[-1].b *= np.float32(scale)
    assert_exact(layers, rows_of(70), 5)
    layers[-1].w[::7] *= np.float32(1e-4)
    layers[-1].w[5, 3] = np.abs(layers[-1].w).max() * 100
    assert_exact(layers, rows_of(70), 5)


def test_neurons_that_are_not_finite_hide_no_others():
    layers = layers_of(32, 3000)
    layers[-1].w[17, 3] = np.inf
    layers[-1].w[2000, 3] = -np.inf
    assert_exact(layers, rows_of(70), 5, activation="logistic")  # no activation is 0


def test_the_widest_layers_do_not_overflow():
    """The largest sum of products of bytes that MAX_WIDTH inputs can have."""
    n = 65_536
    layers = layers_of(n, 3)
    layers[0].w[...], layers[0].b[...], layers[1].w[...] = 0, 1, 1
    layers[0].b[0] = 0
    layers[1].w[1] = -1
    assert_exact(layers, rows_of(2), 1)


def test_codes_are_those_of_the_twin():
    layers = layers_of(30, 200)
    made = Sieve(layers[-1].w, layers[-1].b, 2)
    rows = twin.byte_rows(layers[-1].w, layers[-1].b)
    assert np.abs(made.codes.astype(int) - rows["codes"]).max() <= 1  # halves may be rounded apart
    assert np.mean(made.codes != rows["codes"]) < 1e-3
    for name in ("scale", "sum", "bias", "error", "length"):
        assert_allclose(getattr(made, name), rows[name], rtol=1e-4, atol=1e-5)
    assert made.nbytes == 256 * 32 + 5 * 4 * 256


def test_what_does_not_fit_is_refused():
    layers = layers_of(30, 200)
    made, rows = Sieve(layers[-1].w, layers[-1].b, 1), InputRows(rows_of(3))
    with pytest.raises(ValueError, match="as many biases"):
        Sieve(layers[-1].w, layers[-1].b[1:], 1)
    with pytest.raises(ValueError, match="at most 65536 inputs"):
        Sieve(np.zeros((2, 65_537), np.float32), np.zeros(2, np.float32), 1)
    with pytest.raises(ValueError, match="200 neurons over 30"):
        made.topk(Model(layers_of(31, 200), "relu", "sigmoid"), rows, 5, 1)
    for k in (0, 201):
        with pytest.raises(ValueError, match=r"1\.\.200"):
            made.topk(Model(layers, "relu", "sigmoid"), rows, k, 1)


# -------------------------------------------------------------- estimator --


@pytest.fixture(scope="module")
def fitted():
    X, Y = make_extreme_classification(
        6000, 4000, 2500, n_nonzero=40, n_labels=2, n_siblings=4, random_state=0
    )
    model = SparseMLPClassifier((64,), max_iter=4, random_state=0).fit(X, Y)
    assert model.prototype_weight_ > 0
    return model, X, Y


def test_predictions_use_it_and_stay_the_same(fitted, monkeypatch):
    model, X, Y = fitted
    network = model._fitted.network
    network.changed()
    first = model.predict_topk(X[:10], 5)
    assert "sieve" not in network.derived  # few rows do not pay for it
    found = model.predict_topk(X[:500], 5)
    assert "sieve" in network.derived
    scores = model.decision_function(X[:500])
    assert_array_equal(np.take_along_axis(scores, found[0], axis=1), found[1])
    monkeypatch.setattr(sieve, "pays", lambda: False)
    for ours, theirs in zip(found, model.predict_topk(X[:500], 5), strict=True):
        assert_array_equal(ours, theirs)
    for ours, theirs in zip(first, found, strict=True):
        assert_array_equal(ours, theirs[:10])
    monkeypatch.undo()
    # It follows the weights.
    model.partial_fit(X[:200], Y[:200])
    assert network.derived == {}
    found = model.predict_topk(X[:500], 5)
    monkeypatch.setattr(sieve, "pays", lambda: False)
    assert_array_equal(found[1], model.predict_topk(X[:500], 5)[1])


def test_when_it_pays(fitted, monkeypatch):
    model, X, _ = fitted
    network = model._fitted.network
    rows = network.rows(network.inputs(csr_array(X[:100])))
    assert lookup._sieve_pays(network, rows, 5)
    assert not lookup._sieve_pays(network, rows, sieve.MAX_K + 1)
    for name in ("_LEAST_SIEVED", "_LEAST_INPUTS"):
        with monkeypatch.context() as patch:
            patch.setattr(lookup, name, 10**6)
            assert not lookup._sieve_pays(network, rows, 5)
