"""The metrics against plain Python and against napkinXC, and their scorers inside scikit-learn."""

import pickle
from math import log2

import numpy as np
import pytest
from helpers.hostile import NoComparison, NoRepr
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler

from slide.metrics import (
    label_propensities,
    ndcg_at_k,
    ndcg_at_k_scorer,
    precision_at_k,
    precision_at_k_scorer,
    psp_at_k,
    psp_at_k_scorer,
    recall_at_k,
    recall_at_k_scorer,
)

METRICS = (precision_at_k, recall_at_k, ndcg_at_k)


# ------------------------------------------------------------ plain Python --


def plain_precision(label_sets, y_ranked, k):
    hits = 0
    for labels, ranked in zip(label_sets, y_ranked, strict=True):
        hits += sum(label in labels for label in ranked[:k])
    return hits / (k * len(label_sets))


def plain_recall(label_sets, y_ranked, k):
    total = 0
    for labels, ranked in zip(label_sets, y_ranked, strict=True):
        if labels:
            total += sum(label in labels for label in ranked[:k]) / len(labels)
    return total / len(label_sets)


def plain_ndcg(label_sets, y_ranked, k):
    total = 0
    for labels, ranked in zip(label_sets, y_ranked, strict=True):
        if labels:
            gain = sum(1 / log2(i + 2) for i in range(k) if ranked[i] in labels)
            total += gain / sum(1 / log2(i + 2) for i in range(min(k, len(labels))))
    return total / len(label_sets)


def plain_psp(label_sets, y_ranked, propensities, k):
    gain = best = 0
    for labels, ranked in zip(label_sets, y_ranked, strict=True):
        gain += sum(1 / propensities[label] for label in ranked[:k] if label in labels)
        best += sum(sorted((1 / propensities[label] for label in labels), reverse=True)[:k])
    return gain / best if best else 0


PLAIN = {precision_at_k: plain_precision, recall_at_k: plain_recall, ndcg_at_k: plain_ndcg}


@st.composite
def problems(draw):
    n_labels = draw(st.integers(2, 8))  # one dense column is one label a row
    width = draw(st.integers(1, n_labels))
    row = st.tuples(
        st.sets(st.integers(0, n_labels - 1)),
        st.permutations(range(n_labels)).map(lambda ranking: ranking[:width]),
    )
    rows = draw(st.lists(row, min_size=1, max_size=8))
    return n_labels, rows, draw(st.integers(1, width))


def unpack(problem):
    """Sets of labels, rankings and k of a problem, and its labels as an indicator."""
    n_labels, rows, k = problem
    label_sets, y_ranked = [row[0] for row in rows], [row[1] for row in rows]
    indicator = np.zeros((len(rows), n_labels), dtype=np.int8)
    for i, labels in enumerate(label_sets):
        indicator[i, list(labels)] = 1
    return label_sets, y_ranked, k, indicator


@st.composite
def problems_with_propensities(draw):
    problem = draw(problems())
    propensity = st.floats(0.01, 1)
    return problem, draw(st.lists(propensity, min_size=problem[0], max_size=problem[0]))


@given(problems_with_propensities())
def test_indicator_matches_plain_python(problem):
    problem, propensities = problem
    label_sets, y_ranked, k, indicator = unpack(problem)
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
        for metric, plain in PLAIN.items():
            assert metric(y_true, y_ranked, k) == pytest.approx(plain(label_sets, y_ranked, k))
        psp = psp_at_k(y_true, y_ranked, propensities, k)
        assert psp == pytest.approx(plain_psp(label_sets, y_ranked, propensities, k))


@given(problems(), st.sampled_from([int, float, str, object]))
def test_one_label_a_row_matches_plain_python(problem, dtype):
    _, rows, k = problem
    rows = [(min(labels, default=-1), ranked) for labels, ranked in rows]
    y_true = np.array([row[0] for row in rows]).astype(dtype)
    y_ranked = np.array([row[1] for row in rows]).astype(dtype)
    label_sets = [{label} for label in y_true]
    for metric, plain in PLAIN.items():
        assert metric(y_true, y_ranked, k) == pytest.approx(plain(label_sets, y_ranked, k))


# -------------------------------------------------------------- properties --


@given(problems_with_propensities(), st.randoms(use_true_random=False))
def test_range_and_order_of_the_rows(problem, random):
    problem, propensities = problem
    _, y_ranked, k, indicator = unpack(problem)
    order = random.sample(range(len(y_ranked)), len(y_ranked))
    shuffled = indicator[order], np.array(y_ranked)[order]
    for metric in METRICS:
        value = metric(indicator, y_ranked, k)
        assert 0 <= value <= 1
        assert metric(*shuffled, k) == pytest.approx(value, rel=1e-12)
    psp = psp_at_k(indicator, y_ranked, propensities, k)
    assert 0 <= psp <= 1
    assert psp_at_k(*shuffled, propensities, k) == psp


@given(problems_with_propensities())
def test_a_perfect_ranking_is_one(problem):
    (n_labels, rows, k), propensities = problem
    rows = [(labels or {0}, ranked) for labels, ranked in rows]
    label_sets, _, _, indicator = unpack((n_labels, rows, k))
    perfect = [
        sorted(range(n_labels), key=lambda label: (label not in labels, propensities[label]))
        for labels in label_sets
    ]
    assert psp_at_k(indicator, perfect, propensities, k) == 1
    assert ndcg_at_k(indicator, perfect, k) == 1
    assert recall_at_k(indicator, perfect, n_labels) == 1
    fewest = min(map(len, label_sets))
    assert precision_at_k(indicator, perfect, fewest) == 1


@given(problems())
def test_psp_of_equal_propensities_is_precision_by_the_best(problem):
    label_sets, y_ranked, k, indicator = unpack(problem)
    best = sum(min(len(labels), k) for labels in label_sets) / (k * len(label_sets))
    expected = precision_at_k(indicator, y_ranked, k) / best if best else 0
    for propensity in (1, 0.5):
        psp = psp_at_k(indicator, y_ranked, np.full(indicator.shape[1], propensity), k)
        assert psp == pytest.approx(expected)


def test_result_is_a_float():
    for metric in METRICS:
        assert type(metric([0, 1], [[0], [0]])) is float
        assert type(metric([[0, 1]], [[1]])) is float
    assert type(psp_at_k([[0, 1]], [[1]], [1, 1])) is float
    assert type(psp_at_k([[0, 0]], [[1]], [1, 1])) is float


def test_rows_without_labels():
    for metric in METRICS:  # they count as misses
        assert metric([[0, 0], [0, 1]], [[0], [1]]) == 0.5
    assert psp_at_k([[0, 0], [0, 1]], [[0], [1]], [1, 1]) == 1  # nothing to gain, nothing to lose
    assert psp_at_k([[0, 0]], [[0]], [1, 1]) == 0


# ----------------------------------------------------------------- napkinXC --

# Output of `bench/peers/napkinxc_metrics.py` at k = 1 to 5; of the propensities every eighth.
NAPKINXC = {
    "precision": [0.57, 0.41, 0.303333333, 0.24125, 0.205],
    "recall": [0.328916667, 0.426, 0.46325, 0.490083333, 0.519583333],
    "ndcg": [0.57, 0.515633233, 0.497811518, 0.500070403, 0.511207702],
    "psp": [0.59893284, 0.581432556, 0.577123116, 0.590950619, 0.618365134],
    "propensities": [0.637496193, 0.36705662, 0.227042946, 0.307014014, 0.175322254],
    "other propensities": [0.632613715, 0.347219076, 0.216994567, 0.288965248, 0.175322254],
}


def napkinxc_problem():
    """The problem of `bench/peers/napkinxc_metrics.py`; 34 of its test rows have no labels."""
    rng = np.random.default_rng(0)
    frequencies = 0.4 / np.arange(1, 41)
    Y_train = rng.random((300, 40)) < frequencies
    Y_test = rng.random((200, 40)) < frequencies
    return Y_train, Y_test, np.argsort(-(Y_test + 2 * rng.random((200, 40))), axis=1)


@pytest.mark.parametrize("to_indicator", [np.asarray, sparse.csr_array, sparse.csc_matrix])
def test_same_as_napkinxc(to_indicator):
    Y_train, Y_test, y_ranked = napkinxc_problem()
    Y_train, Y_test = to_indicator(Y_train), to_indicator(Y_test)
    propensities = label_propensities(Y_train)
    ours = {
        "precision": [precision_at_k(Y_test, y_ranked, k) for k in range(1, 6)],
        "recall": [recall_at_k(Y_test, y_ranked, k) for k in range(1, 6)],
        "ndcg": [ndcg_at_k(Y_test, y_ranked, k) for k in range(1, 6)],
        "psp": [psp_at_k(Y_test, y_ranked, propensities, k) for k in range(1, 6)],
        "propensities": propensities[::8],
        "other propensities": label_propensities(Y_train, A=0.6, B=2.6)[::8],
    }
    for name, values in NAPKINXC.items():
        np.testing.assert_allclose(ours[name], values, rtol=0, atol=1e-6, err_msg=name)


# ------------------------------------------------------------------- input --


def test_only_the_first_k_count():
    y_true = np.array([[0, 0, 1]])
    assert precision_at_k(y_true, [[0, 2, 2]], k=1) == 0  # the repeat is beyond k
    assert precision_at_k(y_true, [[0, 2, 2]], k=2) == 0.5


def test_stored_zeros_and_duplicates_of_a_sparse_indicator():
    zeros = sparse.csr_array(([0, 1], [0, 1], [0, 2]), shape=(1, 3))
    assert precision_at_k(zeros, [[0, 1]], k=2) == 0.5
    twice = sparse.csr_array(([1, 1], [1, 1], [0, 2]), shape=(1, 3))
    assert precision_at_k(twice, [[0, 1]], k=2) == 0.5
    assert recall_at_k(twice, [[0, 1]], k=2) == 1
    assert psp_at_k(twice, [[0, 1]], [1, 1, 1], k=2) == 1
    propensities = label_propensities(sparse.vstack([twice, zeros, zeros]))
    np.testing.assert_array_equal(propensities, label_propensities([[0, 1, 0]] * 3))
    np.testing.assert_array_equal(twice.indices, [1, 1])  # the caller's array is unchanged


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
    assert recall_at_k(y_true, y_ranked, k=2) == 1
    assert ndcg_at_k(y_true, y_ranked, k=2) == pytest.approx(1 / log2(3))


INDICATOR = np.eye(3, dtype=np.int8)
RANKED = np.array([[0, 1], [1, 2], [2, 0]])


@pytest.mark.parametrize("k", [0, -1, 3, 1.0, True, "1", None])
def test_bad_k(k):
    for metric in METRICS:
        with pytest.raises(ValueError, match=r"k must be an int between 1 and .*, 2; got"):
            metric(INDICATOR, RANKED, k=k)
    with pytest.raises(ValueError, match=r"k must be an int between 1 and .*, 2; got"):
        psp_at_k(INDICATOR, RANKED, [1, 1, 1], k=k)


@pytest.mark.parametrize(
    ("y_true", "y_ranked", "message"),
    [
        (INDICATOR, [0, 1, 2], "y_ranked must have 2 dimensions"),
        (INDICATOR[np.newaxis], RANKED, r"y_true must have shape \(n_samples,\), or"),
        (sparse.coo_array(np.array([1, 0, 1])), RANKED, "y_true must have two dimensions where"),
        (INDICATOR[:2], RANKED, "same number of rows.*got 2 and 3"),
        (INDICATOR[:0], RANKED[:0], "at least one; got 0 and 0"),
        (INDICATOR, RANKED.astype(float), "must hold integers.*float64"),
        (INDICATOR, RANKED == 1, "must hold integers.*bool"),
        (INDICATOR, RANKED + 1, r"in \[0, 3\); got values from 1 to 3"),
        (INDICATOR, RANKED - 1, r"in \[0, 3\); got values from -1 to 1"),
        (sparse.csr_array(INDICATOR), RANKED + 1, r"in \[0, 3\)"),
        (INDICATOR * 2, RANKED, "zeros and ones"),
        (sparse.csr_array(INDICATOR * 0.5), RANKED, "zeros and ones"),
        (INDICATOR * np.nan, RANKED, "y_true contains NaN in row 0"),
        (["a", "b", "c"], RANKED, "texts such as .a.; got numbers"),
        ([0, 1, 2], RANKED.astype(str), "numbers such as 0; got texts"),
        (np.array(["a", "b", "c"], object), RANKED, "texts such as .a.; got numbers"),
        ([0, 1, 2], RANKED.astype(str).astype(object), "numbers such as 0; got texts"),
        ([b"0", b"1", b"2"], RANKED.astype(str), "bytes such as b.0.; got texts"),
        (INDICATOR, [[0, 1], [1, 1], [2, 0]], r"a label twice in row 1: \[1, 1\]"),
        ([0, 1, 2], [[0, 1], [1, 2], [2, 2]], r"a label twice in row 2: \[2, 2\]"),
    ],
)
def test_bad_input(y_true, y_ranked, message):
    for metric in METRICS:
        with pytest.raises(ValueError, match=message):
            metric(y_true, y_ranked, k=2)


@pytest.mark.parametrize(
    ("propensities", "message"),
    [
        ([1, 1], r"each column of y_true, 3; got shape \(2,\)"),
        ([[1, 1, 1]], r"got shape \(1, 3\)"),
        (0.5, r"got shape \(\)"),
        (["a", "b", "c"], "must hold a number.*<U1"),
        ([0.5, 0, 1], r"above 0 and at most 1 .*; got 0\.0"),
        ([0.5, 2, 1], r"not their inverses\); got 2\.0"),
        ([0.5, 1, np.nan], "propensities contains NaN in row 2"),
    ],
)
def test_bad_propensities(propensities, message):
    with pytest.raises(ValueError, match=message):
        psp_at_k(INDICATOR, RANKED, propensities)


@pytest.mark.parametrize("y_true", [[0, 1, 2], INDICATOR[np.newaxis]])
def test_psp_and_propensities_want_an_indicator(y_true):
    with pytest.raises(ValueError, match="y_true must be an indicator of 2 dimensions; got shape"):
        psp_at_k(y_true, RANKED, [1, 1, 1])
    with pytest.raises(ValueError, match="Y_train must be an indicator of 2 dimensions; got shape"):
        label_propensities(y_true)


def test_bad_training_labels():
    with pytest.raises(ValueError, match=r"Y_train of two dimensions must be .* zeros and ones"):
        label_propensities(INDICATOR * 2)
    with pytest.raises(ValueError, match="Y_train must have at least 3 rows; got 2"):
        label_propensities(INDICATOR[:2])


@pytest.mark.parametrize("name", ["A", "B"])
@pytest.mark.parametrize("value", [0, -1, np.inf, np.nan, "1", None, True])
def test_bad_propensity_parameters(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a finite number above 0; got"):
        label_propensities(INDICATOR, **{name: value})


def test_propensities_rise_with_the_frequency():
    Y_train = np.tri(50, dtype=np.int8)  # label j is in 50 - j rows
    propensities = label_propensities(sparse.csr_array(Y_train))
    assert propensities.shape == (50,)
    assert (np.diff(propensities) < 0).all()
    assert 0 < propensities.min() < propensities.max() < 1


# ----------------------------------------------------------------- scorers --


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
        assert recall_at_k_scorer(k=4)(estimator, X, y) == 1
        assert ndcg_at_k_scorer(k=4)(estimator, X, y) == 1
    assert psp_at_k_scorer(label_propensities(y), k=4)(estimator, X, y) == 1
    assert psp_at_k_scorer([1, 1, 1, 1, 1])(estimator, X, y[::-1]) < 0.5


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
    # The transformers are applied: the last step alone fails, as it was fitted on flipped columns.
    assert scorer(pipeline[-1], X, names) < 0.5
    assert cross_val_score(pipeline, X, names, scoring=scorer, cv=3).min() == 1


def test_scorer_can_be_pickled_and_cloned(problem):
    X, _, Y = problem
    for scorer, score in (
        (precision_at_k_scorer(k=2), 0.5),
        (recall_at_k_scorer(k=2), 1),
        (ndcg_at_k_scorer(k=2), 1),
        (psp_at_k_scorer(label_propensities(Y), k=2), 1),
    ):
        scorer = pickle.loads(pickle.dumps(scorer))
        assert scorer(Centroids().fit(X, Y), X, Y) == score
        search = clone(GridSearchCV(Centroids(), {"power": [1.0]}, scoring=scorer, cv=3))
        assert search.fit(X, Y).best_score_ == score


def test_propensities_of_extreme_parameters():
    """In the limit of a large A, only labels of at most one row are known to be missing."""
    Y = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0]])
    found = label_propensities(Y, A=1e300, B=1)
    np.testing.assert_allclose(found, [1 / np.log(4), 0, 1])
    np.testing.assert_array_equal(
        label_propensities(Y, A=np.float16(0.5), B=2), label_propensities(Y, A=0.5, B=2.0)
    )
    with pytest.raises(ValueError, match="A must be a finite number above 0"):
        label_propensities(Y, A=10**400)


@pytest.mark.parametrize("metric", [precision_at_k, recall_at_k, ndcg_at_k])
def test_k_of_a_narrow_type(metric):
    ranked = np.arange(127)[np.newaxis]
    assert metric([5], ranked, np.int8(127)) == metric([5], ranked, 127)


@pytest.mark.parametrize("damage", ["column", "type"])
def test_sparse_y_true_that_is_none(damage):
    y = sparse.csr_matrix(np.eye(3, dtype=int))
    y.indices = y.indices + 5 if damage == "column" else y.indices.astype(float)
    with pytest.raises(ValueError, match="y_true is not a valid csr matrix"):
        precision_at_k(y, np.zeros((3, 1), int))


def test_labels_that_cannot_be_compared():
    labels = np.array([[NoComparison(1), NoComparison(2)]], object)
    assert precision_at_k(np.array([1], object), labels, 2) == 0.5  # they are floats
    labels[0] = [object(), object()]
    with pytest.raises(ValueError, match="y_ranked must hold labels of one type that sorts"):
        precision_at_k(np.array([1], object), labels, 2)
    with pytest.raises(ValueError, match="k must be an int"):
        precision_at_k([1], [[1]], NoRepr())
