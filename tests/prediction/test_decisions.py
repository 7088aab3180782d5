"""Probabilities and labels from scores: both name the same class."""

import pytest
from numpy.testing import assert_allclose, assert_array_equal

from slide import SparseMLPClassifier
from slide.datasets import make_extreme_classification

X, Y = make_extreme_classification(600, 100, 30, random_state=0)


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
@pytest.mark.parametrize("active_fraction", ["auto", (1.0, 0.5)])
def test_the_highest_probability_is_that_of_the_best_class(loss, active_fraction):
    clf = SparseMLPClassifier(
        (32,), loss=loss, active_fraction=active_fraction, random_state=0, max_iter=3
    ).fit(X, Y)
    for factor in (0, 1, 1e2, 1e4, -1e6):  # the sigmoids of high scores are 1 in float32
        rows = factor * X
        best = clf.predict_topk(rows, k=1)[0][:, 0]
        probabilities = clf.predict_proba(rows)
        assert_array_equal(clf.classes_[probabilities.argmax(axis=1)], best)
        assert_array_equal(clf.classes_[clf.predict_log_proba(rows).argmax(axis=1)], best)
        assert_array_equal(clf.predict(rows), best)
        assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
