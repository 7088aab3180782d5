"""Checkpoints with the right checksums and wrong contents: refused in words, never trained on."""

import json
from copy import deepcopy

import numpy as np
import pytest
from helpers.mortal import Killed, make_mortal
from sklearn.exceptions import NotFittedError

from slide import SparseMLPClassifier
from slide._saving import model_file
from slide._saving.tensors import TensorFile, checksum, write_tensors
from slide._training import stacking
from slide.callback import Checkpoint
from slide.datasets import make_extreme_classification

HASHED = {"active_fraction": (1.0, 0.2), "retrieval": "rerank", "n_tables": 8, "n_hash_bits": 4,
          "rehash_every": 10_000, "early_stopping": True}  # fmt: skip
KINDS = {
    "in an epoch": (HASHED, {"every_n_seconds": 1e-9}),
    "between epochs": (HASHED, {"every_n_epochs": 2}),
    "with lists": ({"active_fraction": (1.0, 0.5), "batch_size": 16, "retrieval": "lists",
                    "prototypes": False}, {"every_n_epochs": 1}),
    "with SVMs": ({"max_iter": 10}, {"every_n_seconds": 1e-9}),
}  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    return make_extreme_classification(1500, 400, 120, random_state=0)


@pytest.fixture(scope="module")
def trained(rows, tmp_path_factory):
    """For every kind of network: a whole training, and JSON and arrays of a killed one's file."""
    folder, found = tmp_path_factory.mktemp("kept"), {}
    for kind, (_, every) in KINDS.items():
        path = folder / kind
        with pytest.MonkeyPatch.context() as patch:
            life = make_mortal(patch)
            if kind == "with SVMs":
                patch.setattr(stacking, "best_weights", lambda *args: (2.0, 1.5))
            whole = make(kind).fit(*rows)
            life.left = life.n - 1 if kind == "with SVMs" else life.n * 3 // 4
            with pytest.raises(Killed):
                make(kind).set_callbacks(Checkpoint(path, **every)).fit(*rows)
        found[kind] = whole, *contents(path)
    assert found["in an epoch"][1]["training"]["course"]["so_far"] is not None
    assert found["between epochs"][1]["training"]["course"]["so_far"] is None
    assert found["with lists"][2]["training.listed"].size
    assert found["with SVMs"][2]["training.negatives"].size
    return found


def contents(path):
    with TensorFile(str(path)) as file:
        return json.loads(file.metadata["slide"]), {name: file.read(name) for name in file.names}


def make(kind):
    params = {"hidden_layer_sizes": (32,), "max_iter": 6, "random_state": 0, **KINDS[kind][0]}
    return SparseMLPClassifier(**params)


@pytest.fixture
def forge(trained, tmp_path):
    """A function that writes a file of some kind with a change and with right checksums."""

    def write(kind, change=lambda plain, arrays: None):
        plain, arrays = deepcopy(trained[kind][1:])
        change(plain, arrays)
        del plain["checksum"]
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        plain["checksums"] = {name: checksum(name, array) for name, array in arrays.items()}
        plain["checksum"] = model_file._text_checksum(plain)
        path = tmp_path / "training"
        path.touch()
        write_tensors(str(path), arrays, {"slide": json.dumps(plain)})
        return path

    return write


def put(*keys, value):
    def change(plain, arrays):
        for key in ("training", *keys[:-1]):
            plain = plain[key]
        plain[keys[-1]] = value

    return change


def drop(*keys):
    def change(plain, arrays):
        for key in ("training", *keys[:-1]):
            plain = plain[key]
        del plain[keys[-1]]

    return change


def array(name, value):
    def change(plain, arrays):
        old = arrays.pop(f"training.{name}")
        if value is not None:
            arrays[f"training.{name}"] = value(old)

    return change


def swap(place, value):
    """A change that puts another number at one place of an array."""

    def change(old):
        new = old.copy()
        new.flat[place] = value
        return new

    return change


C = "course"
CHANGES = {
    "in an epoch": [
        put(C, "so_far", "n_rows", value=10**6),
        put(C, "so_far", "n_rows", value=-1),
        put(C, "so_far", "n_rows", value=1.0),
        put(C, "so_far", "n_rows", value=True),
        put(C, "so_far", "n_queries", value=-3),
        put(C, "so_far", "loss", value="1"),
        put(C, "so_far", "weight", value=0.0),
        put(C, "so_far", "weight", value=-2.0),
        put(C, "so_far", "queries", value=[]),
        put(C, "so_far", "queries", value=[None, "1"]),
        put(C, "so_far", "seconds", value={}),
        put(C, "so_far", "seconds", value={"search": 1.0, "forward": 1.0, "backward": "1",
                                           "rebuild": 1.0}),
        put(C, "so_far", value=[]),
        put(C, "so_far", "more", value=1),
        drop(C, "so_far", "loss"),
        array("queries.1", None),
        array("queries.1", lambda old: old[:-1]),
        array("queries.1", lambda old: old.astype(np.float32)),
        array("queries.1", swap(0, np.nan)),
    ],
    "between epochs": [
        put(C, "losses", value=[float("1e308"), "1"]),
        put(C, "losses", value=3),
        put(C, "losses", value=[]),
        put(C, "scores", value=[1]),
        put(C, "best", value="0.5"),
        put(C, "n_stale", value=-1),
        put(C, "n_stale", value=2.5),
        put(C, "rng", value=None),
        put(C, "rng", value={"random_state": {"key": [0] * 624, "position": 0, "has_gauss": 0,
                                              "gauss": 0.0}}),
        put(C, "seconds", value="1"),
        put(C, "counted", value={}),
        put(C, "counted", "n_samples", value="many"),
        put(C, "counted", "more", value=1),
        put(C, "weighed", value=[1.0, 2.0]),
        put(C, "weighed", value=[1.0, "2", 3.0]),
        put(C, "history", value=None),
        put(C, value=[]),
        put(C, value="over"),
        put("history", value=None),
        put("history", value=3),
        put("identity", value=None),
        put("identity", value={}),
        put("identity", "parameter", value=[]),
        put("identity", "start", value="0"),
        put("identity", "start", value={"random_state": {}}),
        drop("identity"),
        drop("course"),
        drop(C, "rng"),
        array("listed", None),
        array("best.0.w", lambda old: old[:-1]),
        array("best.1.b", None),
        array("best.0.w", lambda old: old.astype(np.float64)),
        array("best.0.w", swap(5, np.inf)),
    ],
    "with lists": [
        put(C, "weighed", value=[1.0, 2.0, 3.0]),
        array("listed", swap(0, 120)),
        array("listed", swap(0, -2)),
        array("listed", swap(0, 2**31 - 1)),
        array("listed", lambda old: old[1:]),
        array("listed", lambda old: old.astype(np.int64)),
    ],
    "with SVMs": [
        put(C, "weighed", value=[]),
        put(C, "weighed", value=[-1.0, 2.0]),
        put(C, "weighed", value=[1.0, -2.0]),
        put(C, "weighed", value=[1.0, 2.0, 3.0, 4.0]),
        array("negatives", None),
        array("negatives", swap(0, 120)),
        array("negatives", swap(0, -2)),
        array("negatives", lambda old: old[1:]),
        array("negatives", lambda old: old[:, 1:]),
        array("negatives", lambda old: old.astype(np.int64)),
    ],
}  # fmt: skip
CASES = [(kind, i) for kind, changes in CHANGES.items() for i in range(len(changes))]


@pytest.mark.parametrize(("kind", "i"), CASES)
def test_wrong_contents_are_refused(kind, i, forge, rows):
    refuses(forge(kind, CHANGES[kind][i]), kind, rows)


@pytest.mark.parametrize("value", [[], "text", 3, {}])
def test_a_training_that_is_none(value, forge, rows):
    refuses(forge("between epochs", lambda plain, arrays: plain.update(training=value)),
            "between epochs", rows)  # fmt: skip


def refuses(path, kind, rows):
    before = path.read_bytes()
    clf = make(kind).set_callbacks(Checkpoint(path))
    with pytest.raises(ValueError, match="Checkpoint"):
        clf.fit(*rows)
    with pytest.raises(NotFittedError):
        clf.predict(rows[0])
    assert path.read_bytes() == before


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize(
    "other",
    [
        {"n_features": 300},
        {"n_classes": 100},
        {"shift": 1},
        {"hidden_layer_sizes": (16,)},
        {"batch_size": 32},
        {"weight_dtype": "bfloat16"},
    ],
    ids=str,
)
def test_the_network_of_another_training_is_refused(other, done, forge, rows, tmp_path):
    """Otherwise the engine could read beyond its arrays."""
    (x, y), other = rows, dict(other)
    x, y = x[:, : other.pop("n_features", None)], y % other.pop("n_classes", 120)
    y = y + other.pop("shift", 0)
    clf = make("with lists").set_params(max_iter=1, **other).fit(x, y)
    clf.save(tmp_path / "other")
    model, its_arrays = contents(tmp_path / "other")

    def exchange(plain, arrays):
        training = plain["training"]
        for name in [name for name in arrays if not name.startswith("training.")]:
            del arrays[name]
        arrays.update(its_arrays)
        plain.clear()
        plain.update(**model, training=training)
        if done:
            training["course"] = None

    refuses(forge("with lists", exchange), "with lists", rows)


@pytest.mark.parametrize("kind", KINDS)
def test_right_contents_are_taken(kind, forge, trained, rows, monkeypatch, assert_same_weights):
    make_mortal(monkeypatch)  # makes chunks small
    clf = make(kind).set_callbacks(Checkpoint(forge(kind))).fit(*rows)
    assert_same_weights(clf, trained[kind][0])
