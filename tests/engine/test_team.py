"""Threads that share micro-batches: any number of them trains the same bits."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from slide import SparseMLPClassifier
from slide.datasets import make_extreme_classification

N_ROWS, N_FEATURES, N_CLASSES = 300, 60, 20
# A name of what is trained -> parameters of the estimator.
NETWORKS = {
    "one dense layer": {"hidden_layer_sizes": (48,)},
    "dense layers": {"hidden_layer_sizes": (48, 33), "dropout": 0.3},
    "blocks left out": {"hidden_layer_sizes": (256, 160), "dropout": 0.5},
    "bfloat16": {"hidden_layer_sizes": (48, 33), "weight_dtype": "bfloat16"},
    "bfloat16, blocks": {"hidden_layer_sizes": (256,), "dropout": 0.5, "weight_dtype": "bfloat16"},
    "sparse layers": {"hidden_layer_sizes": (400, 330), "active_fraction": (0.1, 0.1, 1.0)},
    "sparse layers, random": {
        "hidden_layer_sizes": (400, 330), "active_fraction": (0.1, 0.1, 1.0), "retrieval": "none",
    },
    "sparse layers, tables": {
        "hidden_layer_sizes": (400, 330), "active_fraction": (0.1, 0.1, 1.0), "retrieval": "rerank",
    },
    "sparse and dense layers": {
        "hidden_layer_sizes": (300, 30, 200), "active_fraction": (0.1, 1.0, 0.1, 1.0),
        "dropout": 0.2,
    },
    "sparse, bfloat16": {
        "hidden_layer_sizes": (40, 400), "active_fraction": (1.0, 0.1, 1.0),
        "weight_dtype": "bfloat16",
    },
    "momentum": {"hidden_layer_sizes": (48,), "solver": "sgd", "alpha": 1e-3},
}  # fmt: skip
THREADS = (2, 3, 5, 16)


def make_data(form, several):
    rng = np.random.default_rng(0)
    X = rng.random((N_ROWS, N_FEATURES), np.float32) * (rng.random((N_ROWS, N_FEATURES)) < 0.3)
    y = rng.integers(N_CLASSES, size=N_ROWS)
    if several:
        y = np.eye(N_CLASSES, dtype=int)[y] | (rng.random((N_ROWS, N_CLASSES)) < 0.1)
    return csr_array(X) if form == "csr" else X, y, rng.uniform(0.3, 3, N_ROWS)


def trained(X, y, weight, n_threads, monkeypatch, **params):
    # More threads than processors: OpenMP would start no more than OMP_NUM_THREADS.
    monkeypatch.setattr("slide._base.n_jobs.max_threads", lambda: 64)
    params = {"batch_size": 27, "max_iter": 3, "prototypes": False, "random_state": 0} | params
    model = SparseMLPClassifier(n_jobs=n_threads, **params)
    return model.fit(X, y, sample_weight=weight)


def bits(model):
    arrays = [*model.coefs_, *model.intercepts_, np.array(model.loss_curve_)]
    return [np.ascontiguousarray(array).view(np.uint8) for array in arrays]


@pytest.mark.parametrize("form", ["dense", "csr"])
@pytest.mark.parametrize("network", NETWORKS)
def test_any_number_of_threads_trains_the_same_bits(network, form, monkeypatch):
    several = network in ("dense layers", "sparse layers")
    data = make_data(form, several)
    one = trained(*data, 1, monkeypatch, **NETWORKS[network])
    assert one.hash_params_["all_neurons"]
    for n_threads in THREADS:
        other = trained(*data, n_threads, monkeypatch, **NETWORKS[network])
        assert other.hash_params_["n_active"] == one.hash_params_["n_active"]
        for a, b in zip(bits(one), bits(other), strict=True):
            np.testing.assert_array_equal(a, b)
        assert one._fitted.network.tally.multiply_adds == other._fitted.network.tally.multiply_adds


def test_more_threads_than_shares_of_a_micro_batch(monkeypatch):
    # A micro-batch of 8 samples has two shares of four; the other threads get none.
    data = make_data("dense", False)
    one, many = (trained(*data, n, monkeypatch, batch_size=8) for n in (1, 16))
    for a, b in zip(bits(one), bits(many), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("several", [False, True])
def test_the_whole_of_fit_is_the_same(several, monkeypatch):
    """Start, prototypes, machines, their weights and the calibration are no exception."""
    X, y = make_extreme_classification(
        1300, 400, 110, n_labels=2 if several else 1, n_siblings=3, random_state=0
    )
    models = [
        trained(X, y, None, n, monkeypatch, hidden_layer_sizes=(64,), prototypes=True, max_iter=4)
        for n in (1, 2, 5)
    ]
    assert models[0].hash_params_["all_neurons"]
    assert models[0].prototype_weight_ > 0
    for other in models[1:]:
        for a, b in zip(bits(models[0]), bits(other), strict=True):
            np.testing.assert_array_equal(a, b)
        assert other.prototype_weight_ == models[0].prototype_weight_
        np.testing.assert_array_equal(other.predict_proba(X[:9]), models[0].predict_proba(X[:9]))


@pytest.mark.parametrize("form", ["dense", "csr"])
def test_batches_are_the_same(form, monkeypatch):
    X, y, weight = make_data(form, False)
    monkeypatch.setattr("slide._base.n_jobs.max_threads", lambda: 64)
    models = []
    for n_threads in (1, 4):
        model = SparseMLPClassifier((48, 20), n_jobs=n_threads, random_state=0)
        for first in range(0, N_ROWS, 100):
            part = slice(first, first + 100)
            model.partial_fit(X[part], y[part], np.arange(N_CLASSES), weight[part])
        models.append(model)
    for a, b in zip(*map(bits, models), strict=True):
        np.testing.assert_array_equal(a, b)
