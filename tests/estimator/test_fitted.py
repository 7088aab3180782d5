"""Tests of the result of fitting: replaced as a whole, and read only once per call."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from slide import SparseMLPClassifier
from slide._estimator.saving import Saving
from slide._network.fitted import Fitted

METHODS = {
    "predict": lambda clf, X: clf.predict(X),
    "predict_proba": lambda clf, X: clf.predict_proba(X),
    "predict_log_proba": lambda clf, X: clf.predict_log_proba(X),
    "decision_function": lambda clf, X: clf.decision_function(X),
    "predict_topk": lambda clf, X: clf.predict_topk(X),
    "predict_topk, lsh": lambda clf, X: clf.set_params(predict_mode="lsh").predict_topk(X),
    "intercepts_": lambda clf, X: clf.intercepts_,
    "hash_params_": lambda clf, X: clf.hash_params_,
    "best_loss_": lambda clf, X: clf.best_loss_,
}


class Watched(SparseMLPClassifier):
    """Counts how often the result of fitting is read."""

    reads: ClassVar[list] = []

    @property
    def _fitted(self):
        self.reads.append(1)
        return vars(self).get("result")

    @_fitted.setter
    def _fitted(self, fitted):
        vars(self)["result"] = fitted


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["planted", "multilabel"])
def test_a_method_reads_the_result_once(method, kind, request):
    X, y = request.getfixturevalue(kind)
    clf = Watched((16,), max_iter=1, random_state=0).fit(X, y)
    clf.reads.clear()
    METHODS[method](clf, X[:5])
    assert len(clf.reads) == 1


def test_what_was_fitted_does_not_change(classifier, planted):
    clf = classifier(max_iter=1).fit(*planted)
    fitted = clf._fitted
    with pytest.raises(dataclasses.FrozenInstanceError):
        fitted.network = None
    clf.loss_curve_.append(0.0)
    clf.history_.clear()
    assert clf.n_iter_ == len(clf.loss_curve_) == len(clf.history_) == 1
    clf.set_params(warm_start=True).fit(*planted)
    assert clf._fitted is not fitted
    assert clf.loss_curve_[:1] == list(fitted.losses) and clf.n_iter_ == 2


def test_every_fitted_attribute_comes_and_goes_as_one(classifier, planted):
    clf = classifier(max_iter=1).fit(*planted)
    names = [name for name in dir(clf) if name.endswith("_") and not name.startswith("_")]
    assert len(names) > 15
    assert {name for name in vars(clf) if name.endswith("_")} == set()
    with pytest.raises(ValueError):
        clf.fit(planted[0], planted[1][:-1])
    for name in names:
        assert not hasattr(clf, name), name
    with pytest.raises(NotFittedError):
        clf.predict(planted[0])


class Other(Saving, BaseEstimator):
    """Another estimator with the same parameters: files do not name a class."""

    def __init__(self, **params):
        vars(self).update({**SparseMLPClassifier().get_params(), **params})

    @classmethod
    def _get_param_names(cls):
        return sorted(SparseMLPClassifier().get_params())


def test_a_second_estimator_saves_for_nothing(classifier, planted, tmp_path):
    clf = classifier(max_iter=1).fit(*planted)
    other = Other(**clf.get_params())
    other._fitted = clf._fitted
    other.save(tmp_path / "other")
    loaded = Other.load(tmp_path / "other")
    assert type(loaded) is Other and isinstance(loaded._fitted, Fitted)
    assert loaded.get_params() == clf.get_params()
    for ours, theirs in zip(loaded.coefs_, clf.coefs_, strict=True):
        assert_array_equal(ours, theirs)
    assert np.array_equal(loaded.classes_, clf.classes_)
