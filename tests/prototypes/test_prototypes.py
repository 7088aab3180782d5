"""Prototypes: their entries, their scores, and the weight that is found on late rows."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from twins import engine as reference
from twins import prototypes as twin

from slide import SparseMLPClassifier
from slide._base.rows import InputRows
from slide._data.labels import LabelRows
from slide._engine import predict
from slide._engine.model import Model
from slide._network import start as network_start
from slide._network.layer import Layer
from slide._prediction.shortlist import Shortlist
from slide._prototypes import prototypes
from slide._prototypes.prototypes import Prototypes, make_prototypes
from slide._training import course, stacking
from slide.datasets import make_extreme_classification

N_FEATURES = 60


def sparse_rows(n, seed=0, density=0.15):
    """Rows of both signs; the first has no features, all others have the last feature."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, N_FEATURES)) * (rng.random((n, N_FEATURES)) < density)
    x[:, -1] = 1
    x[:1] = 0
    return x.astype(np.float32)


def label_rows(labels, n_classes):
    indptr = np.concatenate(([0], np.cumsum([len(row) for row in labels])))
    return LabelRows(indptr, np.array([c for row in labels for c in row], np.int32), n_classes)


def random_labels(n, n_classes, seed=1):
    rng = np.random.default_rng(seed)
    return [np.sort(rng.choice(n_classes, rng.integers(4), replace=False)) for _ in range(n)]


@pytest.fixture(scope="module")
def rare():
    """Three rows per label: too many labels for the hidden layer of a small network."""
    return make_extreme_classification(3000, 3000, 1000, n_nonzero=20, random_state=0)


# ------------------------------------------------------------------- made --


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("products", [50, 10**6])  # several turns, and a single one
@pytest.mark.parametrize("n_threads", [1, 3])
def test_prototypes_are_those_of_the_twin(weighted, products, n_threads, monkeypatch):
    monkeypatch.setattr(prototypes, "_PRODUCTS", products)
    x, labels, n_classes = sparse_rows(50), random_labels(50, 30), 33  # three labels have no row
    weights = np.random.default_rng(2).random(50).astype(np.float32) if weighted else None
    made = make_prototypes(csr_array(x), label_rows(labels, n_classes), weights, n_threads)
    expected, feature_weights = twin.prototypes(x, labels, n_classes, weights)
    assert_allclose(made.by_feature.toarray(), expected, atol=1e-6)
    assert_allclose(made.feature_weights, feature_weights, rtol=1e-6)
    kept = np.abs(made.by_feature.data)
    assert kept.min() >= prototypes._LEAST and made.by_feature.has_canonical_format
    dense = make_prototypes(x, label_rows(labels, n_classes), weights, 1)
    assert_array_equal(dense.by_feature.toarray(), made.by_feature.toarray())


def test_the_number_of_threads_changes_nothing(monkeypatch):
    rows = csr_array(sparse_rows(400)), label_rows(random_labels(400, 90), 90), None
    alone = make_prototypes(*rows, 1).arrays()
    for n_threads, products in ((2, 1 << 24), (3, 100), (5, 10)):
        monkeypatch.setattr(prototypes, "_PRODUCTS", products)
        for name, array in make_prototypes(*rows, n_threads).arrays().items():
            assert_array_equal(array, alone[name])
            assert array.dtype == alone[name].dtype


def test_sums_that_become_zero():
    """Sums that return to zero more often than the list of a label's features has places."""
    x = np.zeros((41, 3), np.float32)
    x[:40, 0] = np.tile([1, -1], 20)
    x[40, 1:] = 1
    for last, expected in ((40, [0, 0]), (39, [1, 0])):
        labels = [[0]] * last + [[]] * (40 - last) + [[1]]
        made = make_prototypes(x, label_rows(labels, 2), None, 1).by_feature.toarray()
        assert_array_equal(made[0, :2], expected)
        assert_allclose(made[1], twin.prototypes(x, labels, 2)[0][1], rtol=1e-6)


def test_labels_without_rows_and_rows_without_labels():
    x = csr_array(sparse_rows(20))
    made = make_prototypes(x, label_rows([[]] * 20, 4), None, 2)
    assert made.by_feature.shape == (4, N_FEATURES) and made.by_feature.nnz == 0
    # These rows still count for how rare features are.
    labels = random_labels(20, 4)
    labels[:5] = [[]] * 5
    made = make_prototypes(x, label_rows(labels, 4), None, 2)
    expected, feature_weights = twin.prototypes(x.toarray(), labels, 4)
    assert_allclose(made.by_feature.toarray(), expected, atol=1e-6)
    assert_allclose(made.feature_weights, feature_weights, rtol=1e-6)


def test_long_lists_keep_their_largest_weights(monkeypatch):
    rows = csr_array(sparse_rows(50)), label_rows(random_labels(50, 30), 30), None, 2
    whole = make_prototypes(*rows).by_feature.toarray()
    monkeypatch.setattr(prototypes, "_LONGEST", 4)
    cut = make_prototypes(*rows).by_feature.toarray()
    assert_array_equal(cut[cut != 0], whole[cut != 0])
    assert (np.count_nonzero(cut, axis=0) == np.minimum(np.count_nonzero(whole, axis=0), 4)).all()
    assert_array_equal(*(-np.sort(-np.abs(table), axis=0)[:4] for table in (cut, whole)))


def test_products_are_those_of_the_twin():
    x, labels = sparse_rows(40), random_labels(40, 30)
    made = make_prototypes(x, label_rows(labels, 30), None, 1)
    ids = np.random.default_rng(3).integers(30, size=(40, 3)).astype(np.int32)
    expected = twin.prototype_scores(x, made.by_feature.toarray(), made.feature_weights, 1.0)
    assert_allclose(made.products(x, ids), np.take_along_axis(expected, ids, axis=1), atol=1e-6)


def test_products_of_rows_without_features():
    made = make_prototypes(sparse_rows(40), label_rows(random_labels(40, 30), 30), None, 1)
    ids = np.zeros((2, 5), np.int32)
    assert_array_equal(made.products(np.zeros((2, N_FEATURES), np.float32), ids), np.zeros((2, 5)))


# ----------------------------------------------------------------- scores --


@pytest.fixture(scope="module")
def scored():
    """A network of 700 classes, more than one block, with prototypes, and 130 rows."""
    rng = np.random.default_rng(4)
    layers = []
    for n_in, n_out in ((N_FEATURES, 20), (20, 700)):
        layer = Layer.zeros(n_in, n_out, by_feature=not layers)
        layer.w[:] = rng.standard_normal(layer.w.shape) / np.sqrt(n_in)
        layer.b[:] = rng.standard_normal(n_out)
        layers.append(layer)
    known = sparse_rows(1500, seed=5)
    made = make_prototypes(known, label_rows(random_labels(1500, 700), 700), None, 2)
    return layers, made.of_weight(3.5), sparse_rows(130, seed=6)


@pytest.mark.parametrize("n_rows", [0, 1, 63, 64, 65, 130])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_prediction_adds_what_the_twin_adds(n_rows, n_threads, scored):
    layers, made, x = scored
    x = x[:n_rows]
    model = Model(layers, "relu", "sigmoid", made)
    rows = InputRows(csr_array(x))
    expected = reference.scores(layers, x, "relu") + twin.prototype_scores(
        x, made.by_feature.toarray(), made.feature_weights, 3.5
    )
    got = predict.scores(model, rows, 0, n_rows, n_threads)
    assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    ids, scores = predict.topk(model, rows, 7, n_threads)
    assert_array_equal(ids, reference.topk(got, 7)[0])
    assert_array_equal(scores, np.take_along_axis(got, ids, axis=1))


@pytest.mark.parametrize("k", [1, 7, 700])
def test_the_best_without_prototypes_and_with_them(k, scored):
    layers, made, x = scored
    rows = InputRows(csr_array(x))
    alone, both = (
        Model(layers, "relu", "sigmoid"),
        Model(layers, "relu", "sigmoid", made),
    )
    ids, scores = predict.topk(both, rows, k, 2, apart=True)
    for i, model in enumerate((alone, both)):
        assert_array_equal(ids[i], predict.topk(model, rows, k, 1)[0])
        assert_array_equal(scores[i], predict.topk(model, rows, k, 1)[1])
    w, b = layers[-1].w, layers[-1].b
    functions = np.random.RandomState(0)
    listed = Shortlist(w, b, np.zeros(20, np.float32), 1.0, functions, 1)
    ids, scores = listed.topk(both, rows, 5, 130, k, 700, 2, apart=True)
    # All classes are candidates, so both are exact, except for rounding of the prototypes' scores.
    for i, model in enumerate((alone, both)):
        every = predict.scores(model, rows, 5, 130, 1)
        assert_allclose(scores[i], reference.topk(every, k)[1], rtol=1e-5, atol=1e-5)
        assert_allclose(scores[i], np.take_along_axis(every, ids[i], axis=1), rtol=1e-5, atol=1e-5)


def test_a_row_does_not_depend_on_its_neighbours(scored):
    layers, made, x = scored
    model = Model(layers, "relu", "sigmoid", made)
    every = predict.scores(model, InputRows(csr_array(x)), 0, 130, 2)
    order = np.random.default_rng(7).permutation(130)[:70]
    some = predict.scores(model, InputRows(csr_array(x[order])), 0, 70, 1)
    assert_array_equal(some, every[order])
    part = predict.scores(model, InputRows(csr_array(x)), 37, 101, 1)
    assert_array_equal(part, every[37:101])


def test_hidden_layers_know_nothing_of_prototypes(scored):
    layers, made, x = scored
    rows = InputRows(x)
    plain = predict.hidden(Model(layers, "relu", "sigmoid"), rows, 0, 130, 1)
    assert_array_equal(
        predict.hidden(Model(layers, "relu", "sigmoid", made), rows, 0, 130, 1), plain
    )


# ----------------------------------------------------------------- weight --


def test_late_labels_stay_out_of_the_start_and_the_first_prototypes(classifier, rare, monkeypatch):
    X, y = rare
    seen, make, start = [], stacking.make_prototypes, network_start.set_weights

    def spy_on_make(x, labels, *args):
        seen.append(labels)
        return make(x, labels, *args)

    def spy_on_start(network, x, labels, *args):
        seen.append(labels)
        return start(network, x, labels, *args)

    monkeypatch.setattr(stacking, "make_prototypes", spy_on_make)
    monkeypatch.setattr(network_start, "set_weights", spy_on_start)
    clf = classifier(max_iter=2).fit(X, y)
    assert clf.prototype_weight_ > 0
    assert [len(labels) for labels in seen] == [3000] * 4
    # Start, prototypes that decide the weight, those that the last rows judge, all.
    assert [len(labels.indices) for labels in seen] == [2700, 2700, 2880, 3000]
    assert_array_equal(seen[0].indptr, seen[1].indptr)
    seen.clear()
    clf = classifier(max_iter=2, early_stopping=True).fit(X, y)  # held-out rows judge
    assert clf.prototype_weight_ > 0
    # Start; prototypes to decide the weights of cosines, then of margins; those that stay.
    assert [len(labels.indices) for labels in seen] == [2700] * 4


def test_late_rows_come_in_the_second_half_and_some_last(classifier, rare, monkeypatch):
    X, y = rare
    seen, judged, run = [], [], course.train_rows
    weigh = stacking.Stacking.weigh

    def spy(network, trainer, rows, *args):
        seen.append(set(rows))
        return run(network, trainer, rows, *args)

    def judge(self, network, n_threads):
        judged.append(len(self.late if self.held_out is None else self.held_out))
        weigh(self, network, n_threads)

    monkeypatch.setattr(course, "train_rows", spy)
    monkeypatch.setattr(stacking.Stacking, "weigh", judge)
    classifier(max_iter=4).fit(X, y)
    assert [len(rows) for rows in seen] == [2700, 2700, 2880, 3000] and judged == [300]
    assert seen[0] == seen[1] < seen[2] < seen[3]
    seen.clear()
    classifier(max_iter=1).fit(X, y)  # no second half: late rows stay out
    assert [len(rows) for rows in seen] == [2700]
    seen.clear(), judged.clear()
    classifier(max_iter=4, early_stopping=True).fit(X, y)  # held-out rows judge
    assert [len(rows) for rows in seen] == [2700] * 4 and judged == [300]
    seen.clear()
    classifier(max_iter=4, prototypes=False).fit(X, y)
    assert [len(rows) for rows in seen] == [2880] * 3 + [3000]


# -------------------------------------------------------------- estimator --


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
def test_prototypes_help_rare_labels(loss, classifier, rare):
    X, y = rare
    train, test = slice(0, 2400), slice(2400, 3000)
    known = np.isin(y[test], y[train])
    kept = {"max_iter": 6, "loss": loss}
    alone = classifier(prototypes=False, **kept).fit(X[train], y[train])
    both = classifier(**kept).fit(X[train], y[train])
    assert alone.prototypes_ is None and alone.prototype_weight_ == 0
    assert both.prototypes_.shape == (both.n_outputs_, 3000) and both.prototype_weight_ > 0
    scores = [m.score(X[test][known], y[test][known]) for m in (alone, both)]
    assert scores[1] > scores[0] + 0.02
    # Probabilities are calibrated on held-back rows, not on rows that the network has memorised.
    sure = both.predict_proba(X[test]).max(axis=1).mean()
    assert abs(sure - both.score(X[test], y[test])) < 0.12


def test_dense_and_sparse_rows_are_the_same(classifier, rare):
    X, y = rare
    clf = classifier().fit(X, y)
    assert clf.prototype_weight_ > 0
    assert_array_equal(clf.decision_function(X[:9]), clf.decision_function(X[:9].toarray()))
    also = classifier().fit(X.toarray(), y)
    assert also.prototype_weight_ > 0


def test_where_none_are_tried(classifier, planted):
    X, y = planted  # 40 classes
    assert not classifier().fit(X, y).hash_params_["prototypes"]
    clf = classifier(prototypes=True).fit(X, y)
    assert clf.hash_params_["prototypes"]
    dense = X.toarray() + 1
    assert not classifier().fit(dense, y).hash_params_["prototypes"]
    with pytest.raises(ValueError, match="prototypes must be 'auto' or False for dense features"):
        classifier(prototypes=True).fit(dense, y)
    with pytest.raises(ValueError, match=r"prototypes=True takes at least 20 rows, .* got 19"):
        classifier(prototypes=True).fit(X[:19], y[:19])
    assert classifier(prototypes=True).fit(X[:20], y[:20]).hash_params_["prototypes"]
    with pytest.raises(ValueError, match="prototypes must be 'auto' or True or False; got 2"):
        classifier(prototypes=2).fit(X, y)


def test_partial_fit_makes_none_and_leaves_those_of_fit(classifier, rare):
    X, y = rare
    clf = classifier().partial_fit(X, y, classes=np.unique(y))
    assert clf.prototypes_ is None
    clf = classifier(warm_start=True).fit(X, y)
    made = clf.prototypes_
    assert made is not None
    assert clf.partial_fit(X, y).prototypes_ is made
    assert clf.fit(X, y).prototypes_ is made
    with pytest.raises(ValueError, match="prototypes must stay 'auto'"):
        clf.set_params(prototypes=False).fit(X, y)


def test_pickle_and_file_keep_them(classifier, rare, tmp_path):
    X, y = rare
    clf = classifier().fit(X, y)
    clf.save(tmp_path / "model")
    twins = [SparseMLPClassifier.load(tmp_path / "model"), pickle.loads(pickle.dumps(clf))]
    for other in twins:
        assert other.prototype_weight_ == clf.prototype_weight_ > 0
        assert_array_equal(other.prototypes_.toarray(), clf.prototypes_.toarray())
        assert_array_equal(other.decision_function(X[:50]), clf.decision_function(X[:50]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [1, 0]}, "must rise"),
        ({"labels": [0, 3]}, "ind"),
        ({"labels": [-1, 0]}, "ind"),
        ({"indptr": [0, 2, 1]}, "ind"),
        ({"values": [1.0, np.nan]}, "finite"),
        ({"feature_weights": [np.inf, 1.0]}, "finite"),
    ],
)
def test_arrays_that_are_no_index_are_refused(change, message):
    arrays = {
        "values": [0.5, 0.5],
        "labels": [0, 1],
        "indptr": [0, 2, 2],
        "feature_weights": [1, 1],
    }
    dtypes = {"labels": np.int32, "indptr": np.int64}
    arrays = {
        name: np.array(value, dtypes.get(name, np.float32))
        for name, value in {**arrays, **change}.items()
    }
    with pytest.raises(ValueError, match=message):
        Prototypes.from_arrays(arrays, 3, 1.0, 0.0)


def test_sample_weights_count(classifier, rare):
    """A row of weight 0 does not belong to any prototype."""
    X, y = rare
    weights = np.ones(3000)
    weights[2000:] = 0
    clf = classifier().fit(X, y, weights)
    without = classifier().fit(X[:2000], y[:2000])
    known = np.isin(clf.classes_, without.classes_)
    assert_array_equal(clf.prototypes_.toarray()[known], without.prototypes_.toarray())
