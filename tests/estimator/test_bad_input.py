"""Bad input: the result is right, or a ValueError names the argument."""

import joblib
import numpy as np
import pytest
from helpers.small_problem import INDICATOR, X, Y, assert_unfitted, classifier, with_value
from numpy.testing import assert_array_equal
from scipy import sparse

# ---------------------------------------------------------------------- X --


@pytest.mark.parametrize("method", ["fit", "predict", "predict_topk", "decision_function"])
@pytest.mark.parametrize("to", [np.asarray, sparse.csr_array, sparse.csc_matrix])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_not_finite_in_float32(method, to, value):
    clf = classifier() if method == "fit" else classifier().fit(X, Y)
    arguments = (to(with_value(X, value)), Y)[: 2 if method == "fit" else 1]
    with pytest.raises(ValueError, match=r"X contains (NaN|infinity)"):
        getattr(clf, method)(*arguments)


@pytest.mark.parametrize(
    "method",
    ["predict", "predict_proba", "predict_log_proba", "decision_function", "predict_topk"],
)
def test_wrong_width(method):
    clf = classifier().fit(X, Y)
    for wrong in (X[:, :5], sparse.csr_array(np.hstack([X, X]))):
        with pytest.raises(ValueError, match=r"X has .* features, but .* is expecting 8 features"):
            getattr(clf, method)(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        X[:0],
        X[:, :0],
        sparse.csr_array((0, 8)),
        sparse.csr_array((60, 0)),
        X[0],
        X[None],
        X.astype(complex),
        np.full(X.shape, "a"),
        None,
        "X",
    ],
    ids="rows columns sparse-rows sparse-columns 1-D 3-D complex text None string".split(),
)
def test_x_of_no_use(wrong):
    clf = classifier()
    with pytest.raises(ValueError):
        clf.fit(wrong, Y)
    assert_unfitted(clf)
    clf.fit(X, Y)
    with pytest.raises(ValueError):
        clf.predict(wrong)
    clf.predict(X)


@pytest.mark.parametrize("damage", ["column", "negative", "indptr"])
def test_sparse_x_that_points_outside_of_itself(damage):
    clf = classifier().fit(X, Y)
    wrong = sparse.csr_matrix(X)
    if damage == "indptr":
        wrong.indptr[3] = wrong.indptr[-1] + 10_000
    else:
        wrong.indices[5] = 8_000_000 if damage == "column" else -1
    with pytest.raises(ValueError, match="X is not a valid csr matrix"):
        clf.predict(wrong)
    with pytest.raises(ValueError, match="X is not a valid csr matrix"):
        classifier().fit(wrong, Y)


def test_coordinates_that_are_not_as_many_as_values():
    wrong = sparse.coo_array(X)
    wrong.coords = wrong.coords[0][:-1], wrong.coords[1]
    with pytest.raises(ValueError, match="X is not a valid coo matrix: its indices must be as man"):
        classifier().fit(wrong, Y)


def test_too_many_columns_for_int32_ids():
    wide = sparse.csr_array((60, 2**31 + 5), dtype=np.float32)
    with pytest.raises(ValueError, match="X must have at most 2147483647"):
        classifier().fit(wide, Y)


def test_64_bit_indices():
    x = sparse.csr_array(X)
    expected = classifier().fit(x, Y)
    x64 = x.copy()
    x64.indices, x64.indptr = x.indices.astype(np.int64), x.indptr.astype(np.int64)
    clf = classifier().fit(x64, Y)
    assert_array_equal(clf.coefs_[0], expected.coefs_[0])
    assert_array_equal(clf.predict_proba(x64), expected.predict_proba(x))


def untidy(x):
    """The same matrix as x, with every entry split into two halves, unsorted within rows."""
    x = sparse.csr_matrix(x)
    row = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
    order = np.lexsort((np.random.RandomState(0).uniform(size=2 * x.nnz), np.tile(row, 2)))
    return sparse.csr_matrix(
        (np.tile(x.data / 2, 2)[order], np.tile(x.indices, 2)[order], 2 * x.indptr), shape=x.shape
    )


def test_unsorted_and_duplicate_entries():
    x = untidy(X)
    assert not x.has_sorted_indices and x.nnz == 2 * np.count_nonzero(X)
    before = x.data.copy(), x.indices.copy(), x.indptr.copy()
    expected = classifier().fit(sparse.csr_matrix(X), Y)
    clf = classifier().fit(x, Y)
    for ours, theirs in zip(clf.coefs_, expected.coefs_, strict=True):
        assert_array_equal(ours, theirs)
    assert_array_equal(clf.predict_proba(x), expected.predict_proba(X))
    for array, kept in zip((x.data, x.indices, x.indptr), before, strict=True):
        assert_array_equal(array, kept)


def test_duplicate_entries_with_an_infinite_sum():
    x = sparse.csr_matrix((np.full(2, 3e38, np.float32), [1, 1], [0, 2, *[2] * 59]), shape=(60, 8))
    with pytest.raises(ValueError, match="X contains duplicate entries whose sum is infinite"):
        classifier().fit(x, Y)


def test_explicit_zeros():
    """Stored zeros are not features: training with and without them gives the same bits."""
    x = sparse.csr_matrix(X)
    zeros = x.copy()
    zeros.data[::3] = 0
    clean = zeros.copy()
    clean.eliminate_zeros()
    stored, absent = classifier().fit(zeros, Y), classifier().fit(clean, Y)
    assert_array_equal(stored.coefs_[0], absent.coefs_[0])
    assert zeros.nnz == x.nnz
    clf = classifier().fit(zeros, Y)
    assert_array_equal(clf.predict_proba(zeros), clf.predict_proba(zeros.toarray()))


@pytest.mark.parametrize("to", [np.asarray, sparse.csr_array])
def test_rows_without_features(to):
    x = X.copy()
    x[::4] = 0
    clf = classifier().fit(to(x), Y)
    proba = clf.predict_proba(to(x))
    assert np.isfinite(proba).all()
    assert_array_equal(proba[0], proba[4])


RETRIEVED = [
    ("auto", "auto"),
    ("exact", "auto"),
    ("none", "auto"),
    ("estimate", "simhash"),
    ("vanilla", "simhash"),
    ("topk", "wta"),
    ("threshold", "dwta"),
    ("rerank", "minhash"),
]


@pytest.mark.parametrize("to", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("y", [Y, INDICATOR], ids=["single", "multilabel"])
@pytest.mark.parametrize(("retrieval", "family"), RETRIEVED)
@pytest.mark.parametrize("active_fraction", ["auto", (0.5, 1.0), (0.5, 0.5)], ids=str)
def test_no_features_at_all(to, y, retrieval, family, active_fraction):
    params = {"retrieval": retrieval, "hash_family": family, "active_fraction": active_fraction}
    x = to(np.zeros_like(X))
    clf = classifier(**params).fit(x, y)
    assert np.isfinite(clf.predict_proba(x)).all()
    # The same for a trained network: the arrays of an empty sparse matrix have no address.
    clf = classifier(**params).fit(to(X), y)
    proba = clf.predict_proba(np.zeros_like(X))
    assert np.isfinite(proba).all()
    np.testing.assert_allclose(clf.predict_proba(x), proba, rtol=1e-5)
    clf.partial_fit(x, y)
    assert np.isfinite(clf.predict_proba(x)).all()


# ---------------------------------------------------------------------- y --


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "y"),
        (Y[:-1], "inconsistent numbers of samples"),
        (with_value(INDICATOR, np.nan), "y contains NaN"),
        (np.where(Y == 1, np.nan, Y), "y contains NaN"),
        (np.where(Y == 1, np.inf, Y), "y contains infinity"),
        (Y + 0.5, "Unknown label type: continuous. y must"),
        (np.stack([Y, Y], axis=1), "y of two dimensions must be a label indicator"),
        (with_value(INDICATOR, 0.5), "y of two dimensions must be a label indicator"),
        (sparse.csr_array(with_value(INDICATOR, -1)), "y of two dimensions must be a label ind"),
        (INDICATOR.astype(complex), "Complex data not supported"),
        (INDICATOR[None], r"y must have shape \(n_samples,\), or"),
        (Y[:0], "inconsistent|minimum"),
        (np.array([1, "a"] * 30, dtype=object), "y"),
        (np.array([None, "a"] * 30, dtype=object), "y"),
    ],
    ids=(
        "None short NaN NaN-label infinite continuous multioutput halves minus complex 3-D empty "
        "mixed None-inside"
    ).split(),
)
def test_bad_y(y, message):
    clf = classifier()
    with pytest.raises(ValueError, match=message):
        clf.fit(X, y)
    assert_unfitted(clf)


def test_sparse_y_that_points_outside_of_itself():
    y = sparse.csr_matrix(INDICATOR)
    y.indices[3] = 1_000_000
    with pytest.raises(ValueError, match="y is not a valid csr matrix"):
        classifier().fit(X, y)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("to", [np.asarray, sparse.csr_array])
def test_rows_without_labels(to, loss):
    y = INDICATOR.copy()
    y[::2] = 0
    clf = classifier(loss=loss).fit(X, to(y))
    assert np.isfinite(clf.predict_proba(X)).all()
    assert clf.t_ == 2 * len(X)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("sampled", [{}, {"active_fraction": (1.0, 0.2), "retrieval": "rerank"}])
def test_no_labels_at_all(loss, sampled):
    y = sparse.csr_array((60, 50), dtype=int)
    clf = classifier(loss=loss, **sampled).fit(X, y)
    assert np.isfinite(clf.predict_proba(X)).all()
    assert clf.predict(X).shape == (60, 50)


def test_a_label_that_no_row_has():
    y = np.hstack([INDICATOR, np.zeros((60, 1), int)])
    clf = classifier(max_iter=5).fit(X, y)
    assert not clf.predict(X)[:, -1].any()


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_one_class(loss):
    clf = classifier(loss=loss).fit(X, ["only"] * 60)
    assert (clf.predict(X) == "only").all()
    assert clf.predict_proba(X).tolist() == [[1.0]] * 60
    assert clf.decision_function(X).shape == (60, 1)
    clf = classifier(loss=loss).fit(X, sparse.csr_array(np.ones((60, 1))))
    assert clf.predict(X).toarray().tolist() == [[1]] * 60


def test_one_row():
    clf = classifier().fit(X[:1], ["a"])
    assert clf.predict(X[:1]) == ["a"]


# ---------------------------------------------------------- sample_weight --


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(59), r"sample_weight must have shape \(60,\); got \(59,\)"),
        (np.ones((60, 1)), "sample_weight must have shape"),
        (2.0, "sample_weight must have shape"),
        (np.r_[-1, np.ones(59)], "sample_weight must hold numbers >= 0"),
        (np.zeros(60), "sample_weight must hold numbers >= 0 that are not all zero"),
        (np.r_[np.nan, np.ones(59)], "sample_weight contains NaN"),
        (np.r_[1e300, np.ones(59)], "sample_weight contains infinity"),
        ([10**400] * 60, "sample_weight must hold numbers; got 1000"),
        (["heavy"] * 60, "sample_weight must hold numbers; got 'heavy'"),
    ],
    ids=["short", "2-D", "scalar", "negative", "zero", "NaN", "overflow", "huge int", "text"],
)
def test_bad_sample_weight(weights, message):
    clf = classifier()
    with pytest.raises(ValueError, match=message):
        clf.fit(X, Y, sample_weight=weights)
    assert_unfitted(clf)


# ------------------------------------------------------------ partial_fit --


def test_partial_fit_needs_classes_first():
    clf = classifier()
    with pytest.raises(ValueError, match="classes must be given in the first call"):
        clf.partial_fit(X, Y)
    assert_unfitted(clf)
    clf.partial_fit(X, INDICATOR)
    assert_array_equal(clf.classes_, np.arange(5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, np.where(Y == 1, 9, Y)), r"y must hold known classes only, \[0, 1, 2\]; got also \[9"),
        ((X, Y, [0, 1]), "classes must be the same in every call"),
        ((X, Y, None, np.zeros(60)), "sample_weight"),
        ((X, INDICATOR), "y must have one label a row"),
        ((X[:, :5], Y), "X has 5 features"),
        ((with_value(X, np.nan), Y), "X contains NaN"),
        ((X, Y[:-1]), "inconsistent numbers of samples"),
    ],
    ids=["unseen", "classes", "weights", "indicator", "width", "NaN", "short"],
)
def test_partial_fit_that_refuses_its_input_changes_nothing(arguments, message):
    clf = classifier().partial_fit(X, Y, classes=[0, 1, 2])
    untouched = classifier().partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=message):
        clf.partial_fit(*arguments)
    assert clf.t_ == 60 and clf.n_iter_ == 1
    clf.partial_fit(X, Y)
    untouched.partial_fit(X, Y)
    assert_array_equal(clf.coefs_[-1], untouched.coefs_[-1])


def test_partial_fit_takes_no_early_stopping():
    with pytest.raises(ValueError, match="early_stopping must be False for partial_fit"):
        classifier(early_stopping=True).partial_fit(X, Y, classes=[0, 1, 2])


def test_partial_fit_takes_no_other_network():
    for name, value in [
        ("dropout", 0.5),
        ("alpha", 0.1),
        ("momentum", 0.5),
        ("solver", "sgd"),
        ("active_fraction", 0.5),
        ("retrieval", "topk"),
        ("hash_family", "wta"),
    ]:
        clf = classifier().partial_fit(X, Y, classes=[0, 1, 2])
        before = clf.get_params()[name]
        clf.set_params(**{name: value})
        with pytest.raises(ValueError, match=f"{name} must stay {before!r} while the same net"):
            clf.partial_fit(X, Y)


# ------------------------------------------------------------- the others --


@pytest.mark.parametrize("k", [0, -1, 2.0, True, "2", None])
def test_bad_k(k):
    clf = classifier().fit(X, Y)
    with pytest.raises(ValueError, match=r"k must be an int >= 1; got"):
        clf.predict_topk(X, k=k)


@pytest.mark.parametrize("fraction", [0.1, 0.9])
def test_early_stopping_with_too_few_rows(fraction):
    clf = classifier(early_stopping=True, validation_fraction=fraction)
    with pytest.raises(ValueError, match=r"validation_fraction=.* of 1 rows leaves none"):
        clf.fit(X[:1], Y[:1])
    assert_unfitted(clf)


def test_a_fit_that_fails_forgets_the_one_before():
    clf = classifier().fit(X, Y)
    with pytest.raises(ValueError, match="X contains NaN"):
        clf.fit(with_value(X, np.nan), Y)
    assert_unfitted(clf)


def test_a_warm_start_with_wrong_input_keeps_the_model():
    clf = classifier(warm_start=True).fit(X, Y)
    before, t = clf.predict_proba(X), clf.t_
    with pytest.raises(ValueError, match="X has 5 features"):
        clf.fit(X[:, :5], Y)
    with pytest.raises(ValueError, match="max_iter"):
        clf.set_params(max_iter=-1).fit(X, Y)
    assert_array_equal(clf.predict_proba(X), before)
    assert clf.t_ == t


def test_sparse_y_of_one_dimension():
    with pytest.raises(ValueError, match="y must have two dimensions where it is sparse"):
        classifier().fit(X, sparse.coo_array(np.ones(len(X), int)))


def test_training_goes_on_from_a_read_only_memory_map(tmp_path):
    joblib.dump(classifier(retrieval="rerank").fit(X, INDICATOR), tmp_path / "model")
    clf = joblib.load(tmp_path / "model", mmap_mode="r")
    for _ in range(3):
        clf.partial_fit(np.tile(X, (70, 1)), np.tile(INDICATOR, (70, 1)))
    assert clf.hash_params_["n_rebuilds"] > 0


# ----------------------------------------------------------------- memory --


@pytest.mark.parametrize("method", ["decision_function", "predict_proba", "predict_log_proba"])
def test_a_table_of_scores_beyond_the_budget_is_refused(method, monkeypatch):
    clf = classifier().fit(X, Y)
    monkeypatch.setattr("slide._settings.rules._MAX_SCORES", 4 * 59 * 3)
    with pytest.raises(ValueError, match=r"at most 59 rows.*3 classes.*got 60 rows.*predict_topk"):
        getattr(clf, method)(X)
    assert getattr(clf, method)(X[:59]).shape == (59, 3)
    clf.predict(X)
    clf.predict_topk(X, k=2)
