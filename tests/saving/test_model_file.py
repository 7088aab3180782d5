"""Tests of `save` and `load`."""

import json
import os
import pickle
import stat

import numpy as np
import pytest
from helpers.kinds import KINDS, SPARSE
from safetensors import safe_open
from safetensors.numpy import load_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from slide import SparseMLPClassifier
from slide._base import files
from slide._saving import model_file


def twin_of(model, path):
    model.save(path)
    return type(model).load(path)


def assert_same(one, other, X):
    """Check that parameters, fitted attributes and predictions are the same."""
    assert one.get_params().keys() == other.get_params().keys()
    for name in ("loss_curve_", "loss_", "best_loss_", "n_iter_", "t_", "compute_fraction_",
                 "hash_params_", "validation_scores_", "best_validation_score_",
                 "n_outputs_", "n_features_in_"):  # fmt: skip
        assert getattr(one, name) == getattr(other, name), name
    assert one.classes_.dtype == other.classes_.dtype
    np.testing.assert_array_equal(one.classes_, other.classes_)
    np.testing.assert_array_equal(one.decision_function(X), other.decision_function(X))
    for ours, theirs in zip(one.predict_topk(X, 2), other.predict_topk(X, 2), strict=True):
        np.testing.assert_array_equal(ours, theirs)


# -------------------------------------------------------------- round trip --


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", ["sparse", "dense", "multilabel"])
def test_round_trip(kind, data, path, classifier, planted, multilabel, assert_same_weights):
    X, y = multilabel if data == "multilabel" else planted
    if data == "dense":
        X = X.toarray() + 1.0  # far from zero, so that the network has a mean row
    model = classifier(**KINDS[kind]).fit(X[:400], y[:400])
    twin = twin_of(model, path)
    assert model.get_params() == twin.get_params()
    assert_same(model, twin, X[400:])
    assert type(model.predict(X[400:])) is type(twin.predict(X[400:]))
    for one in (model, twin):
        one.partial_fit(X[400:], y[400:])
    assert_same_weights(model, twin)
    assert_same(model, twin, X[400:])


@pytest.mark.parametrize(("width", "n_coarse"), [(4200, 420), (33_000, 0)])
def test_round_trip_of_estimates_in_wide_layers(
    width, n_coarse, path, classifier, assert_same_weights
):
    # The narrower layer first ranks all neurons by 64 bits, the wider one has tables.
    X = np.random.default_rng(0).standard_normal((300, 10)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    model = classifier(
        hidden_layer_sizes=(width,), active_fraction=(42 / width, 1.0), retrieval="estimate",
        max_iter=1, rehash_every=100,
    ).fit(X[:200], y[:200])  # fmt: skip
    twin = twin_of(model, path)
    for one in (model, twin):
        search = one._fitted.network.settings.layers[0].retrieval
        assert (search.n_coarse, search.use_tables) == (n_coarse, n_coarse == 0)
        assert ("layers.0.retrieval.coarse" in load_file(path)) == (n_coarse > 0)
    assert_same(model, twin, X)
    for one in (model, twin):
        one.partial_fit(X[200:], y[200:])
    assert_same_weights(model, twin)
    assert_same(model, twin, X)


@pytest.mark.parametrize("params", [{}, {"early_stopping": True}, {"random_state": "instance"}])
def test_goes_on_with_warm_start(params, path, classifier, planted, assert_same_weights):
    X, y = planted
    if params.get("random_state") == "instance":
        params = {"random_state": np.random.RandomState(3)}
    model = classifier(warm_start=True, **SPARSE, **params).fit(X, y)
    twin = twin_of(model, path)
    for _ in range(2):
        model.fit(X, y), twin.fit(X, y)
    assert_same_weights(model, twin)
    assert_same(model, twin, X)


def test_saves_the_same_bytes_again(saved, tmp_path):
    SparseMLPClassifier.load(saved).save(tmp_path / "again")
    assert saved.read_bytes() == (tmp_path / "again").read_bytes()


LABELS = {
    "int8": np.arange(3, dtype=np.int8) - 1,
    "uint64": np.array([0, 2**63, 2**64 - 1], np.uint64),
    "big endian": np.arange(3, dtype=">i4"),
    "bool": np.array([False, True]),
    "float16": np.array([-1, 0, 4], np.float16),
    "float64": np.array([-1.0, 0.0, 2.0**60]),
    "long float": np.array([-1, 0, 4], np.longdouble),
    "text": np.array(["a", "b\u00e9\u4e2d \"'\\", "\U0001f600\n"]),
    "objects": np.array(["", "some longer text", "\ud800"], object),
    "dates": np.array(["1970-01-01", "2024-02-29", "2030-01-01"], "M8[D]"),
    "durations": np.array([-5, 0, 5], "m8[ms]"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_classes_of_any_dtype(kind, path, classifier, planted):
    classes = LABELS[kind]
    X, y = planted[0], classes[planted[1] % len(classes)]
    model = classifier(max_iter=1).fit(X, y)
    twin = twin_of(model, path)
    assert_same(model, twin, X)
    assert twin.predict(X).dtype == model.predict(X).dtype
    np.testing.assert_array_equal(twin.partial_fit(X, y).classes_, model.classes_)


def test_feature_names_and_containers(path, classifier, multilabel):
    pandas = pytest.importorskip("pandas")
    X, Y = multilabel
    frame = pandas.DataFrame(X.toarray(), columns=[f"feature {i}" for i in range(X.shape[1])])
    model = classifier(max_iter=1).fit(frame, Y.toarray())
    twin = twin_of(model, path)
    np.testing.assert_array_equal(twin.feature_names_in_, model.feature_names_in_)
    assert isinstance(twin.predict(frame), np.ndarray)
    with pytest.raises(ValueError, match="feature names"):
        twin.predict(frame.iloc[:, ::-1])


def test_parameters_keep_value_and_type(path, classifier, planted):
    params = {
        "hidden_layer_sizes": np.array([16, 8]),
        "active_fraction": [1.0, 0.5, 1.0],
        "learning_rate_init": np.float32(0.001),
        "alpha": np.float64(1e-6),
        "shuffle": np.bool_(True),
        "batch_size": np.int32(16),
        "random_state": np.random.RandomState(1),
        "max_iter": 1,
    }
    model = classifier(**params).fit(*planted)
    twin = twin_of(model, path)
    for name, value in params.items():
        assert type(getattr(twin, name)) is type(value), name
        if name != "random_state":
            np.testing.assert_array_equal(getattr(twin, name), value)
    assert twin._fitted.rng is twin.random_state
    assert twin._fitted.rng.randint(2**31) == model._fitted.rng.randint(2**31)
    with pytest.raises(ValueError, match="solver must stay 'adam'"):
        twin.set_params(solver="sgd").partial_fit(*planted)


def test_load_makes_a_subclass(path, classifier, planted):
    class Own(SparseMLPClassifier):
        def __init__(self, depth=(1,), **params):
            super().__init__(**params)
            self.depth = depth

        @classmethod
        def _get_param_names(cls):
            return sorted([*SparseMLPClassifier._get_param_names(), "depth"])

    model = Own(depth=(3, "x"), max_iter=1, random_state=0).fit(*planted)
    twin = twin_of(model, path)
    assert type(twin) is Own
    assert twin.depth == (3, "x")
    with pytest.raises(ValueError, match="depth"):
        SparseMLPClassifier.load(path)


def test_a_loaded_estimator_is_a_whole_one(saved, planted, tmp_path):
    X = planted[0]
    model = SparseMLPClassifier.load(str(saved))
    assert_same(model, pickle.loads(pickle.dumps(model)), X)
    assert not hasattr(clone(model), "classes_")
    model.save(saved)  # over the file it came from
    assert_same(model, SparseMLPClassifier.load(saved), X)
    link = tmp_path / "link"
    link.symlink_to(saved)
    model.save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(saved.stat().st_mode) & 0o600 == 0o600


def test_other_programs_can_read_the_file(saved):
    model, arrays = SparseMLPClassifier.load(saved), load_file(saved)
    np.testing.assert_array_equal(arrays["layers.1.w"].T, model.coefs_[1])
    with safe_open(saved, framework="numpy") as file:
        plain = json.loads(file.metadata()["slide"])
    assert plain["format"] == 3
    assert plain["params"]["retrieval"] == "rerank"
    assert b"pickle" not in saved.read_bytes()


# ------------------------------------------------------------------ saving --


def test_refuses_an_unfitted_estimator(path, classifier):
    with pytest.raises(NotFittedError):
        classifier().save(path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"tol": "small"}, "tol must be"),
        ({"n_jobs": object()}, "n_jobs must be None, a bool"),
        ({"random_state": np.random.RandomState(np.random.PCG64(0))}, "random_state must be None"),
    ],
)
def test_refuses_parameters_that_a_file_cannot_hold(params, message, saved):
    before = saved.read_bytes()
    model = SparseMLPClassifier.load(saved).set_params(**params)
    with pytest.raises(ValueError, match=message):
        model.save(saved)
    assert saved.read_bytes() == before


@pytest.mark.parametrize("place", ["fsync", "replace", "write_tensors"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_save_leaves_the_old_file(place, error, saved, planted, monkeypatch):
    before = saved.read_bytes()
    model = SparseMLPClassifier.load(saved).partial_fit(
        planted[0], np.array([f"class {i}" for i in planted[1] % 5])
    )

    def fail(*args):
        raise error

    monkeypatch.setattr(model_file if place == "write_tensors" else files.os, place, fail)
    with pytest.raises(type(error)):
        model.save(saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]
    monkeypatch.undo()
    model.save(saved)
    assert saved.read_bytes() != before


def test_refuses_places_that_are_no_files(saved, tmp_path):
    model = SparseMLPClassifier.load(saved)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        model.save(tmp_path / "none" / "model")
    with pytest.raises(ValueError, match="not a plain file"):
        model.save(tmp_path)
    with pytest.raises(ValueError, match="not a plain file"):
        model.save(os.devnull)
