"""Tests of `save` and `load`."""

import json
import os
import pickle
import stat
from dataclasses import fields

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import shuffle

from slide import SparseMLPClassifier
from slide._base import files
from slide._saving import model_file, network_state
from slide._saving.tensors import checksum
from slide._settings.auto import LayerSettings, Settings
from slide._settings.auto_retrieval import RetrievalSettings

SPARSE = {
    "hidden_layer_sizes": (64, 32),
    "active_fraction": (0.25, 0.5, 0.9),
    "rehash_every": 200,
}
HASHED = {**SPARSE, "n_tables": 6, "n_hash_bits": 4}
KINDS = {
    "dense": {},
    "sampled": {"active_fraction": (1.0, 0.2), "retrieval": "rerank", "rehash_every": 200},
    "sparse": SPARSE,
    "estimated": {**SPARSE, "retrieval": "estimate"},
    "angles": {"active_fraction": (0.3, 0.3), "retrieval": "topk", "hash_family": "dwta"},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.01},
    "adagrad": {"solver": "adagrad", "dropout": 0.1},
    "scan": {**SPARSE, "retrieval": "scan"},
    "exact": {**SPARSE, "retrieval": "exact"},
    "random": {**SPARSE, "retrieval": "none"},
    "threshold": {**HASHED, "retrieval": "threshold"},
    # One that is wide enough for a first ranking by 64 bits.
    "wide": {
        "hidden_layer_sizes": (4200,),
        "active_fraction": (0.01, 1.0),
        "retrieval": "estimate",
        "max_iter": 1,
    },
    **{
        family: {**HASHED, "retrieval": "rerank", "hash_family": family}
        for family in ("simhash", "wta", "dwta", "minhash")
    },
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(path, classifier, planted):
    """The path of a model with tables, centres and text classes; its bytes."""
    X, y = planted
    names = np.array([f"class {i}" for i in range(40)])
    model = classifier(
        hidden_layer_sizes=(16,), active_fraction=(0.5, 0.5), retrieval="rerank", n_tables=3,
        n_hash_bits=2, max_iter=1,
    )  # fmt: skip
    model.fit(X[:200], names[y[:200]]).save(path)
    return path


def twin_of(model, path):
    model.save(path)
    return type(model).load(path)


def assert_same(one, other, X):
    """Same parameters, fitted attributes and predictions."""
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
        X = X.toarray() + 1.0  # far from zero: the network keeps their centre
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
    # The narrower layer ranks all by 64 bits first, the wider one has tables.
    X = np.random.default_rng(0).standard_normal((300, 10)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    model = classifier(
        hidden_layer_sizes=(width,), active_fraction=(42 / width, 1.0), retrieval="estimate",
        max_iter=1, rehash_every=100,
    ).fit(X[:200], y[:200])  # fmt: skip
    twin = twin_of(model, path)
    for one in (model, twin):
        search = one._network.settings.layers[0].retrieval
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
    assert twin._rng is twin.random_state
    assert twin._rng.randint(2**31) == model._rng.randint(2**31)
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
    assert plain["format"] == 2
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


# ----------------------------------------------------------------- loading --


def test_refuses_what_is_no_model(path, saved):
    with pytest.raises(FileNotFoundError):
        SparseMLPClassifier.load(path.with_name("nothing"))
    with pytest.raises(IsADirectoryError):
        SparseMLPClassifier.load(path.parent)
    for content in (b"", b"\0" * 100, b"\xff" * 100, pickle.dumps([1, 2])):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{path.name} is no model that can be loaded"):
            SparseMLPClassifier.load(path)
    save_file({"x": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="not from save"):
        SparseMLPClassifier.load(path)


@pytest.fixture
def edit(saved):
    """Writes the saved file anew with a change in its JSON or arrays."""
    return lambda change: rewrite(saved, change)


def rewrite(path, change):
    arrays = {name: array.copy() for name, array in load_file(path).items()}
    with safe_open(path, framework="numpy") as file:
        plain = json.loads(file.metadata()["slide"])
    del plain["checksum"], plain["checksums"]
    change(plain, arrays)
    if plain.get("format") == 1:
        save_file(arrays, path, {"slide": json.dumps(plain)})
        return path
    plain["checksums"] = {name: checksum(name, array) for name, array in arrays.items()}
    plain["checksum"] = model_file._text_checksum(plain)
    save_file(arrays, path, {"slide": json.dumps(plain)})
    return path


def set_in(*keys, value):
    def change(plain, arrays):
        for key in keys[:-1]:
            plain = plain[key]
        plain[keys[-1]] = value

    return change


def set_array(name, make):
    def change(plain, arrays):
        arrays[name] = make(arrays[name])

    return change


def set_first(name, value):
    def make(array):
        array[(0,) * array.ndim] = value
        return array

    return set_array(name, make)


SEARCH = ("network", "settings", "layers", 0, "search")
CHANGES = [
    (set_in("format", value=3), "newer version"),
    (set_in("format", value="1"), "format must be"),
    (set_in("params", "solver", value="lbfgs"), "solver must be"),
    (set_in("params", "depth", value=3), "depth"),
    (set_in("params", "tol", value={"code": "1"}), "type that save writes"),
    (set_in("params", "random_state", value={"random_state": {
        "key": [1] * 624, "position": 10**6, "has_gauss": 0, "gauss": 0.0}}), "word in"),
    (set_in("rng", value={"random_state": {
        "key": [0] * 624, "position": 0, "has_gauss": 0, "gauss": 0.0}}), "not all 0"),
    (set_in("rng", value=7), "rng must be"),
    (set_in("network", "n_classes", value=2**31 - 1), "do not fit"),
    (set_in("network", "n_classes", value=-1), "n_classes must be"),
    (set_in("network", "n_classes", value=20), r"layers.1.w must be float32 of shape \(20, 16\)"),
    (set_in("network", "hidden_layer_sizes", value=[10**6] * 3), "do not fit"),
    (set_in("network", "tally", "n_samples", value=0.5), "tally.n_samples must be"),
    (set_in("network", "tally", "dense_multiply_adds", value=0), "dense_multiply_adds must be"),
    (set_in("network", "input_lengths", value=[1.0]), "zip"),
    (set_in("params", "x" * 10_000, value=1), "no model that can be loaded: .{200}…$"),
    (set_in("network", "rebuild_gap", value=0.0), "rebuild_gap"),
    (set_in("network", "settings", "n_hard", value=0), "n_hard"),
    (set_in("network", "settings", "layers", 0, "n_active", value=16), "n_active must be below"),
    (set_in("network", "settings", "layers", 0, "n_active", value=7), "n_active=7"),
    (set_in("network", "settings", "layers", 1, "search", "n_wanted", value=4), "n_wanted=0"),
    (set_in(*SEARCH, "use_tables", value=False), "needs use_tables"),
    (set_in(*SEARCH, "n_directions", value=2), "estimates without tables"),
    (set_in(*SEARCH, "n_coarse", value=-1), "n_coarse must be"),
    (set_in(*SEARCH, "n_coarse", value=8), "n_coarse is for estimates without tables"),
    (set_in(*SEARCH, "n_hash_bits", value=16), "offsets must be int32"),
    (set_in(*SEARCH, "n_candidates", value=-1), "n_candidates must be"),
    (set_in(*SEARCH, "policy", value="estimate"), "unknown array|no array"),
    (set_in("classes_dtype", value="<i8"), "classes must be int64"),
    (set_in("classes_dtype", value="V2"), "classes cannot be"),
    (set_in("classes_dtype", value="U1001"), "classes of at most 8 characters"),
    (set_in("classes_dtype", value="()i4"), "a dtype must be"),
    (set_in("classes_dtype", value=["<i4"]), "a dtype must be"),
    (set_in("labels", value="csr_array"), "unknown array 'classes'"),
    (set_in("loss_curve", value=[]), "loss_curve"),
    (lambda plain, arrays: plain.pop("network"), "network"),
    (lambda plain, arrays: arrays.pop("layers.1.w_m"), "no array 'layers.1.w_m'"),
    (lambda plain, arrays: arrays.update(more=np.zeros(2)), "unknown array 'more'"),
    (set_array("layers.1.w", np.transpose), "layers.1.w must be"),
    (set_array("layers.1.w", np.float64), "layers.1.w must be float32"),
    (set_array("classes", np.complex64), "a dtype that no array here has"),
    (set_array("classes", np.atleast_2d), "texts must be bytes"),
    (lambda plain, arrays: arrays.update(feature_names=np.frombuffer(b'["a"]', np.uint8)),
     "feature_names must be 300; got 1"),
    (set_first("layers.0.w", np.nan), "layers.0.w must hold finite"),
    (set_first("layers.0.steps", -1), "steps must lie"),
    (set_first("layers.0.steps", 2**31 - 1), "steps must lie"),
    (set_first("layers.1.retrieval.tables.ids", 40), "once a table"),
    (set_first("layers.1.retrieval.tables.ids", -1), "once a table"),
    (set_array("layers.1.retrieval.tables.ids", np.zeros_like), "once a table"),
    (set_first("layers.1.retrieval.tables.offsets", 1), "must rise"),
    (set_array("layers.1.retrieval.tables.offsets", lambda a: a[:, ::-1].copy()), "must rise"),
    (set_array("classes", lambda a: a[::-1].copy()), "no model"),
    (set_array("classes", lambda a: np.frombuffer(b'["b", "a"]', np.uint8)), "rising order"),
    (set_array("classes", lambda a: np.frombuffer(b'[1, 2]', np.uint8)), "list of strings"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_refuses_wrong_content(change, message, edit):
    path = edit(change)
    with pytest.raises(ValueError, match=message) as caught:
        SparseMLPClassifier.load(path)
    assert str(path) in str(caught.value)


def test_refuses_windows_of_no_coordinate(path, classifier, planted):
    classifier(**KINDS["dwta"]).fit(*planted).save(path)
    for wrong in (-1, 10_000):
        rewrite(path, set_first("layers.1.retrieval.tables.hasher.windows", wrong))
        with pytest.raises(ValueError, match="windows of hash functions"):
            SparseMLPClassifier.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_coarse": -1}, "n_coarse must be"),
        ({"n_coarse": 10.5}, "n_coarse must be"),
        ({"n_coarse": 0}, "unknown array 'layers.0.retrieval.coarse'"),
        ({"use_tables": True}, "n_coarse is for estimates"),
        ({"policy": "scan"}, "n_coarse is for estimates"),
        ({"n_tables": 8, "n_hash_bits": 8}, "of more than 64 bits"),
    ],
)
def test_refuses_a_wrong_first_ranking(changes, message, path, classifier, planted):
    X, y = planted
    classifier(**KINDS["wide"]).fit(X[:50], y[:50]).save(path)
    for name, value in changes.items():
        rewrite(path, set_in(*SEARCH, name, value=value))
    with pytest.raises(ValueError, match=message):
        SparseMLPClassifier.load(path)


def test_refuses_directions_that_are_none_or_too_many(path, classifier, planted):
    X, y = planted
    classifier(**KINDS["wide"]).fit(X.toarray()[:50], y[:50]).save(path)
    name = "layers.0.retrieval.directions.vectors"
    n = len(load_file(path)[name])
    for n_wrong in (0, n + 1):
        rewrite(path, set_array(name, lambda old, n=n_wrong: np.resize(old, (n, old.shape[1]))))
        with pytest.raises(ValueError, match=f"layers.0 has {n_wrong} directions"):
            SparseMLPClassifier.load(path)


@pytest.mark.parametrize(
    ("settings", "rules", "parts"),
    [
        (RetrievalSettings, network_state._RETRIEVAL_RULES, set()),
        (LayerSettings, network_state._LAYER_RULES, {"retrieval"}),
        (Settings, network_state._SETTINGS_RULES, {"layers"}),
    ],
)
def test_every_setting_is_checked(settings, rules, parts):
    assert {field.name for field in fields(settings)} == rules.keys() | parts


def test_damaged_files_never_crash(saved, planted):
    # Of format 1, which has no checksums: a forged file has the right ones.
    rewrite(saved, set_in("format", value=1))
    X, y = planted
    y = np.array([f"class {i}" for i in y % 5])
    whole, rng = saved.read_bytes(), np.random.default_rng(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    n_loaded = 0
    for trial in range(400):
        content = bytearray(whole)
        if trial % 4 == 0:
            del content[rng.integers(len(whole)) :]
        else:
            # Half of the damage in the header, where most of the meaning is.
            limit = header if trial % 4 == 1 else len(whole)
            for place in rng.integers(limit, size=rng.integers(1, 4)):
                content[place] ^= 1 << rng.integers(8)
        saved.write_bytes(content)
        try:
            model = SparseMLPClassifier.load(saved)
        except ValueError as error:
            assert str(saved) in str(error)
            continue
        n_loaded += 1
        if trial % 10 == 1 or n_loaded < 20:
            # What is let in can be used, whatever it then predicts.
            with np.errstate(all="ignore"):
                model.predict_topk(X[:20], 1)
                try:
                    model.set_params(verbose=False).partial_fit(X[:20], shuffle(y)[:20])
                except (ValueError, FloatingPointError):
                    pass
    assert n_loaded < 300
