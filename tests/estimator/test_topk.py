"""The k best classes when there are fewer than k."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from slide import SparseMLPClassifier

X = np.eye(6, dtype=np.float32)
NAMES = np.array(["a", "b", "c"] * 2)
INDICATOR = np.eye(3, dtype=int)[[0, 1, 2] * 2]


@pytest.mark.parametrize("y", [NAMES, INDICATOR, NAMES[[0, 1] * 3], NAMES[[0] * 6]])
@pytest.mark.parametrize("mode", ["exact", "lsh"])
def test_every_row_gets_all_classes(y, mode):
    clf = SparseMLPClassifier((4,), max_iter=2, random_state=0, predict_mode=mode).fit(X, y)
    n_classes = len(clf.classes_)
    expected = clf.predict_topk(X, k=n_classes)
    assert_array_equal(np.sort(expected[0], axis=1), np.tile(clf.classes_, (6, 1)))
    for found in (
        clf.predict_topk(X),  # the default is more than there are
        clf.predict_topk(X, k=np.int8(7)),
        clf.predict_topk(X, k=10**30),
        clf.predict_topk(X, k=7, n_candidates=n_classes),
    ):
        for ours, theirs in zip(found, expected, strict=True):
            assert_array_equal(ours, theirs)
