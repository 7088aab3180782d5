"""The course of a training: learning rate, row order, sample weights, stopping, going on."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.exceptions import NotFittedError

from slide._data.rows import hold_out
from slide.metrics import ndcg_at_k, precision_at_k


def test_learning_rate(classifier, planted):
    linear, constant = (
        classifier(learning_rate=name, max_iter=10).fit(*planted) for name in ("linear", "constant")
    )
    assert not np.array_equal(linear.coefs_[0], constant.coefs_[0])
    none = classifier(learning_rate_init=1e-30, dropout=0.0, active_fraction=1.0).fit(*planted)
    assert none.loss_curve_ == pytest.approx([none.loss_curve_[0]] * 3, rel=1e-5)


def test_shuffle(classifier, planted):
    X, y = planted
    params = {"max_iter": 1, "active_fraction": 1.0, "dropout": 0.0}
    shuffled = classifier(**params).fit(X, y)
    in_order = classifier(**params, shuffle=False).fit(X, y)
    assert not np.array_equal(shuffled.coefs_[0], in_order.coefs_[0])
    # Only the start is random now, so passing the rows in shuffled order equals shuffling.
    rng = np.random.RandomState(0)
    rng.randint(2**31 - 1)  # the network's seed
    order = rng.permutation(600)
    by_hand = classifier(**params, shuffle=False).fit(X[order], y[order])
    for ours, theirs in zip(by_hand.coefs_, shuffled.coefs_, strict=True):
        assert_allclose(ours, theirs, rtol=1e-2, atol=1e-2)


def test_verbose(classifier, planted, capsys):
    classifier(max_iter=2).fit(*planted)
    assert capsys.readouterr().out == ""
    clf = classifier(max_iter=2, verbose=True).fit(*planted)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"Iteration {i + 1}, loss = {clf.loss_curve_[i]:.8f}" for i in (0, 1)]
    clf = classifier(max_iter=1, verbose=True, early_stopping=True).fit(*planted)
    assert f"Validation score: {clf.validation_scores_[0]:.6f}" in capsys.readouterr().out


# --------------------------------------------------------- sample weights --


def test_weight_zero_is_absence(classifier, planted, assert_same_weights):
    X, y = planted
    keep = np.arange(600) % 3 > 0
    weights = np.where(keep, 0.5, 0)
    clf = classifier().fit(X, y, sample_weight=weights)
    alone = classifier().fit(X[keep], y[keep], sample_weight=np.full(keep.sum(), 0.5))
    assert clf.t_ == alone.t_ == 3 * keep.sum()
    if clf.n_outputs_ == alone.n_outputs_:
        assert_same_weights(clf, alone)


def test_unit_weights_change_nothing(classifier, planted, assert_same_weights):
    X, y = planted
    assert_same_weights(classifier().fit(X, y, np.ones(600)), classifier().fit(X, y))


def test_loss_is_per_unit_of_weight(classifier, planted):
    X, y = planted
    params = {"learning_rate_init": 1e-30, "active_fraction": 1.0, "max_iter": 1, "dropout": 0.0}
    unit = classifier(**params).fit(X, y)
    heavy = classifier(**params).fit(X, y, sample_weight=np.full(600, 8.0))
    assert heavy.loss_ == pytest.approx(unit.loss_, rel=1e-5)


def test_weights_steer(classifier, planted):
    X, y = planted
    y = y % 2
    X = sparse.csr_array((600, 5), dtype=np.float32)  # only the classes' frequencies can be learnt
    for favourite in (0, 1):
        weights = np.where(y == favourite, 20.0, 1.0)
        clf = classifier(max_iter=20, learning_rate_init=0.05).fit(X, y, sample_weight=weights)
        assert (clf.predict(X) == favourite).all()


# --------------------------------------------------- course of the training --


def test_history(classifier, planted):
    clf = classifier(max_iter=4).fit(*planted)
    assert clf.n_iter_ == len(clf.loss_curve_) == 4
    assert clf.t_ == 4 * 600
    assert clf.loss_ == clf.loss_curve_[-1] < clf.loss_curve_[0]
    assert clf.best_loss_ == min(clf.loss_curve_)
    assert clf.validation_scores_ is None and clf.best_validation_score_ is None


def test_stops_when_the_loss_does_not_improve(classifier, planted, capsys):
    clf = classifier(max_iter=50, tol=1e6, n_iter_no_change=2, verbose=True).fit(*planted)
    assert clf.n_iter_ == 4  # as in MLPClassifier: the first sets the best, three more miss it
    assert "Training loss did not improve more than tol=1000000.000000" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["planted", "multilabel"])
def test_early_stopping(classifier, kind, request):
    X, y = request.getfixturevalue(kind)
    clf = classifier(
        max_iter=60, early_stopping=True, n_iter_no_change=3, validation_fraction=0.2
    ).fit(X, y)
    scores = clf.validation_scores_
    assert clf.n_iter_ == len(scores) == len(clf.loss_curve_) <= 60
    assert clf.t_ == clf.n_iter_ * 480
    assert clf.best_validation_score_ == max(scores) > 0.7
    assert clf.best_loss_ is None


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("kind", "k"), [("planted", 1), ("multilabel", 3)])
def test_validation_score_is_ndcg_at_k(classifier, kind, k, weighted, request, monkeypatch):
    """k is the mean number of labels per row, 1 and 3 here."""
    kept = []

    def keep(*args):
        data, held_out = hold_out(*args)
        kept.append(held_out)
        return data, held_out

    monkeypatch.setattr("slide._training.task.hold_out", keep)
    X, y = request.getfixturevalue(kind)
    weights = 1.0 + np.arange(600) % 3 if weighted else None
    clf = classifier(max_iter=1, early_stopping=True).fit(X, y, sample_weight=weights)

    (rows,) = kept
    ones = np.ones(len(rows.labels.indices))
    shape = (len(rows), clf.n_outputs_)
    Y = sparse.csr_array((ones, rows.labels.indices, rows.labels.indptr), shape=shape)
    ranked = np.searchsorted(clf.classes_, clf.predict_topk(rows.x, k=k)[0])
    each = [ndcg_at_k(Y[[i]], ranked[[i]], k) for i in range(len(rows))]
    assert clf.validation_scores_ == [pytest.approx(np.average(each, weights=rows.weights))]
    if not weighted:
        assert clf.validation_scores_ == [pytest.approx(ndcg_at_k(Y, ranked, k))]


def test_early_stopping_returns_the_best_weights(classifier, planted, monkeypatch):
    scores, weights = iter([0.1, 0.5, 0.3, 0.5, 0.2, 0.4]), []

    def judge(network, data, k, n_threads):
        weights.append([layer.w.copy() for layer in network.layers])
        return next(scores)

    monkeypatch.setattr("slide._training.course.validation_score", judge)
    clf = classifier(max_iter=9, early_stopping=True, n_iter_no_change=3).fit(*planted)
    # The second epoch is the best; four that add less than tol follow, as in MLPClassifier.
    assert clf.validation_scores_ == [0.1, 0.5, 0.3, 0.5, 0.2, 0.4]
    assert clf.best_validation_score_ == 0.5 and clf.n_iter_ == 6
    first, output = weights[1]
    assert_array_equal(clf.coefs_[0], first)
    assert_array_equal(clf.coefs_[1], output.T)


def test_early_stopping_of_single_rows(classifier):
    """Every class has one row: the split is not stratified, and there is no error."""
    X = sparse.eye_array(30, format="csr", dtype=np.float32)
    clf = classifier(early_stopping=True).fit(X, np.arange(30))
    assert clf.t_ == 3 * 27 and clf.n_outputs_ == 30


def test_partial_fit_is_an_epoch(classifier, planted, network, assert_same_weights):
    X, y = planted
    whole = classifier(learning_rate="constant", **network).fit(X, y)
    parts = classifier(**network)
    for _ in range(3):
        parts.partial_fit(X, y, classes=np.unique(y))
    assert_same_weights(whole, parts)
    assert parts.n_iter_ == 3 and parts.t_ == 1800
    assert parts.loss_curve_ == whole.loss_curve_
    whole.partial_fit(X, y)
    parts.partial_fit(X, y)
    assert_same_weights(whole, parts)


@pytest.mark.parametrize("kind", ["planted", "multilabel"])
def test_partial_fit_learns_from_batches(classifier, kind, request):
    X, y = request.getfixturevalue(kind)
    clf = classifier(random_state=0)
    classes = np.arange(40) if kind == "multilabel" else np.unique(y)
    for _ in range(10):
        for start in range(0, 600, 100):
            rows = slice(start, start + 100)
            clf.partial_fit(X[rows], y[rows], classes=classes)
    assert clf.t_ == 6000 and clf.n_iter_ == 60
    assert precision_at_k(y, clf.predict_topk(X, k=1)[0], k=1) > 0.9


def test_partial_fit_with_a_label_that_comes_later(classifier, planted):
    X, y = planted
    early = y < np.median(y)
    clf = classifier().partial_fit(X[early], y[early], classes=np.unique(y))
    for _ in range(20):
        clf.partial_fit(X, y)
    assert clf.score(X[~early], y[~early]) > 0.9


def test_warm_start_goes_on(classifier, planted):
    X, y = planted
    clf = classifier(warm_start=True, learning_rate="constant").fit(X, y)
    network = clf._fitted.network
    clf.fit(X, y)
    assert clf._fitted.network is network
    assert clf.n_iter_ == len(clf.loss_curve_) == 6 and clf.t_ == 3600
    # the second fit begins where the first ended, not where it began
    assert clf.loss_curve_[3] < clf.loss_curve_[0] / 2
    cold = classifier(warm_start=False).fit(X, y).fit(X, y)
    assert cold.n_iter_ == 3 and cold.t_ == 1800


def test_warm_start_with_other_classes_or_another_network(classifier, planted):
    X, y = planted
    with pytest.raises(ValueError, match="y must hold known classes only"):
        classifier(warm_start=True).fit(X, y).fit(X, y + 1)
    clf = classifier(warm_start=True).fit(X, y).set_params(hidden_layer_sizes=(16,))
    with pytest.raises(ValueError, match="hidden_layer_sizes must stay"):
        clf.fit(X, y)
    # parameters of the schedule may change
    clf = classifier(warm_start=True).fit(X, y)
    clf.set_params(max_iter=1, learning_rate_init=1e-4, n_jobs=1, early_stopping=True).fit(X, y)
    assert clf.n_iter_ == 4


@pytest.mark.parametrize("early_stopping", [False, True])
def test_interrupted_fit_leaves_nothing(classifier, planted, monkeypatch, early_stopping):
    def interrupted(*args):
        raise KeyboardInterrupt

    clf = classifier(early_stopping=early_stopping).fit(*planted)
    monkeypatch.setattr("slide._network.passes.train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        clf.fit(*planted)
    with pytest.raises(NotFittedError):
        clf.predict(planted[0])


def test_history_counts_what_epochs_took(classifier, multilabel, network):
    X, y = multilabel
    clf = classifier(**network).fit(X, y).partial_fit(X[:100], y[:100])
    history, params = clf.history_, clf.hash_params_
    assert [epoch["loss"] for epoch in history] == clf.loss_curve_
    assert [epoch["n_samples"] for epoch in history] == [600, 600, 600, 100]
    for epoch in history:
        parts = epoch["seconds_in"]
        assert 0 < sum(parts.values()) <= epoch["seconds"]
        assert parts["forward"] > 0 and parts["backward"] > 0
        sparse = any(params["n_active"])
        assert (parts["rebuild"] > 0) == (sparse or params["retrieval"][-1] == "rerank")
    multiply_adds = sum(epoch["multiply_adds"] for epoch in history)
    dense = sum(epoch["dense_multiply_adds"] for epoch in history)
    # Hashing before the first epoch belongs to no epoch.
    assert 0.9 * clf.compute_fraction_ < multiply_adds / dense <= clf.compute_fraction_
    assert sum(epoch["n_rebuilds"] for epoch in history) == params["n_rebuilds"]
    n_hidden = len(clf.coefs_) - 1
    for epoch in history:
        widths = [len(b) for b in clf.intercepts_]
        assert epoch["n_active"][:-1] == [
            n or width for n, width in zip(params["n_active"][:n_hidden], widths, strict=False)
        ]
        assert 3 <= epoch["n_active"][-1] <= 40
