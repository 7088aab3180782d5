"""What is fitted is one object: no call sees a part of one fit and a part of another."""

import copy
import pickle
import threading
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csc_array, csr_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from slide import SparseMLPClassifier, _core
from slide._base.rows import InputRows
from slide._engine import predict
from slide._prediction.shortlist import Shortlist
from slide._prototypes.prototypes import Prototypes

RNG = np.random.default_rng(0)
NARROW, WIDE = (
    csr_array(RNG.random((40, width)).astype("f4") * (RNG.random((40, width)) < 0.2))
    for width in (5, 50_000)
)
OLD, NEW = (np.array([f"{name}{i}" for i in range(4)])[np.arange(40) % 4] for name in ("o", "n"))


@pytest.fixture
def fitted():
    return SparseMLPClassifier((4,), max_iter=1, random_state=0).fit(WIDE, OLD)


class Meanwhile:
    """Rows whose conversion fits the estimator that they are given to, once, in another thread."""

    def __init__(self, rows, refit):
        self.rows, self.refit = rows, refit

    def __array__(self, dtype=None, copy=None):
        thread = threading.Thread(target=self.refit)
        thread.start()
        thread.join()
        return self.rows


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_a_call_that_began_before_a_fit_gives_the_old_answer(fitted, method):
    rows = WIDE[:3].toarray()
    before = getattr(fitted, method)(rows)
    beside = Meanwhile(rows, lambda: fitted.fit(NARROW, NEW))
    np.testing.assert_array_equal(getattr(fitted, method)(beside), before)
    assert fitted.n_features_in_ == 5 and fitted.classes_[0] == "n0"


def test_names_are_those_of_the_result_that_was_read():
    one = pd.DataFrame(RNG.random((20, 2)), columns=["a", "b"])
    other = one.rename(columns={"a": "c"})
    clf = SparseMLPClassifier((4,), max_iter=1, random_state=0).fit(one, np.arange(20) % 2)
    old = clf._fitted
    clf.fit(other, np.arange(20) % 2)
    assert list(old.feature_names) == ["a", "b"] and list(clf.feature_names_in_) == ["c", "b"]
    with pytest.raises(ValueError, match="feature names"):
        clf.predict(one)


def test_names_and_width_live_and_die_with_the_rest(fitted):
    assert not hasattr(fitted, "feature_names_in_")
    assert {name for name in vars(fitted) if name.endswith("_")} == set()
    names = ["a", "b"]
    frame = pd.DataFrame(RNG.random((20, 2)), columns=names)
    clf = SparseMLPClassifier((4,), max_iter=1, random_state=0).fit(frame, np.arange(20) % 2)
    for twin in (pickle.loads(pickle.dumps(clf)), copy.copy(clf), copy.deepcopy(clf)):
        assert list(twin.feature_names_in_) == names and twin.n_features_in_ == 2
    assert not hasattr(clone(clf), "n_features_in_")
    with pytest.raises(ValueError):
        clf.fit(frame, np.arange(19))
    for name in ("n_features_in_", "feature_names_in_", "classes_"):
        assert not hasattr(clf, name)
    with pytest.raises(NotFittedError):
        check_is_fitted(clf)


def test_a_pickle_of_an_earlier_version_keeps_its_names():
    frame = pd.DataFrame(RNG.random((20, 2)), columns=["a", "b"])
    clf = SparseMLPClassifier((4,), max_iter=1, random_state=0).fit(frame, np.arange(20) % 2)
    state = clf.__getstate__()
    fitted = copy.copy(state["_fitted"])
    for name in ("feature_names", "older"):
        del vars(fitted)[name]
    names = clf.feature_names_in_
    state = {**state, "_fitted": fitted, "n_features_in_": 2, "feature_names_in_": names}
    twin = SparseMLPClassifier()
    twin.__setstate__(state)
    assert list(twin.feature_names_in_) == ["a", "b"] and twin.n_features_in_ == 2
    assert twin.n_iter_ == 1
    np.testing.assert_array_equal(twin.predict(frame), clf.predict(frame))


def test_a_fit_that_fails_leaves_no_mixture(fitted):
    fitted.set_params(warm_start=True)
    before = fitted.decision_function(WIDE)
    with pytest.raises(ValueError, match="is expecting 50000 features"):
        fitted.fit(NARROW, OLD)
    np.testing.assert_array_equal(fitted.decision_function(WIDE), before)
    assert fitted.n_features_in_ == 50_000
    fitted.set_params(warm_start=False)
    with pytest.raises(ValueError, match="tol must be"):
        fitted.set_params(tol=-1).fit(NARROW, OLD)
    assert not hasattr(fitted, "n_features_in_") and not hasattr(fitted, "classes_")


def test_threads_that_fit_and_predict_see_one_result_or_none(fitted):
    answers, over = Counter(), threading.Event()

    def refit():
        try:
            for _ in range(15):
                fitted.fit(NARROW, NEW)
                fitted.fit(WIDE, OLD)
        finally:
            over.set()

    def use():
        while not over.is_set():
            try:
                kinds = {label[0] for label in fitted.predict(WIDE)}
                answers["".join(kinds)] += 1
                assert fitted._repr_html_() and repr(fitted) and pickle.dumps(fitted)
            except NotFittedError:
                answers["none"] += 1
            except ValueError as error:
                assert "is expecting 5 features" in str(error)
                answers["narrow"] += 1

    failed = []

    def watched(work):
        try:
            work()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=watched, args=(work,)) for work in (refit, use, use)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and set(answers) <= {"o", "none", "narrow"}


# -------------------------------------------------- the engine's own checks --


def wrong_width(model, rows):
    labels = np.zeros(rows.n_rows, np.int32)
    starts = np.arange(rows.n_rows + 1, dtype=np.int64)
    settings = {"micro_batch": 4, "dropout": [0.0]}
    yield lambda: predict.scores(model, rows, 0, rows.n_rows, 1)
    yield lambda: predict.hidden(model, rows, 0, rows.n_rows, 1)
    yield lambda: predict.topk(model, rows, 1, 1)
    yield lambda: _core.Trainer(model, rows, starts, labels, None, settings, 1)


@pytest.mark.parametrize("width", [5, 49_999, 50_001])
def test_the_engine_holds_the_width_of_rows_against_the_network(fitted, width):
    model = fitted._fitted.network.model()
    for dense in (False, True):
        rows = np.zeros((3, width), np.float32)
        for call in wrong_width(model, InputRows(rows if dense else csr_array(rows))):
            with pytest.raises(ValueError, match=f"X has {width} features, but the network takes"):
                call()


def test_the_engine_reads_no_rows_that_are_not_there(fitted):
    model, rows = fitted._fitted.network.model(), InputRows(WIDE)
    for first, last in ((0, 41), (-1, 3), (5, 4)):
        for call in (predict.scores, predict.hidden):
            with pytest.raises(ValueError, match="do not lie within the 40 rows"):
                call(model, rows, first, last, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y_indices": np.full(40, 4, np.int32)}, "labels of the network's 4 classes"),
        ({"y_indices": np.full(40, -1, np.int32)}, "labels of the network's 4 classes"),
        ({"y_indptr": np.arange(40, dtype=np.int64)}, "labels of 40 rows"),
        ({"y_indptr": np.arange(41, dtype=np.int64) * 2}, "labels of 40 rows"),
        ({"sample_weight": np.ones(39, np.float32)}, "sample_weight must have 40 values"),
    ],
)
def test_the_engine_holds_labels_and_weights_against_the_rows(fitted, change, words):
    network = fitted._fitted.network
    settings = {**network.settings.engine(), "seed": 0}
    arguments = {
        "y_indptr": np.arange(41, dtype=np.int64), "y_indices": np.zeros(40, np.int32),
        "sample_weight": None, "settings": settings, "n_threads": 1,
    }  # fmt: skip
    rows = InputRows(WIDE)
    trainer = _core.Trainer(network.model(), rows, **arguments)
    for row in (-1, 40):
        with pytest.raises(ValueError, match="rows must lie within the 40 rows"):
            trainer.run(np.array([row], np.int32), 0, 0.1)
    with pytest.raises(ValueError, match=words):
        _core.Trainer(network.model(), rows, **{**arguments, **change})


@pytest.mark.parametrize("name", ["w", "w_m", "b", "w_v", "b_m", "steps"])
def test_the_engine_holds_the_shapes_of_arrays_against_each_other(fitted, name):
    network = copy.deepcopy(fitted._fitted.network)
    setattr(network.layers[1], name, getattr(network.layers[1], name)[:-1])
    with pytest.raises(ValueError, match=f"{name} of layer 1 must have shape"):
        network.model()


def test_layers_and_prototypes_must_fit_the_network(fitted):
    network = copy.deepcopy(fitted._fitted.network)
    network.layers[1].n_in = 5
    network.layers[1].w = network.layers[1].w_m = np.zeros((4, 5), np.float32)
    with pytest.raises(ValueError, match="layer 1"):
        network.model()
    network = fitted._fitted.network.twin()
    network.prototypes = Prototypes(csc_array((4, 7), dtype=np.float32), np.ones(7, np.float32))
    with pytest.raises(ValueError, match="prototypes must have shape"):
        network.model()


def test_a_short_list_is_for_its_own_output_layer(fitted):
    weights = RNG.standard_normal((16_384, 8)).astype("f4")
    mean = np.zeros(8, np.float32)
    biases, random_state = np.zeros(16_384, np.float32), np.random.RandomState(0)
    short = Shortlist(weights, biases, mean, 1.0, random_state, 1)
    with pytest.raises(ValueError, match="the output layer must have 16384 neurons over 8"):
        short.topk(fitted._fitted.network.model(), InputRows(WIDE), 0, 40, 1, 10, 1)
    with pytest.raises(ValueError, match="h must have 8 values"):
        short.estimates(np.zeros(7, np.float32))
    with pytest.raises(ValueError, match="must have as many biases and means"):
        Shortlist(weights, biases[1:], mean, 1.0, random_state, 1)


# -------------------------------------------------------------- fit within fit --


class FitsAgain:
    """Data that fits the estimator again when it is read."""

    def __init__(self, call):
        self.call = call

    def __array__(self, dtype=None, copy=None):
        self.call()
        return WIDE.toarray()


@pytest.mark.parametrize("name", ["fit", "partial_fit"])
def test_a_fit_within_a_fit_is_refused(fitted, name):
    method = getattr(fitted, name)
    words = f"{name} was called while this SparseMLPClassifier is being fitted"
    with pytest.raises(RuntimeError, match=words):
        fitted.partial_fit(FitsAgain(lambda: method(WIDE, OLD)), OLD)
    assert set(fitted.predict(WIDE)) <= set(OLD)
    with pytest.raises(RuntimeError, match=words):
        fitted.fit(FitsAgain(lambda: method(WIDE, OLD)), OLD)
    assert not hasattr(fitted, "classes_")
    fitted.fit(WIDE, OLD)


def test_a_fit_may_save_what_was_fitted_before(fitted, tmp_path):
    path = tmp_path / "model"
    fitted.partial_fit(FitsAgain(lambda: fitted.save(path)), OLD)
    assert SparseMLPClassifier.load(path).n_iter_ == 1 and fitted.n_iter_ == 2
    with pytest.raises(NotFittedError):
        fitted.fit(FitsAgain(lambda: fitted.save(path)), OLD)


def test_a_state_is_that_of_one_moment(fitted):
    state = fitted.__getstate__()
    fitted.fit(NARROW, NEW)
    fitted.new_attribute = 1
    assert "new_attribute" not in state and state["_fitted"].network.n_features == 50_000


def test_another_thread_waits_for_a_fit(fitted):
    threads = [threading.Thread(target=fitted.partial_fit, args=(WIDE, OLD)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fitted.n_iter_ == 5 and fitted.t_ == 200
