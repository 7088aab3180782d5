"""Exact prediction: it agrees with the twin, and a row's bits do not depend on its block."""

import itertools

import numpy as np
import pytest
from scipy.sparse import csr_array, issparse
from twins import engine as reference

from slide._base.rows import InputRows
from slide._engine import predict
from slide._engine.model import Model
from slide._hashing.retrieval import Retrieval
from slide._network.layer import Layer

N_FEATURES = 37
N_ROWS = [0, 1, 63, 64, 65, 130]
ACTIVATIONS = ["identity", "relu", "tanh", "logistic"]


def make_layers(hidden=(19,), n_classes=70, seed=0):
    rng = np.random.default_rng(seed)
    layers = []
    for i, (n_in, n_out) in enumerate(itertools.pairwise([N_FEATURES, *hidden, n_classes])):
        layer = Layer.zeros(n_in, n_out, by_feature=i == 0)
        layer.w[:] = rng.standard_normal(layer.w.shape) / np.sqrt(n_in)
        layer.b[:] = 0.3 * rng.standard_normal(n_out)
        layers.append(layer)
    return layers


RETRIEVAL = {
    "n_tables": 6,
    "n_hash_bits": 4,
    "bucket_limit": 9,
    "min_collisions": 2,
    "transform": True,
}
POLICIES = [
    ("exact", "simhash"),
    ("none", "simhash"),
    ("estimate", "simhash"),
    ("vanilla", "wta"),
    ("topk", "dwta"),
    ("threshold", "minhash"),
    ("rerank", "simhash"),
]


def make_sparse_layers(hidden, n_active, policy="exact", family="simhash", n_classes=70):
    """Like make_layers, but hidden layer i computes n_active[i] neurons for a row (0: all)."""
    rng = np.random.default_rng(5)
    layers = make_layers(hidden, n_classes)
    for i, k in enumerate(n_active):
        if k == 0:
            continue
        n_in, n_out = layers[i].n_in, layers[i].n_out
        w, b = layers[i].w.reshape(n_out, n_in), layers[i].b
        layers[i] = layer = Layer.zeros(n_in, n_out, by_feature=False, n_active=k)
        layer.w[:], layer.b[:] = w, b
        settings = {**RETRIEVAL, "policy": policy, "hash_family": family, "n_wanted": k}
        settings |= {"n_candidates": 2 * k if policy == "rerank" else k, "use_tables": i == 0}
        settings["use_tables"] |= policy != "estimate"
        layer.retrieval = Retrieval(n_out, n_in, settings, np.random.RandomState(i))
        mean = (0.1 * rng.standard_normal(n_in)).astype(np.float32)
        layer.retrieval.rebuild(layer.w, layer.b, mean, 1.0, 1)
    return layers


def make_rows(n, density=0.4, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, N_FEATURES)) * (rng.random((n, N_FEATURES)) < density)
    x[3:4] = 0  # a row without features
    return x.astype(np.float32)


class Predictor:
    def __init__(self, layers, activation="relu"):
        self.model = Model(layers, activation, "sigmoid")

    def hidden(self, x, n_threads=1, rows=None):
        first, last = rows or (0, x.shape[0])
        return predict.hidden(self.model, InputRows(x), first, last, n_threads)

    def scores(self, x, n_threads=1, rows=None):
        first, last = rows or (0, x.shape[0])
        return predict.scores(self.model, InputRows(x), first, last, n_threads)

    def topk(self, x, k, n_threads=1):
        return predict.topk(self.model, InputRows(x), k, n_threads)

    def all(self, x, k, n_threads=1):
        return [self.hidden(x, n_threads), self.scores(x, n_threads), *self.topk(x, k, n_threads)]


def assert_same_bits(results, others):
    for a, b in zip(results, others, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))


# ----------------------------------------------------------------- twin --


@pytest.mark.parametrize("n", N_ROWS)
@pytest.mark.parametrize("hidden", [(19,), (16, 33), (9, 16, 8)], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_hidden_and_scores_are_the_twins(activation, hidden, n):
    layers, x = make_layers(hidden), make_rows(n)
    predictor = Predictor(layers, activation)
    twin = reference.copy_layers(layers)
    for rows in (x, csr_array(x)):
        h, z = predictor.hidden(rows), predictor.scores(rows)
        assert h.dtype == z.dtype == np.float32
        assert (h.shape, z.shape) == ((n, hidden[-1]), (n, 70))
        np.testing.assert_allclose(h, reference.hidden(twin, x, activation), rtol=1e-5, atol=3e-6)
        np.testing.assert_allclose(z, reference.scores(twin, x, activation), rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("n", N_ROWS)
@pytest.mark.parametrize("n_classes", [1, 2, 70])
def test_topk_is_the_twins_for_every_k(n_classes, n):
    predictor, x = Predictor(make_layers(n_classes=n_classes)), make_rows(n)
    z = predictor.scores(x)
    for k in range(1, n_classes + 1):
        ids, best = predictor.topk(x, k)
        assert (ids.dtype, best.dtype) == (np.int32, np.float32)
        twin_ids, twin_best = reference.topk(z, k)
        np.testing.assert_array_equal(ids, twin_ids)
        assert_same_bits([best], [twin_best])


@pytest.mark.parametrize("n_classes", [511, 512, 513, 1024, 1300])
def test_topk_of_several_blocks_of_neurons(n_classes):
    predictor, x = Predictor(make_layers(n_classes=n_classes)), make_rows(70)
    z = predictor.scores(x)
    for k in sorted({1, 5, 500, 511, 512, min(513, n_classes), n_classes - 1, n_classes}):
        if k <= n_classes:
            ids, best = predictor.topk(x, k)
            twin_ids, twin_best = reference.topk(z, k)
            np.testing.assert_array_equal(ids, twin_ids)
            assert_same_bits([best], [twin_best])


@pytest.mark.parametrize("n_classes", [10, 70, 1100])
@pytest.mark.parametrize("n_distinct", [1, 2, 7])
def test_ties_go_to_the_lower_id(n_classes, n_distinct):
    # Only a few different neurons, whose copies have random ids.
    layers = make_layers(n_classes=n_classes)
    output = layers[-1]
    kind = np.random.default_rng(2).integers(0, n_distinct, n_classes)
    output.w[:], output.b[:] = output.w[kind], output.b[kind]
    predictor, x = Predictor(layers), make_rows(9)
    z = predictor.scores(x)
    assert max(len(np.unique(row)) for row in z) <= n_distinct
    for k in [*range(1, 11), n_classes // 2, n_classes]:
        ids, best = predictor.topk(x, k)
        twin_ids, twin_best = reference.topk(z, k)
        np.testing.assert_array_equal(ids, twin_ids)
        assert_same_bits([best], [twin_best])
    if n_distinct == 1:
        np.testing.assert_array_equal(ids, np.tile(np.arange(n_classes), (9, 1)))


def test_topk_of_infinite_scores():
    layers = make_layers()
    layers[-1].b[[5, 9]] = np.inf
    layers[-1].b[10:] = -np.inf
    ids, best = Predictor(layers).topk(make_rows(3), 70)
    assert (ids[:, :2] == [5, 9]).all() and (best[:, :2] == np.inf).all()
    np.testing.assert_array_equal(ids[:, 10:], np.tile(np.arange(10, 70), (3, 1)))


# -------------------------------------------------- sparse hidden layers --


@pytest.mark.parametrize("n", N_ROWS)
@pytest.mark.parametrize(
    ("hidden", "n_active"),
    [((19,), (5,)), ((16, 33), (0, 7)), ((33, 16), (4, 0)), ((40, 30, 20), (9, 1, 20))],
    ids=str,
)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_sparse_layers_are_the_twins(activation, hidden, n_active, n):
    layers, x = make_sparse_layers(hidden, n_active), make_rows(n)
    predictor = Predictor(layers, activation)
    twin = reference.copy_layers(layers)
    for rows in (x, csr_array(x)):
        h, z = predictor.hidden(rows), predictor.scores(rows)
        assert h.dtype == z.dtype == np.float32
        if n_active[-1]:
            assert issparse(h) and h.format == "csr" and h.nnz == n * n_active[-1]
            h = h.toarray()
        assert (h.shape, z.shape) == ((n, hidden[-1]), (n, 70))
        np.testing.assert_allclose(h, reference.hidden(twin, x, activation), rtol=1e-5, atol=3e-6)
        np.testing.assert_allclose(z, reference.scores(twin, x, activation), rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize(("policy", "family"), POLICIES)
@pytest.mark.parametrize("n_active", [(12, 9), (12, 0), (0, 9), (1, 1), (39, 29)], ids=str)
def test_sparse_layers_compute_what_they_choose(policy, family, n_active):
    layers, x = make_sparse_layers((40, 30), n_active, policy, family), make_rows(130)
    predictor = Predictor(layers)
    h = predictor.hidden(csr_array(x))
    first = Predictor([layers[0], layers[1]]).hidden(csr_array(x))
    if n_active[0]:
        assert (np.diff(first.indptr) == n_active[0]).all()
        first = first.toarray()
    if n_active[1]:
        # As many distinct neurons as wanted, each with its exact activation.
        assert (np.diff(h.indptr) == n_active[1]).all()
        ids = h.indices.reshape(130, n_active[1])
        assert all(len(set(row)) == n_active[1] for row in ids)
        z = first @ layers[1].w.T + layers[1].b
        expected = np.maximum(np.take_along_axis(z, ids, axis=1), 0)
        np.testing.assert_allclose(h.data.reshape(ids.shape), expected, rtol=1e-5, atol=3e-6)
        h = h.toarray()
    z = h @ layers[2].w.T + layers[2].b
    np.testing.assert_allclose(predictor.scores(csr_array(x)), z, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize(("policy", "family"), POLICIES)
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("n_active", [(12, 9), (12, 0), (0, 9)], ids=str)
def test_sparse_rows_depend_on_themselves_alone(policy, family, sparse, n_active):
    layers = make_sparse_layers((40, 30), n_active, policy, family, n_classes=533)
    predictor, x = Predictor(layers), make_rows(130)

    def everything(rows, n_threads=1):
        rows = csr_array(rows) if sparse else rows
        h, *rest = predictor.all(rows, 7, n_threads)
        return [h.toarray() if n_active[1] else h, *rest]

    whole = everything(x)
    assert_same_bits(everything(x, 2), whole)
    rng = np.random.default_rng(3)
    subsets = [rng.permutation(130), *([i] for i in (0, 3, 63, 64, 129)), [5, 5, 5, 5, 5]]
    for rows in [*subsets, rng.choice(130, 65)]:
        assert_same_bits(everything(x[rows]), [result[rows] for result in whole])


# ------------------------------------------------------------ bit-equal --


@pytest.mark.parametrize("n", N_ROWS)
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
def test_two_threads_are_one_thread(n, sparse):
    predictor, x = Predictor(make_layers((16, 33))), make_rows(n)
    x = csr_array(x) if sparse else x
    assert_same_bits(predictor.all(x, 5, 1), predictor.all(x, 5, 2))


@pytest.mark.parametrize("n", N_ROWS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense_and_csr_give_the_same_bits(activation, n):
    predictor, x = Predictor(make_layers((16, 33)), activation), make_rows(n)
    assert_same_bits(predictor.all(x, 5), predictor.all(csr_array(x), 5))


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
def test_a_row_is_the_same_in_any_subset_and_order(sparse):
    predictor, x = Predictor(make_layers((16, 33), n_classes=533)), make_rows(130)
    whole = predictor.all(csr_array(x) if sparse else x, 7)
    rng = np.random.default_rng(3)
    subsets = [rng.permutation(130), *([i] for i in (0, 3, 63, 64, 129)), [5, 5, 5, 5, 5]]
    subsets += [rng.choice(130, n) for n in (2, 3, 64, 65, 127)]
    for rows in subsets:
        part = csr_array(x[rows]) if sparse else x[rows]
        assert_same_bits(predictor.all(part, 7), [result[rows] for result in whole])


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize(
    ("first", "last"), [(0, 0), (0, 1), (0, 64), (1, 65), (60, 70), (65, 130), (130, 130)]
)
def test_a_range_of_rows(first, last, sparse):
    predictor, x = Predictor(make_layers((16, 33))), make_rows(130)
    x = csr_array(x) if sparse else x
    whole = predictor.hidden(x), predictor.scores(x)
    rows = (first, last)
    for n_threads in (1, 2):
        part = predictor.hidden(x, n_threads, rows), predictor.scores(x, n_threads, rows)
        assert_same_bits(part, [result[first:last] for result in whole])


def test_a_neuron_scores_the_same_in_any_layer():
    # The first 100 of 533 output neurons alone: another tile, the same score.
    layers, x = make_layers(n_classes=533), make_rows(20)
    short = make_layers(n_classes=533)
    output = short[-1]
    output.w, output.b, output.n_out = output.w[:101].copy(), output.b[:101].copy(), 101
    output.w_m, output.w_v, output.steps = output.w_m[:101], output.w_v[:101], output.steps[:102]
    output.b_m, output.b_v = output.b_m[:101], output.b_v[:101]
    whole = Predictor(layers).scores(x)
    assert_same_bits([Predictor(short).scores(x)], [np.ascontiguousarray(whole[:, :101])])


def test_prediction_changes_nothing_and_reads_read_only_arrays():
    layers, x = make_layers(), make_rows(65)
    before = [layer.w.copy() for layer in layers]
    predictor = Predictor(layers)
    expected = predictor.all(x, 5)
    x.flags.writeable = False
    assert_same_bits(predictor.all(x, 5), expected)
    rows = csr_array(x)
    for array in (rows.data, rows.indices, rows.indptr):
        array.flags.writeable = False
    assert_same_bits(predictor.all(rows, 5), expected)
    rows.indices, rows.indptr = rows.indices.astype(np.int64), rows.indptr.astype(np.int64)
    assert_same_bits(predictor.all(rows, 5), expected)
    for layer, w in zip(layers, before, strict=True):
        np.testing.assert_array_equal(layer.w, w)
