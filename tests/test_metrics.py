"""precision_at_k against a brute-force twin, and its scorer inside scikit-learn."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler

from slide.metrics import precision_at_k, precision_at_k_scorer


def brute_force(label_sets, y_ranked, k):
    hits = 0
    for labels, ranked in zip(label_sets, y_ranked, strict=True):
        hits += sum(label in labels for label in ranked[:k])
    return hits / (k * len(label_sets))


@st.composite
def problems(draw):
    n_labels = draw(st.integers(1, 8))
    width = draw(st.integers(1, n_labels))
    row = st.tuples(
        st.sets(st.integers(0, n_labels - 1)),
        st.permutations(range(n_labels)).map(lambda ranking: ranking[:width]),
    )
    rows = draw(st.lists(row, min_size=1, max_size=8))
    return n_labels, rows, draw(st.integers(1, width))


@given(problems())
def test_indicator_matches_brute_force(problem):
    n_labels, rows, k = problem
    label_sets, y_ranked = [row[0] for row in rows], [row[1] for row in rows]
    indicator = np.zeros((len(rows), n_labels), dtype=np.int8)
    for i, labels in enumerate(label_sets):
        indicator[i, list(labels)] = 1
    expected = brute_force(label_sets, y_ranked, k)
    for y_true in (
        indicator,
        indicator.astype(bool),
        indicator.astype(np.float64),
        indicator.tolist(),
        sparse.csr_array(indicator),
        sparse.csr_matrix(indicator),
        sparse.csc_array(indicator),
        sparse.coo_array(indicator),
        sparse.lil_array(indicator),
    ):
        assert precision_at_k(y_true, y_ranked, k) == expected


@given(problems(), st.sampled_from([int, float, str, object]))
def test_one_label_a_row_matches_brute_force(problem, dtype):
    _, rows, k = problem
    rows = [(min(labels, default=-1), ranked) for labels, ranked in rows]
    y_true = np.array([row[0] for row in rows]).astype(dtype)
    y_ranked = np.array([row[1] for row in rows]).astype(dtype)
    expected = brute_force([{label} for label in y_true], y_ranked, k)
    assert precision_at_k(y_true, y_ranked, k) == expected


def test_result_is_a_float():
    assert type(precision_at_k([0, 1], [[0], [0]])) is float
    assert type(precision_at_k([[0, 1]], [[1]])) is float


def test_rows_without_labels_are_misses():
    assert precision_at_k([[0, 0], [0, 1]], [[0], [1]]) == 0.5


def test_only_the_first_k_count():
    y_true = np.array([[0, 0, 1]])
    assert precision_at_k(y_true, [[0, 2, 2]], k=1) == 0  # the repeat is beyond k
    assert precision_at_k(y_true, [[0, 2, 2]], k=2) == 0.5


def test_stored_zeros_and_duplicates_of_a_sparse_indicator():
    zeros = sparse.csr_array(([0, 1], [0, 1], [0, 2]), shape=(1, 3))
    assert precision_at_k(zeros, [[0, 1]], k=2) == 0.5
    twice = sparse.csr_array(([1, 1], [1, 1], [0, 2]), shape=(1, 3))
    assert precision_at_k(twice, [[0, 1]], k=2) == 0.5
    np.testing.assert_array_equal(twice.indices, [1, 1])  # the caller's array is left as it was


def test_labels_of_another_string_width_and_dtype():
    assert precision_at_k(np.array(["a", "long"]), np.array([["a"], ["longer"]])) == 0.5
    assert precision_at_k(np.array(["a", "b"], dtype=object), np.array([["a"], ["b"]])) == 1


def test_a_million_labels_stay_sparse():
    n, n_labels = 1000, 2**31 - 1
    rng = np.random.default_rng(0)
    right = rng.integers(n_labels, size=n)
    y_true = sparse.csr_array((np.ones(n), right, np.arange(n + 1)), shape=(n, n_labels))
    y_ranked = np.column_stack([(right + 1) % n_labels, right])
    assert precision_at_k(y_true, y_ranked, k=1) == 0
    assert precision_at_k(y_true, y_ranked, k=2) == 0.5


INDICATOR = np.eye(3, dtype=np.int8)
RANKED = np.array([[0, 1], [1, 2], [2, 0]])


@pytest.mark.parametrize("k", [0, -1, 3, 1.0, True, "1", None])
def test_bad_k(k):
    with pytest.raises(ValueError, match=r"k must be an int between 1 and .*, 2; got"):
        precision_at_k(INDICATOR, RANKED, k=k)


@pytest.mark.parametrize(
    ("y_true", "y_ranked", "message"),
    [
        (INDICATOR, [0, 1, 2], "y_ranked must have 2 dimensions"),
        (INDICATOR[np.newaxis], RANKED, "y_true must have 2 dimensions, or 1"),
        (sparse.coo_array(np.array([1, 0, 1])), RANKED, "y_true must have 2 dimensions, or 1"),
        (INDICATOR[:2], RANKED, "same number of rows.*got 2 and 3"),
        (INDICATOR[:0], RANKED[:0], "at least one; got 0 and 0"),
        (INDICATOR, RANKED.astype(float), "must hold integers.*float64"),
        (INDICATOR, RANKED == 1, "must hold integers.*bool"),
        (INDICATOR, RANKED + 1, r"in \[0, 3\); got values from 1 to 3"),
        (INDICATOR, RANKED - 1, r"in \[0, 3\); got values from -1 to 1"),
        (sparse.csr_array(INDICATOR), RANKED + 1, r"in \[0, 3\)"),
        (INDICATOR * 2, RANKED, "zeros and ones"),
        (sparse.csr_array(INDICATOR * 0.5), RANKED, "zeros and ones"),
        (INDICATOR * np.nan, RANKED, "zeros and ones"),
        (["a", "b", "c"], RANKED, "labels of the kind of y_true's, <U1; got int"),
        ([0, 1, 2], RANKED.astype(str), "labels of the kind of y_true's, int64; got <U"),
        (INDICATOR, [[0, 1], [1, 1], [2, 0]], r"a label twice in row 1: \[1, 1\]"),
        ([0, 1, 2], [[0, 1], [1, 2], [2, 2]], r"a label twice in row 2: \[2, 2\]"),
    ],
)
def test_bad_input(y_true, y_ranked, message):
    with pytest.raises(ValueError, match=message):
        precision_at_k(y_true, y_ranked, k=2)


class Centroids(ClassifierMixin, BaseEstimator):
    """A nearest-centroid classifier of non-negative dense X with `predict_topk`."""

    def __init__(self, power=1.0):
        self.power = power

    def fit(self, X, y):
        self.classes_ = np.unique(y) if y.ndim == 1 else np.arange(y.shape[1])
        indicator = y[:, np.newaxis] == self.classes_ if y.ndim == 1 else y
        centroids = (X.T @ indicator) ** self.power
        self.centroids_ = centroids / np.maximum(np.linalg.norm(centroids, axis=0), 1e-12)
        return self

    def predict_topk(self, X, k=5):
        scores = X @ self.centroids_
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return self.classes_[best], np.take_along_axis(scores, best, axis=1)


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    ids = rng.integers(5, size=200)
    X = 0.2 * rng.random((200, 5)) + np.eye(5)[ids]
    return X, np.array(["ant", "bee", "cat", "dog", "eel"])[ids], np.eye(5, dtype=int)[ids]


def test_scorer_ranks_and_scores(problem):
    X, names, indicator = problem
    for y in (names, indicator):
        estimator = Centroids().fit(X, y)
        assert precision_at_k_scorer()(estimator, X, y) == 1
        assert precision_at_k_scorer(k=4)(estimator, X, y) == 0.25


def test_scorer_in_searches(problem):
    X, names, indicator = problem
    for y in (names, indicator):
        search = GridSearchCV(
            Centroids(), {"power": [-3.0, 1.0]}, scoring=precision_at_k_scorer(k=2), cv=3
        ).fit(X, y)
        assert search.best_params_ == {"power": 1.0}
        assert search.best_score_ == 0.5
        assert search.score(X, y) == 0.5


def test_scorer_takes_pipelines(problem):
    X, names, _ = problem
    scorer = precision_at_k_scorer()
    flip = FunctionTransformer(lambda X: X[:, ::-1])
    inner = make_pipeline(MaxAbsScaler(), Centroids())
    for pipeline in (make_pipeline(Centroids()), inner, make_pipeline(flip, clone(inner))):
        assert scorer(pipeline.fit(X, names), X, names) == 1
    # The transformers are applied: fitted on flipped columns, the last step alone is lost.
    assert scorer(pipeline[-1], X, names) < 0.5
    assert cross_val_score(pipeline, X, names, scoring=scorer, cv=3).min() == 1


def test_scorer_can_be_pickled_and_cloned(problem):
    X, names, _ = problem
    scorer = pickle.loads(pickle.dumps(precision_at_k_scorer(k=2)))
    assert scorer(Centroids().fit(X, names), X, names) == 0.5
    search = clone(GridSearchCV(Centroids(), {"power": [1.0]}, scoring=scorer, cv=3))
    assert search.fit(X, names).best_score_ == 0.5
