"""Sparse input whose indices were changed in place: what SciPy has cached of them is then wrong."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from slide import SparseMLPClassifier
from slide.metrics import label_propensities, ndcg_at_k, precision_at_k, psp_at_k, recall_at_k

rng = np.random.RandomState(0)
N, WIDE, WIDTH, PER_ROW = 60, 120, 60, 14
PLACES = np.sort([rng.permutation(WIDE)[:PER_ROW] for _ in range(N)]).astype(np.int32)
X = sparse.csr_array(rng.standard_normal((N, WIDTH)).astype(np.float32))


def changed(values, form="csr"):
    """A matrix of WIDTH columns whose flags were true before its indices were folded in place."""
    row, column = np.repeat(np.arange(N), PER_ROW), PLACES.ravel().copy()
    if form == "coo":
        x = sparse.coo_array((values, (row, column)), shape=(N, WIDE))
        x.sum_duplicates()
        x.coords[1][:] %= WIDTH
    else:
        x = sparse.csr_array((values, column, np.arange(N + 1) * PER_ROW), shape=(N, WIDE))
        assert x.has_canonical_format and x.has_sorted_indices
        x.indices %= WIDTH
    x.resize((N, WIDTH))
    assert x.has_canonical_format  # and yet there are columns twice in a row
    return x


def tidied(x):
    dense = np.zeros(x.shape, x.dtype)
    coordinates = x.tocoo()
    np.add.at(dense, coordinates.coords, coordinates.data)
    return sparse.csr_array(dense)


PARAMS = [
    {},
    {"loss": "softmax"},
    {"active_fraction": (1.0, 0.3)},
    {"active_fraction": (1.0, 0.3), "retrieval": "rerank"},
    {"active_fraction": (0.5, 0.3), "hidden_layer_sizes": (64,), "batch_size": 1},
    {"early_stopping": True},
    {"prototypes": True},
]


@pytest.mark.parametrize("form", ["csr", "coo"])
@pytest.mark.parametrize("params", PARAMS, ids=str)
def test_training(params, form):
    values = rng.randint(1, 9, N * PER_ROW).astype(np.float32)  # whose sums are exact
    ones = np.ones(N * PER_ROW, np.int8)
    x, y = changed(values, form), changed(ones, form)
    data, indices = x.data.copy(), (x.indices if form == "csr" else x.coords[1]).copy()
    true_y = sparse.csr_array((tidied(y).toarray() > 0).astype(int))
    params = {"hidden_layer_sizes": (16,), "max_iter": 2, "random_state": 0, **params}
    clf = SparseMLPClassifier(**params).fit(x, y)
    twin = SparseMLPClassifier(**params).fit(tidied(x), true_y)
    for ours, theirs in zip(clf.coefs_, twin.coefs_, strict=True):
        assert_array_equal(ours, theirs)
    assert clf.loss_ == twin.loss_
    assert_array_equal(clf.decision_function(x), clf.decision_function(tidied(x)))
    assert clf.score(x, y) == twin.score(tidied(x), true_y)
    # The user's matrices are as they were.
    assert_array_equal(x.data, data)
    assert_array_equal(x.indices if form == "csr" else x.coords[1], indices)
    assert x.nnz == y.nnz == N * PER_ROW


@pytest.mark.parametrize("form", ["csr", "coo"])
def test_batches_and_metrics(form):
    y = changed(np.ones(N * PER_ROW, np.int8), form)
    true_y = (tidied(y).toarray() > 0).astype(int)
    clf, twin = (SparseMLPClassifier((16,), random_state=0) for _ in range(2))
    for _ in range(3):
        clf.partial_fit(X, y), twin.partial_fit(X, true_y)
    assert_array_equal(clf.coefs_[-1], twin.coefs_[-1])
    ranked = clf.predict_topk(X, k=5)[0]
    for metric in (precision_at_k, recall_at_k, ndcg_at_k):
        assert metric(y, ranked, k=5) == metric(true_y, ranked, k=5) <= 1
    propensities = label_propensities(y)
    assert_array_equal(propensities, label_propensities(true_y))
    assert psp_at_k(y, ranked, propensities, 5) == psp_at_k(true_y, ranked, propensities, 5)
