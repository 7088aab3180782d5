"""Tests of the network: objects derived from its weights, `twin`, pickles."""

import copy
import dataclasses
import itertools
import pickle
import pickletools

import numpy as np
import pytest

from slide._data.labels import LabelRows
from slide._network.input_stats import note_inputs, stats_of, sums
from slide._network.network import Network
from slide._network.older import Older
from slide._prototypes.prototypes import make_prototypes


@pytest.fixture
def fitted(classifier, planted, network):
    return classifier(**network).fit(*planted)


def names_in(pickled):
    """The modules and names of slide that a pickle imports, in order."""
    texts = [arg for _, arg, _ in pickletools.genops(pickled) if isinstance(arg, str)]
    return [
        f"{module}.{name}"
        for module, name in itertools.pairwise(texts)
        if module.startswith("slide.")
    ]


def test_a_pickle_names_one_function(fitted):
    pickled = pickle.dumps(fitted._fitted.network)
    assert names_in(pickled) == ["slide._saving.network_state.network_from_arrays"]


def test_a_pickle_holds_prototypes(classifier, planted):
    X, y = planted
    network = classifier().fit(X, y)._fitted.network
    ids = np.unique(y, return_inverse=True)[1].astype(np.int32)
    labels = LabelRows(np.arange(len(y) + 1), ids, network.n_classes)
    network.set_prototypes(make_prototypes(X, labels, None, 1).of_weight(3.0))
    twin = pickle.loads(pickle.dumps(network))
    assert twin.prototypes.weight == 3.0
    np.testing.assert_array_equal(
        twin.prototypes.by_feature.toarray(), network.prototypes.by_feature.toarray()
    )


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_copies_have_arrays_of_their_own(fitted, copied):
    network = fitted._fitted.network
    other = copied(network)
    for ours, theirs in zip(network.layers, other.layers, strict=True):
        np.testing.assert_array_equal(ours.w, theirs.w)
        assert not np.shares_memory(ours.w, theirs.w)
        assert theirs.w.ctypes.data % 64 == 0
        assert (ours.rate, ours.bias_rate) == (theirs.rate, theirs.bias_rate)
    assert other.guard is not network.guard
    assert (other.counter, other.tally) == (network.counter, network.tally)
    assert (other.settings, other.seed) == (network.settings, network.seed)


def test_a_twin_shares_the_weights_and_not_the_statistics(classifier, planted):
    X, y = planted
    network = classifier().fit(X, y)._fitted.network
    network.derived["something"] = 1
    mean = network.input_stats[-1][0].copy()
    twin = network.twin()
    assert isinstance(twin, Network) and twin.derived == {}
    assert all(a is b for a, b in zip(network.layers, twin.layers, strict=True))
    note_inputs(twin, X[:3], 1)
    np.testing.assert_array_equal(network.input_stats[-1][0], mean)
    assert (twin.input_stats[-1][0] != mean).any()
    assert network.derived == {"something": 1}


def test_a_change_leaves_what_is_derived_behind(classifier, planted):
    X, y = planted
    model = classifier().fit(X, y)
    network = model._fitted.network
    for change in (
        network.changed,
        lambda: note_inputs(network, X, 1),
        lambda: model.partial_fit(X[:50], y[:50]),
    ):
        before = network.derived
        before["something"] = 1
        change()
        assert network.derived == {} and network.derived is not before


def test_statistics_of_vectors(planted):
    X = planted[0]
    for x in (X, X.toarray()):
        mean, length = stats_of(*sums(x), x.shape[0])
        dense = X.toarray().astype(float)
        assert mean.dtype == np.float32
        np.testing.assert_allclose(mean, dense.mean(axis=0), rtol=1e-6)
        distances = np.linalg.norm(dense - dense.mean(axis=0), axis=1)
        assert length == pytest.approx(np.sqrt((distances**2).mean()))


def test_vectors_that_are_all_alike_have_a_length():
    x = np.tile(np.float32([0.1, 0.7]), (1000, 1))
    assert 0 < stats_of(*sums(x), 1000)[1] < 2e-3


def test_an_interrupted_rebuild_is_due_again(classifier, planted, monkeypatch, tmp_path):
    X, y = planted
    sparse = {"hidden_layer_sizes": (64,), "active_fraction": (0.2, 1.0), "rehash_every": 200}
    model = classifier(**sparse).fit(X, y)
    model._fitted.network.samples_to_rebuild = 100

    def interrupted(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("slide._network.passes.rebuild", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.partial_fit(X, y)
    model.save(tmp_path / "model")
    for twin in (type(model).load(tmp_path / "model"), pickle.loads(pickle.dumps(model)), model):
        n_before = twin.hash_params_["n_rebuilds"]
        twin.partial_fit(X[:5], y[:5])
        assert twin.hash_params_["n_rebuilds"] == n_before + 1


def test_calls_long_ago_take_a_few_bytes(classifier, planted):
    X, y = planted
    clf = classifier(hidden_layer_sizes=(2,)).fit(X, y)
    losses = clf.loss_curve_
    fitted = dataclasses.replace(clf._fitted, scores=(0.5,) * 3)
    for _ in range(10_000):
        fitted = dataclasses.replace(clf._fitted, scores=(0.5,) * 3).after(fitted)
    n = 3 * 10_001
    assert fitted.n_iter == n == len(fitted.loss_curve) == len(fitted.score_curve)
    parts = (fitted.losses, fitted.scores, fitted.history, fitted.older)
    assert len(pickle.dumps(parts)) < 2 * 4 * n + 50_000
    assert fitted.loss_curve[-3:] == losses
    np.testing.assert_array_equal(fitted.loss_curve[:3], np.float32(losses))
    assert len(fitted.records) == n and fitted.records[-1] == clf.history_[-1]
    for name in ("n_samples", "multiply_adds", "seconds"):
        total = sum(record[name] for record in fitted.records)
        np.testing.assert_allclose(total, 10_001 * sum(record[name] for record in clf.history_))
    clf._fitted = fitted
    clf.partial_fit(X, y)
    assert clf.n_iter_ == n + 1 == len(clf.loss_curve_) == len(clf.history_)


def test_the_mean_of_old_records_has_their_structure():
    records = [{"a": i, "b": [i, 2.0 * i], "c": {"d": -i}} for i in range(5)]
    older = Older().then((), (), records[:2]).then((), (), records[2:])
    assert older.records() == [{"a": 2.0, "b": [2.0, 4.0], "c": {"d": -2.0}}] * 5


def test_a_file_keeps_the_curves_of_calls_long_ago(classifier, planted, tmp_path):
    clf = classifier(hidden_layer_sizes=(2,)).fit(*planted)
    older = Older().then(range(1000), range(500), ())
    clf._fitted = dataclasses.replace(clf._fitted, older=older)
    clf.save(tmp_path / "model")
    twin = type(clf).load(tmp_path / "model")
    assert twin.n_iter_ == clf.n_iter_ == 1003 and twin.loss_curve_ == clf.loss_curve_
