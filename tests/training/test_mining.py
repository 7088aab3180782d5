"""Lists of hard neurons: what they hold, that these are active, and when lists are made."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array

from slide import SparseMLPClassifier
from slide._base.rows import InputRows
from slide._core import Trainer
from slide._data.labels import LabelRows
from slide._engine.model import Model
from slide._network.layer import Layer
from slide._training import mining
from slide.datasets import make_extreme_classification


@pytest.fixture(scope="module")
def siblings():
    """Classes that are easily confused; rows to train on and rows to judge by."""
    X, y = make_extreme_classification(
        13_000, 5000, 1000, n_siblings=10, zipf_exponent=0.5, random_state=0
    )
    return X[:11_000], y[:11_000], X[11_000:], y[11_000:]


def layers_of(*sizes):
    rng = np.random.default_rng(0)
    layers = []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        layer = Layer.zeros(n_in, n_out, by_feature=i == 0)
        layer.w[:] = rng.standard_normal(layer.w.shape)
        layers.append(layer)
    return layers


def test_listed_neurons_are_active(base):
    """Only the labels and lists of the rows that are trained on are updated."""
    layers = layers_of(6, 5, 40)
    x = np.abs(np.random.default_rng(1).standard_normal((4, 6))).astype(np.float32)
    labels = LabelRows(np.arange(5), np.array([3, 4, 5, 6], np.int32), 40)
    settings = {**base, "all_neurons": False, "n_hard_kept": 3, "micro_batch": 2, "dropout": [0.0]}
    del settings["activation"], settings["loss"]
    model, rows = Model(layers, "identity", "sigmoid"), InputRows(x)
    trainer = Trainer(model, rows, labels.indptr, labels.indices, None, settings, 1)
    assert_array_equal(trainer.hard, -1)
    trainer.hard[...] = [[10, 11, 12], [11, 3, -1], [20, 21, 22], [-1, -1, -1]]
    tally = trainer.run(np.array([0, 1], np.int32), 0, 0.01)
    assert_array_equal(np.flatnonzero(layers[-1].steps[:40]), [3, 4, 10, 11, 12])
    assert tally["active_neurons"] == 5
    trainer.run(np.array([3, 2], np.int32), 1, 0.01)
    assert_array_equal(np.flatnonzero(layers[-1].steps[:40]), [3, 4, 5, 6, 10, 11, 12, 20, 21, 22])


@pytest.mark.parametrize("lookup", ["exact", "codes"])
def test_lists_hold_the_hardest_wrong_neurons(lookup, classifier, siblings, monkeypatch):
    X, y, *_ = siblings
    if lookup == "codes":
        monkeypatch.setattr("slide._prediction.lookup._LEAST", 100)
        monkeypatch.setattr("slide._prediction.lookup._LEAST_PER_CANDIDATE", 1)
        monkeypatch.setattr("slide._prediction.lookup._LEAST_WEIGHTS", 100)
    seen, found = mining.hard_neurons, {}

    def spy(network, data, n_kept, n_threads):
        listed, cost = seen(network, data, n_kept, n_threads)
        assert (network.derived.get("shortlist") is not None) == (lookup == "codes")
        z = np.maximum(data.x @ network.layers[0].w + network.layers[0].b, 0)
        scores = z @ network.layers[1].w.T + network.layers[1].b
        scores[np.arange(len(data)), data.labels.indices] = -np.inf
        best = np.argsort(-scores, axis=1)[:, :n_kept]
        hits = [np.isin(a, b).mean() for a, b in zip(best, listed, strict=True)]
        found.update(recall=np.mean(hits), cost=cost, listed=listed, data=data)
        return listed, cost

    monkeypatch.setattr(mining, "hard_neurons", spy)
    clf = classifier(retrieval="lists", max_iter=4).fit(X, y)
    assert found["recall"] == 1 if lookup == "exact" else found["recall"] > 0.8
    right = found["listed"] == found["data"].labels.indices[:, np.newaxis]
    every_score = len(y) * len(clf.classes_) * 32
    assert not right.any()
    assert found["cost"] == every_score if lookup == "exact" else found["cost"] < every_score / 5
    assert clf.hash_params_["retrieval"] == ["none", "lists"] and clf.hash_params_["n_listed"] == 5


def test_lists_part_siblings(classifier, siblings):
    X, y, test_X, test_y = siblings
    scores = {}
    for retrieval in ("none", "auto"):
        clf = classifier(hidden_layer_sizes=(128,), max_iter=8, retrieval=retrieval).fit(X, y)
        scores[retrieval] = clf.score(test_X, test_y)
    assert clf.hash_params_["retrieval"] == ["none", "lists"]
    assert scores["auto"] > scores["none"] + 0.02


def test_where_lists_are_made(classifier, siblings, multilabel, monkeypatch):
    X, y, *_ = siblings
    epochs, due = [], mining.mines_before

    def spy(epoch, max_iter):
        epochs.append((epoch, due(epoch, max_iter)))
        return epochs[-1][1]

    monkeypatch.setattr(mining, "mines_before", spy)
    classifier(max_iter=8).fit(X[:3000], y[:3000])
    assert [epoch for epoch, made in epochs if made] == [2]
    epochs.clear()
    classifier(max_iter=1).fit(X[:3000], y[:3000])
    assert not any(made for _, made in epochs)
    epochs.clear()
    # All neurons computed, or lists not wanted: no lists.
    several = SparseMLPClassifier((16,), max_iter=2, active_fraction=(1.0, 0.2), random_state=0)
    several.set_params(retrieval="none").fit(*multilabel)
    classifier(active_fraction=1.0).fit(X[:500], y[:500])
    classifier(retrieval="none").fit(X[:3000], y[:3000])
    assert not epochs
    # About one label per row, but not one in each row.
    Y = csr_array((np.ones(3000, np.int8), y[:3000], np.arange(3001)), shape=(3000, 1000)).tolil()
    Y[0] = 0
    Y[1, (y[1] + 1) % 1000] = 1
    assert Y.nnz == 3000
    classifier(max_iter=1).fit(X[:3000], Y.tocsr())
    assert not epochs
    # Several labels per row, only where they are wanted.
    several.set_params(retrieval="auto").fit(*multilabel)
    assert not epochs
    several.set_params(retrieval="lists").fit(*multilabel)
    assert any(made for _, made in epochs)
