"""Tests of SparseMLPClassifier beyond scikit-learn's own checks."""

import copy
import pickle
from itertools import pairwise

import joblib
import numpy as np
import pandas as pd
import pytest
from joblib.externals.loky import cpu_count
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits, make_multilabel_classification
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from slide import SparseMLPClassifier
from slide._base import n_jobs
from slide._base.threads import max_threads
from slide.datasets import make_extreme_classification
from slide.metrics import precision_at_k, precision_at_k_scorer

two_threads = pytest.mark.skipif(max_threads() < 2, reason="needs two threads")

# ------------------------------------------------- reproducible, threads --


@pytest.mark.parametrize(
    ("network", "params"),
    [
        *[(name, {}) for name in ("dense", "sampled", "sparse", "estimated", "hashed")],
        ("hashed", {"dropout": 0.3}),
        ("dense", {"dropout": 0.3}),
        ("dense", {"early_stopping": True}),
        ("dense", {"solver": "sgd"}),
        ("dense", {"solver": "adagrad", "alpha": 0.1}),
    ],
    indirect=["network"],
    ids=str,
)
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_one_thread_is_bit_reproducible(
    classifier, planted, network, params, loss, assert_same_weights
):
    params = {**network, **params, "loss": loss}
    first, second = (classifier(**params).fit(*planted) for _ in range(2))
    assert_same_weights(first, second)
    assert first.loss_curve_ == second.loss_curve_
    third = classifier(**params).set_params(random_state=1).fit(*planted)
    assert not np.array_equal(first.coefs_[0], third.coefs_[0])


@two_threads
@pytest.mark.parametrize("network", ["dense", "sparse", "estimated", "hashed"], indirect=True)
def test_two_threads_lose_no_sample(classifier, planted, network):
    X, y = planted
    for _ in range(5):
        clf = classifier(n_jobs=2, **network).fit(X, y)
        assert clf.t_ == clf.n_iter_ * 600
        assert np.isfinite(clf.decision_function(X)).all()


@two_threads
def test_two_threads_lose_no_sample_and_stay_close(classifier):
    X, y = make_extreme_classification(3000, 600, 50, n_nonzero=20, random_state=0)
    X, X_test, y, y_test = train_test_split(X, y, test_size=1000, random_state=0)
    alone = classifier().fit(X, y).score(X_test, y_test)
    for _ in range(20):
        clf = classifier(n_jobs=2).fit(X, y)
        assert clf.t_ == clf.n_iter_ * 2000
        assert abs(clf.score(X_test, y_test) - alone) <= 0.01


@two_threads
def test_prediction_does_not_depend_on_threads(classifier, planted, network):
    X, y = planted
    clf = classifier(**network).fit(X, y)
    expected = clf.decision_function(X), *clf.predict_topk(X)
    clf.set_params(n_jobs=2)
    for ours, theirs in zip(
        (clf.decision_function(X), *clf.predict_topk(X)), expected, strict=True
    ):
        assert_array_equal(ours, theirs)


def test_prediction_of_a_row_does_not_depend_on_the_others(classifier, planted, network):
    X, y = planted
    clf = classifier(**network).fit(X, y)
    scores = clf.decision_function(X)
    for rows in ([599], [3, 3, 3], np.random.default_rng(0).permutation(600)[:333]):
        assert_array_equal(clf.decision_function(X[rows]), scores[rows])


def test_n_jobs_to_threads(monkeypatch):
    monkeypatch.setattr(n_jobs, "max_threads", lambda: 8)
    monkeypatch.setattr(n_jobs, "cpu_count", lambda: 6)
    given = [None, 1, 2, 8, 100, -1, -2, -6, -100, np.int64(3)]
    assert [n_jobs.resolve_n_jobs(n) for n in given] == [1, 1, 2, 8, 8, 6, 5, 1, 1, 3]
    monkeypatch.setattr(n_jobs, "max_threads", lambda: 1)
    assert [n_jobs.resolve_n_jobs(n) for n in given] == [1] * len(given)
    for wrong in (0, 1.0, "2", True):
        with pytest.raises(ValueError, match="n_jobs must be None or an int other than 0"):
            n_jobs.resolve_n_jobs(wrong)


def test_tags(classifier):
    tags = get_tags(classifier())
    assert tags.input_tags.sparse and tags.classifier_tags.multi_label
    assert not tags.non_deterministic
    assert get_tags(classifier(n_jobs=2)).non_deterministic == (max_threads() > 1)
    assert not get_tags(classifier(n_jobs=0)).non_deterministic


# ----------------------------------------------------------- forms of X, y --


@pytest.mark.parametrize(
    ("network", "params"),
    [("dense", {}), ("sampled", {}), ("dense", {"dropout": 0.3})],
    indirect=["network"],
    ids=str,
)
def test_dense_and_sparse_x_give_the_same_bits(
    classifier, planted, network, params, assert_same_weights
):
    X, y = planted
    dense, csr = (classifier(**network, **params).fit(form, y) for form in (X.toarray(), X))
    assert_same_weights(dense, csr)
    assert_array_equal(dense.decision_function(X), csr.decision_function(X.toarray()))
    assert_array_equal(dense.predict(X.tocsc()), csr.predict(X.toarray().astype(np.float64)))


@pytest.mark.parametrize("to", [sparse.csr_matrix, sparse.csc_array, sparse.coo_matrix], ids=str)
def test_every_sparse_form_of_x(classifier, planted, to, assert_same_weights):
    X, y = planted
    assert_same_weights(classifier().fit(to(X), y), classifier().fit(X, y))


def test_data_frame(classifier):
    X, y = load_digits(return_X_y=True, as_frame=True)
    clf = classifier().fit(X, y)
    assert_array_equal(clf.feature_names_in_, X.columns)
    with pytest.raises(ValueError, match="feature names should match"):
        clf.predict(X.rename(columns={"pixel_0_0": "first"}))
    assert clf.score(X, y) > 0.8


@pytest.mark.parametrize(
    "name_of",
    [
        lambda y: np.char.add("class ", y.astype(str)),
        lambda y: pd.Series(y.astype(str), dtype="category"),
        lambda y: [f"{label:03}" for label in y],
        lambda y: y * 1000 - 7,
        lambda y: y.astype(np.float64),
        lambda y: y.astype(str).astype(object),
    ],
    ids=["strings", "categories", "list", "ints", "floats", "objects"],
)
def test_labels_of_any_type(classifier, planted, name_of):
    X, y = planted
    expected = classifier().fit(X, y)
    named = name_of(y)
    clf = classifier().fit(X, named)
    assert_array_equal(clf.classes_, np.unique(np.asarray(named)))
    assert clf.predict(X).dtype == clf.classes_.dtype
    assert set(clf.predict(X)) <= set(np.asarray(named))
    assert clf.score(X, np.asarray(named)) > 0.9
    labels, scores = clf.predict_topk(X, k=3)
    assert labels.dtype == clf.classes_.dtype and scores.dtype == np.float32
    assert_array_equal(labels[:, 0], clf.predict(X))
    assert expected.n_outputs_ == clf.n_outputs_ == len(np.unique(y))


@pytest.mark.parametrize("loss", ["auto", "softmax", "sigmoid"])
def test_wide_target(loss):
    X, y = make_extreme_classification(
        6000, 4000, 5000, n_nonzero=25, zipf_exponent=0.7, random_state=0
    )
    clf = SparseMLPClassifier((64,), loss=loss, max_iter=5, random_state=0).fit(X, y)
    assert clf.n_outputs_ == len(np.unique(y)) > 2000
    assert clf.score(X, y) > 0.6
    assert 0 < clf.compute_fraction_ < 0.6
    assert precision_at_k(y, clf.predict_topk(X, k=5)[0], k=5) > 0.12


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("network", ["dense", "sampled", "sparse", "estimated"], indirect=True)
def test_sparse_indicator_is_never_dense(
    classifier, multilabel, loss, network, monkeypatch, assert_same_weights
):
    X, Y = multilabel
    dense = Y.toarray()
    for form in (sparse.csr_array, sparse.csr_matrix, sparse.csc_array):
        for name in ("toarray", "todense"):
            monkeypatch.setattr(form, name, lambda *args, **kwargs: pytest.fail("made dense"))
    clf = classifier(loss=loss, max_iter=15, **network)
    predicted = clf.fit(X, Y).predict(X)
    assert isinstance(predicted, sparse.csr_array) and predicted.shape == Y.shape
    assert_array_equal(clf.classes_, np.arange(40))
    labels, _ = clf.predict_topk(X, k=3)
    assert labels.dtype == np.int64
    assert precision_at_k(Y, labels, k=1) > 0.9
    assert abs(predicted - Y).sum() < (0.1 if loss == "sigmoid" else 0.75) * Y.sum()
    assert isinstance(classifier().fit(X, sparse.csr_matrix(Y)).predict(X), sparse.csr_matrix)
    assert isinstance(classifier().fit(X, sparse.csc_array(Y)).predict(X), sparse.csr_array)
    # A dense indicator gives the same network and a dense prediction.
    other = clone(clf).fit(X, dense)
    assert_same_weights(clf, other)
    assert isinstance(other.predict(X), np.ndarray)
    monkeypatch.undo()
    assert_array_equal(other.predict(X), predicted.toarray())


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_multilabel_prediction_in_blocks(classifier, multilabel, loss, monkeypatch):
    X, Y = multilabel
    clf = classifier(loss=loss).fit(X, Y)
    whole = clf.predict(X)
    monkeypatch.setattr("slide._prediction.decisions._SCORES_AT_ONCE", 1)
    assert (clf.predict(X) != whole).nnz == 0


@pytest.mark.parametrize("n_jobs", [1, 2, 5])
@pytest.mark.parametrize("most", [1, 1000, 1500])
def test_multilabel_prediction_with_room_for_few_scores(
    classifier, multilabel, n_jobs, most, monkeypatch
):
    X, Y = multilabel
    clf = classifier().fit(X, Y)
    whole = clf.predict(X)
    monkeypatch.setattr("slide._prediction.decisions._MOST_SCORES", most)
    assert (clf.set_params(n_jobs=n_jobs).predict(X) != whole).nnz == 0


@pytest.mark.parametrize("weight", [5e-324, 1.0, 1e308])
def test_score_takes_weights_of_any_size(classifier, planted, weight):
    X, y = planted
    model = classifier(max_iter=1).fit(X, y)
    weights = np.full(len(y), weight)
    assert model.score(X, y, sample_weight=weights) == pytest.approx(model.score(X, y))


def test_prediction_of_multilabel_follows_the_probabilities(classifier, multilabel):
    X, Y = multilabel
    clf = classifier(loss="sigmoid").fit(X, Y)
    assert_array_equal(clf.predict(X).toarray(), clf.predict_proba(X) > 0.5)
    clf = classifier(loss="softmax").fit(X, Y)
    threshold = 1 / (1 + Y.sum() / Y.shape[0])
    assert_array_equal(clf.predict(X).toarray(), clf.predict_proba(X) > threshold)


# ------------------------------------------------------------- prediction --


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_predictions_agree(classifier, planted, loss):
    X, y = planted
    clf = classifier(loss=loss).fit(X, y)
    scores = clf.decision_function(X)
    assert scores.dtype == np.float32 and scores.shape == (600, clf.n_outputs_)
    assert_array_equal(clf.predict(X), clf.classes_[scores.argmax(axis=1)])
    proba = clf.predict_proba(X)
    assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    assert_allclose(np.exp(clf.predict_log_proba(X)), proba, rtol=1e-6)
    assert_array_equal(proba.argmax(axis=1), scores.argmax(axis=1))
    z = scores.astype(np.float64)
    expected = np.exp(z) if loss == "softmax" else 1 / (1 + np.exp(-z))
    expected /= expected.sum(axis=1, keepdims=True)
    assert_allclose(proba, expected, rtol=1e-4, atol=1e-30)


def test_independent_probabilities(classifier, multilabel):
    X, Y = multilabel
    clf = classifier(loss="sigmoid").fit(X, Y)
    expected = 1 / (1 + np.exp(-clf.decision_function(X).astype(np.float64)))
    assert_allclose(clf.predict_proba(X), expected, rtol=1e-4)


def test_probabilities_of_extreme_scores_stay_numbers(classifier, planted):
    X, y = planted
    for loss in ("softmax", "sigmoid"):
        clf = classifier(loss=loss).fit(X, y)
        clf.intercepts_[-1][:] = -1e4
        clf.intercepts_[-1][3] = -9e3
        proba = clf.predict_proba(X)
        assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
        assert (proba.argmax(axis=1) == 3).all()
        assert np.isfinite(clf.predict_log_proba(X)).all()


def test_two_classes(classifier, planted):
    X, y = planted
    y = np.where(y % 2, "odd", "even")
    clf = classifier().fit(X, y)
    scores = clf.decision_function(X)
    assert scores.shape == (600,)
    assert_array_equal(clf.predict(X), np.where(scores > 0, "odd", "even"))
    labels, both = clf.predict_topk(X, k=2)
    assert_array_equal(labels[:, 0], clf.predict(X))
    assert_allclose(both[:, 0] - both[:, 1], np.abs(scores), rtol=1e-4, atol=1e-5)


def test_topk_is_the_sorted_decision(classifier, planted):
    X, y = planted
    clf = classifier().fit(X, y)
    scores = clf.decision_function(X)
    order = np.argsort(-scores, axis=1, kind="stable")
    for k in (1, 5, clf.n_outputs_):
        labels, best = clf.predict_topk(X, k=k)
        assert_array_equal(labels, clf.classes_[order[:, :k]])
        assert_array_equal(best, np.take_along_axis(scores, order[:, :k], axis=1))


# -------------------------------------------------- parameters that work --


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_every_activation_learns(classifier, activation):
    X, y = load_digits(return_X_y=True)
    clf = classifier(activation=activation, max_iter=20).fit(X / 16, y)
    assert clf.score(X / 16, y) > 0.9


@pytest.mark.parametrize("sizes", [(32,), 32, [32, 24], np.array([32, 24, 16])], ids=str)
def test_depth(classifier, sizes):
    X, y = load_digits(return_X_y=True)
    clf = classifier(hidden_layer_sizes=sizes, max_iter=20).fit(X / 16, y)
    assert clf.score(X / 16, y) > 0.9
    widths = [64, *np.atleast_1d(sizes), 10]
    assert [w.shape for w in clf.coefs_] == list(pairwise(widths))
    assert [b.shape for b in clf.intercepts_] == [(width,) for width in widths[1:]]
    # The fitted arrays describe the whole network.
    a = X / 16
    for w, b in zip(clf.coefs_[:-1], clf.intercepts_[:-1], strict=True):
        a = np.maximum(a @ w + b, 0)
    scores = a @ clf.coefs_[-1] + clf.intercepts_[-1]
    assert_allclose(clf.decision_function(X / 16), scores, rtol=1e-3, atol=1e-3)


def test_compute_fraction_is_counted(classifier, planted):
    dense = classifier(active_fraction=1.0).fit(planted[0].toarray(), planted[1])
    assert 0.95 < dense.compute_fraction_ <= 1.05
    assert classifier(active_fraction=1.0).fit(*planted).compute_fraction_ <= 1.0
    X, y = make_extreme_classification(2000, 500, 2000, n_nonzero=20, random_state=0)
    shares = [
        classifier(active_fraction=(1.0, share), retrieval="none", batch_size=8).fit(X, y)
        for share in (0.01, 0.1, 0.5)
    ]
    shares = [clf.compute_fraction_ for clf in shares]
    assert 0 < shares[0] < shares[1] < shares[2] < 1


@pytest.mark.parametrize("network", ["sampled"], indirect=True)
def test_what_auto_became_can_be_read(classifier, planted, network):
    clf = classifier(**network).fit(*planted)
    chosen = clf.hash_params_
    # One entry per layer, the output last.
    assert chosen["hash_family"] == [None, "simhash"] and chosen["retrieval"] == ["none", "rerank"]
    assert chosen["n_tables"] == [None, 8] and chosen["n_hash_bits"] == [None, 4]
    assert chosen["n_active"] == [None, None]
    assert chosen["max_iter"] == 3 and chosen["loss"] in ("softmax", "sigmoid")
    assert chosen["n_rebuilds"] >= 2
    assert chosen["instruction_set"] in ("scalar", "avx2", "avx512")
    assert "auto" not in str(chosen)
    alone = classifier(active_fraction=(1.0, 0.2), retrieval="none").fit(*planted).hash_params_
    assert alone["hash_family"] == [None, None] and alone["retrieval"] == ["none", "none"]
    assert alone["n_rebuilds"] == 0
    sparse_layers = classifier(
        hidden_layer_sizes=(64, 16), active_fraction=(0.25, 0.5, 1.0), retrieval="vanilla"
    )
    chosen = sparse_layers.fit(*planted).hash_params_
    assert chosen["n_active"] == [16, 8, None]
    assert chosen["retrieval"] == ["vanilla", "vanilla", "none"]
    assert chosen["n_candidates"] == [16, 8, None] and chosen["n_rebuilds"] > 0
    assert chosen["n_rounds"] == [None, None, None]
    assert "auto" not in str(chosen)
    X, y = planted
    wide = classifier(
        hidden_layer_sizes=(5000,), active_fraction=(0.01, 1.0), retrieval="estimate", max_iter=1
    )
    chosen = wide.fit(X[:50, :20].toarray() + 1, y[:50]).hash_params_
    assert chosen["n_directions"] == [12, None] and chosen["n_rounds"] == [3, None]
    assert chosen["n_coarse"] == [500, None]
    chosen = sparse_layers.set_params(retrieval="none").fit(*planted).hash_params_
    assert chosen["hash_family"] == chosen["n_tables"] == [None, None, None]


@pytest.mark.parametrize("network", ["sampled"], indirect=True)
def test_parameters_reach_the_engine(classifier, planted, network):
    for name, value in [
        ("tail_size", 7),
        ("batch_size", 24),
        ("max_iter", 2),
        ("beta_1", 0.5),
        ("beta_2", 0.9),
        ("epsilon", 1e-3),
        ("alpha", 1e-2),
        ("momentum", 0.5),
        ("solver", "sgd"),
        ("rehash_every", 123),
        ("loss", "sigmoid"),
        ("activation", "tanh"),
    ]:
        clf = classifier(**{**network, name: value}).fit(*planted)
        assert clf.hash_params_[name] == value
    for name, value in [
        ("retrieval", "topk"),
        ("hash_family", "dwta"),
        ("n_tables", 5),
        ("n_hash_bits", 3),
    ]:
        clf = classifier(**{**network, name: value}).fit(*planted)
        assert clf.hash_params_[name][-1] == value
    clf = classifier(**{**network, "dropout": 0.25}).fit(*planted)
    assert clf.hash_params_["dropout"] == [0.25, None]


# --------------------------------------------------- copies, files, search --


@pytest.mark.parametrize("way", ["pickle", "joblib", "mmap", "deepcopy"])
def test_a_copy_is_the_same_and_learns_the_same(
    classifier, planted, network, way, tmp_path, assert_same_weights
):
    X, y = planted
    clf = classifier(**network).fit(X, y)
    if way == "pickle":
        twin = pickle.loads(pickle.dumps(clf))
    elif way == "deepcopy":
        twin = copy.deepcopy(clf)
    else:
        joblib.dump(clf, tmp_path / "clf")
        twin = joblib.load(tmp_path / "clf", mmap_mode="r" if way == "mmap" else None)
    assert_same_weights(clf, twin)
    assert twin.hash_params_ == clf.hash_params_ and twin.t_ == clf.t_
    assert_array_equal(clf.predict_proba(X), twin.predict_proba(X))
    clf.partial_fit(X, y)
    assert not np.array_equal(clf.coefs_[-1], twin.coefs_[-1])
    twin.partial_fit(X, y)
    assert_same_weights(clf, twin)


def test_a_pickle_holds_the_weights_once(classifier, planted):
    clf = classifier(hidden_layer_sizes=(256,)).fit(*planted)
    weights = sum(w.nbytes for w in clf.coefs_)
    assert len(pickle.dumps(clf)) < 3.3 * weights  # with Adam's moments


def test_clone_is_unfitted(classifier, planted):
    clf = clone(classifier(n_jobs=2).fit(*planted))
    assert clf.get_params() == classifier(n_jobs=2).get_params()
    with pytest.raises(NotFittedError):
        clf.predict(planted[0])


def test_grid_search_in_workers(classifier, planted):
    X, y = planted
    words = np.array([" ".join(f"w{j}" for j in X[[i]].indices) for i in range(X.shape[0])])
    search = GridSearchCV(
        make_pipeline(TfidfVectorizer(), classifier(n_jobs=2)),
        {"sparsemlpclassifier__learning_rate_init": [1e-7, 1e-3]},
        scoring=precision_at_k_scorer(k=3),
        cv=2,
        n_jobs=min(2, cpu_count()),
        error_score="raise",
    ).fit(words, y % 10)
    assert search.best_params_ == {"sparsemlpclassifier__learning_rate_init": 1e-3}
    assert search.best_score_ > 0.25


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csr_matrix])
def test_grid_search_leaves_a_sparse_indicator_sparse(
    classifier, multilabel, container, monkeypatch
):
    def refuse(self, *args, **kwargs):
        raise AssertionError(f"{self.shape} is made dense")

    for name in ("toarray", "todense"):
        monkeypatch.setattr(container, name, refuse)
    X, Y = multilabel
    search = GridSearchCV(
        classifier(early_stopping=True),
        {"hidden_layer_sizes": [(1,), (32,)]},
        scoring={f"P@{k}": precision_at_k_scorer(k=k) for k in (1, 5)},
        refit="P@5",
        cv=2,
        error_score="raise",
    ).fit(X, container(Y))
    assert search.best_params_ == {"hidden_layer_sizes": (32,)}
    assert search.cv_results_["mean_test_P@1"].max() > 0.5
    assert isinstance(search.predict(X), container)


def test_dense_multilabel_of_scikit_learn(classifier):
    X, Y = make_multilabel_classification(300, 20, n_classes=5, random_state=0)
    clf = classifier(max_iter=40).fit(X, Y)
    assert (clf.predict(X) == Y).mean() > 0.8
    assert clf.predict(X).dtype == np.int64
