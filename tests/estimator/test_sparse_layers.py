"""The estimator with sparse hidden layers: shapes, policies, prediction, files, cost."""

import copy
import io
import itertools
import pickle

import joblib
import numpy as np
import pytest
from scipy.sparse import csr_array

from slide import SparseMLPClassifier
from slide._base.rows import InputRows
from slide._engine import predict

POLICIES = ["auto", "estimate", "vanilla", "topk", "threshold", "rerank", "exact", "none"]
FAMILIES = ["simhash", "wta", "dwta", "minhash"]
N_CLASSES = 6

each_policy = pytest.mark.parametrize("policy", POLICIES)


def make_data(n=150, n_features=30, density=0.4, seed=0):
    """Dense rows with zeros around a centre for each class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, N_CLASSES, n)
    x = rng.standard_normal((N_CLASSES, n_features))[y] + 0.5 * rng.standard_normal((n, n_features))
    x *= rng.random((n, n_features)) < density
    return x.astype(np.float32), y


def estimator(sizes=(300, 200), share=0.1, **params):
    """An estimator with sparse hidden layers; by default all output neurons are computed."""
    fraction = share if np.ndim(share) or isinstance(share, str) else [share] * len(sizes) + [1.0]
    params = {"max_iter": 3, "random_state": 0, "active_fraction": fraction, **params}
    return SparseMLPClassifier(sizes, **params)


def assert_same_bits(a, b):
    np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))


# -------------------------------------------------------------- any shape --


@each_policy
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("width", [2, 3, 17, 150])
def test_any_depth(policy, depth, width):
    x, y = make_data(n=40)
    model = estimator((width,) * depth, 0.3, retrieval=policy, max_iter=2)
    given = csr_array(x) if (depth + width) % 2 else x
    model.fit(given, y)
    assert np.isfinite(model.predict_proba(given)).all()
    assert set(model.predict(given)) <= set(y)


@each_policy
@pytest.mark.parametrize("sizes", [(1000,), (20_000,), (20_000, 5), (1000, 1000), (5, 20_000)])
def test_wide_layers(policy, sizes):
    x, y = make_data(n=40, n_features=8)
    share = [1.0 if size < 10 else 30 / size for size in sizes]
    model = estimator(sizes, [*share, 1.0], retrieval=policy, max_iter=1, batch_size=20)
    model.fit(csr_array(x), y)
    assert np.isfinite(model.predict_proba(x)).all()
    n_active = [None if size < 10 else 30 for size in sizes]
    assert model.hash_params_["n_active"] == [*n_active, None]


@pytest.mark.parametrize("sizes", [(2,), (3,), (17,), (1000,), (20_000,), (3000, 10)])
def test_default_shares(sizes):
    x, y = make_data(n=40, n_features=8)
    model = estimator(sizes, "auto", max_iter=1).fit(x, y)
    assert np.isfinite(model.predict_proba(x)).all()
    n_active = [128 if size > 8192 else None for size in sizes]
    assert model.hash_params_["n_active"] == [*n_active, None]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("policy", ["vanilla", "topk", "threshold", "rerank"])
def test_hash_families(policy, family):
    x, y = make_data()
    model = estimator((200, 150, 20), retrieval=policy, hash_family=family, rehash_every=20)
    model.fit(csr_array(x), y)
    assert np.isfinite(model.predict_proba(x)).all()
    assert model.hash_params_["n_rebuilds"] > 3
    assert model.hash_params_["hash_family"][:3] == [family] * 3


def test_one_row_one_class_and_rows_without_features():
    x, y = make_data(n=30)
    x[::3] = 0
    for policy in POLICIES:
        model = estimator((150, 140), retrieval=policy)
        model.fit(x, np.zeros(30, int))
        assert (model.predict(csr_array(x)) == 0).all()
        model.fit(csr_array(np.zeros_like(x)), y)
        assert np.isfinite(model.predict_proba(x)).all()
        model.fit(x[1:2], y[1:2])
        assert (model.predict(x) == y[1]).all()


# -------------------------------------------------------------- learning --


@pytest.mark.parametrize("policy", ["estimate", "topk", "exact"])
@pytest.mark.parametrize("sparse_x", [False, True], ids=["dense_x", "csr"])
@pytest.mark.parametrize("solver", ["adam", "sgd", "adagrad"])
def test_it_learns(policy, sparse_x, solver):
    x, y = make_data(n=400, density=0.8)
    given = csr_array(x) if sparse_x else x
    model = estimator((300, 200), retrieval=policy, solver=solver, max_iter=10)
    model.fit(given[:300], y[:300])
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert model.score(given[300:], y[300:]) > 0.8


def test_sparse_output_too(planted):
    x, y = planted
    model = estimator((300, 200), [0.2, 0.2, 0.3], max_iter=8).fit(x[:500], y[:500])
    assert model.hash_params_["tail_size"] == 12
    assert model.score(x[500:], y[500:]) > 0.5


def test_several_labels(multilabel):
    x, y = multilabel
    model = estimator((300, 200), [0.2, 0.2, 1.0], max_iter=8).fit(x[:500], y[:500])
    assert model.predict(x[500:]).shape == (100, 40)
    best = model.predict_topk(x[500:], 1)[0][:, 0]
    assert np.mean([y[500 + i, label] for i, label in enumerate(best)]) > 0.5


def test_two_threads_learn_as_well():
    x, y = make_data(n=600, density=0.8)
    model = estimator((300, 200), max_iter=10, n_jobs=2).fit(x[:500], y[:500])
    assert model.score(x[500:], y[500:]) > 0.8
    assert model.t_ == 500 * model.n_iter_


# ----------------------------------------------------------- prediction --


@pytest.fixture(scope="module", params=[*POLICIES, "topk/minhash"])
def fitted(request):
    """A network with a sparse, a dense and a sparse layer, and rows that it has not seen."""
    policy, _, family = request.param.partition("/")
    x, y = make_data(n=330)
    model = estimator(
        (150, 20, 300), [0.1, 1.0, 0.1, 1.0], retrieval=policy, hash_family=family or "auto"
    )
    return model.fit(x[:200], y[:200]), x[200:]


def test_a_rows_prediction_is_its_own(fitted):
    model, x = fitted
    for rows in (x, csr_array(x)):
        whole = model.decision_function(rows)
        assert_same_bits(whole, model.decision_function(rows))
        for subset in (slice(0, 1), slice(3, 70), slice(129, 130), slice(None, None, -1)):
            assert_same_bits(model.decision_function(rows[subset]), whole[subset])
        order = np.random.default_rng(0).permutation(len(x))
        assert_same_bits(model.decision_function(rows[order]), whole[order])
        parts = [model.decision_function(rows[i : i + 13]) for i in range(0, len(x), 13)]
        assert_same_bits(np.concatenate(parts), whole)
        twice = model.decision_function(rows[np.repeat(np.arange(20), 3)])
        assert_same_bits(twice, np.repeat(whole[:20], 3, axis=0))


def test_threads_predict_the_same(fitted):
    model, x = fitted
    many = copy.copy(model).set_params(n_jobs=2)
    assert_same_bits(many.decision_function(x), model.decision_function(x))


def test_dense_and_csr_rows_are_predicted_alike(fitted):
    model, x = fitted
    explicit = csr_array(np.where(x == 0, np.float32(1), x))
    explicit.data[x.ravel() == 0] = 0  # zeros that are stored
    expected = model.decision_function(x)
    for rows in (csr_array(x), explicit):
        # Rounding may decide a bit of a hash value; then the row finds other neurons.
        close = np.isclose(model.decision_function(rows), expected, rtol=1e-4, atol=1e-4)
        assert close.all(axis=1).mean() > 0.97
    assert_same_bits(model.decision_function(explicit), model.decision_function(csr_array(x)))


def test_top_k_are_the_best_scores(fitted):
    model, x = fitted
    scores = model.decision_function(x)
    labels, best = model.predict_topk(x, 3)
    np.testing.assert_array_equal(best, -np.sort(-scores, axis=1)[:, :3])
    np.testing.assert_array_equal(labels[:, 0], model.predict(x))


def test_copies_predict_the_same(fitted):
    model, x = fitted
    expected = model.decision_function(x)
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    for other in (
        pickle.loads(pickle.dumps(model)),
        joblib.load(file),
        copy.copy(model),
        copy.deepcopy(model),
    ):
        assert_same_bits(other.decision_function(x), expected)
        assert_same_bits(
            other.decision_function(csr_array(x)), model.decision_function(csr_array(x))
        )


# ------------------------------------------------------------- training --


@each_policy
@pytest.mark.parametrize("sparse_x", [False, True], ids=["dense_x", "csr"])
def test_one_thread_repeats_itself(policy, sparse_x, assert_same_weights):
    x, y = make_data()
    given = csr_array(x) if sparse_x else x
    models = [
        estimator((150, 20, 140), retrieval=policy, rehash_every=30).fit(given, y) for _ in range(2)
    ]
    assert_same_weights(*models)
    other = estimator((150, 20, 140), retrieval=policy, rehash_every=30, random_state=1)
    assert (other.fit(given, y).coefs_[0] != models[0].coefs_[0]).any()


@each_policy
def test_partial_fit_goes_on(policy):
    x, y = make_data(n=300, density=0.8)
    model = estimator(retrieval=policy)
    accuracy = []
    for _ in range(8):
        for first in range(0, 200, 50):
            rows = slice(first, first + 50)
            model.partial_fit(csr_array(x[rows]), y[rows], classes=np.arange(N_CLASSES))
        accuracy.append(model.score(x[200:], y[200:]))
    assert model.t_ == 1600
    chance = {"none": 0.0, "vanilla": 0.3, "threshold": 0.4}  # random neurons learn little
    assert accuracy[-1] > chance.get(policy, 0.8)


@each_policy
def test_training_goes_on_after_a_pickle(policy, assert_same_weights):
    x, y = make_data()
    model = estimator(retrieval=policy, rehash_every=40)
    model.partial_fit(x, y, classes=np.arange(N_CLASSES))
    other = pickle.loads(pickle.dumps(model))
    for _ in range(3):
        for one in (model, other):
            one.partial_fit(x, y)
    assert_same_weights(model, other)


def test_early_stopping_and_warm_start():
    x, y = make_data(n=300)
    model = estimator(early_stopping=True, max_iter=6).fit(x, y)
    assert len(model.validation_scores_) == model.n_iter_
    model = estimator(warm_start=True).fit(x, y).fit(csr_array(x), y)
    assert model.n_iter_ == 6


@pytest.mark.parametrize("share", [1.0, [1.0, 1.0, 1.0]])
def test_shares_of_one_are_the_dense_network(share, assert_same_weights):
    x, y = make_data()
    dense = estimator((150, 20), "auto").fit(x, y)
    assert dense.hash_params_["n_active"] == [None] * 3
    assert_same_weights(estimator((150, 20), share).fit(x, y), dense)


@pytest.mark.parametrize("policy", ["auto", "exact", "none", "estimate", "topk"])
@pytest.mark.parametrize("sparse_x", [False, True], ids=["dense_x", "csr"])
def test_sparse_layers_cost_less(policy, sparse_x):
    x, y = make_data(n=200, n_features=60)
    given = csr_array(x) if sparse_x else x
    sizes = (1000, 700)
    fractions = [
        estimator(sizes, share, max_iter=1, retrieval=policy if share < 1 else "auto").fit(given, y)
        for share in (0.02, 1.0)
    ]
    sparse, dense = (model.compute_fraction_ for model in fractions)
    assert sparse < 0.6 * dense
    if policy == "none":  # only the active neurons are computed
        assert sparse < 0.1 * dense


def test_alpha_shrinks_the_weights():
    x, y = make_data(n=300)
    for sparse_x, solver in itertools.product((False, True), ("adam", "sgd")):
        given = csr_array(x) if sparse_x else x
        norms = [
            sum(
                np.square(w).sum()
                for w in estimator(alpha=alpha, solver=solver).fit(given, y).coefs_
            )
            for alpha in (0.0, 0.1)
        ]
        assert norms[1] < norms[0]


@each_policy
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_divergence_raises(policy, solver):
    x, y = make_data(n=300)
    model = estimator(retrieval=policy, solver=solver, learning_rate_init=1e20)
    with pytest.raises(FloatingPointError, match="diverged"):
        model.fit(csr_array(x), y)
    # The sign of a NaN decides whether retrieval ranks it first or last.
    for nan in (np.float32(np.nan), -np.float32(np.nan)):
        model = estimator(retrieval=policy).partial_fit(x, y, classes=np.arange(N_CLASSES))
        model._fitted.network.layers[0].w[7] = nan
        with pytest.raises(FloatingPointError, match="diverged"):
            model.partial_fit(x, y)


# -------------------------------------------------------------- directions --


@pytest.fixture
def directed():
    """A model whose first layer estimates exactly along two directions; rows far from its mean."""
    x, y = make_data(n_features=64, density=1.0)
    model = estimator((300,), 0.1, retrieval="estimate", prototypes=False).fit(x, y)
    assert model._fitted.network.layers[0].retrieval.directions.vectors.shape == (2, 64)
    return model, x


def test_sparse_rows_are_split_along_directions_as_dense_ones(directed):
    model, x = directed
    network = model._fitted.network
    x = x - network.x_mean
    x[:, ::3] = 0
    found = [
        predict.hidden(network.model(), InputRows(rows), 0, len(x), 1).toarray()
        for rows in (x, csr_array(x))
    ]
    # Summing in another order may change the order of neurons whose estimates are equal.
    same = (found[0] != 0) == (found[1] != 0)
    assert same.mean() > 0.999
    np.testing.assert_allclose(found[0][same], found[1][same], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_have_the_directions(copied, directed):
    model, x = directed
    twin = copied(model)
    ours, theirs = (
        m._fitted.network.layers[0].retrieval.directions.named_arrays() for m in (model, twin)
    )
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert_same_bits(ours[name], theirs[name])
    assert_same_bits(model.decision_function(x), twin.decision_function(x))
    assert_same_bits(model.partial_fit(x, model.predict(x)).coefs_[0],
                     twin.partial_fit(x, twin.predict(x)).coefs_[0])  # fmt: skip
