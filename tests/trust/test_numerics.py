"""Extreme numbers and shapes: the network learns them, or an error says why not."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from slide import SparseMLPClassifier

SOLVERS = ["adam", "sgd", "adagrad"]
DTYPES = ["float32", "bfloat16"]
rng = np.random.RandomState(0)
Y = np.arange(300) % 3
DENSE = 0.3 * rng.standard_normal((300, 6))
DENSE[np.arange(300), Y] += 2
SPARSE = np.where(rng.uniform(size=(300, 40)) < 0.1, rng.uniform(size=(300, 40)), 0)
SPARSE[np.arange(300), Y] += 2
NETWORKS = {
    "dense": {"hidden_layer_sizes": (16,)},
    "sampled": {"hidden_layer_sizes": (16,), "active_fraction": (1.0, 0.4), "retrieval": "rerank"},
    "sparse": {"hidden_layer_sizes": (64, 16), "active_fraction": (0.5, 0.5, 1.0)},
}


def fit(x, y, weights=None, **params):
    defaults = {"hidden_layer_sizes": (16,), "random_state": 0, "max_iter": 20}
    return SparseMLPClassifier(**{**defaults, **params}).fit(x, y, weights)


def assert_certain(clf, x, y, least=0.98):
    """Check that the labels y are predicted, with high probabilities."""
    assert clf.score(x, y) >= least
    proba = clf.predict_proba(x)
    assert np.isfinite(proba).all()
    assert proba.max(axis=1).mean() > 0.9


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("form", ["dense", "sparse"])
@pytest.mark.parametrize("exponent", [-15, -10, -5, 0, 5, 10, 15])
def test_the_scale_of_X(exponent, form, solver, dtype):
    x = (DENSE if form == "dense" else SPARSE) * 10.0**exponent
    x = x if form == "dense" else csr_array(x)
    assert_certain(fit(x, Y, solver=solver, weight_dtype=dtype), x, Y)


@pytest.mark.parametrize("exponent", [-45, -38, -30, -20, 17, 30, 38])
@pytest.mark.parametrize("form", [np.asarray, csr_array])
def test_scales_beyond_are_refused(exponent, form):
    with pytest.raises(ValueError, match=r"^X must h.*scale"):
        fit(form(SPARSE * 10.0**exponent), Y)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("exponents", [(-38, 0), (0, 10), (-38, 10)])
def test_columns_of_very_different_scales(kind, exponents):
    """The large columns decide; the others do no harm."""
    low, high = exponents
    x = np.hstack([rng.standard_normal((300, 5)) * 10.0**low, DENSE * 10.0**high])
    clf = fit(x, Y, **NETWORKS[kind])
    assert clf.score(x, Y) >= 0.95
    assert np.isfinite(clf.predict_proba(x)).all()


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("form", [np.asarray, csr_array])
@pytest.mark.parametrize("solver", SOLVERS)
def test_all_zero_X_gives_the_prior(loss, form, solver):
    y = np.repeat([0, 1, 2], [180, 90, 30])
    x = form(np.zeros((300, 4)))
    proba = fit(x, y, loss=loss, solver=solver).predict_proba(x)
    assert (proba == proba[0]).all()
    np.testing.assert_allclose(proba[0], [0.6, 0.3, 0.1], atol=0.05)


def test_zero_rows_among_others_get_their_own_answer():
    x = np.vstack([SPARSE, np.zeros((100, 40))])
    y = np.concatenate([Y, np.full(100, 3)])
    clf = fit(csr_array(x), y, max_iter=40)
    assert_certain(clf, csr_array(x), y)
    assert clf.predict(np.zeros((1, 40))) == 3


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("prototypes", [False, True])
def test_numpy_may_raise(loss, prototypes):
    """Probabilities that underflow are no error, whatever `numpy.seterr` says."""
    x = csr_array(SPARSE)
    with np.errstate(all="raise"):
        clf = fit(x, Y, loss=loss, prototypes=prototypes)
        assert_certain(clf, x, Y)
        far = csr_array(1e10 * SPARSE)
        assert np.isfinite(clf.predict_proba(far)).all()
        assert np.isfinite(clf.predict_log_proba(far)).all()


# ------------------------------------------------------------------- labels --


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_label_that_never_occurs_is_never_best(loss, solver):
    clf = SparseMLPClassifier((16,), loss=loss, solver=solver, random_state=0)
    for _ in range(10):
        clf.partial_fit(DENSE, 2 * Y, classes=range(6))
    assert clf.score(DENSE, 2 * Y) > 0.98
    assert set(clf.predict(10 * rng.standard_normal((500, 6)))) <= {0, 2, 4}
    assert clf.predict_proba(DENSE)[:, [1, 3, 5]].max() < 0.2


@pytest.mark.parametrize(
    "labels",
    [
        np.array([-(2**63), 2**63 - 2, 2**63 - 1]),
        np.array([2**64 - 3, 2**64 - 2, 2**64 - 1], np.uint64),
        np.array([-(2.0**62), 0.0, 2.0**62]),
        np.array(["x" * 10_000 + end for end in "abc"]),
        np.array(["", "\0", "\ud800"], object),
    ],
    ids=["int64", "uint64", "float", "long", "odd"],
)
def test_labels_at_the_ends_of_their_types(labels, tmp_path):
    clf = fit(DENSE, labels[Y])
    np.testing.assert_array_equal(clf.classes_, labels)
    assert np.mean(clf.predict(DENSE) == labels[Y]) > 0.98
    clf.partial_fit(DENSE, labels[Y])
    clf.save(tmp_path / "model")
    twin = SparseMLPClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(twin.predict(DENSE), clf.predict(DENSE))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_a_single_class(solver, dtype, loss):
    clf = fit(DENSE, np.full(300, "only"), solver=solver, weight_dtype=dtype, loss=loss)
    assert (clf.predict(DENSE) == "only").all()
    assert (clf.predict_proba(DENSE) == 1).all()


@pytest.mark.parametrize("solver", SOLVERS)
def test_two_classes_one_feature_and_duplicate_rows(solver):
    x = np.repeat([[-1.0], [1.0]], 50, axis=0)
    y = np.repeat(["no", "yes"], 50)
    clf = fit(x, y, solver=solver)
    assert_certain(clf, x, y)
    scores = clf.decision_function(x)
    assert (scores[:50] == scores[0]).all() and scores[0] < 0 < scores[50]


def test_contradictory_duplicates_share_the_probability():
    y = np.repeat([0, 1, 0], [100, 150, 50])
    proba = fit(np.ones((300, 3)), y, loss="softmax").predict_proba(np.ones((1, 3)))
    np.testing.assert_allclose(proba[0], [0.5, 0.5], atol=0.05)


@pytest.mark.parametrize("form", [np.asarray, csr_array])
@pytest.mark.parametrize("solver", SOLVERS)
def test_one_row(form, solver):
    x = form(np.array([[0.0, 3.0, 0.0]]))
    clf = fit(x, [7], solver=solver)
    assert clf.predict(x) == 7
    clf = SparseMLPClassifier((16,), solver=solver, random_state=0)
    for _ in range(30):
        clf.partial_fit(x, [7], classes=[5, 7, 9])
    assert clf.predict(x) == 7
    clf = fit(x, np.array([[0, 1, 0, 1]]), solver=solver)
    assert set(clf.predict_topk(x, 2)[0][0]) == {1, 3}


# ------------------------------------------------------------------ weights --


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("scale", [1e-38, 1.0, 1e38])
def test_rows_of_weight_0_are_as_if_they_were_not_there(scale, solver, assert_same_weights):
    weights = np.where(np.arange(300) < 200, scale, 0)
    ours = fit(DENSE, Y, weights, solver=solver)
    theirs = fit(DENSE[:200], Y[:200], np.full(200, scale), solver=solver)
    assert_same_weights(ours, theirs)
    np.testing.assert_array_equal(ours.predict_proba(DENSE), theirs.predict_proba(DENSE))


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_a_class_of_weight_0_is_never_best(loss):
    clf = fit(DENSE, Y, (Y != 1).astype(float), loss=loss)
    assert clf.classes_.tolist() == [0, 1, 2]
    assert not (clf.predict(DENSE) == 1).any()
    assert clf.score(DENSE[Y != 1], Y[Y != 1]) > 0.98


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("small", "large"), [(1e-38, 1.0), (1e-38, 1e38), (1.0, 1e38)])
def test_weights_that_differ_by_all_of_float32(small, large, solver):
    """Rows of tiny weight do not matter where they contradict the others."""
    x = np.vstack([DENSE, DENSE])
    y = np.concatenate([Y, (Y + 1) % 3])
    clf = fit(x, y, np.repeat([large, small], 300), solver=solver)
    assert clf.score(DENSE, Y) > 0.98


def test_one_row_that_outweighs_all_others():
    weights = np.ones(300)
    weights[7] = 1e30
    clf = fit(DENSE, Y, weights)
    assert clf.predict(DENSE[7:8]) == Y[7]
    assert np.isfinite(clf.predict_proba(DENSE)).all()


# --------------------------------------------------------- a million classes --


@pytest.mark.parametrize(
    ("kind", "predict_mode"),
    [
        ("indicator", "exact"),
        pytest.param("indicator", "lsh", marks=pytest.mark.slow),
        pytest.param("labels", "exact", marks=pytest.mark.slow),
        pytest.param("labels", "lsh", marks=pytest.mark.slow),
    ],
)
def test_a_million_classes_of_ten_samples(kind, predict_mode, tmp_path):
    n_classes = 1_000_000
    x = csr_array(np.eye(10, 30, dtype=np.float32))
    ids = np.linspace(3, n_classes - 1, 10).astype(int)
    clf = SparseMLPClassifier(
        (32,), random_state=0, predict_mode=predict_mode, max_iter=20, weight_dtype="bfloat16"
    )
    if kind == "labels":
        clf.partial_fit(x, ids, classes=np.arange(n_classes))
        for _ in range(9):
            clf.partial_fit(x, ids)
    else:
        y = csr_array((np.ones(10, int), (np.arange(10), ids)), shape=(10, n_classes))
        clf.fit(x, y)
    labels, scores = clf.predict_topk(x, 3)
    np.testing.assert_array_equal(labels[:, 0], ids)
    assert np.isfinite(scores).all()
    clf.save(tmp_path / "model")
    twin = SparseMLPClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(twin.predict_topk(x, 3)[0], labels)
    if kind == "indicator":
        rows = twin.predict(x)
        assert rows.shape == (10, n_classes) and rows.nnz < 100
        assert (rows[np.arange(10), ids] == 1).all()
