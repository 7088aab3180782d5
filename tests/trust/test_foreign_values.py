"""Values of foreign types: they work like Python's own, or an error names the argument."""

from fractions import Fraction

import numpy as np
import pytest
from helpers.hostile import NoArray, NoComparison, NoComparisonInt, NoComparisonText, NoRepr
from numpy.testing import assert_array_equal
from scipy import sparse

from slide import SparseMLPClassifier
from slide.inspection import prediction_recall

X = np.random.RandomState(0).standard_normal((60, 8)).astype(np.float32)
Y = np.arange(60) % 3
DEEP = []
for _ in range(100_000):
    DEEP = [DEEP]


def classifier(**params):
    return SparseMLPClassifier(**{"hidden_layer_sizes": (8,), "random_state": 0, **params})


@pytest.mark.parametrize(
    ("foreign", "own"),
    [
        ({"max_iter": np.uint8(40), "batch_size": np.uint8(8)}, {"max_iter": 40, "batch_size": 8}),
        ({"n_tables": np.int8(100), "n_hash_bits": np.int8(4), "retrieval": "rerank"},
         {"n_tables": 100, "n_hash_bits": 4, "retrieval": "rerank"}),
        ({"hidden_layer_sizes": (np.int8(100),)}, {"hidden_layer_sizes": (100,)}),
        ({"learning_rate_init": np.float16(0.5**9), "tol": np.float16(0.5)},
         {"learning_rate_init": 0.5**9, "tol": 0.5}),
        ({"early_stopping": np.True_, "validation_fraction": Fraction(1, 4)},
         {"early_stopping": True, "validation_fraction": 0.25}),
        ({"active_fraction": [np.float16(0.5), Fraction(1, 2)]}, {"active_fraction": (0.5, 0.5)}),
        ({"solver": np.str_("sgd")}, {"solver": "sgd"}),
    ],
    ids=lambda params: " ".join(params),
)  # fmt: skip
def test_numbers_of_foreign_types_train_the_same(foreign, own, assert_same_weights):
    ours = classifier(**{"max_iter": 3, **own}).fit(X, Y)
    theirs = classifier(**{"max_iter": 3, **foreign}).fit(X, Y)
    assert_same_weights(ours, theirs)
    assert ours.hash_params_ == theirs.hash_params_


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("solver", NoComparisonText("adam")),
        ("n_tables", NoComparisonText("auto")),
        ("tol", NoRepr()),
        ("activation", "relu" * 5000),
        ("max_iter", 10**5000),
        ("n_jobs", NoRepr()),
        ("active_fraction", [[1, 2], [3]]),
        ("warm_start", np.array([True, False])),
        ("warm_start", NoComparison(1)),
        ("early_stopping", NoComparison(1)),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 99 else "value",
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_values_that_cannot_be_compared_or_shown(name, value, method):
    clf = classifier(max_iter=1)
    clf.fit(X, Y)
    clf.set_params(**{name: value})
    with pytest.raises(ValueError, match=f"^{name} must be") as caught:
        getattr(clf, method)(X, Y)
    assert len(str(caught.value)) < 500
    assert hasattr(clf, "classes_") == (method == "partial_fit")


def test_numbers_that_cannot_be_compared_are_their_numbers():
    clf = classifier(max_iter=NoComparisonInt(2), alpha=NoComparison(0.0)).fit(X, Y)
    assert clf.n_iter_ == 2


@pytest.mark.parametrize("k", [NoRepr(), NoComparisonText("1"), -(10**5000)], ids=["", "", ""])
def test_k_that_cannot_be_shown(k):
    clf = classifier(max_iter=1).fit(X, Y)
    with pytest.raises(ValueError, match="k must be"):
        clf.predict_topk(X, k)
    with pytest.raises(ValueError, match="n_candidates must be"):
        clf.predict_topk(X, 1, n_candidates=NoRepr())


def test_k_of_a_narrow_type():
    clf = classifier(max_iter=1).fit(X, Y)
    assert_array_equal(clf.predict_topk(X, np.int8(2))[0], clf.predict_topk(X, 2)[0])
    assert prediction_recall(clf, X, np.int8(2), n_candidates=np.int8(2)) == 1


@pytest.mark.parametrize(
    "wrong",
    [[[10**400] * 8] * 60, NoArray(), np.full((60, 8), 10**400, object)],
    ids=["ints", "object", "objects"],
)
def test_objects_that_make_no_array(wrong):
    clf = classifier(max_iter=1).fit(X, Y)
    for call in (clf.predict, lambda x: clf.partial_fit(x, Y), lambda x: clf.fit(x, Y)):
        with pytest.raises((ValueError, TypeError)):
            call(wrong)
    with pytest.raises(ValueError, match="classes cannot be made an array"):
        clf.partial_fit(X, Y, classes=NoArray())
    with pytest.raises((ValueError, TypeError), match="sample_weight"):
        clf.fit(X, Y, NoArray())


def test_labels_that_cannot_be_compared():
    clf = classifier(max_iter=1).fit(X, Y)
    labels = np.empty(60, object)
    labels[:] = [NoComparison(1)] * 60  # numbers, read as floats
    assert clf.score(X, labels) == clf.score(X, np.ones(60))
    labels[:] = [object() for _ in range(60)]
    with pytest.raises(ValueError, match="y must hold labels of the type of classes_, numbers"):
        clf.score(X, labels)
    with pytest.raises(ValueError, match="y must hold labels of one type that sorts"):
        clf.fit(X, labels)


@pytest.mark.parametrize("dtype", ["u1", "?", "f8"])
def test_sparse_indices_that_are_no_ints(dtype):
    wrong = sparse.csr_matrix(X)
    wrong.indices = wrong.indices.astype(dtype)
    with pytest.raises(ValueError, match="X is not a valid csr matrix: its indices are no ints"):
        classifier().fit(wrong, Y)
    labels = sparse.csr_matrix(np.eye(3, dtype=int)[Y])
    labels.indices = labels.indices.astype(dtype)
    with pytest.raises(ValueError, match="y is not a valid csr matrix: its indices are no ints"):
        classifier().fit(X, labels)


@pytest.mark.parametrize("wrong", [-1, 5, 10**6])
@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil"])
def test_indices_that_point_outside_of_a_sparse_matrix(form, wrong):
    """SciPy and scikit-learn do not check them, which may end in a segmentation fault."""
    eye = np.eye(5, dtype=int)[np.arange(60) % 5]
    clf = classifier(max_iter=1).fit(X[:, :5], eye)
    damaged = sparse.csr_matrix(eye).asformat(form)
    if form == "lil":
        damaged.rows[3] = [wrong]
    elif form == "coo":
        damaged.col[3] = wrong
    else:
        damaged.indices[3] = 60 if (form, wrong) == ("csc", 5) else wrong
    for call in (clf.predict, lambda x: clf.partial_fit(x, eye), lambda x: clf.fit(x, eye)):
        with pytest.raises(ValueError, match=f"X is not a valid {form} matrix"):
            call(damaged)
    clf.fit(X[:, :5], eye)
    for call in (clf.score, clf.partial_fit, clf.fit):
        with pytest.raises(ValueError, match=f"y is not a valid {form} matrix"):
            call(X[:, :5], damaged)


@pytest.mark.parametrize("value", [NoRepr(), 10**5000, DEEP], ids=["", "", ""])
def test_parameters_that_cannot_be_saved(value, tmp_path):
    clf = classifier(max_iter=1).fit(X, Y).set_params(n_jobs=value)
    with pytest.raises(ValueError, match="n_jobs must be None, a bool"):
        clf.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------- warm_start --


def test_a_first_fit_with_warm_start_that_fails_leaves_nothing():
    clf = classifier(warm_start=True)
    with pytest.raises(ValueError, match="Unknown label type"):
        clf.fit(X, Y + 0.5)
    assert not hasattr(clf, "n_features_in_")


def test_a_warm_start_with_input_of_a_wrong_type_keeps_the_model():
    clf = classifier(warm_start=True, max_iter=1).fit(X, Y)
    before = clf.decision_function(X)
    with pytest.raises(TypeError):  # scikit-learn's, for a cell of a foreign type
        clf.fit([[{}] * 8] * 60, Y)
    assert_array_equal(clf.decision_function(X), before)


# ------------------------------------------------------------------- labels --


def test_float_labels_beyond_int64():
    with pytest.raises(ValueError, match=r"floats without a fraction below 2\*\*63 in size"):
        classifier().fit(X, Y * 1e300)


@pytest.mark.parametrize("signed", [True, False])
def test_large_labels_of_another_int_type(signed):
    """int64 and uint64 have no common type that keeps large labels distinct."""
    known = np.array([2**63 - 3, 2**63 - 2, 2**63 - 1], np.int64 if signed else np.uint64)
    other = known.astype(np.uint64 if signed else np.int64)
    clf = classifier(max_iter=50).partial_fit(X, known[Y], classes=known)
    twin = classifier(max_iter=50).partial_fit(X, known[Y], classes=known)
    clf.partial_fit(X, other[Y]), twin.partial_fit(X, known[Y])
    assert_array_equal(clf.decision_function(X), twin.decision_function(X))
    assert clf.predict(X).dtype == known.dtype
    with pytest.raises(ValueError, match="y must hold known classes only"):
        clf.partial_fit(X, other[Y] - other.dtype.type(3))
    with pytest.raises(ValueError, match="y must hold known classes only"):
        clf.partial_fit(X, np.full(60, 2.0**62))
