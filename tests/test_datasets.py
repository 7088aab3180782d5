"""Tests of the planted problem."""

import tracemalloc
import zlib

import numpy as np
import pytest
from helpers.hostile import NoRepr
from scipy.sparse import csr_array
from sklearn.linear_model import SGDClassifier

from slide import SparseMLPClassifier, datasets
from slide.datasets import make_extreme_classification


def test_shapes_dtypes_and_canonical_rows():
    X, y = make_extreme_classification(300, 1000, 40, n_nonzero=30, random_state=0)
    assert isinstance(X, csr_array)
    assert X.shape == (300, 1000)
    assert (X.dtype, X.indices.dtype, X.indptr.dtype) == (np.float32, np.int32, np.int32)
    np.testing.assert_array_equal(np.diff(X.indptr), 30)
    assert (np.diff(X.indices.reshape(300, 30), axis=1) > 0).all()
    assert X.indices.min() >= 0
    assert X.indices.max() < 1000
    assert X.data.min() > 0
    np.testing.assert_allclose(X.multiply(X).sum(axis=1), 1, rtol=1e-5)
    assert (y.shape, y.dtype) == ((300,), np.int64)
    assert y.min() >= 0
    assert y.max() < 40


def same(a, b):
    return all(np.array_equal(getattr(a, x), getattr(b, x)) for x in ("data", "indices", "indptr"))


@pytest.mark.parametrize("n_labels", [1, 3])
def test_random_state_decides_all(n_labels):
    def make(random_state):
        return make_extreme_classification(
            100, 500, 20, n_labels=n_labels, random_state=random_state
        )

    X, y = make(7)
    for again in (7, np.random.RandomState(7)):
        X_again, y_again = make(again)
        assert same(X, X_again)
        assert same(y, y_again) if n_labels > 1 else np.array_equal(y, y_again)
    assert not same(X, make(8)[0])


@pytest.mark.parametrize("n_labels", [1, 3])
def test_rows_do_not_depend_on_chunks_being_full(monkeypatch, n_labels):
    monkeypatch.setattr("slide.datasets._CHUNK_ROWS", 64)
    X, _ = make_extreme_classification(129, 500, 20, n_labels=n_labels, random_state=0)
    np.testing.assert_array_equal(np.diff(X.indptr), 50)
    np.testing.assert_allclose(X.multiply(X).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("n_features", "n_nonzero", "n_informative"), [(2, 1, 1), (20, 10, 1), (20, 10, 10)]
)
def test_few_features(n_features, n_nonzero, n_informative):
    X, _ = make_extreme_classification(
        50, n_features, 3, n_nonzero=n_nonzero, n_informative=n_informative, random_state=0
    )
    assert (np.diff(X.indices.reshape(50, n_nonzero), axis=1) > 0).all()


def test_one_sample_of_one_class():
    X, y = make_extreme_classification(1, 100, 1, random_state=0)
    assert X.shape == (1, 100)
    np.testing.assert_array_equal(y, [0])


@pytest.mark.parametrize("exponent", [0, 0.5, 1.0, 2.0])
def test_class_frequencies_follow_the_zipf_law(exponent):
    n, n_classes = 20_000, 50
    _, y = make_extreme_classification(
        n, 10, n_classes, n_nonzero=1, n_informative=1, zipf_exponent=exponent, random_state=0
    )
    expected = np.arange(1, n_classes + 1, dtype=float) ** -exponent
    expected *= n / expected.sum()
    counts = np.sort(np.bincount(y, minlength=n_classes))[::-1]
    # Sorting biases nearly equal counts, so tolerances are wide: 5 standard deviations.
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected) + 1).all()


def test_class_ids_do_not_tell_the_frequency():
    _, y = make_extreme_classification(20_000, 100, 200, random_state=0)
    counts = np.bincount(y, minlength=200)
    assert abs(np.corrcoef(np.arange(200), counts)[0, 1]) < 0.3


def test_several_labels_a_row():
    X, Y = make_extreme_classification(2000, 1000, 60, n_labels=4, random_state=0)
    assert X.shape == (2000, 1000)
    assert isinstance(Y, csr_array)
    assert (Y.shape, Y.dtype, Y.indices.dtype) == ((2000, 60), np.int8, np.int32)
    counts = np.diff(Y.indptr)
    assert (counts.min(), counts.max()) == (1, 7)
    assert abs(counts.mean() - 4) < 0.2
    assert Y.has_canonical_format
    assert (Y.data == 1).all()


def test_as_many_labels_as_classes():
    _, Y = make_extreme_classification(200, 1000, 3, n_labels=2, random_state=0)
    assert set(np.diff(Y.indptr).tolist()) == {1, 2, 3}


def test_a_linear_learner_solves_it():
    X, y = make_extreme_classification(3000, 2000, 100, random_state=0)
    learner = SGDClassifier(max_iter=10, tol=None, random_state=0).fit(X[:2400], y[:2400])
    seen = np.bincount(y[:2400], minlength=100)[y[2400:]] >= 3
    assert seen.mean() > 0.9
    assert (learner.predict(X[2400:]) == y[2400:])[seen].mean() > 0.95


def test_label_centroids_solve_it_with_several_labels():
    X, Y = make_extreme_classification(3000, 2000, 100, n_labels=3, random_state=0)
    centroids = (Y[:2400].T.astype(np.float32) @ X[:2400]).toarray()
    centroids /= np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-12)
    best = (X[2400:] @ centroids.T).argmax(axis=1)
    assert Y[2400:].toarray()[np.arange(600), best].mean() > 0.9


# ---- families of siblings


HARD = {"n_siblings": 10, "zipf_exponent": 0.5, "random_state": 0}


def signature_features(n_features, n_classes, n_informative, n_siblings, similarity, seed=0):
    """The features of every class, (n_classes, 2 * n_informative), the shared ones first."""
    n_slots = 2 * n_informative
    seed = np.random.RandomState(seed).randint(2**63 - 1, dtype=np.int64)
    signatures = datasets._Signatures(
        seed, n_features, n_slots, n_siblings, round(similarity * n_slots)
    )
    return signatures.features(np.arange(n_classes)[:, np.newaxis], np.arange(n_slots))


def test_without_siblings_nothing_has_changed():
    """The problem of an int is the same in every release, bit by bit."""
    params = {"n_samples": 200, "n_features": 3000, "n_classes": 700, "random_state": 3}
    X, y = make_extreme_classification(**params)
    checksums = [zlib.crc32(array.tobytes()) for array in (X.indices, y.astype(np.int32))]
    assert checksums == [3102978449, 3116910499]
    X_again, y_again = make_extreme_classification(**params, n_siblings=1, similarity=0.9)
    assert same(X, X_again)
    np.testing.assert_array_equal(y, y_again)


@pytest.mark.parametrize("similarity", [0.0, 0.3, 0.5, 0.95])
def test_siblings_share_a_part_of_their_signature(similarity):
    features = signature_features(100_000, 40, 10, 5, similarity)
    n_shared = round(20 * similarity)
    families = features.reshape(8, 5, 20)
    assert (families[:, :, :n_shared] == families[:, :1, :n_shared]).all()
    assert len(np.unique(families[:, 0, :n_shared])) >= 0.99 * 8 * n_shared
    # The features that distinguish siblings are drawn from a hundredth of all features.
    own = families[:, :, n_shared:]
    assert 0.6 * own.size < len(np.unique(own)) <= min(own.size, 1000)


def test_rows_show_half_of_the_signature_and_own_features_are_weak():
    X, y = make_extreme_classification(400, 100_000, 40, n_nonzero=30, **HARD)
    features = signature_features(100_000, 40, 10, 10, 0.5)[y]
    X = X.tocoo()
    means = []
    for part in (features[:, :10], features[:, 10:]):
        entries = (X.col[:, np.newaxis] == part[X.row]).any(axis=1)
        assert entries.sum() / 400 == pytest.approx(5, abs=0.4)
        means.append(X.data[entries].mean())
    assert means[0] / means[1] == pytest.approx(1.5 / 0.6, rel=0.05)


def test_siblings_are_what_is_hard():
    """Most errors are siblings; few if signatures are known; without siblings all is easy."""
    n, n_classes = 5000, 1000
    params = {"n_samples": n + 1000, "n_features": 5000, "n_classes": n_classes}
    scores = {}
    for n_siblings in (1, 10):
        X, y = make_extreme_classification(**params, **{**HARD, "n_siblings": n_siblings})
        clf = SparseMLPClassifier(hidden_layer_sizes=(128,), random_state=0).fit(X[:n], y[:n])
        ranked = clf.predict_topk(X[n:], k=10)[0]
        scores[n_siblings] = np.mean(ranked[:, 0] == y[n:])
    assert scores[1] > scores[10] + 0.2
    assert 0.3 < scores[10] < 0.7

    y = y[n:]
    siblings = ranked // 10 == y[:, np.newaxis] // 10
    wrong = ranked[:, 0] != y
    assert siblings[wrong, 0].mean() > 0.9  # by chance: 9 / 999
    assert siblings.sum(axis=1).mean() > 4

    features = signature_features(5000, n_classes, 10, 10, 0.5).astype(np.int64)
    owners = np.repeat(np.arange(n_classes), 20)
    known = csr_array((np.ones(20 * n_classes), (features.ravel(), owners)), shape=(5000, 1000))
    best = ((X[n:] > 0).astype(float) @ known).toarray().argmax(axis=1)
    assert np.mean(best == y) > 0.95


@pytest.mark.parametrize(
    "params",
    [
        {"n_labels": 5, "n_nonzero": 40, "n_informative": 20},
        {"n_nonzero": 6, "n_informative": 4, "zipf_exponent": 0.0},
        {"similarity": 0.0, "n_siblings": 7},
        {"similarity": 0.99, "n_siblings": 100},
        {"n_features": 12, "n_nonzero": 6, "n_informative": 6},
    ],
)
def test_siblings_in_other_shapes(params):
    shape = {"n_samples": 300, "n_features": 500, "n_classes": 100, "n_nonzero": 20}
    params = {**shape, **HARD, **params}
    X, y = make_extreme_classification(**params)
    X_again, y_again = make_extreme_classification(**params)
    assert same(X, X_again)
    assert same(y, y_again) if y.ndim > 1 else np.array_equal(y, y_again)
    np.testing.assert_array_equal(np.diff(X.indptr), params["n_nonzero"])
    assert X.has_canonical_format
    np.testing.assert_allclose(X.multiply(X).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("n_siblings", [1, 20])
def test_a_million_classes_take_little_memory(n_siblings):
    tracemalloc.start()
    try:
        make_extreme_classification(
            1000, 2**31 - 1, 1_000_000, n_siblings=n_siblings, random_state=0
        )
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_siblings", 0),
        ("n_siblings", 21),
        ("n_siblings", 2.0),
        ("similarity", -0.1),
        ("similarity", 1),
        ("similarity", np.nan),
        ("similarity", True),
        ("similarity", "0.5"),
        ("n_samples", 0),
        ("n_samples", 10.0),
        ("n_samples", True),
        ("n_features", 1),
        ("n_features", 2**31),
        ("n_features", "100"),
        ("n_classes", 0),
        ("n_classes", 2**31),
        ("n_nonzero", 0),
        ("n_nonzero", 51),
        ("n_informative", 0),
        ("n_informative", 51),
        ("n_labels", 0),
        ("n_labels", 6),
        ("n_labels", 1.5),
        ("zipf_exponent", -0.1),
        ("zipf_exponent", np.nan),
        ("zipf_exponent", np.inf),
        ("zipf_exponent", True),
        ("zipf_exponent", "1"),
    ],
)
def test_bad_arguments_are_named(name, value):
    arguments = {"n_samples": 10, "n_features": 100, "n_classes": 20, name: value}
    with pytest.raises(ValueError, match=rf"^{name} must be .*got {value!r}$"):
        make_extreme_classification(**arguments)


def test_sizes_of_narrow_types():
    params = {"n_samples": 200, "n_features": 100, "n_classes": 100, "n_nonzero": 25,
              "n_informative": 20, "n_labels": 3, "n_siblings": 7}  # fmt: skip
    X, Y = make_extreme_classification(**params, similarity=0.5, random_state=0)
    narrow = {name: np.uint8(value) for name, value in params.items()}
    X_again, Y_again = make_extreme_classification(
        **narrow, similarity=np.float16(0.5), random_state=0
    )
    assert same(X, X_again) and same(Y, Y_again)
    with pytest.raises(ValueError, match=r"n_samples must be an int .*cannot be shown"):
        make_extreme_classification(10**5000)
    with pytest.raises(ValueError, match="random_state must be None, an int"):
        make_extreme_classification(10, random_state=NoRepr())
