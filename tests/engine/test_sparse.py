"""Micro-batches with sparse hidden layers against a twin, the twin against finite differences.

The retrieval is exact or ranks codes without tables, so that no neuron is chosen at random.
"""

import itertools

import numpy as np
import pytest
from helpers.layers import copied
from scipy.sparse import csr_array
from twins import engine as reference
from twins.random import SplitMix64

from slide._base.rows import InputRows
from slide._core import Trainer
from slide._engine import predict
from slide._engine.model import Model
from slide._hashing.retrieval import Retrieval
from slide._network.layer import Layer

ARRAYS = ("w", "b", "w_m", "w_v", "b_m", "b_v")
N_FEATURES, N_CLASSES, N_ROWS, MICRO_BATCH = 37, 50, 20, 8
# Width and active neurons (0: dense) of every hidden layer.
NETWORKS = {
    "sparse": [(40, 9)],
    "sparse-sparse-sparse": [(40, 9), (35, 8), (30, 7)],
    "dense-sparse-dense": [(17, 0), (40, 9), (16, 0)],
    "sparse-dense": [(40, 9), (16, 0)],
    "dense-sparse": [(16, 0), (40, 9)],
    "sparse-dense-sparse": [(16, 7), (12, 0), (9, 3)],
    "one-all-two": [(16, 1), (12, 12), (9, 2)],
}
OUTPUTS = {"all": {}, "tail": {"all_neurons": False, "tail_size": 9}}

each_network = pytest.mark.parametrize("network", NETWORKS)
each_input = pytest.mark.parametrize("sparse_x", [False, True], ids=["dense_x", "csr"])
each_output = pytest.mark.parametrize("output", OUTPUTS)
each_activation = pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "logistic"])


@pytest.fixture
def base(base):
    return {**base, "micro_batch": MICRO_BATCH, "epsilon": 1e-6}


def make_retrieval(layer, policy, n_wanted, n_candidates):
    settings = {
        "policy": policy, "hash_family": "simhash", "n_tables": 12, "n_hash_bits": 5,
        "use_tables": False, "n_wanted": n_wanted, "n_candidates": n_candidates,
        "bucket_limit": 32, "min_collisions": 2, "transform": True,
    }  # fmt: skip
    retrieval = Retrieval(layer.n_out, layer.n_in, settings, np.random.RandomState(3))
    mean = np.full(layer.n_in, 0.1, np.float32)
    retrieval.rebuild(layer.w, layer.b, mean, 1.0, 1)
    return retrieval


def make_layers(hidden, policy="exact", more_candidates=0, seed=0):
    """Random layers, with moments as in the middle of a training."""
    rng = np.random.default_rng(seed)
    sizes = [*hidden, (N_CLASSES, 0)]
    layers, n_in = [], N_FEATURES
    for i, (n_out, n_active) in enumerate(sizes):
        layer = Layer.zeros(n_in, n_out, by_feature=i == 0 and not n_active, n_active=n_active)
        # Small weights: a label whose sigmoid rounds to 1 would have no gradient in float32.
        layer.w[:] = rng.standard_normal(layer.w.shape) / np.sqrt(n_in)
        layer.b[:] = 0.3 * rng.standard_normal(n_out)
        for name in ("w_m", "b_m"):
            array = getattr(layer, name)
            array[:] = 0.02 * rng.standard_normal(array.shape)
        for name in ("w_v", "b_v"):
            array = getattr(layer, name)
            array[:] = rng.uniform(1e-4, 4e-4, array.shape)
        layer.steps[:] = rng.integers(0, 9, layer.steps.shape)
        layer.rate, layer.bias_rate = 0.5 + i, 0.25 + i
        if n_active:
            layer.retrieval = make_retrieval(layer, policy, n_active, n_active + more_candidates)
        layers.append(layer)
        n_in = n_out
    return layers


def make_problem(sparse_x, n=N_ROWS, seed=1):
    """Dense x and labels. Row 3 has no feature, rows 2 and 6 have no label."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, N_FEATURES))
    if sparse_x:
        x *= rng.random((n, N_FEATURES)) < 0.3
    x[3 % n] = 0
    labels = [
        [int(label) for label in rng.choice(N_CLASSES, rng.integers(1, 4), replace=False)]
        for _ in range(n)
    ]
    labels[2 % n] = labels[6 % n] = []
    return x.astype(np.float32), labels


def make_trainer(layers, x, labels, settings, n_threads=1):
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in labels])])
    indices = np.array([label for row in labels for label in row], np.int32)
    rows = InputRows(x)
    model = Model(layers, settings["activation"], settings["loss"])
    settings = {"dropout": [0.0] * (len(layers) - 1), **settings}
    return Trainer(model, rows, indptr.astype(np.int64), indices, None, settings, n_threads)


def engines_choice(layers, x, activation):
    """The active sets of every hidden layer in a prediction: None or ids (n, n_active)."""
    rows, active = InputRows(x), []
    for i, layer in enumerate(layers[:-1]):
        ids = None
        if layer.n_active:
            model = Model(layers[: i + 2], activation, "sigmoid")
            ids = predict.hidden(model, rows, 0, x.shape[0], 1).indices.reshape(x.shape[0], -1)
        active.append(ids)
    return active


def assert_is_twins(layers, others):
    for layer, other in zip(layers, others, strict=True):
        np.testing.assert_array_equal(layer.steps, other.steps)
        for name in ARRAYS:
            rtol, atol = {"v": (1e-4, 1e-9), "m": (1e-4, 1e-6)}.get(name[-1], (1e-5, 5e-6))
            np.testing.assert_allclose(
                getattr(layer, name), getattr(other, name), rtol=rtol, atol=atol, err_msg=name
            )


def check_against_twin(network, sparse_x, settings, learning_rate=0.01, **options):
    """Check three micro-batches, the last one short; returns the layers before and after."""
    x, labels = make_problem(sparse_x)
    layers = make_layers(NETWORKS[network], **options)
    before = copied(layers)
    others = reference.copy_layers(layers)
    given = csr_array(x) if sparse_x else x
    order = np.random.default_rng(0).permutation(N_ROWS).astype(np.int32)
    trainer = make_trainer(layers, given, labels, settings)
    for counter in range(3):
        rows = order[counter * MICRO_BATCH : (counter + 1) * MICRO_BATCH]
        active = None  # the twin chooses by itself
        if options.get("policy", "exact") != "exact":
            active = engines_choice(layers, given[rows], settings["activation"])
        tally = trainer.run(rows, 7 + counter, learning_rate)
        loss, _ = reference.train_micro_batch(
            others, x[rows], [labels[row] for row in rows], settings, 7 + counter,
            learning_rate, active=active, sparse_x=sparse_x,
        )  # fmt: skip
        assert tally["loss"] == pytest.approx(loss, rel=1e-5)
        assert_is_twins(layers, others)
    return before, layers


# ------------------------------------------------------ the twin itself --


@each_network
@each_activation
@pytest.mark.parametrize(
    ("loss", "tail"), [("softmax", False), ("softmax", True), ("sigmoid", True)]
)
def test_the_twins_gradients_are_its_losses_differences(network, activation, loss, tail):
    rng = np.random.default_rng(8)
    x, labels = make_problem(sparse_x=True, n=8)
    layers = reference.copy_layers(make_layers(NETWORKS[network], seed=3))
    output, n_exact = np.arange(N_CLASSES), N_CLASSES
    if tail:
        random = SplitMix64(4)
        output, n_exact = reference.choose_active(labels, [], 20, N_CLASSES, random)
    active = [
        np.array([rng.choice(layer.n_out, layer.n_active, replace=False) for _ in x])
        if layer.n_active
        else None
        for layer in layers[:-1]
    ]

    def compute():
        return reference.loss_and_gradients(
            layers, x, labels, np.ones(len(x)), activation, loss, output, n_exact, active
        )

    _, parts = compute()
    h = 1e-6
    for layer, (*_, dw, db) in zip(layers, parts, strict=True):
        for array, gradient in ((layer.w, dw), (layer.b, db)):
            places = np.flatnonzero(gradient)
            for i in [*rng.choice(places, 6), *rng.choice(array.size, 2)]:
                middle = array.flat[i]
                losses = []
                for value in (middle + h, middle - h):
                    array.flat[i] = value
                    losses.append(compute()[0] / len(x))
                array.flat[i] = middle
                difference = (losses[0] - losses[1]) / (2 * h)
                assert difference == pytest.approx(gradient.flat[i], rel=1e-5, abs=1e-8)


# --------------------------------------------------- engine against twin --


@each_network
@each_input
@each_output
def test_pruned_gradients(base, network, sparse_x, output):
    settings = {**base, **OUTPUTS[output], "activation": "tanh", "loss": "sigmoid", "prune": 1.0}
    check_against_twin(network, sparse_x, settings)


@each_network
@each_input
@each_output
@pytest.mark.parametrize("solver", ["adam", "sgd", "adagrad"])
@pytest.mark.parametrize("alpha", [0.0, 0.03])
def test_solvers(base, network, sparse_x, output, solver, alpha):
    settings = {**base, **OUTPUTS[output], "solver": solver, "alpha": alpha}
    check_against_twin(network, sparse_x, settings)


@each_network
@each_input
@each_activation
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_activations_and_losses(base, network, sparse_x, activation, loss):
    settings = {**base, **OUTPUTS["tail"], "activation": activation, "loss": loss}
    check_against_twin(network, sparse_x, settings)


@each_network
@each_input
@pytest.mark.parametrize("more", [0, 11], ids=["estimates_alone", "the_best_of_more"])
def test_neurons_that_estimates_chose(base, network, sparse_x, more):
    check_against_twin(
        network, sparse_x, {**base, **OUTPUTS["tail"]}, policy="estimate", more_candidates=more
    )


@each_network
@pytest.mark.parametrize("micro_batch", [1, 20, 64])
def test_micro_batch_sizes(base, network, micro_batch):
    x, labels = make_problem(sparse_x=True)
    settings = {**base, "micro_batch": micro_batch}
    layers = make_layers(NETWORKS[network])
    others = reference.copy_layers(layers)
    order = np.arange(N_ROWS, dtype=np.int32)
    make_trainer(layers, csr_array(x), labels, settings).run(order, 0, 0.003)
    for counter, first in enumerate(range(0, N_ROWS, micro_batch)):
        rows = order[first : first + micro_batch]
        reference.train_micro_batch(
            others, x[rows], [labels[row] for row in rows], settings, counter, 0.003,
            sparse_x=True,
        )  # fmt: skip
    assert_is_twins(layers, others)


def test_every_neuron_active_is_a_dense_network(base):
    # Sparse hidden layers in which all neurons are active, against dense layers.
    x, labels = make_problem(sparse_x=False)
    settings = {**base, "activation": "tanh"}
    order = np.arange(N_ROWS, dtype=np.int32)
    sparse = make_layers([(20, 20), (15, 15)])
    dense = make_layers([(20, 0), (15, 0)])
    for a, b in zip(sparse, dense, strict=True):
        for name in ARRAYS:
            source = getattr(a, name)
            if b.by_feature and name in ("w", "w_m"):
                source = source.T
            if name != "w_v" or not b.by_feature:
                getattr(b, name)[:] = source
        if not b.by_feature:
            b.steps[:] = a.steps
    sgd = {**settings, "solver": "sgd"}
    dense[0].steps[:] = 0
    make_trainer(sparse, x, labels, sgd).run(order, 0, 0.01)
    make_trainer(dense, x, labels, sgd).run(order, 0, 0.01)
    for a, b in zip(sparse, dense, strict=True):
        np.testing.assert_allclose(a.coefs, b.coefs, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(a.b, b.b, rtol=1e-4, atol=1e-6)


# ------------------------------------------------------ what is computed --


@each_input
@pytest.mark.parametrize(("policy", "more"), [("exact", 0), ("estimate", 0), ("estimate", 9)])
def test_training_and_prediction_choose_the_same_neurons(base, sparse_x, policy, more):
    # With tanh every active neuron has a gradient, so the steps of its row show that it was active.
    x, labels = make_problem(sparse_x)
    labels = [row or [1] for row in labels]
    given = csr_array(x) if sparse_x else x
    layers = make_layers([(40, 9), (35, 8), (30, 7)], policy, more)
    settings = {**base, "activation": "tanh", "micro_batch": 1}
    expected = engines_choice(layers, given, "tanh")
    trainer = make_trainer(layers, given, labels, settings)
    for i in range(N_ROWS):
        before = [layer.steps.copy() for layer in layers[:-1]]
        trainer.run(np.array([i], np.int32), i, 0.0)
        for layer, steps, ids in zip(layers, before, expected, strict=False):
            chosen = np.flatnonzero(layer.steps[:-1] - steps[:-1])
            assert len(chosen) == layer.n_active
            np.testing.assert_array_equal(chosen, np.sort(ids[i]))


@pytest.mark.parametrize("solver", ["adam", "sgd", "adagrad"])
def test_what_takes_no_part_keeps_its_bits(base, solver):
    x, labels = make_problem(sparse_x=True, n=4)
    x[:, 10:20] = 0
    layers = make_layers([(40, 3), (30, 3)])
    before = copied(layers)
    active = engines_choice(layers, csr_array(x), "tanh")
    settings = {**base, "solver": solver, "activation": "tanh", "alpha": 0.1}
    order = np.arange(4, dtype=np.int32)
    make_trainer(layers, csr_array(x), labels, settings).run(order, 0, 0.01)
    for layer, old, ids in zip(layers, before, active, strict=False):
        rest = np.setdiff1d(np.arange(layer.n_out), ids)
        assert len(rest) > 5
        for name in ARRAYS:
            a, b = getattr(layer, name), getattr(old, name)
            np.testing.assert_array_equal(a[rest].view(np.int32), b[rest].view(np.int32))
        assert (layer.steps[rest] == old.steps[rest]).all()
    np.testing.assert_array_equal(layers[0].w[:, 10:20], before[0].w[:, 10:20])
    columns = np.setdiff1d(np.arange(40), active[0])
    np.testing.assert_array_equal(layers[1].w[:, columns], before[1].w[:, columns])
    columns = np.setdiff1d(np.arange(30), active[1])
    np.testing.assert_array_equal(layers[2].w[:, columns], before[2].w[:, columns])
    assert (layers[2].w != before[2].w).any()


@each_network
@each_input
def test_one_thread_repeats_itself(base, network, sparse_x):
    x, labels = make_problem(sparse_x)
    order, results = np.arange(N_ROWS, dtype=np.int32), []
    for _ in range(2):
        layers = make_layers(NETWORKS[network], "estimate", 5)
        given = csr_array(x) if sparse_x else x
        make_trainer(layers, given, labels, {**base, **OUTPUTS["tail"]}).run(order, 0, 0.01)
        results.append(layers)
    for a, b in zip(*results, strict=True):
        for name in (*ARRAYS, "steps"):
            np.testing.assert_array_equal(
                getattr(a, name).view(np.int32), getattr(b, name).view(np.int32)
            )


@each_network
@each_input
def test_prediction_is_the_twins(network, sparse_x):
    x, _ = make_problem(sparse_x, n=70)
    layers = make_layers(NETWORKS[network])
    others = reference.copy_layers(layers)
    for activation in ("relu", "logistic"):
        model = Model(layers, activation, "sigmoid")
        rows = InputRows(csr_array(x) if sparse_x else x)
        h = reference.hidden(others, x, activation)
        found = predict.hidden(model, rows, 0, 70, 1)
        found = found.toarray() if layers[-2].n_active else found
        np.testing.assert_allclose(found, h, rtol=1e-5, atol=1e-5)
        scores = reference.scores(others, x, activation)
        np.testing.assert_allclose(
            predict.scores(model, rows, 0, 70, 1), scores, rtol=1e-5, atol=2e-5
        )


def test_multiply_adds_by_hand(base):
    # 1 row of 2 values, one hidden layer of 3 of which 1 is active, 4 classes.
    layers = [Layer.zeros(5, 3, False, 1), Layer.zeros(3, 4, False)]
    layers[0].w[:] = 1
    layers[0].w[2] = 2
    layers[1].w[:] = 1
    layers[0].retrieval = make_retrieval(layers[0], "exact", 1, 1)
    x = np.array([[1, 0, 2, 0, 0]], np.float32)
    order = np.zeros(1, np.int32)
    # Exact choice: 3 neurons x 2 values. Output, 4 neurons x 1 value: forward, down and gradient,
    # and 4 for the update of each weight. Hidden neuron: gradient of 2 weights, 4 for each update.
    forward = 3 * 2 + 4 * 1
    tally = make_trainer(layers, csr_array(x), [[1]], base).run(order, 0, 0.01)
    assert tally["multiply_adds"] == forward + 4 * (1 + 1 + 4) + 2 * (1 + 4)
    # A dense network reads 2 values of X: 2 x 3 forward and back, the output's 3 x 4 three times.
    assert tally["dense_multiply_adds"] == 2 * 2 * 3 + 3 * 3 * 4 + (15 + 3 + 12 + 4) * 4


def test_dropout_drops_active_neurons_only(base):
    x, labels = make_problem(sparse_x=True)
    layers = make_layers([(40, 9), (35, 8)])
    before = copied(layers)
    settings = {**base, "activation": "tanh", "dropout": [0.5, 0.5], "micro_batch": 1}
    order = np.arange(N_ROWS, dtype=np.int32)
    make_trainer(layers, csr_array(x), labels, settings).run(order, 0, 0.0)
    for layer, old in zip(layers[:-1], before, strict=False):
        n = (layer.steps - old.steps).sum()
        most = N_ROWS * layer.n_active
        assert 0.3 * most < n < 0.7 * most


def test_threads_lose_no_sample(base):
    n = 403
    x, labels = make_problem(sparse_x=True, n=n)
    layers = make_layers([(40, 9), (35, 8), (30, 7)], "estimate", 5)
    trainer = make_trainer(layers, csr_array(x), labels, {**base, **OUTPUTS["tail"]}, n_threads=2)
    for _ in range(3):
        tally = trainer.run(np.random.default_rng(0).permutation(n).astype(np.int32), 0, 0.01)
        assert (tally["n_samples"], tally["n_micro_batches"]) == (n, -(-n // MICRO_BATCH))
        assert np.isfinite(tally["loss"])
    for layer, name in itertools.product(layers, ARRAYS):
        assert np.isfinite(getattr(layer, name)).all()


def test_forced_instruction_sets_train_the_same(rerun_with_simd):
    rerun_with_simd("solvers and tail and 0.03 or best_of_more or prediction_is")
