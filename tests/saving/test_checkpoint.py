"""Checkpoints: a killed training goes on from its file, and ends as if it had not been killed."""

import errno
import itertools
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.mortal import Killed, make_mortal
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

import slide
from slide import SparseMLPClassifier
from slide._saving import model_file
from slide._training import stacking
from slide.callback import Checkpoint
from slide.datasets import make_extreme_classification

ROOT = Path(slide.__file__).parents[1]  # for child processes; a checkout may lack compiled modules

KINDS = {
    "lists and prototypes": {},
    "early stopping": {"early_stopping": True},
    "SVMs": {"max_iter": 5},
    "SVMs, early stopping": {"early_stopping": True},
    "sparse": {"hidden_layer_sizes": (64, 32), "active_fraction": (0.25, 0.5, 0.9),
               "rehash_every": 200},
    "scan": {"hidden_layer_sizes": (256,), "active_fraction": (0.1, 1.0), "retrieval": "scan",
             "rehash_every": 300},
    "tables": {"active_fraction": (1.0, 0.2), "retrieval": "rerank", "n_tables": 8,
               "n_hash_bits": 4, "rehash_every": 300},
    "momentum": {"solver": "sgd", "loss": "softmax", "shuffle": False},
    "bfloat16": {"weight_dtype": "bfloat16", "solver": "adagrad"},
    "dropout": {"dropout": 0.3, "alpha": 1e-3, "batch_size": 16},
}  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    """1,500 rows, 120 classes: enough for prototypes, and for chunks within an epoch."""
    return make_extreme_classification(1500, 400, 120, random_state=0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "training.safetensors"


@pytest.fixture
def life(monkeypatch):
    """Small chunks of rows, which are counted; `life.left` is how many run before `fit` dies."""
    return make_mortal(monkeypatch)


def die_late(life, fit):
    """Call `fit` and let it die after three quarters of the chunks that it takes."""
    life.n = 0
    result = fit(watched=False)
    life.left = life.n * 3 // 4
    with pytest.raises(Killed):
        fit(watched=True)
    life.left = None
    return result


def assert_same(one, other, X):
    for name in ("coefs_", "intercepts_"):
        for ours, theirs in zip(getattr(one, name), getattr(other, name), strict=True):
            assert_array_equal(ours.view(np.int32), theirs.view(np.int32))
    for name in ("loss_curve_", "validation_scores_", "t_", "n_iter_", "compute_fraction_",
                 "prototype_weight_", "svm_weight_", "best_loss_"):  # fmt: skip
        assert getattr(one, name) == getattr(other, name), name
    assert_array_equal(one.decision_function(X), other.decision_function(X))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("every", [{}, {"every_n_seconds": 1e-9}], ids=["epochs", "chunks"])
def test_goes_on_bit_by_bit(kind, every, rows, path, classifier, life, monkeypatch):
    X, y = rows
    if kind.startswith("SVMs"):
        monkeypatch.setattr(stacking, "best_weights", lambda *args: (2.0, 1.5))
    params = {"max_iter": 4, **KINDS[kind]}
    never_killed = classifier(**params).fit(X, y)
    n_runs = 0
    for n in itertools.count(1):
        # Each run gets a little further than the one before, so that it is killed in every phase.
        life.left = 5 * n
        clf = classifier(**params).set_callbacks(Checkpoint(path, **every))
        try:
            clf.fit(X, y)
            break
        except Killed:
            n_runs += 1
            assert not hasattr(clf, "coefs_")
        assert n < 50
    assert n_runs >= 2
    life.left = None
    assert_same(clf, never_killed, X)
    assert not kind.startswith("SVMs") or clf.svm_weight_ > 0
    # Training after the checkpoint gives the same result too.
    for one in (clf, never_killed):
        one.set_params(early_stopping=False).partial_fit(X, y)
    assert_array_equal(clf.decision_function(X), never_killed.decision_function(X))


def test_a_training_that_is_over_comes_back_at_once(rows, path, classifier, life):
    X, y = rows
    first = classifier().set_callbacks(Checkpoint(path)).fit(X, y)
    life.left = 0  # dies at the next step
    again = classifier().set_callbacks(Checkpoint(path)).fit(X, y)
    assert_same(first, again, X)
    assert again.classes_.dtype == first.classes_.dtype


def test_a_checkpoint_is_a_model(rows, path, classifier, life):
    X, y = rows

    def fit(watched):
        clf = classifier(max_iter=4, prototypes=False)
        if watched:
            clf.set_callbacks(Checkpoint(path, every_n_epochs=2))
        return clf.fit(X, y)

    whole = die_late(life, fit)
    loaded = SparseMLPClassifier.load(path)
    assert loaded.n_iter_ == 2 and loaded.loss_curve_ == whole.loss_curve_[:2]
    assert loaded.score(X, y) > 0.5
    # Saved as a model, it holds nothing of the training's state.
    loaded.save(path)
    assert not any(name.startswith("training") for name in load_file(path))


def test_a_checkpoint_within_the_first_epoch_is_a_model(rows, path, classifier, life):
    X, y = rows
    for early_stopping in (False, True):
        life.left = 3
        clf = classifier(early_stopping=early_stopping)
        with pytest.raises(Killed):
            clf.set_callbacks(Checkpoint(path, every_n_seconds=1e-9)).fit(X, y)
        loaded = SparseMLPClassifier.load(path)
        assert loaded.n_iter_ == 1 and loaded.validation_scores_ is None
        assert 0 < loaded.compute_fraction_
        assert np.isfinite(loaded.decision_function(X)).all()
        path.unlink()


@pytest.mark.parametrize("state", [None, "instance"])
def test_random_states_that_are_no_seeds(state, rows, path, classifier, life):
    X, y = rows

    def fit(watched, seed=5):
        np.random.seed(seed)  # noqa: NPY002
        own = np.random.RandomState(5) if state == "instance" else None
        clf = classifier(random_state=own, early_stopping=True, max_iter=4)
        if watched:
            clf.set_callbacks(Checkpoint(path))
        return clf.fit(X, y)

    never_killed = die_late(life, fit)
    clf = fit(watched=True, seed=6)  # like another process, with another global state
    assert_same(clf, never_killed, X)
    numbers = np.random.random(3)  # noqa: NPY002
    assert_array_equal(numbers, np.random.RandomState(6).random(3))


def test_warm_start(rows, path, classifier, life):
    X, y = rows

    def fit(watched):
        clf = classifier(warm_start=True, max_iter=3).fit(X, y)
        if watched:
            clf.set_callbacks(Checkpoint(path))
        return clf.fit(X, y)

    never_killed = die_late(life, fit)
    clf = fit(watched=True)
    assert_same(clf, never_killed, X)
    assert clf.n_iter_ == 6
    with pytest.raises(ValueError, match="another number of samples trained on before"):
        classifier(warm_start=True, max_iter=3).set_callbacks(Checkpoint(path)).fit(X, y)


@pytest.mark.parametrize("first", [0, 1000])
def test_warm_start_after_a_poor_batch(first, rows, path, classifier, life):
    X, y = (rows[0].toarray() * 1e-3, rows[1]) if first else rows

    def fit(watched):
        clf = classifier(warm_start=True, max_iter=3)
        clf.partial_fit(first * X[:20], y[:20], classes=range(120))
        if watched:
            clf.set_callbacks(Checkpoint(path))
        return clf.fit(X, y)

    assert_same(die_late(life, fit), fit(watched=True), X)


def test_threads_go_on_as_well(rows, path, classifier, life):
    X, y = rows

    def fit(watched, n_jobs=2):
        clf = classifier(n_jobs=n_jobs, max_iter=4)
        if watched:
            clf.set_callbacks(Checkpoint(path))
        return clf.fit(X, y)

    die_late(life, fit)
    # At most one epoch, the interval, is lost.
    assert SparseMLPClassifier.load(path).n_iter_ >= 2
    clf = fit(watched=True, n_jobs=1)
    assert clf.n_iter_ == 4 and clf.t_ >= 4 * 1350
    assert clf.score(X, y) > 0.9


# ---------------------------------------------------------------- refusals --


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"learning_rate_init": 0.01}, "parameter learning_rate_init"),
        ({"max_iter": 4}, "parameter max_iter"),
        ({"random_state": 1}, "random_state"),
        ({"X": "scaled"}, "X"),
        ({"y": "shuffled"}, "y"),
        ({"y": "renamed"}, "y"),
        ({"sample_weight": "ones"}, "sample_weight"),
    ],
)
def test_never_goes_on_with_another_training(change, what, rows, path, classifier):
    X, y = rows
    classifier().set_callbacks(Checkpoint(path)).fit(X, y)
    before = path.read_bytes()
    change = dict(change)
    X = {"scaled": X * 2, None: X}[change.pop("X", None)]
    y = {"shuffled": y[::-1], "renamed": y + 1, None: y}[change.pop("y", None)]
    weights = {"ones": np.arange(len(y)) + 1.0, None: None}[change.pop("sample_weight", None)]
    clf = classifier(**change).set_callbacks(Checkpoint(path))
    with pytest.raises(ValueError, match=f"another {what}. Remove the file"):
        clf.fit(X, y, weights)
    assert path.read_bytes() == before


def test_what_may_change(rows, path, classifier):
    X, y = rows
    classifier().set_callbacks(Checkpoint(path)).fit(X, y)
    clf = classifier(n_jobs=2, verbose=True, predict_mode="lsh").set_callbacks(Checkpoint(path))
    assert clf.fit(X, y).n_iter_ == 3
    assert clf.get_params()["n_jobs"] == 2


def test_labels_that_a_file_cannot_hold_are_refused_before_training(rows, path, classifier):
    X, y = rows
    labels = np.array([f"{i:03}".encode() for i in range(120)])
    with pytest.raises(ValueError, match="a model can be saved if its labels are ints, bools"):
        classifier().set_callbacks(Checkpoint(path)).fit(X, labels[y])
    assert not path.exists()


@pytest.mark.parametrize("kind", ["nullable", "object", "list"])
def test_goes_on_with_the_same_labels_in_another_form(rows, path, classifier, kind):
    X, y = rows
    y = y + 2**60
    whole = classifier().set_callbacks(Checkpoint(path)).fit(X, y)
    forms = {
        "nullable": pd.Series(y, dtype="Int64"), "object": y.astype(object), "list": y.tolist()
    }  # fmt: skip
    clf = classifier().set_callbacks(Checkpoint(path)).fit(X, forms[kind])
    assert clf.history_ == whole.history_  # the file's, seconds included
    assert_array_equal(clf.classes_, np.unique(y))
    with pytest.raises(ValueError, match="that of another y"):
        classifier().set_callbacks(Checkpoint(path)).fit(X, np.where(y == y[0], y - 2000, y))


def test_refuses_other_files(rows, path, classifier, tmp_path):
    X, y = rows
    clf = classifier().fit(X, y)
    clf.save(path)
    with pytest.raises(ValueError, match=r"path of Checkpoint.* a model that save wrote"):
        clone(clf).set_callbacks(Checkpoint(path)).fit(X, y)
    assert SparseMLPClassifier.load(path).n_iter_ == 3
    path.write_text("notes")
    with pytest.raises(ValueError, match="no model"):
        clone(clf).set_callbacks(Checkpoint(path)).fit(X, y)
    assert path.read_text() == "notes"
    with pytest.raises(FileNotFoundError, match="no folder"):
        clone(clf).set_callbacks(Checkpoint(tmp_path / "none" / "c")).fit(X, y)
    with pytest.raises(ValueError, match="not a plain file"):
        clone(clf).set_callbacks(Checkpoint(tmp_path)).fit(X, y)
    two = Checkpoint(tmp_path / "a"), Checkpoint(tmp_path / "b")
    with pytest.raises(ValueError, match="one Checkpoint at most; got 2"):
        clone(clf).set_callbacks(*two).fit(X, y)


@pytest.mark.parametrize(
    "arguments",
    [
        {"path": 3},
        {"every_n_epochs": 0},
        {"every_n_epochs": True},
        {"every_n_epochs": 1.5},
        {"every_n_seconds": 0},
        {"every_n_seconds": -1.0},
        {"every_n_seconds": "1"},
        {"every_n_seconds": float("nan")},
    ],
)
def test_bad_arguments(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"{name} must be"):
        Checkpoint(**{"path": "file", **arguments})


@pytest.mark.skipif(
    not hasattr(LogisticRegression, "set_callbacks"), reason="callbacks need scikit-learn 1.9"
)
def test_is_for_our_estimators(classifier, planted, tmp_path):
    for estimator in (LogisticRegression(), make_pipeline(classifier())):
        estimator.set_callbacks(Checkpoint(tmp_path / "file"))
        message = f"must be set on a SparseMLP.*; got a {type(estimator).__name__}"
        with pytest.raises(ValueError, match=message):
            estimator.fit(*planted)


def test_a_checkpoint_within_a_pipeline(classifier, planted, tmp_path):
    path = tmp_path / "training"
    clf = classifier().set_callbacks(Checkpoint(path))
    model = make_pipeline(MaxAbsScaler(), clone(clf)).fit(*planted)
    twin = SparseMLPClassifier.load(path)
    assert_array_equal(twin.predict(model[0].transform(planted[0])), model.predict(planted[0]))


def test_when_it_is_due():
    both = Checkpoint("file", every_n_epochs=3, every_n_seconds=10)
    assert [both.is_due(1.0, n) for n in range(1, 7)] == [False, False, True, False, False, True]
    assert both.is_due(10.0, 1) and both.is_due(10.0) and not both.is_due(9.9)
    never = Checkpoint("file", every_n_epochs=None)
    assert not never.is_due(1e9, 1)
    assert vars(pickle.loads(pickle.dumps(both))) == vars(both)


# ------------------------------------------------------------------- kills --

PROGRAM = """
import sys, time
from slide import SparseMLPClassifier
from slide.callback import Checkpoint
from slide.datasets import make_extreme_classification

X, y = make_extreme_classification(30_000, 2_000, 3_000, random_state=0)
clf = SparseMLPClassifier(random_state=0, max_iter=6, early_stopping=True)
if len(sys.argv) > 2:
    clf.set_callbacks(Checkpoint(sys.argv[2], every_n_seconds=0.05))
print("begin", flush=True)
clf.fit(X, y).save(sys.argv[1])
"""


@pytest.mark.slow
def test_sigkill_at_any_moment(tmp_path):
    """Processes die at random moments; the last one writes the same bytes as one never killed."""
    model, checkpoint = tmp_path / "model", tmp_path / "checkpoint"

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE
        )
        with process.stdout:
            assert process.stdout.readline() == b"begin\n"
        return process

    began = time.monotonic()
    assert start(model).wait() == 0
    whole = time.monotonic() - began
    expected, moments = model.read_bytes(), np.random.default_rng()
    model.unlink()
    n_killed, n_in_the_midst = 0, 0
    while not model.exists():
        process = start(model, checkpoint)
        # Late enough to make progress, early enough to die several times.
        time.sleep(whole * moments.uniform(0.1, 0.45))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            n_killed += 1
        process.wait()
        if checkpoint.exists():
            SparseMLPClassifier.load(checkpoint)
            n_in_the_midst += "training.listed" in load_file(checkpoint)
        assert n_killed < 60
    assert n_killed >= 2 and n_in_the_midst >= 1
    assert model.read_bytes() == expected


# ------------------------------------------------------ files that cannot be written --


@pytest.fixture
def failing(monkeypatch):
    """A dict from the number of a write, from 0 on, to the error that it then raises."""
    errors, write, count = {}, model_file.write_tensors, itertools.count()

    def write_or_fail(*args):
        error = errors.get(next(count))
        if error is not None:
            raise error
        write(*args)

    monkeypatch.setattr(model_file, "write_tensors", write_or_fail)
    return errors


def full_disk():
    return OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("every_n_epochs", [1, None])
def test_a_full_disk_at_the_end_leaves_a_fitted_estimator(
    every_n_epochs, rows, path, failing, classifier
):
    whole = classifier(max_iter=4).fit(*rows)
    failing[0 if every_n_epochs is None else 4] = full_disk()
    clf = classifier(max_iter=4).set_callbacks(Checkpoint(path, every_n_epochs=every_n_epochs))
    message = f"the estimator is fitted, but .*{path}, was not written: .*No space left"
    with pytest.raises(OSError, match=message) as caught:
        clf.fit(*rows)
    assert caught.value.errno == errno.ENOSPC
    assert_same(clf, whole, rows[0])
    assert os.listdir(path.parent) == ([] if every_n_epochs is None else [path.name])
    if every_n_epochs:  # the checkpoint of the last epoch is there: `fit` need not train again
        again = classifier(max_iter=4).set_callbacks(Checkpoint(path)).fit(*rows)
        assert_same(again, whole, rows[0])
    clf.save(path.with_name("elsewhere"))


def test_ctrl_c_in_the_last_write_leaves_a_fitted_estimator(rows, path, failing, classifier):
    failing[4] = KeyboardInterrupt()
    clf = classifier(max_iter=4).set_callbacks(Checkpoint(path))
    with pytest.raises(KeyboardInterrupt):
        clf.fit(*rows)
    assert_same(clf, classifier(max_iter=4).fit(*rows), rows[0])
    assert SparseMLPClassifier.load(path).n_iter_ == 4


def test_training_goes_on_while_the_disk_is_full(rows, path, failing, classifier, monkeypatch):
    failing.update({1: full_disk(), 2: full_disk()})
    seen, write = [], model_file.write_tensors

    def look_and_write(*args):
        if path.exists():
            seen.append(SparseMLPClassifier.load(path).n_iter_)
        write(*args)

    monkeypatch.setattr(model_file, "write_tensors", look_and_write)
    clf = classifier(max_iter=4).set_callbacks(Checkpoint(path))
    with pytest.warns(RuntimeWarning, match=f"{path}, was not written: .*The training goes on"):
        clf.fit(*rows)
    assert seen == [1, 1, 1, 4]  # epochs of the file before writes 1, 2, 3 and the one at the end
    assert_same(clf, classifier(max_iter=4).fit(*rows), rows[0])
    assert_same(SparseMLPClassifier.load(path), clf, rows[0])
