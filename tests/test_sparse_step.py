"""One micro-batch through sparse hidden layers against a float64 twin.

Whose neurons a layer computes is the search's affair: the twin asks the engine's own prediction,
which with the policies here chooses the same as training.
"""

import copy
import itertools

import numpy as np
import pytest
from scipy.sparse import csr_array
from slide._retrieval import Retrieval

from slide import _core, _model, _predict
from slide import _reference as reference
from slide._network import Layer

N, N_FEATURES, N_CLASSES = 12, 37, 23
SEARCH = {
    "hash_family": "simhash",
    "n_tables": 8,
    "n_hash_bits": 8,
    "use_tables": False,
    "bucket_limit": 9,
    "min_collisions": 1,
    "transform": True,
}
NETWORKS = [((19,), (6,)), ((18, 11), (5, 4)), ((18, 11), (0, 4)), ((18, 11), (5, 0))]
NETWORKS += [((16, 12, 9), (7, 0, 3)), ((16, 12, 9), (1, 12, 2))]


@pytest.fixture
def base(base):
    return {**base, "micro_batch": N}


def make_layers(hidden, n_active, policy):
    rng = np.random.default_rng(0)
    layers = []
    shapes = itertools.pairwise([N_FEATURES, *hidden, N_CLASSES])
    for i, ((n_in, n_out), k) in enumerate(zip(shapes, (*n_active, 0), strict=True)):
        layer = Layer.zeros(n_in, n_out, i == 0 and k == 0, k)
        # No tanh may round to 1: in float32 such a neuron has no gradient at all.
        layer.w[:] = rng.standard_normal(layer.w.shape) / np.sqrt(n_in)
        layer.b[:] = 0.3 * rng.standard_normal(n_out)
        for name in ("w_m", "b_m"):
            getattr(layer, name)[:] = 0.02 * rng.standard_normal(getattr(layer, name).shape)
        for name in ("w_v", "b_v"):
            getattr(layer, name)[:] = rng.uniform(1e-4, 4e-4, getattr(layer, name).shape)
        layer.steps[:] = rng.integers(0, 9, layer.steps.shape)
        layer.rate, layer.bias_rate = 0.5 + i, 0.25 + i
        if k:
            search = {**SEARCH, "policy": policy, "n_wanted": k, "n_candidates": k}
            layer.retrieval = Retrieval(n_out, n_in, search, np.random.RandomState(i))
            layer.retrieval.rebuild(layer.w, layer.b, np.full(n_in, 0.1, np.float32), 1.0, 1)
        layers.append(layer)
    return layers


def active_of(layers, x, activation):
    """For every hidden layer which neurons the engine computes for a row, bool (n, n_out)."""
    rows, sets = _model.InputRows(x), []
    for i in range(1, len(layers)):
        model = _model.Model(layers[: i + 1], activation, "sigmoid")
        h = _predict.hidden(model, rows, 0, N, 1)
        active = np.ones((N, layers[i - 1].n_out), bool)
        if layers[i - 1].n_active:
            active = np.zeros(h.shape, bool)
            active[np.repeat(np.arange(N), np.diff(h.indptr)), h.indices] = True
        sets.append(active)
    return sets


def twin_step(layers, x, is_csr, labels, active, activation, settings, learning_rate):
    """Train float64 layers on one micro-batch, in place; returns the summed loss."""
    inputs = [reference.float64(x)]
    for layer, used in zip(layers[:-1], active, strict=True):
        z = inputs[-1] @ (layer.w if layer.by_feature else layer.w.T) + layer.b
        inputs.append(reference.activate(activation, z) * used)
    z = inputs[-1] @ layers[-1].w.T + layers[-1].b
    pairs = [reference.sigmoid_loss(*pair) for pair in zip(z, labels, strict=True)]
    delta = np.array([gradient for _, gradient in pairs]) / len(x)
    solver = reference.Solver(settings, learning_rate, len(x))
    sparse_input = [is_csr, *(layer.n_active > 0 for layer in layers[:-1])]
    for i in range(len(layers) - 1, -1, -1):
        layer, below, rows = layers[i], inputs[i], np.arange(layers[i].n_out)
        x_delta = delta @ (layer.w.T if layer.by_feature else layer.w)
        db = delta.sum(axis=0)
        if layer.by_feature:
            features = np.flatnonzero((below != 0).any(axis=0))
            reference.update_rows(layer, features, below.T @ delta, solver)
            layer.steps[-1] += 1
            reference.update_biases(layer, rows, layer.steps[-1], db, solver)
        else:
            if layer.n_active or (i and sparse_input[i]):
                rows = rows[(delta != 0).any(axis=0)]  # those with a gradient
            before = copy.deepcopy(layer)
            if sparse_input[i]:
                update_elements(layer, rows, below, delta, solver)
            else:
                reference.update_rows(layer, rows, delta.T @ below, solver)
            np.testing.assert_array_equal(np.flatnonzero(layer.steps != before.steps), rows)
            reference.update_biases(layer, rows, layer.steps[rows], db, solver)
        if i:
            slope = reference.activation_slope(activation, below)
            delta = x_delta * slope * active[i - 1]
    return sum(loss for loss, _ in pairs)


def update_elements(layer, rows, below, delta, solver):
    """`update_rows` of the elements alone whose input some sample with a gradient had."""
    for row in rows:
        columns = (below[delta[:, row] != 0] != 0).any(axis=0)
        layer.steps[row] += 1
        g = (delta[:, row] @ below + solver.decay * layer.w[row]) * columns
        step, layer.w_v[row] = solver.step_size(
            layer.rate, layer.steps[row], layer.w_v[row], (g**2).mean()
        )
        w, m = reference.momentum(layer.w[row], layer.w_m[row], g, step, solver.beta_1)
        layer.w[row, columns], layer.w_m[row, columns] = w[columns], m[columns]


def check(settings, hidden, n_active, sparse, policy="exact"):
    rng = np.random.default_rng(3)
    settings = {**settings, "dropout": [0.0] * len(hidden)}
    activation = settings["activation"]
    layers = make_layers(hidden, n_active, policy)
    x = rng.standard_normal((N, N_FEATURES)) * (rng.random((N, N_FEATURES)) < 0.3)
    x[3] = 0
    x = x.astype(np.float32)
    rows = csr_array(x) if sparse else x
    labels = [list(rng.choice(N_CLASSES, n, replace=False)) for n in rng.integers(0, 4, N)]
    indptr = np.cumsum([0, *map(len, labels)]).astype(np.int64)
    indices = np.concatenate(labels).astype(np.int32)
    active = active_of(layers, rows, activation)
    twin = reference.copy_layers(layers)
    model = _model.Model(layers, activation, "sigmoid")
    trainer = _core.Trainer(model, _model.InputRows(rows), indptr, indices, None, settings, 1)
    tally = trainer.run(np.arange(N, dtype=np.int32), 0, 0.01)
    loss = twin_step(twin, x, sparse, labels, active, activation, settings, 0.01)
    assert tally["loss"] == pytest.approx(loss, rel=1e-5)
    for i, (layer, other) in enumerate(zip(layers, twin, strict=True)):
        np.testing.assert_array_equal(layer.steps, other.steps, err_msg=f"layer {i}")
        for name, atol in {"w": 3e-6, "b": 3e-6, "w_m": 1e-6, "b_m": 1e-6, "w_v": 1e-9}.items():
            np.testing.assert_allclose(
                getattr(layer, name), getattr(other, name), rtol=1e-4, atol=atol,
                err_msg=f"layer {i}, {name}",
            )  # fmt: skip
        np.testing.assert_allclose(layer.b_v, other.b_v, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize(("hidden", "n_active"), NETWORKS, ids=str)
@pytest.mark.parametrize("policy", ["exact", "estimate"])
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "logistic"])
def test_training_is_the_twins(base, activation, policy, hidden, n_active, sparse):
    check({**base, "activation": activation}, hidden, n_active, sparse, policy)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize(("hidden", "n_active"), NETWORKS, ids=str)
@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize("solver", ["adam", "sgd", "adagrad"])
def test_solvers(base, solver, alpha, hidden, n_active, sparse):
    check({**base, "solver": solver, "alpha": alpha}, hidden, n_active, sparse)
