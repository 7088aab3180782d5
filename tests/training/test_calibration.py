"""Calibration on late and held-out rows: honest probabilities, kept wherever the model goes."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from slide import SparseMLPClassifier
from slide._data.labels import LabelRows
from slide._data.rows import TrainingRows
from slide._network.confidence import Confidence
from slide._prediction import decisions
from slide._training import calibration
from slide.datasets import make_extreme_classification


@pytest.fixture(scope="module")
def hard():
    """700 classes, one label per row, of which a good model finds about two thirds."""
    X, y = make_extreme_classification(
        8000, 3000, 700, n_nonzero=12, n_informative=4, n_siblings=10, random_state=0
    )
    return X[:6000], y[:6000], X[6000:], y[6000:]


@pytest.fixture(scope="module", params=[{}, {"prototypes": False}, {"early_stopping": True}])
def fitted(request, hard):
    X, y, _, _ = hard
    return SparseMLPClassifier((64,), max_iter=8, random_state=0, **request.param).fit(X, y)


def known(clf, hard):
    """Test rows of known classes, and the columns of their labels."""
    _, _, X, y = hard
    rows = np.isin(y, clf.classes_)
    return X[rows], np.searchsorted(clf.classes_, y[rows])


def test_the_best_class_is_as_sure_as_it_is_right(fitted, hard):
    X, y = known(fitted, hard)
    p = fitted.predict_proba(X)
    right = p.argmax(axis=1) == y
    assert abs(p.max(axis=1).mean() - right.mean()) < 0.06
    assert_allclose(p.sum(axis=1), 1, rtol=1e-5)


def test_log_loss_is_not_worse_than_without(fitted, hard):
    X, y = known(fitted, hard)
    network, scores = fitted._fitted.network, fitted.decision_function(X)
    calibrated = fitted.predict_log_proba(X)[np.arange(len(y)), y].mean()
    twin = network.twin()
    twin.confidence = Confidence()
    plain = decisions.log_probabilities(scores, twin, False)[np.arange(len(y)), y].mean()
    assert network.confidence != Confidence() and calibrated >= plain


def test_the_ranking_is_that_of_the_scores(fitted, hard):
    X = hard[2][:200]
    best = fitted.predict_topk(X, k=1)[0][:, 0]
    assert_array_equal(fitted.classes_[fitted.predict_proba(X).argmax(axis=1)], best)
    assert_array_equal(fitted.predict(X), best)


def test_files_and_pickles_keep_it(fitted, hard, tmp_path):
    fitted.save(tmp_path / "model")
    X = hard[2][:50]
    for twin in (SparseMLPClassifier.load(tmp_path / "model"), pickle.loads(pickle.dumps(fitted))):
        assert twin._fitted.network.confidence == fitted._fitted.network.confidence
        assert_array_equal(twin.predict_proba(X), fitted.predict_proba(X))


def test_few_scores_stand_for_all_classes(fitted, hard, monkeypatch):
    X, y = known(fitted, hard)
    network = fitted._fitted.network
    judges = calibration_rows(fitted, X, y)
    everything = calibration.confidence_of(network, judges, 1.0, 0.0, 1)
    for name, value in (("_ALL", 100), ("_HEAD", 20), ("_TAIL", 150), ("_SCORES_AT_ONCE", 9000)):
        monkeypatch.setattr(calibration, name, value)
    few = calibration.confidence_of(network, judges, 1.0, 0.0, 1)
    assert few.slope == pytest.approx(everything.slope, rel=0.05)
    assert few.shift == pytest.approx(everything.shift, abs=0.2)


def calibration_rows(clf, X, y):

    labels = LabelRows(np.arange(len(y) + 1), y.astype(np.int32), len(clf.classes_))
    return TrainingRows(X, labels, None)


@pytest.mark.parametrize("params", [{}, {"prototypes": False}, {"early_stopping": True}])
def test_labels_of_rows_with_several_are_as_sure_as_they_are_right(params):
    X, Y = make_extreme_classification(6000, 3000, 300, n_labels=3, random_state=0)
    clf = SparseMLPClassifier((64,), max_iter=8, random_state=0, **params).fit(X[:4000], Y[:4000])
    p, right = clf.predict_proba(X[4000:]), Y[4000:].toarray() > 0
    best = p.argmax(axis=1)[:, np.newaxis]
    sure, hits = (np.take_along_axis(array, best, axis=1).mean() for array in (p, right))
    assert abs(sure - hits) < 0.04
    assert p.sum() == pytest.approx(right.sum(), rel=0.2)
    # The predicted labels are those of a probability above a half.
    clear = abs(p - 0.5) > 1e-6
    assert_array_equal((clf.predict(X[4000:]).toarray() > 0)[clear], (p > 0.5)[clear])


def test_a_label_that_never_occurs_has_a_small_probability():
    X, Y = make_extreme_classification(3000, 2000, 300, n_labels=3, random_state=0)
    Y = Y.tolil()
    Y[:, 7] = 0
    for loss in ("sigmoid", "softmax"):
        clf = SparseMLPClassifier((64,), loss=loss, max_iter=4, random_state=0).fit(X, Y.tocsr())
        p = clf.predict_proba(X[:200])[:, 7]
        assert (p > 0).all() and p.max() < 0.02
