"""The width of X: what occurs is what costs, and what does not occur changes nothing."""

import pickle
import threading

import numpy as np
import pytest
from helpers.mortal import Killed, make_mortal
from scipy.sparse import csr_array, issparse
from sklearn.base import clone
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.pipeline import make_pipeline
from trust.test_memory import child, needs_linux

from slide import SparseMLPClassifier
from slide.callback import Checkpoint
from slide.datasets import make_extreme_classification
from slide.inspection import prediction_recall

N_COLUMNS = 200_000


def wider(X, n_columns=N_COLUMNS):
    """The same rows with columns that never occur at the end."""
    return csr_array((X.data, X.indices, X.indptr), (X.shape[0], n_columns))


def moved(X, rng, n_columns=N_COLUMNS):
    """The same rows with other columns, in the same order."""
    ids = np.sort(rng.choice(n_columns, X.shape[1], replace=False)).astype(np.int32)
    return csr_array((X.data, ids[X.indices], X.indptr), (X.shape[0], n_columns))


def n_inputs(model):
    return model._fitted.network.n_features


@pytest.fixture(scope="module")
def rows():
    X, y = make_extreme_classification(1500, 400, 120, n_nonzero=20, random_state=0)
    # All columns of X occur, so that a network for it has inputs for all.
    X = csr_array(X)[:, np.unique(X.indices)]
    X.sort_indices()
    return X, y


# ------------------------------------------------------------------ same bits --

KINDS = {
    "default": {},
    "deep": {"hidden_layer_sizes": (32, 48), "active_fraction": (1.0, 0.5, 1.0)},
    "sampled": {"active_fraction": (1.0, 0.2), "retrieval": "rerank"},
    "bfloat16": {"weight_dtype": "bfloat16"},
    "stopped": {"early_stopping": True},
    "prototypes": {"prototypes": True},
    "adagrad": {"solver": "adagrad", "alpha": 1e-4},
}


@pytest.mark.parametrize("params", KINDS.values(), ids=KINDS)
def test_columns_that_never_occur_change_no_bit(params, rows, classifier):
    X, y = rows
    # An empty column tells that later rows may have columns that these rows lack.
    short = wider(X, X.shape[1] + 1)
    narrow, wide = classifier(**params).fit(short, y), classifier(**params).fit(wider(X), y)
    assert (n_inputs(narrow), n_inputs(wide)) == (X.shape[1] + 1, X.shape[1])
    assert narrow._fitted.network.columns is None
    np.testing.assert_array_equal(narrow.decision_function(short), wide.decision_function(wider(X)))
    assert (wide.n_features_in_, wide.coefs_[0].shape[0]) == (N_COLUMNS, N_COLUMNS)
    np.testing.assert_array_equal(narrow.coefs_[0], wide.coefs_[0][: short.shape[1]])
    assert not wide.coefs_[0][X.shape[1] :].any()
    if params.get("prototypes"):
        assert wide.prototypes_.shape == (narrow.n_outputs_, N_COLUMNS)
        assert (wide.prototypes_[:, : short.shape[1]] != narrow.prototypes_).nnz == 0
    if not params.get("early_stopping"):
        narrow.partial_fit(short, y)
        wide.partial_fit(wider(X), y)
        np.testing.assert_array_equal(
            narrow.decision_function(short), wide.decision_function(wider(X))
        )


@pytest.mark.parametrize("params", [{}, {"prototypes": True}], ids=["plain", "prototypes"])
def test_a_column_that_never_occurred_says_nothing(params, rows, classifier):
    X, y = rows
    X = X.copy()
    X.data[X.indices == 7] = 0
    X.eliminate_zeros()
    wide = moved(X, np.random.default_rng(0))
    known = np.unique(wide.indices)
    # In `narrow` the column has an input that never was trained, in `sparse` it has none.
    narrow, sparse = classifier(**params).fit(X, y), classifier(**params).fit(wide, y)
    assert (n_inputs(narrow), n_inputs(sparse)) == (X.shape[1], len(known))
    for model, x, column in ((narrow, X, 7), (sparse, wide, 11 if 11 not in known else 12)):
        other = x.tolil()
        other[:, column] = 3.0
        for form in (csr_array(other), other.toarray()[:50]):
            expected = model.decision_function(x)[: form.shape[0]]
            np.testing.assert_array_equal(model.decision_function(form), expected)


# ------------------------------------------------------------ columns that come late --


def test_columns_that_come_late_are_learnt(rows, classifier):
    X, y = rows
    rng = np.random.default_rng(1)
    first, second = moved(X, rng), moved(X, rng)
    model = classifier().partial_fit(first, y, classes=np.unique(y))
    before = n_inputs(model)
    for _ in range(30):
        model.partial_fit(second, y)
    assert model.score(second, y) > 0.9
    assert before < n_inputs(model) <= 2 * before
    assert model.n_features_in_ == N_COLUMNS
    np.testing.assert_array_equal(
        model.decision_function(second[:20]), model.decision_function(second[:20].toarray())
    )


def test_a_late_column_starts_with_the_weights_of_an_early_one(rows, classifier):
    X, y = rows
    rng = np.random.default_rng(2)
    first, second = moved(X, rng), moved(X, rng)
    both = csr_array(np.vstack([first[:30].toarray(), second[:30].toarray()]))
    still = {"learning_rate_init": 1e-30, "hidden_layer_sizes": (16,)}
    classes = np.unique(y)
    # Rows of equal lengths: the scale of the weights follows the first batch.
    for x in (first, second, both):
        x.data[:] = 1
    late = classifier(**still).partial_fit(first[:30], y[:30], classes=classes)
    late.partial_fit(second[:30], y[:30])
    early = classifier(**still).partial_fit(both, np.tile(y[:30], 2), classes=classes)
    np.testing.assert_array_equal(late.coefs_[0], early.coefs_[0])


def test_growth_keeps_the_old_network_whole(rows, classifier):
    X, y = rows
    rng = np.random.default_rng(3)
    model = classifier().partial_fit(moved(X, rng), y, classes=np.unique(y))
    shared = 0
    for _ in range(12):
        old = model._fitted.network
        batch = moved(X[:4], rng)
        model.partial_fit(batch, y[:4])
        new = model._fitted.network
        assert new is not old
        assert new.n_features == len(new.columns) > old.n_features == len(old.layers[0].w)
        shared += np.shares_memory(old.layers[0].w, new.layers[0].w)
    assert shared >= 9  # the room for more grows by half, so that it is seldom copied


def test_predictions_go_on_while_columns_come(rows, classifier):
    X, y = rows
    rng = np.random.default_rng(4)
    first = moved(X, rng)
    model = classifier().partial_fit(first, y, classes=np.unique(y))
    errors, done = [], threading.Event()

    def predict():
        while not done.is_set():
            try:
                assert np.isfinite(model.decision_function(first)).all()
            except BaseException as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=predict) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(40):
        model.partial_fit(moved(X[:50], rng), y[:50])
    done.set()
    for thread in threads:
        thread.join()
    assert not errors


def test_a_warm_start_learns_new_columns(rows, classifier):
    X, y = rows
    rng = np.random.default_rng(5)
    first, second = moved(X, rng), moved(X, rng)
    model = classifier(warm_start=True, prototypes=True, max_iter=12).fit(first, y)
    kept = model.prototypes_
    assert kept.shape == (model.n_outputs_, N_COLUMNS)
    model.fit(second, y)
    assert model.score(second, y) > 0.9
    assert (model.prototypes_ != kept).nnz == 0


SPARSE = {"hidden_layer_sizes": (256,), "active_fraction": (0.2, 1.0), "max_iter": 6}


@pytest.mark.parametrize("policy", ["auto", "estimate", "rerank", "exact"])
def test_a_sparse_first_layer_has_inputs_for_what_occurs(policy, rows, classifier, tmp_path):
    X, y = rows
    rng = np.random.default_rng(9)
    first, second = moved(X, rng, 30_000), moved(X, rng, 30_000)
    model = classifier(**SPARSE, retrieval=policy).fit(first, y)
    assert n_inputs(model) == X.shape[1] and model.score(first, y) > 0.9
    model.partial_fit(first, y)
    assert n_inputs(model) == X.shape[1]
    for _ in range(5):  # hashed inputs cannot grow little by little, so all columns get one
        model.partial_fit(second, y)
    assert n_inputs(model) == 30_000
    assert min(model.score(first, y), model.score(second, y)) > 0.9
    model.save(tmp_path / "model")
    twin = SparseMLPClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(twin.decision_function(second), model.decision_function(second))


def test_batches_for_a_sparse_first_layer_keep_all_columns(rows, classifier):
    X, y = rows
    batch = moved(X, np.random.default_rng(10), 3_000)
    model = classifier(**SPARSE).partial_fit(batch, y, classes=np.unique(y))
    assert n_inputs(model) == 3_000


def test_an_array_that_is_mostly_zeros_costs_what_occurs(rows, classifier):
    X, y = rows
    X = moved(X, np.random.default_rng(11), 5_000)[:300]
    one, other = classifier().fit(X, y[:300]), classifier().fit(X.toarray(), y[:300])
    assert n_inputs(one) == n_inputs(other) < 5_000
    np.testing.assert_array_equal(one.decision_function(X), other.decision_function(X.toarray()))


# ---------------------------------------------------------------- files, pickles --


@pytest.fixture
def grown(rows, classifier):
    """A model whose columns came in two batches, and rows of both."""
    X, y = rows
    rng = np.random.default_rng(6)
    first, second = moved(X, rng), moved(X, rng)
    model = classifier(prototypes=True).fit(first, y).partial_fit(second, y)
    return model, first, second, y


def test_files_and_pickles_keep_the_columns(grown, tmp_path):
    model, first, second, y = grown
    model.save(tmp_path / "model")
    assert (tmp_path / "model").stat().st_size < 1_000_000
    twins = [SparseMLPClassifier.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))]
    batch = moved(first[:100], np.random.default_rng(7))
    expected = [model.decision_function(x) for x in (first, second)]
    after = model.partial_fit(batch, y[:100]).decision_function(batch)
    for twin in twins:
        assert twin.n_features_in_ == N_COLUMNS
        for x, scores in zip((first, second), expected, strict=True):
            np.testing.assert_array_equal(twin.decision_function(x), scores)
        np.testing.assert_array_equal(
            twin.partial_fit(batch, y[:100]).decision_function(batch), after
        )


def test_a_checkpoint_goes_on_with_the_same_columns(rows, classifier, tmp_path, monkeypatch):
    X, y = rows
    X = moved(X, np.random.default_rng(8))
    life = make_mortal(monkeypatch)
    whole = classifier(max_iter=4).fit(X, y)

    def fit():
        checkpoint = Checkpoint(tmp_path / "checkpoint", every_n_epochs=1)
        return classifier(max_iter=4).set_callbacks(checkpoint).fit(X, y)

    life.left = life.n * 3 // 4
    with pytest.raises(Killed):
        fit()
    life.left = None
    resumed = fit()
    np.testing.assert_array_equal(resumed.decision_function(X), whole.decision_function(X))


# -------------------------------------------------------------------------- costs --

COST = """
    import resource, tempfile
    from scipy.sparse import csr_array
    from slide import SparseMLPClassifier
    from trust.test_memory import anonymous

    rng = np.random.default_rng(0)
    ids = np.unique(rng.integers(0, n_columns, 40)).astype(np.int32)
    indices = ids[np.sort(np.argsort(rng.random((300, len(ids))), axis=1)[:, :4], axis=1)]
    data, indptr = np.ones(indices.size, np.float32), np.arange(0, indices.size + 1, 4)
    X = csr_array((data, indices.ravel(), indptr), (300, n_columns))
    y = indices[:, 0] % 5
    before = anonymous()
    # Three quarters of a gigabyte: numbers for all columns would not fit.
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 768 * 2**20,) * 2)
    params = {"hidden_layer_sizes": 256, "max_iter": 2, "random_state": 0, "prototypes": True}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model")
        SparseMLPClassifier(**params).fit(X, y).save(path)
        size = os.path.getsize(path)
        model = SparseMLPClassifier.load(path)
    for method in ("predict", "predict_proba", "predict_topk"):
        getattr(model, method)(X, *([2] if method == "predict_topk" else []))
        getattr(model, method)(X[:1], *([2] if method == "predict_topk" else []))
    model.score(X, y)
    model.partial_fit(X, y)
    model.prototypes_, model.intercepts_, dir(model), model._repr_html_()
    SparseMLPClassifier(**params).partial_fit(X, y, classes=np.arange(5))
    print(json.dumps([size, anonymous() - before]))
"""


def test_an_attribute_for_more_columns_than_memory_says_so(rows, classifier, monkeypatch):
    X, y = rows
    model = classifier().fit(wider(X, 2**31 - 1), y)

    def no_memory(*args, **kwargs):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(np, "zeros", no_memory)
        with pytest.raises(MemoryError, match="2147483647 columns of X"):
            _ = model.coefs_
        assert not hasattr(model, "coefs_")


@needs_linux
@pytest.mark.parametrize("n_columns", [2**24, 2**31 - 1])
def test_neither_memory_nor_files_follow_the_announced_width(n_columns):
    size, growth = child(COST, n_columns=n_columns)
    assert size < 200_000
    assert growth < 50e6


def test_a_display_makes_no_weights_of_columns_that_do_not_occur(rows, classifier):
    X, y = rows
    model = classifier().fit(wider(X, 2**20), y)
    assert "coefs_" not in dir(model) and {"intercepts_", "predict"} <= set(dir(model))
    assert "coefs_" not in model._repr_html_()
    assert model.coefs_[0].shape[0] == 2**20
    assert "coefs_" in dir(classifier().fit(X, y))
    assert "coefs_" not in dir(classifier())


def test_hashed_texts_cost_what_occurs(tmp_path):
    texts = ["red apple pie", "green car fast", "blue sky high", "tall tree old"] * 10
    labels = ["food", "car", "sky", "tree"] * 10
    model = make_pipeline(
        HashingVectorizer(), SparseMLPClassifier((64,), max_iter=20, random_state=0)
    )
    model.fit(texts, labels)
    model[-1].save(tmp_path / "model")
    assert (tmp_path / "model").stat().st_size < 50_000
    assert len(pickle.dumps(model)) < 50_000
    assert model.predict(["apple unheard of", "tree"]).tolist() == ["food", "tree"]
    X = model[0].transform(texts)
    assert issparse(X) and prediction_recall(model[-1], X) == 1
    assert clone(model[-1]).fit(X, labels).n_features_in_ == 2**20
