"""The estimator under hostile values: a clear refusal, or a model that is whole and right."""

import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
from helpers.hostile import REFUSALS, any_params, fuzz, item_of, right_params, values
from helpers.hostile_arrays import (
    any_features,
    any_labels,
    any_weights,
    matrix,
    right_features,
    right_labels,
    right_weights,
)
from hypothesis import strategies as st
from scipy.sparse import issparse
from sklearn.exceptions import NotFittedError

from slide import SparseMLPClassifier
from slide._network.confidence import log_odds
from slide._settings.rules import is_true
from slide.inspection import prediction_recall, retrieval_recall

X = matrix(0, 12, 5).astype(np.float32)
Y = np.arange(12) % 3
INDICATOR = np.eye(4, dtype=int)[Y] | np.eye(4, dtype=int)[0]
TRAINING = (*REFUSALS, FloatingPointError)
PREDICTIONS = ["predict", "predict_proba", "predict_log_proba", "decision_function", "predict_topk"]


def attempt(call, *args, refusals=TRAINING, **kwargs):
    """The result of the call and None, or None and the error that it raised."""
    try:
        return call(*args, **kwargs), None
    except refusals as error:
        assert str(error), repr(error)
        return None, error


def assert_unfitted(clf):
    assert not [name for name in vars(clf) if name.endswith("_") or name == "_fitted"]
    with pytest.raises(NotFittedError):
        clf.predict(X)


def assert_whole(clf, x):
    """Check that a fitted estimator's predictions are finite, consistent and of the right form."""
    n, n_classes = rows_of(x), clf.n_outputs_
    multilabel = clf._fitted.coder.multilabel
    scores, proba, log_proba = (
        clf.decision_function(x), clf.predict_proba(x), clf.predict_log_proba(x),
    )  # fmt: skip
    binary = n_classes == 2 and not multilabel
    assert scores.shape == ((n,) if binary else (n, n_classes))
    assert proba.shape == log_proba.shape == (n, n_classes)
    for array in (scores, proba, log_proba):
        assert array.dtype == np.float32
        assert np.isfinite(array).all()
    assert (proba >= 0).all() and (proba <= 1).all() and (log_proba <= 0).all()
    if not multilabel:
        np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-4)
    labels, best = clf.predict_topk(x, k=1)
    assert labels.shape == best.shape == (n, 1)
    assert labels.dtype == clf.classes_.dtype and best.dtype == np.float32
    if not binary:
        np.testing.assert_array_equal(best[:, 0], scores.max(axis=1))
    y = clf.predict(x)
    if multilabel:
        assert y.shape == (n, n_classes)
        dense = y.toarray() if issparse(y) else y
        assert np.isin(dense, (0, 1)).all()
        network = clf._fitted.network
        if network.settings.loss == "sigmoid":
            np.testing.assert_array_equal(dense, log_odds(scores.copy(), network.confidence) > 0)
    else:
        assert y.shape == (n,) and y.dtype == clf.classes_.dtype
        np.testing.assert_array_equal(y, labels[:, 0])
        if binary:
            np.testing.assert_array_equal(y == clf.classes_[1], scores > 0)
        else:
            classes = list(clf.classes_)  # a single class may be an object without an order
            of_labels = [classes.index(label) for label in y]
            np.testing.assert_array_equal(scores[np.arange(n), of_labels], best[:, 0])
    assert 0 <= clf.compute_fraction_ and np.isfinite(clf.loss_)
    assert clf.t_ > 0


# ------------------------------------------------------------------- fuzzing --


@fuzz(40, 3000, params=any_params(), method=st.sampled_from(["fit", "partial_fit"]))
def test_parameters(params, method):
    clf = SparseMLPClassifier(**params)
    more = {"classes": [0, 1, 2]} if method == "partial_fit" else {}
    _, refusal = attempt(getattr(clf, method), X, Y, **more)
    if refusal is not None:
        assert_unfitted(clf)
        if isinstance(refusal, ValueError) and len(str(refusal)) > 5000:
            raise AssertionError(f"a message of {len(str(refusal))} characters")
    else:
        assert_whole(clf, X)


def rows_of(x):
    """The number of rows of X if it has rows, else any number."""
    shape = getattr(x, "shape", (len(x),) if isinstance(x, list) else ())
    return shape[0] if isinstance(shape, tuple) and shape and shape[0] else 5


@st.composite
def problems(draw, right):
    """Arguments of fit; unless `right`, one of them may be anything."""
    wrong = None if right else draw(st.sampled_from(["X", "y", "weights"]))
    x = draw(any_features() if wrong == "X" else right_features())
    n = rows_of(x)
    y = draw(any_labels(n) if wrong == "y" else right_labels(n))
    weights = draw(any_weights(n) if wrong == "weights" else right_weights(n))
    return x, y, weights


@fuzz(40, 2000, problem=problems(right=True), params=right_params())
def test_right_problems(problem, params):
    x, y, weights = problem
    clf = SparseMLPClassifier(**params)
    _, refusal = attempt(clf.fit, x, y, weights)
    if refusal is None:
        assert_whole(clf, x)
    else:
        assert_unfitted(clf)


@fuzz(40, 2500, problem=problems(right=False), params=right_params(3))
def test_wrong_problems(problem, params):
    x, y, weights = problem
    clf = SparseMLPClassifier(**params)
    _, refusal = attempt(clf.fit, x, y, weights)
    if refusal is not None:
        assert_unfitted(clf)
    else:
        assert_whole(clf, X if clf.n_features_in_ == 5 else np.zeros((3, clf.n_features_in_)))


NETWORKS = {
    "dense": {"hidden_layer_sizes": (6,)},
    "sparse": {"hidden_layer_sizes": (8, 5), "active_fraction": (0.5, 0.5, 0.5)},
    "hashed": {"active_fraction": (0.5, 0.5), "retrieval": "rerank", "hash_family": "dwta"},
    "half": {"hidden_layer_sizes": (6,), "weight_dtype": "bfloat16", "predict_mode": "lsh"},
}
_models = {}


def model_of(kind, multilabel):
    if (kind, multilabel) not in _models:
        clf = SparseMLPClassifier(max_iter=2, random_state=0, **NETWORKS[kind])
        _models[kind, multilabel] = clf.fit(X, INDICATOR if multilabel else Y)
    return _models[kind, multilabel]


@fuzz(
    40, 3000,
    kind=st.sampled_from(sorted(NETWORKS)),
    multilabel=st.booleans(),
    x=right_features(n_columns=5) | any_features(),
    method=st.sampled_from([*PREDICTIONS, "score", "recall", "hidden"]),
    k=item_of([1, 3, np.int8(2)]) | values,
    y=any_labels(12),
)  # fmt: skip
def test_predictions(kind, multilabel, x, method, k, y):
    clf = model_of(kind, multilabel)
    before = clf.decision_function(X)
    if method == "score":
        with np.errstate(invalid="ignore"):  # of scikit-learn, which casts y to int64
            _, refusal = attempt(clf.score, X, y, refusals=REFUSALS)
    elif method == "recall":
        _, refusal = attempt(prediction_recall, clf, x, k, refusals=REFUSALS)
    elif method == "hidden":
        _, refusal = attempt(retrieval_recall, clf, x, refusals=REFUSALS)
    elif method == "predict_topk":
        _, refusal = attempt(clf.predict_topk, x, k, n_candidates=k, refusals=REFUSALS)
    else:
        _, refusal = attempt(getattr(clf, method), x, refusals=REFUSALS)
    if refusal is None and method in PREDICTIONS:
        assert_whole(clf, x)
    np.testing.assert_array_equal(clf.decision_function(X), before)


# One call of a sequence; the arguments are for a model of 5 features.
calls = st.one_of(
    st.tuples(
        st.just("fit"), right_features(12, 5), right_labels(12) | any_labels(12),
        right_weights(12),
    ),
    st.tuples(
        st.just("partial_fit"), right_features(12, 5) | any_features(),
        item_of([Y, Y[::-1], INDICATOR, Y % 2, Y + 7, Y.astype(float), Y.astype("U")])
        | any_labels(12),
        item_of([None, [0, 1, 2], [2, 1, 0, 0], [0, 1], ["0", "1", "2"], [0.0, 1.0, 2.0]])
        | any_labels(4),
        right_weights(12) | any_weights(12),
    ),
    st.tuples(st.just("predict"), right_features(with_frames=False) | any_features()),
    st.tuples(st.just("set_params"), any_params()),
    st.tuples(st.just("save")),
    st.tuples(st.just("pickle")),
)  # fmt: skip


def scores_of(clf):
    """Scores of a fitted estimator, whatever its parameters are now."""
    wrong, clf.n_jobs = clf.n_jobs, None
    scores = clf.decision_function(X)
    clf.n_jobs = wrong
    return scores


def saved_and_loaded(clf):
    with tempfile.TemporaryDirectory() as folder:
        clf.save(Path(folder) / "model")
        return SparseMLPClassifier.load(Path(folder) / "model")


@fuzz(
    30, 2000,
    params=right_params(4),
    first=st.sampled_from(["labels", "indicator", "nothing"]),
    course=st.lists(calls, min_size=1, max_size=4),
)  # fmt: skip
def test_courses(params, first, course):
    clf = SparseMLPClassifier(**params)
    if first != "nothing":
        attempt(clf.fit, X, Y if first == "labels" else INDICATOR)
    for name, *args in course:
        fitted, before = hasattr(clf, "classes_"), None
        if fitted:
            before = scores_of(clf)
        if name == "set_params":
            clf.set_params(**args[0])
            continue
        if name == "save":
            twin, refusal = attempt(saved_and_loaded, clf)
            assert fitted or isinstance(refusal, NotFittedError)
            if twin is not None:
                clf = twin
        elif name == "pickle":
            try:
                clf = pickle.loads(pickle.dumps(clf))
            except Exception:  # parameters that Python cannot pickle
                pass
            refusal = None
        else:
            _, refusal = attempt(getattr(clf, name), *args)
        fits = name in ("fit", "partial_fit")
        if fits and refusal is None:
            if clf.n_features_in_ != 5:
                assert_whole(clf, np.zeros((2, clf.n_features_in_)))
                return
        elif fits and (isinstance(refusal, FloatingPointError) or not fitted):
            assert_unfitted(clf)
        elif name == "fit" and not is_true(clf.warm_start) and refusal is not None:
            assert_unfitted(clf)
        elif fitted and hasattr(clf, "classes_"):
            np.testing.assert_array_equal(scores_of(clf), before)
    if hasattr(clf, "classes_"):
        clf.set_params(n_jobs=None, predict_mode="exact")
        assert_whole(clf, X)
