"""SVMs of labels: their weights, their margins, and what they add to a classifier."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.svm import LinearSVC
from twins import svms as twin

from slide import SparseMLPClassifier
from slide._base.rows import InputRows
from slide._data.labels import LabelRows
from slide._prototypes import label_svms, prototypes
from slide._prototypes.label_svms import rows_of_labels, train_svms
from slide._prototypes.prototypes import make_prototypes
from slide._prototypes.svms import Svms
from slide.datasets import make_extreme_classification

N_FEATURES, N_CLASSES = 40, 12


def problem(n=200, seed=0):
    """Rows, their labels, hard neurons (some of them -1), all random."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, N_FEATURES)) * (rng.random((n, N_FEATURES)) < 0.3)
    x[0] = 0
    x[:, -1] = 1  # it occurs in every row, so its weight is 0
    classes = [rng.permutation(N_CLASSES) for _ in range(n)]
    labels = [np.sort(row[: rng.integers(4)]) for row in classes]
    hard = np.array([row[4:7] for row in classes], np.int32)
    hard[rng.random(hard.shape) < 0.2] = -1
    return x.astype(np.float32), labels, hard


def label_rows(labels):
    indptr = np.concatenate(([0], np.cumsum([len(row) for row in labels])))
    return LabelRows(indptr, np.array([c for row in labels for c in row], np.int32), N_CLASSES)


@pytest.fixture
def plain(monkeypatch):
    """No weight is cut, and no label gets random negatives."""
    monkeypatch.setattr(label_svms, "_LEAST", 0.0)
    monkeypatch.setattr(label_svms, "_topped_up", lambda wrong, *_: wrong)


def trained(x, labels, hard, weights=None, n_threads=1):
    rows = label_rows(labels)
    made = make_prototypes(csr_array(x), rows, weights, n_threads)
    return made, train_svms(csr_array(x), rows, hard, weights, made.feature_weights, n_threads)


def margins(made, svms, x):
    alone = made.of_weight(0.0).with_svms(svms, 1.0)
    ids = np.tile(np.arange(N_CLASSES, dtype=np.int32), (len(x), 1))
    return alone.products(x, ids) + svms.biases


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("room", [1, 1 << 22])  # many turns, and a single one
@pytest.mark.parametrize("n_threads", [1, 3])
def test_machines_are_those_of_the_twin(weighted, room, n_threads, plain, monkeypatch):
    monkeypatch.setattr(label_svms, "_ROOM", room)
    x, labels, hard = problem()
    weights = None
    if weighted:
        weights = np.random.default_rng(2).random(len(x)).astype(np.float32)
        weights[::5] = 0
    made, svms = trained(x, labels, hard, weights, n_threads)
    assert made.feature_weights[-1] == 0
    w, biases, scale = twin.svms(x, labels, hard, N_CLASSES, made.feature_weights, weights)
    assert_allclose(svms.biases, biases, atol=1e-4)
    expected = twin.margins(x, w, biases, made.feature_weights, scale)
    assert_allclose(margins(made, svms, x), expected, atol=1e-3)
    assert np.abs(expected).max() > 0.5


def test_they_converge_to_those_of_scikit_learn(plain, monkeypatch):
    """Many sweeps reach the optimum of the squared hinge loss, whose bias is regularised."""
    monkeypatch.setattr(label_svms, "_SWEEPS", 2000)
    monkeypatch.setattr(label_svms, "_TOLERANCE", 1e-6)
    x, labels, hard = problem()
    made, svms = trained(x, labels, hard)
    _, _, scale = twin.svms(x, labels, hard, N_CLASSES, made.feature_weights, sweeps=1)
    rows = np.where(made.feature_weights == 0, 0, x)
    lengths = np.linalg.norm(rows * made.feature_weights, axis=1, keepdims=True)
    rows = scale * rows / np.where(lengths > 0, lengths, 1)
    for label in range(N_CLASSES):
        right = np.array([label in row for row in labels])
        wrong = (hard == label).any(axis=1) & (label_rows(labels).indptr[1:] > 0)
        wrong &= np.diff(label_rows(labels).indptr) > 0
        used = right | wrong
        svc = LinearSVC(C=1.0, loss="squared_hinge", dual=True, tol=1e-8, max_iter=100_000)
        svc.fit(rows[used], right[used])
        assert_allclose(margins(made, svms, x)[:, label], svc.decision_function(rows), atol=2e-3)


def test_the_number_of_threads_changes_nothing(monkeypatch):
    x, labels, hard = problem(400)
    _, alone = trained(x, labels, hard)
    assert alone.by_label.has_canonical_format
    for n_threads, room in ((2, 1 << 22), (3, 500), (5, 1)):
        monkeypatch.setattr(label_svms, "_ROOM", room)
        _, svms = trained(x, labels, hard, n_threads=n_threads)
        assert_array_equal(svms.biases, alone.biases)
        assert_array_equal(svms.by_label.toarray(), alone.by_label.toarray())


def test_small_weights_are_cut(monkeypatch):
    x, labels, hard = problem()
    _, svms = trained(x, labels, hard)
    monkeypatch.setattr(label_svms, "_LEAST", 0.0)
    _, whole = trained(x, labels, hard)
    cut, kept = svms.by_label.toarray(), svms.by_label.toarray() != 0
    assert_array_equal(cut[kept], whole.by_label.toarray()[kept])
    assert 0 < svms.by_label.nnz < whole.by_label.nnz
    assert_array_equal(svms.biases, whole.biases)


def test_labels_with_few_negatives_get_random_ones(monkeypatch):
    """Their margins would else be large on any row."""
    x, labels, hard = problem(2000)
    hard[hard == 3] = -1
    found = margins(*trained(x, labels, hard), x)[:, 3]
    with monkeypatch.context() as patch:
        patch.setattr(label_svms, "_topped_up", lambda wrong, *_: wrong)
        without = margins(*trained(x, labels, hard), x)[:, 3]
    assert np.mean(without > 0) > 0.9 and np.mean(found > 0) < 0.5
    rows = label_rows(labels)
    wrong = label_svms._topped_up(
        rows_of_labels(np.arange(2001) * 0, np.zeros(0, np.int32), N_CLASSES),
        rows_of_labels(rows.indptr, rows.indices, N_CLASSES),
        rows,
        2,
    )
    for label in range(N_CLASSES):
        drawn = wrong[1][wrong[0][label] : wrong[0][label + 1]]
        n_right = sum(label in row for row in labels)
        assert 0.7 * n_right < len(drawn) <= n_right  # some are drawn that have the label
        assert not any(label in labels[row] or not len(labels[row]) for row in drawn)


@pytest.mark.parametrize("case", ["no labels", "no hard neurons", "one row", "zeros"])
def test_corner_cases(case):
    x, labels, hard = problem(30)
    if case == "no labels":
        labels = [np.zeros(0, np.int64)] * 30
    elif case == "no hard neurons":
        hard[...] = -1
    elif case == "one row":
        x, labels, hard = x[:1], [np.array([2])], hard[:1]
    else:
        x[...] = 0
    made, svms = trained(x, labels, hard)
    assert np.isfinite(svms.by_label.data).all() and np.isfinite(svms.biases).all()
    assert svms.by_label.shape == (N_CLASSES, N_FEATURES)
    assert np.isfinite(margins(made, svms, x)).all()
    if case == "no labels":
        assert not svms.biases.any() and not svms.by_label.nnz


@pytest.mark.parametrize("factor", [1e-30, 1e-12, 1e12, 1e30])
def test_the_size_of_values_changes_nothing(factor):
    x, labels, hard = problem()
    made, svms = trained(x, labels, hard)
    scaled = (x.astype(np.float64) * factor).astype(np.float32)
    made_too, svms_too = trained(scaled, labels, hard)
    expected = margins(made, svms, x)
    if 1e-12 <= factor <= 1e12:
        assert_allclose(margins(made_too, svms_too, scaled), expected, atol=0.02)
    assert np.isfinite(margins(made_too, svms_too, scaled)).all()


def test_values_near_the_limits_of_float32_leave_finite_machines():
    x, labels, hard = problem()
    x[::3] *= np.float32(1e38) / np.abs(x).max()
    made, svms = trained(x, labels, hard)
    assert np.isfinite(svms.by_label.data).all() and np.isfinite(svms.biases).all()
    assert np.isfinite(made.of_weight(1.0).with_svms(svms, 1.0).by_feature.data).all()


def test_arguments_that_do_not_fit_are_refused():
    x, labels, _ = problem(30)
    right = rows_of_labels(label_rows(labels).indptr, label_rows(labels).indices, N_CLASSES)
    none = np.zeros(N_CLASSES + 1, np.int64), np.zeros(0, np.int32)
    rest = 1.0, 0.1, 6, 0.2, 1
    rows, ones = InputRows(csr_array(x)), np.ones(N_FEATURES, np.float32)
    assert Svms(rows, ones, None, right, none, *rest).scale > 0
    for args, message in (
        ((InputRows(x), ones, None, right, none), "sparse"),
        ((rows, ones[1:], None, right, none), "features"),
        ((rows, ones, ones, right, none), "rows"),
        ((rows, ones, None, right, (none[0][1:], none[1])), "as many labels"),
        ((rows, ones, None, (right[0], right[1] + 1000), none), "within"),
        ((rows, ones, None, (right[0][::-1].copy(), right[1]), none), "within"),
    ):
        with pytest.raises(ValueError, match=message):
            Svms(*args, *rest)


# ------------------------------------------------------------- one index --


def test_the_index_holds_both(monkeypatch):
    x, labels, hard = problem()
    made, svms = trained(x, labels, hard)
    both = made.of_weight(3.0).with_svms(svms, 2.0)
    ids = np.tile(np.arange(N_CLASSES, dtype=np.int32), (len(x), 1))
    expected = 3 * made.products(x, ids) + 2 * (margins(made, svms, x) - svms.biases)
    assert_allclose(both.products(x, ids), expected, atol=1e-5)
    assert_allclose(both.biases, 2 * svms.biases)
    assert (both.weight, both.svm_weight, both.factor) == (3.0, 2.0, 1.0)
    half = both.times(0.5)
    assert_allclose(half.products(x, ids), expected / 2, atol=1e-5)
    assert_allclose(half.biases, svms.biases)
    assert (half.weight, half.svm_weight, half.factor) == (1.5, 1.0, 1.0)
    assert made.of_weight(3.0).with_svms(svms, 0.0).biases is None
    # Long postings of the machines are cut, those of the prototypes are not.
    monkeypatch.setattr(prototypes, "_SVMS_LONGEST", 1)
    short = made.of_weight(0.0).with_svms(svms, 2.0).by_feature
    assert np.diff(short.indptr).max() == 1
    cut = made.of_weight(3.0).with_svms(svms, 2.0).by_feature
    assert ((cut.toarray() != 0) >= (made.by_feature.toarray() != 0)).all()


# -------------------------------------------------------------- estimator --


@pytest.fixture(scope="module")
def tags():
    """Rows with several labels, of many features; rows to train on and rows to judge by."""
    X, Y = make_extreme_classification(
        7000, 4000, 400, n_nonzero=60, n_informative=30, n_labels=3, n_siblings=5, random_state=0
    )
    return X[:6000], Y[:6000], X[6000:], Y[6000:]


@pytest.fixture(scope="module")
def fitted(tags):
    X, Y, *_ = tags
    model = SparseMLPClassifier((32,), max_iter=6, random_state=0).fit(X, Y)
    assert model.svm_weight_ > 0
    return model


def test_they_tell_labels_apart(fitted, tags):
    X, Y, test_X, test_Y = tags
    without = SparseMLPClassifier((32,), max_iter=6, random_state=0, prototypes=False).fit(X, Y)
    assert without.svm_weight_ == 0
    hits = [
        np.mean([test_Y[[i], row].sum() for i, row in enumerate(model.predict_topk(test_X, 3)[0])])
        for model in (without, fitted)
    ]
    assert hits[1] > hits[0] + 0.05


def test_all_ways_to_predict_agree(fitted, tags, monkeypatch):
    x = tags[2][:200]
    scores = fitted.decision_function(x)
    ids, best = fitted.predict_topk(x, 5)
    assert_array_equal(best, -np.sort(-scores, axis=1)[:, :5])
    assert_array_equal(np.take_along_axis(scores, ids, axis=1), best)
    for name in ("_LEAST", "_LEAST_PER_CANDIDATE", "_LEAST_WEIGHTS"):
        monkeypatch.setattr(f"slide._prediction.lookup.{name}", 1)
    listed = pickle.loads(pickle.dumps(fitted)).set_params(predict_mode="lsh")
    found, estimates = listed.predict_topk(x, 5, n_candidates=200)
    assert np.mean(found == ids) > 0.95
    assert_array_equal(estimates, np.take_along_axis(scores, found, axis=1))
    assert_array_equal(fitted.decision_function(x.toarray()), scores)


def test_files_and_pickles_keep_them(fitted, tags, tmp_path):
    x = tags[2][:50]
    fitted.save(tmp_path / "model.slide")
    for other in (
        SparseMLPClassifier.load(tmp_path / "model.slide"),
        pickle.loads(pickle.dumps(fitted)),
    ):
        assert other.svm_weight_ == fitted.svm_weight_
        assert other.prototype_weight_ == fitted.prototype_weight_
        assert_array_equal(other.decision_function(x), fitted.decision_function(x))
        other.partial_fit(*tags[:2])
        assert other.svm_weight_ == fitted.svm_weight_


def test_rows_of_weight_zero_teach_nothing(tags):
    """Their labels have no machine: its margin would be that of a label without any rows."""
    X, Y, *_ = tags
    weights = np.ones(6000)
    weights[(Y[:, [0]].toarray() > 0).ravel()] = 0
    model = SparseMLPClassifier((32,), max_iter=6, random_state=0).fit(X, Y, weights)
    assert model.svm_weight_ > 0
    top, _ = model.predict_topk(X, 1)
    assert not np.isin(0, top)
