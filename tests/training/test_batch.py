"""Batches of `partial_fit`: later ones correct a poor first one."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score

from slide import SparseMLPClassifier
from slide.datasets import make_extreme_classification

DIGITS = load_digits()
X, Y = (DIGITS.data / 16).astype(np.float32), DIGITS.target
N = 1300  # rows to train on
BATCHES = [slice(start, start + 100) for start in range(0, N, 100)]
ENOUGH = 0.84  # accuracy after five passes; .90 with a representative first batch


def digits(**params):
    return SparseMLPClassifier(**{"hidden_layer_sizes": (64,), "random_state": 0, **params})


def trained(clf, first=(), passes=5, order=None):
    """The accuracy on held-out digits, after batches `first` and passes over all others."""
    order = np.arange(N) if order is None else order
    rest = [(X[order[part]], Y[order[part]]) for part in BATCHES]
    for x, y in [*first, *passes * rest]:
        clf.partial_fit(x, y, classes=range(10))
    return clf.score(X[N:], Y[N:])


def with_outlier(x):
    x = x.copy()
    x[3] *= 1e5
    return x


POOR = {
    "a row of zeros": (np.zeros((1, 64)), [0]),
    "many rows of zeros": (np.zeros((1000, 64)), Y[:1000]),
    "sparse rows of zeros": (csr_array((2, 64)), [0, 1]),
    "one row": (X[:1], Y[:1]),
    "one sparse row": (csr_array(X[:1]), Y[:1]),
    "equal rows": (X[[0] * 9], Y[:9]),
    "two rows": (X[:2], Y[:2]),
    "small values": (X[:100] / 100, Y[:100]),
    "tiny values": (X[:100] / 1e6, Y[:100]),
    "large values": (X[:100] * 10, Y[:100]),
    "a shift": (X[:100] + 100, Y[:100]),
    "an outlier": (with_outlier(X[:100]), Y[:100]),
    "mostly zeros": (X[:100] * (np.arange(100) % 10 == 0)[:, np.newaxis], Y[:100]),
    "one label": (X[Y == 3][:100], Y[Y == 3][:100]),
}


@pytest.mark.parametrize("kind", POOR)
def test_a_poor_first_batch_is_mended(kind):
    assert trained(digits(), [POOR[kind]]) > ENOUGH


@pytest.mark.parametrize("first", ["a row of zeros", "small values", "large values"])
@pytest.mark.parametrize(
    "params",
    [
        {"solver": "sgd"},
        {"solver": "adagrad"},
        {"weight_dtype": "bfloat16"},
        {"hidden_layer_sizes": (400,), "active_fraction": (0.1, 1.0)},
    ],
    ids=["sgd", "adagrad", "bfloat16", "sparse layer"],
)
def test_it_is_mended_in_every_kind_of_network(params, first):
    assert trained(digits(**params), [POOR[first]], passes=3) > 0.78


def test_a_poor_later_batch_does_no_harm():
    first = [(X[:100], Y[:100]), (with_outlier(X[:100]), Y[:100])]
    assert trained(digits(), first) > ENOUGH
    assert trained(digits(), [first[0], (X[:100] * 1e3, Y[:100])]) > 0.78


def test_rows_that_come_one_by_one_are_learnt():
    clf = digits()
    for i in range(N):
        clf.partial_fit(X[i : i + 1], Y[i : i + 1], classes=range(10))
    assert clf.score(X[N:], Y[N:]) > 0.8


def test_labels_that_come_later_begin_at_their_centroids():
    clf = digits()
    first, later = Y[:N] < 5, Y[:N] >= 5
    clf.partial_fit(X[:N][first], Y[:N][first], classes=range(10))
    clf.partial_fit(X[:N][later], Y[:N][later])
    new = Y[N:] >= 5
    assert clf.score(X[N:][new], Y[N:][new]) > 0.5
    assert clf._fitted.network.started is None


def test_rows_sorted_by_label_are_learnt():
    x, y = make_extreme_classification(6000, 2000, 200, random_state=0)
    clf = SparseMLPClassifier((64,), random_state=0)
    for _ in range(2):
        for rows in np.array_split(np.argsort(y[:5000], kind="stable"), 50):
            clf.partial_fit(x[rows], y[rows], classes=range(200))
    assert clf.score(x[5000:], y[5000:]) > 0.8


def test_representative_batches_correct_nothing():
    clf = digits().partial_fit(X[:100], Y[:100], classes=range(10))
    network = clf._fitted.network
    mean, settings, early = network.x_mean, network.settings, network.early
    assert early.n_rows == 100
    for part in BATCHES[1:5]:
        clf.partial_fit(X[part], Y[part])
    network = clf._fitted.network
    assert network.x_mean is mean and network.settings == settings
    assert network.early.n_rows == 500 and network.early.log_scaled == early.log_scaled


def test_after_some_thousand_rows_nothing_is_corrected():
    clf = digits()
    trained(clf, passes=4)
    network = clf._fitted.network
    assert network.early is None
    mean, settings = network.x_mean, network.settings
    clf.partial_fit(X[:100] * 100 + 5, Y[:100])
    assert clf._fitted.network.x_mean is mean and clf._fitted.network.settings == settings


def test_the_given_batch_size_stays():
    clf = digits(batch_size=32).partial_fit(X[:1], Y[:1], classes=range(10))
    assert clf.hash_params_["batch_size"] == 32
    assert digits(batch_size=32, max_iter=1).fit(X[:20], Y[:20]).hash_params_["batch_size"] == 32
    trained(clf, passes=1)
    assert clf.hash_params_["batch_size"] == 32


def test_an_automatic_batch_size_grows_with_the_batches():
    clf = digits().partial_fit(X[:1], Y[:1], classes=range(10))
    assert clf.hash_params_["batch_size"] == 8
    assert clf.partial_fit(X[:N], Y[:N]).hash_params_["batch_size"] == N // 40
    assert clf.partial_fit(X[:20], Y[:20]).hash_params_["batch_size"] == N // 40
    clf = digits(warm_start=True, max_iter=1).fit(X[:20], Y[:20])
    assert clf.fit(X[:N], Y[:N]).hash_params_["batch_size"] == N // 40


@pytest.mark.parametrize("n_labels", [0, 50], ids=["unlabelled rows first", "usual rows first"])
def test_the_threshold_follows_the_labels_of_all_rows(n_labels):
    x, y = make_extreme_classification(3000, 2000, 100, n_labels=3, random_state=0)
    first = csr_array((50, 100), dtype=np.int8) if n_labels == 0 else y[:50]
    clf = SparseMLPClassifier(loss="softmax", random_state=0).partial_fit(x[:50], first)
    for _ in range(3):
        for start in range(0, 2500, 500):
            clf.partial_fit(x[start : start + 500], y[start : start + 500])
    rows = 50 + 3 * 2500
    expected = (first.sum() + 3 * y[:2500].sum()) / rows
    assert clf._fitted.labels_per_row == pytest.approx(expected)
    found = clf.predict(x[2500:])
    assert f1_score(y[2500:], found, average="micro", zero_division=0) > 0.4


def test_two_scales_in_turns_are_both_learnt():
    near, far = [[8.0, 9], [20, 22]], [[80.0, 189], [76, 89], [345, 0]]
    clf = digits(hidden_layer_sizes=(32,))
    for _ in range(500):
        clf.partial_fit(near, [1, 2], classes=range(6)).partial_fit(far, [3, 4, 5])
    assert clf.predict(near + far).tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("first", ["a row of zeros", "large values"])
def test_a_saved_estimator_is_mended_like_the_original(first, tmp_path, assert_same_weights):
    x, y = POOR[first]
    clf = digits().partial_fit(x, y, classes=range(10)).partial_fit(X[Y < 5], Y[Y < 5])
    clf.save(tmp_path / "model")
    twin = SparseMLPClassifier.load(tmp_path / "model")
    assert twin._fitted.network.early == clf._fitted.network.early
    for part in BATCHES[:3]:
        for either in (clf, twin):
            either.partial_fit(X[part], Y[part])
    assert_same_weights(clf, twin)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("kind", ["a row of zeros", "one row", "tiny values", "a shift"])
def test_a_fit_after_a_poor_first_batch_mends_it(kind, early_stopping):
    x, y = POOR[kind]
    clf = digits(warm_start=True, n_jobs=1).partial_fit(x, y, classes=range(10))
    clf.set_params(early_stopping=early_stopping).fit(X[:N], Y[:N])
    assert clf.score(X[N:], Y[N:]) > 0.9


def test_a_fit_after_batches_of_another_scale_mends_it():
    clf = digits(warm_start=True, n_jobs=1)
    clf.partial_fit(X[:20] * 1000, Y[:20], classes=range(10)).fit(X[:N], Y[:N])
    assert clf.score(X[N:], Y[N:]) > 0.9


def test_a_fit_on_equal_rows_decides_nothing():
    clf = digits().fit(np.zeros((20, 64)), np.arange(20) % 10)
    assert trained(clf) > ENOUGH


def test_a_warm_fit_after_a_fit_on_equal_rows_is_a_new_fit(assert_same_weights):
    clf = digits(warm_start=True, n_jobs=1).fit(np.ones((20, 64)), np.arange(20) % 10)
    clf.fit(X[:N], Y[:N])
    assert_same_weights(clf, digits(n_jobs=1).fit(X[:N], Y[:N]))
