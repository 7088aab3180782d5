"""Recall of retrieval on fitted networks."""

import numpy as np
import pytest

from slide import SparseMLPClassifier
from slide.datasets import make_extreme_classification
from slide.inspection import retrieval_recall

X, y = make_extreme_classification(600, 300, 20, random_state=0)
DENSE = X.toarray()


def fitted(retrieval, data=X, hidden=(256, 256)):
    clf = SparseMLPClassifier(
        hidden, active_fraction=(0.1, 0.1, 1.0), retrieval=retrieval, max_iter=2, random_state=0
    )
    return clf.fit(data, y)


@pytest.mark.parametrize("data", [X, DENSE], ids=["CSR", "dense"])
def test_exact_search_finds_all(data):
    assert retrieval_recall(fitted("exact", data), data) == {0: 1.0, 1: 1.0}
    # After fit, the copy that a scan reads holds the final weights.
    assert min(retrieval_recall(fitted("scan", data), data).values()) > 0.999


def test_chance_finds_its_share():
    recall = retrieval_recall(fitted("none"), X)
    # 600 rows x 26 draws of a share of .102: eight standard deviations.
    assert np.allclose(list(recall.values()), 26 / 256, atol=0.02)


def test_estimates_lie_between():
    # The first layer computes four times as many neurons as it keeps, and may not miss any.
    recall = list(retrieval_recall(fitted("estimate"), X).values())
    assert 0.15 < min(recall) < 1 and max(recall) <= 1


def test_a_dense_network_is_refused():
    clf = SparseMLPClassifier((16,), max_iter=1, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="sparse hidden layer"):
        retrieval_recall(clf, X)
