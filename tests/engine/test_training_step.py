"""Micro-batches of the engine against a float64 twin; the twin against finite differences."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from helpers.layers import copied
from scipy.sparse import csr_array
from twins import engine as reference
from twins.random import SplitMix64

from slide._base.rows import InputRows
from slide._core import Trainer
from slide._engine import predict
from slide._engine.entry_points import OutputRows
from slide._engine.model import Model
from slide._hashing.retrieval import Retrieval
from slide._network.layer import Layer

ARRAYS = ("w", "b", "w_m", "w_v", "b_m", "b_v", "steps")
N_FEATURES, N_CLASSES, MICRO_BATCH = 37, 70, 8
ALL_NEURONS = {}
WITH_TAIL = {"all_neurons": False, "tail_size": 11}
HARD = {"n_hard": 3}
RETRIEVAL = {
    "policy": "rerank",
    "hash_family": "simhash",
    "n_tables": 10,
    "n_hash_bits": 3,
    "use_tables": True,
    "n_wanted": 0,
    "n_candidates": 15,
    "bucket_limit": 100,
    "min_collisions": 2,
    "transform": True,
    "n_neurons": N_CLASSES,  # only the twin reads it
}


@pytest.fixture
def base(base):
    # Dropout of the first hidden layers; the others have none.
    return {**base, "micro_batch": MICRO_BATCH, "dropout": []}


def complete(settings, layers):
    """The settings with a dropout rate for every hidden layer."""
    rates = settings["dropout"]
    return {**settings, "dropout": [*rates, *[0.0] * (len(layers) - 1 - len(rates))]}


def make_layers(widths, seed=0, moments=True):
    """Random layers, with moments as in the middle of a training."""
    rng = np.random.default_rng(seed)
    layers = []
    for i, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        layer = Layer.zeros(n_in, n_out, by_feature=i == 0)
        layer.w[:] = rng.standard_normal(layer.w.shape) / np.sqrt(n_in)
        layer.b[:] = 0.3 * rng.standard_normal(n_out)
        if moments:
            for name in ("w_m", "b_m"):
                array = getattr(layer, name)
                array[:] = 0.02 * rng.standard_normal(array.shape)
            for name in ("w_v", "b_v"):
                array = getattr(layer, name)
                array[:] = rng.uniform(1e-4, 4e-4, array.shape)
            layer.steps[:] = rng.integers(0, 9, layer.steps.shape)
        layer.rate, layer.bias_rate = 0.5 + i, 0.25 + i
        layers.append(layer)
    return layers


@dataclass
class Problem:
    """Rows, labels and weights. `x` is dense. Row 3 has no feature, rows 2 and 6 have no label."""

    x: np.ndarray
    labels: list
    weight: np.ndarray

    @property
    def csr(self):
        return csr_array(self.x)

    @property
    def y(self):
        indptr = np.concatenate([[0], np.cumsum([len(row) for row in self.labels])])
        indices = np.array([label for row in self.labels for label in row])
        return indptr.astype(np.int64), indices.astype(np.int32)


def make_problem(n=20, density=1.0, seed=1, n_labels=(0, 1, 1, 2, 5)):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, N_FEATURES)) * (rng.random((n, N_FEATURES)) < density)
    x[3 % n] = 0
    labels = [
        [int(label) for label in rng.choice(N_CLASSES, rng.choice(n_labels), replace=False)]
        for _ in range(n)
    ]
    labels[2 % n] = labels[6 % n] = []
    return Problem(x.astype(np.float32), labels, rng.uniform(0.2, 3, n).astype(np.float32))


def trainer_of(layers, problem, settings, x=None, weight=None, n_threads=1):
    settings = complete(settings, layers)
    model = Model(layers, settings["activation"], settings["loss"])
    x = InputRows(problem.x if x is None else x)
    return Trainer(model, x, *problem.y, weight, settings, n_threads)


def twin_run(layers, problem, settings, order, counter, learning_rate, weight=None):
    """The twin of Trainer.run. Returns the summed loss and the active sets."""
    settings = complete(settings, layers)
    total, active_sets = 0.0, []
    for i, first in enumerate(range(0, len(order), settings["micro_batch"])):
        rows = order[first : first + settings["micro_batch"]]
        loss, active = reference.train_micro_batch(
            layers,
            problem.x[rows],
            [problem.labels[row] for row in rows],
            settings,
            counter + i,
            learning_rate,
            None if weight is None else weight[rows].astype(float),
        )
        total += loss
        active_sets.append(active)
    return total, active_sets


def assert_is_twins(layers, twin):
    for layer, other in zip(layers, twin, strict=True):
        np.testing.assert_array_equal(layer.steps, other.steps)
        for name in ("w_m", "b_m"):
            np.testing.assert_allclose(
                getattr(layer, name), getattr(other, name), rtol=1e-4, atol=1e-6, err_msg=name
            )
        for name in ("w_v", "b_v"):
            np.testing.assert_allclose(
                getattr(layer, name), getattr(other, name), rtol=1e-4, atol=1e-9, err_msg=name
            )
        for name in ("w", "b"):
            np.testing.assert_allclose(
                getattr(layer, name), getattr(other, name), rtol=1e-5, atol=3e-6, err_msg=name
            )


def assert_same_bits(layers, others, names=ARRAYS):
    for i, (layer, other) in enumerate(zip(layers, others, strict=True)):
        for name in names:
            a, b = getattr(layer, name).view(np.int32), getattr(other, name).view(np.int32)
            np.testing.assert_array_equal(a, b, err_msg=f"layer {i}, {name}")


def test_the_entry_point_to_the_output_is_its_twin(base):
    layers = make_layers([N_FEATURES, 19, N_CLASSES])
    rng, ids = np.random.default_rng(3), np.array([5, 60, 0, 33], np.int32)
    delta, x, x_delta = (
        rng.standard_normal((MICRO_BATCH, n)).astype(np.float32) for n in (len(ids), 19, 19)
    )
    twin, before = reference.copy_layers(layers), x_delta.copy()
    solver = reference.Solver(base, 0.01, MICRO_BATCH)
    expected = before + delta @ twin[1].w[ids]
    dw, db = np.zeros((N_CLASSES, 19)), np.zeros(N_CLASSES)
    dw[ids], db[ids] = delta.T.astype(float) @ x, delta.sum(axis=0, dtype=float)
    reference.update_rows(twin[1], ids, dw, solver)
    reference.update_biases(twin[1], ids, twin[1].steps[ids], db, solver)
    output = OutputRows(Model(layers, "relu", "sigmoid"), MICRO_BATCH, base)
    output.update(ids, delta, x, x_delta, 0.01)
    assert_is_twins(layers, twin)
    np.testing.assert_allclose(x_delta, expected, rtol=1e-4, atol=1e-5)


def check_against_twin(
    settings,
    hidden=(19,),
    sparse=False,
    weighted=False,
    moments=True,
    retrieval_settings=None,
    seed=0,
):
    """Check three micro-batches, the last short; returns (before, after, tally, active sets)."""
    problem = make_problem(density=0.3 if sparse else 1.0, seed=seed + 1)
    layers = make_layers([N_FEATURES, *hidden, N_CLASSES], seed, moments)
    if retrieval_settings is not None:
        settings = {**settings, "retrieval": retrieval_settings}
        layers[-1].retrieval = make_retrieval(layers[-1], retrieval_settings)
    before = copied(layers)
    twin = reference.copy_layers(layers)
    order = np.random.default_rng(seed).permutation(20).astype(np.int32)
    options = {
        "x": problem.csr if sparse else None,
        "weight": problem.weight if weighted else None,
    }
    tally = trainer_of(layers, problem, settings, **options).run(order, 7, 0.01)
    loss, active_sets = twin_run(twin, problem, settings, order, 7, 0.01, options["weight"])
    assert tally["loss"] == pytest.approx(loss, rel=1e-5)
    weight = problem.weight.sum(dtype=float) if weighted else 20
    assert tally["weight"] == pytest.approx(weight, rel=1e-6)
    assert (tally["n_samples"], tally["n_micro_batches"]) == (20, 3)
    assert tally["active_neurons"] == sum(len(active) for active in active_sets)
    assert_is_twins(layers, twin)
    return before, layers, tally, active_sets


# ------------------------------------------------------ the twin itself --


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "logistic"])
@pytest.mark.parametrize("case", ["all", "active", "dropout"])
def test_the_twins_gradients_are_its_losses_differences(loss, activation, case):
    rng = np.random.default_rng(8)
    problem = make_problem(n=8)
    layers = reference.copy_layers(make_layers([N_FEATURES, 9, 7, N_CLASSES], seed=3))
    active, n_exact, masks = np.arange(N_CLASSES), N_CLASSES, None
    if case == "active":
        random = SplitMix64(4)
        active, n_exact = reference.choose_active(problem.labels, [], 20, N_CLASSES, random)
        assert len(active) == n_exact + 20
    if case == "dropout":
        random = SplitMix64(4)
        masks = [reference.dropout_mask((8, width), 0.4, random) for width in (9, 7)]

    def compute():
        return reference.loss_and_gradients(
            layers, problem.x, problem.labels, problem.weight, activation, loss, active,
            n_exact, dropout=masks,
        )  # fmt: skip

    _, gradients = compute()
    h = 1e-6
    for layer, (*_, dw, db) in zip(layers, gradients, strict=True):
        for array, gradient in ((layer.w, dw), (layer.b, db)):
            for i in rng.choice(array.size, min(25, array.size), replace=False):
                middle = array.flat[i]
                losses = []
                for value in (middle + h, middle - h):
                    array.flat[i] = value
                    losses.append(compute()[0] / len(problem.x))
                array.flat[i] = middle
                difference = (losses[0] - losses[1]) / (2 * h)
                assert difference == pytest.approx(gradient.flat[i], rel=1e-6, abs=1e-8)


# --------------------------------------------------- engine against twin --


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("hidden", [(19,), (18, 11), (9, 16, 8)], ids=str)
@pytest.mark.parametrize("neurons", [ALL_NEURONS, WITH_TAIL], ids=["all", "active"])
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "logistic"])
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_training_is_the_twins(base, loss, activation, neurons, hidden, sparse):
    check_against_twin({**base, **neurons, "loss": loss, "activation": activation}, hidden, sparse)


@pytest.mark.parametrize("neurons", [ALL_NEURONS, WITH_TAIL], ids=["all", "active"])
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_sample_weights(base, loss, neurons):
    check_against_twin({**base, **neurons, "loss": loss}, (12, 11), sparse=True, weighted=True)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_first_steps_from_zero_moments(base, loss):
    # An epsilon of the gradients' size keeps a step from being only the gradient's sign.
    check_against_twin(
        {**base, **WITH_TAIL, "loss": loss, "epsilon": 0.01}, sparse=True, moments=False
    )


def test_rows_that_have_had_thousands_of_steps(base):
    # The bias corrections come from a table of 8,192 steps, then from their formula.
    problem = make_problem()
    layers = make_layers([N_FEATURES, 13, N_CLASSES])
    for layer in layers:
        layer.steps[:] = np.arange(8192 - 2 * len(layer.steps), 8192, 2) + len(layer.steps)
    twin, order = reference.copy_layers(layers), np.arange(20, dtype=np.int32)
    trainer_of(layers, problem, base).run(order, 0, 0.01)
    twin_run(twin, problem, base, order, 0, 0.01)
    assert_is_twins(layers, twin)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("neurons", [ALL_NEURONS, WITH_TAIL], ids=["all", "active"])
@pytest.mark.parametrize("alpha", [0.0, 0.05])
@pytest.mark.parametrize(
    "solver",
    [
        {"solver": "adam"},
        {"solver": "sgd"},
        {"solver": "sgd", "momentum": 0.0},
        {"solver": "adagrad"},
        {"solver": "adagrad", "epsilon": 0.01},
    ],
    ids=str,
)
def test_solvers(base, solver, alpha, neurons, sparse):
    settings = {**base, **neurons, **solver, "alpha": alpha}
    _, layers, *_ = check_against_twin(settings, (18, 11), sparse, weighted=True)
    # Each setting changes the result.
    for other in ({"solver": "adam", "epsilon": 1e-3}, {"alpha": 0.5}, {"momentum": 0.3}):
        if other == {"momentum": 0.3} and settings["solver"] != "sgd":
            continue
        _, others, *_ = check_against_twin({**settings, **other}, (18, 11), sparse, weighted=True)
        for layer, changed in zip(layers, others, strict=True):
            np.testing.assert_raises(AssertionError, assert_is_twins, [layer], [changed])


@pytest.mark.parametrize("solver", ["sgd", "adagrad"])
def test_solvers_from_zero_moments(base, solver):
    settings = {**base, **WITH_TAIL, "solver": solver, "alpha": 0.1, "epsilon": 0.01}
    check_against_twin(settings, sparse=True, moments=False)


@pytest.mark.parametrize("solver", ["adam", "sgd", "adagrad"])
def test_alpha_is_the_gradient_of_a_penalty(base, solver):
    # Rows without labels only have the penalty: alpha / 2 |W|^2 over a micro-batch's samples.
    problem = make_problem(n_labels=(0,))
    layers = make_layers([N_FEATURES, 13, N_CLASSES], moments=False)
    before = copied(layers)
    settings = {**base, "loss": "softmax", "micro_batch": 20, "solver": solver}
    settings |= {"alpha": 2.0, "momentum": 0.0}
    trainer_of(layers, problem, settings).run(np.arange(20, dtype=np.int32), 0, 0.01)
    for layer, old in zip(layers, before, strict=True):
        g = 2.0 / 20 * old.w.astype(float)
        step = 0.01 * layer.rate
        if solver != "sgd":
            step /= np.sqrt((g**2).mean(axis=1, keepdims=True)) + 1e-8 / layer.rate
        np.testing.assert_allclose(layer.w, old.w - step * g, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(layer.b, old.b)


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "logistic"])
@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_dropout(base, activation, rate):
    for rates in ([rate, rate], [rate, rate / 2], [0.0, rate]):
        settings = {**base, **WITH_TAIL, "activation": activation, "dropout": rates}
        check_against_twin(settings, (18, 11))


@pytest.mark.parametrize("micro_batch", [1, 2, 20, 64])
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_micro_batch_sizes(base, micro_batch, loss):
    settings = {**base, **WITH_TAIL, "micro_batch": micro_batch, "loss": loss}
    problem = make_problem(density=0.3)
    layers = make_layers([N_FEATURES, 13, N_CLASSES])
    twin = reference.copy_layers(layers)
    order = np.arange(20, dtype=np.int32)
    tally = trainer_of(layers, problem, settings, problem.csr).run(order, 0, 0.01)
    loss, _ = twin_run(twin, problem, settings, order, 0, 0.01)
    assert tally["loss"] == pytest.approx(loss, rel=1e-5)
    assert tally["n_micro_batches"] == -(-20 // micro_batch)
    assert_is_twins(layers, twin)


@pytest.mark.parametrize("tail_size", [0, 1, 30, 69, 1000])
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_tail_sizes(base, tail_size, loss):
    *_, active_sets = check_against_twin(
        {**base, **WITH_TAIL, "tail_size": tail_size, "loss": loss}
    )
    for active in active_sets:
        assert len(np.unique(active)) == len(active) <= N_CLASSES


def test_tail_in_expectation_is_uniform(base):
    # The same micro-batch under many counters: each wrong neuron must be drawn equally often.
    problem = make_problem(n=4)
    settings = {**base, **WITH_TAIL}
    layers = make_layers([N_FEATURES, 5, N_CLASSES])
    steps = layers[-1].steps
    steps[:] = 0
    trainer = trainer_of(layers, problem, settings)
    n = 3000
    for counter in range(n):
        trainer.run(np.arange(4, dtype=np.int32), counter, 0.0)
    exact = sorted({label for row in problem.labels for label in row})
    assert exact and (steps[exact] == n).all()
    drawn = np.delete(steps[:-1], exact)
    p = 11 / len(drawn)
    assert drawn.sum() == 11 * n
    assert (abs(drawn - n * p) < 4.5 * np.sqrt(n * p * (1 - p))).all()


def test_forced_instruction_sets_train_the_same(rerun_with_simd):
    rerun_with_simd("test_training_is_the_twins or test_with_tables or csr_give")


# ------------------------------------------------------ rows left alone --


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_rows_without_a_part_keep_their_bits(base, loss):
    before, after, _, active_sets = check_against_twin(
        {**base, **WITH_TAIL, "loss": loss}, sparse=True
    )
    order = np.random.default_rng(0).permutation(20)
    csr = make_problem(density=0.3).csr
    batches = [order[:8], order[8:16], order[16:]]
    touched = {
        0: [np.unique(csr[rows].indices) for rows in batches],
        1: active_sets,
    }
    for i, sets in touched.items():
        n_rows = len(before[i].w)
        times = sum(np.bincount(ids, minlength=n_rows) for ids in sets)
        np.testing.assert_array_equal(after[i].steps[:-1] - before[i].steps[:-1], times)
        rest = times == 0
        assert rest.sum() > 1 or i == 0
        for name in ("w", "w_m", "w_v") + (("b", "b_m", "b_v") if i else ()):
            old, new = getattr(before[i], name), getattr(after[i], name)
            np.testing.assert_array_equal(new[rest].view(np.int32), old[rest].view(np.int32))
            assert (new[~rest] != old[~rest]).any()


def test_absent_features_keep_their_bits(base):
    problem = make_problem(density=0.3)
    problem.x[:, 10:20] = 0
    layers = make_layers([N_FEATURES, 13, N_CLASSES])
    before = copied(layers[:1])[0]
    order = np.arange(20, dtype=np.int32)
    trainer_of(layers, problem, base, problem.csr).run(order, 0, 0.01)
    for name in ("w", "w_m", "w_v", "steps"):
        old, new = getattr(before, name), getattr(layers[0], name)
        np.testing.assert_array_equal(new[10:20], old[10:20])
        assert (new[:10] != old[:10]).any()
    assert layers[0].steps[-1] == before.steps[-1] + 3


def test_labelless_rows_are_no_softmax_loss(base):
    problem = make_problem(n_labels=(0,))
    layers = make_layers([N_FEATURES, 13, N_CLASSES], moments=False)
    before = copied(layers)
    for neurons in (ALL_NEURONS, WITH_TAIL, {"all_neurons": False}):
        settings = {**base, **neurons, "loss": "softmax"}
        tally = trainer_of(layers, problem, settings).run(np.arange(20, dtype=np.int32), 0, 0.1)
        assert (tally["loss"], tally["weight"], tally["n_samples"]) == (0, 20, 20)
        assert_same_bits(layers, before, ("w", "b", "w_m", "w_v", "b_m", "b_v"))
    assert tally["active_neurons"] == 0  # no label and no tail: nothing to compute


def test_no_label_and_no_tail_is_the_twins(base):
    settings = {**base, "all_neurons": False}
    problem = make_problem(n_labels=(0,))
    layers = make_layers([N_FEATURES, 13, N_CLASSES])
    twin, order = reference.copy_layers(layers), np.arange(20, dtype=np.int32)
    tally = trainer_of(layers, problem, settings).run(order, 0, 0.01)
    assert (tally["loss"], tally["active_neurons"]) == (0, 0)
    twin_run(twin, problem, settings, order, 0, 0.01)
    assert_is_twins(layers, twin)


# ------------------------------------------------------------ bit-equal --


def run_copy(settings, problem, x=None, n_threads=1, order=None, parts=1, hidden=(13, 9)):
    """Layers after a run on a fresh copy of the same network, cut into parts."""
    layers = make_layers([N_FEATURES, *hidden, N_CLASSES])
    order = np.arange(len(problem.x), dtype=np.int32) if order is None else order
    trainer = trainer_of(layers, problem, settings, x, n_threads=n_threads)
    counter = 0
    size = settings["micro_batch"] * -(-len(order) // settings["micro_batch"] // parts)
    for first in range(0, len(order), size):
        tally = trainer.run(order[first : first + size], counter, 0.02)
        counter += tally["n_micro_batches"]
    return layers


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_one_thread_repeats_itself(base, dropout):
    problem = make_problem(n=100)
    settings = {**base, **WITH_TAIL, "dropout": [dropout, dropout]}
    first = run_copy(settings, problem)
    assert_same_bits(first, run_copy(settings, problem))
    assert_same_bits(first, run_copy(settings, problem, parts=3))
    other = run_copy({**settings, "seed": 6}, problem)
    assert (first[-1].w != other[-1].w).any()


def test_two_threads_without_a_race_are_one_thread(base):
    problem = make_problem(n=20)
    settings = {**base, **WITH_TAIL, "micro_batch": 20, "dropout": [0.3, 0.3]}
    assert_same_bits(run_copy(settings, problem), run_copy(settings, problem, n_threads=2))


def covered_problem(missing=()):
    """Sparse rows: any 8 consecutive ones together have all features except the missing ones."""
    problem = make_problem(n=44, density=0.2)
    i, j = np.indices(problem.x.shape)
    problem.x[i % 4 == j % 4] = 1.5
    for first, features in missing:
        problem.x[first : first + MICRO_BATCH, features] = 0
    return problem


@pytest.mark.parametrize("neurons", [ALL_NEURONS, WITH_TAIL], ids=["all", "active"])
def test_dense_and_csr_give_the_same_bits(base, neurons):
    problem = covered_problem()
    assert problem.csr.nnz < 0.6 * problem.x.size
    settings = {**base, **neurons, "dropout": [0.2, 0.2]}
    dense = run_copy(settings, problem)
    assert_same_bits(dense, run_copy(settings, problem, problem.csr))


def test_dense_zeros_are_no_features(base):
    # A row's moments do not decay while it has no gradient, whether or not X stores its zeros.
    problem = covered_problem(missing=[(16, slice(5, 9)), (24, slice(7, 30))])
    assert_same_bits(run_copy(base, problem), run_copy(base, problem, problem.csr))


def test_csr_with_64_bit_indices_and_read_only_arrays(base):
    problem, settings = make_problem(density=0.3), {**base, **WITH_TAIL}
    expected = run_copy(settings, problem, problem.csr)
    x = problem.csr
    x.indices, x.indptr = x.indices.astype(np.int64), x.indptr.astype(np.int64)
    x.data.flags.writeable = False
    assert_same_bits(expected, run_copy(settings, problem, x))
    order = np.arange(20, dtype=np.int32)
    order.flags.writeable = problem.x.flags.writeable = False
    assert_same_bits(run_copy(settings, problem, order=order), run_copy(settings, problem))


# --------------------------------------------------------------- tables --


def make_retrieval(output, retrieval_settings):
    retrieval = Retrieval(output.n_out, output.n_in, retrieval_settings, np.random.RandomState(9))
    mean = np.full(output.n_in, 0.2, np.float32)
    retrieval.rebuild(output.w, output.b, mean, 0.8, 1)
    return retrieval


def check_hard(settings, retrieval_settings):
    *_, with_hard = check_against_twin({**settings, **HARD}, retrieval_settings=retrieval_settings)
    # More than labels and tail are active, but not all neurons.
    *_, without = check_against_twin(settings)
    for more, fewer in zip(with_hard, without, strict=True):
        assert len(fewer) < len(more) < N_CLASSES


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("bucket_limit", [100, 3])
@pytest.mark.parametrize("tail_size", [0, 11])
def test_with_tables(base, loss, bucket_limit, tail_size):
    check_hard(
        {**base, **WITH_TAIL, "loss": loss, "tail_size": tail_size},
        {**RETRIEVAL, "bucket_limit": bucket_limit},
    )


@pytest.mark.parametrize("policy", ["none", "exact", "vanilla", "topk", "threshold"])
@pytest.mark.parametrize("bucket_limit", [100, 3])
def test_with_tables_by_every_policy(base, policy, bucket_limit):
    retrieval_settings = {
        **RETRIEVAL,
        "policy": policy,
        "bucket_limit": bucket_limit,
        "n_wanted": 4,
    }
    check_hard({**base, **WITH_TAIL}, retrieval_settings)


@pytest.mark.parametrize("family", ["wta", "dwta", "minhash"])
def test_with_tables_of_every_family(base, family):
    check_hard({**base, **WITH_TAIL}, {**RETRIEVAL, "hash_family": family})


@pytest.mark.parametrize("n_wanted", [30, 69, 70, 1000])
def test_with_tables_filled_up_at_random(base, n_wanted):
    settings = {**base, **WITH_TAIL, "n_hard": 70, "tail_size": 0}
    retrieval_settings = {**RETRIEVAL, "n_tables": 1, "bucket_limit": 3, "n_wanted": n_wanted}
    *_, active_sets = check_against_twin(settings, retrieval_settings=retrieval_settings)
    for active in active_sets:
        assert len(active) >= min(n_wanted, N_CLASSES)


@pytest.mark.parametrize("n_hard", [1, 4, 40])
def test_hard_neurons_are_the_best_wrong_ones_found(base, n_hard):
    # Without a tail, the active neurons besides the labels are those that _hardest chose.
    problem = make_problem(n=1, n_labels=(3,))
    problem.x[:] = make_problem(n=2).x[0]
    problem.labels[0] = [4, 50, 61]
    layers = make_layers([N_FEATURES, 19, N_CLASSES])
    before = copied(layers)
    layers[-1].retrieval = make_retrieval(layers[-1], {**RETRIEVAL, "n_candidates": 25})
    settings = {**base, "all_neurons": False, "n_hard": n_hard}
    rows = InputRows(problem.x)
    model = Model(before, "relu", "sigmoid")
    h = predict.hidden(model, rows, 0, 1, 1)
    z = predict.scores(model, rows, 0, 1, 1)[0]
    tally = trainer_of(layers, problem, settings).run(np.zeros(1, np.int32), 0, 0.01)
    active = np.flatnonzero(layers[-1].steps[:-1] != before[-1].steps[:-1])
    found = layers[-1].retrieval.retrieve(h)[0]
    np.testing.assert_array_equal(found, layers[-1].retrieval.tables.collect(h, 25, 100)[0])
    wrong = found[~np.isin(found, problem.labels[0])]
    assert len(wrong) > 4
    best = wrong[np.argsort(-z[wrong])[:n_hard]]
    np.testing.assert_array_equal(active, np.sort([*problem.labels[0], *best]))
    assert tally["active_neurons"] == len(active)


def test_queries_are_summed_and_retrieval_is_counted(base):
    problem = make_problem()
    order = np.arange(20, dtype=np.int32)
    layers = make_layers([N_FEATURES, 19, N_CLASSES])
    retrieval = layers[-1].retrieval = make_retrieval(layers[-1], RETRIEVAL)
    settings = {**base, **WITH_TAIL, **HARD, "micro_batch": 20}
    h = predict.hidden(Model(layers, "relu", "sigmoid"), InputRows(problem.x), 0, 20, 1)
    n_candidates = sum(len(ids) for ids in retrieval.retrieve(h))
    trainer = trainer_of(layers, problem, settings)
    for _ in range(2):  # the sums start at zero each time
        tally = trainer.run(order, 0, 0.0)
        assert tally["queries"][0] is None
        total, norm2 = tally["queries"][1]
        np.testing.assert_allclose(total, h.sum(axis=0), rtol=1e-5)
        assert norm2 == pytest.approx((h.astype(float) ** 2).sum(), rel=1e-5)
    without = 20 * N_FEATURES * 19 + 20 * tally["active_neurons"] * 19  # forward
    without += tally["active_neurons"] * 19 * (2 * 20 + 4) + N_FEATURES * 19 * (20 + 4) + 19 * 4
    hashing = 20 * retrieval.tables.hasher.multiply_adds
    sums = 20 * 2 * 19
    assert tally["multiply_adds"] == without + sums + hashing + n_candidates * 19


# ---------------------------------------------------------------- tally --


def tiny(x, hidden, settings, labels=((1,), (2,))):
    layers = make_layers([3, *hidden, 4])
    y = [np.arange(3, dtype=np.int64), np.array(labels, np.int32).ravel()]
    settings = complete(settings, layers)
    model = Model(layers, settings["activation"], settings["loss"])
    return Trainer(model, InputRows(x), *y, None, settings, 1).run(
        np.arange(2, dtype=np.int32), 0, 0.01
    )


TINY_X = np.array([[1, 0, 2], [3, 4, 0]], np.float32)  # 2 rows, 3 features, 4 values


def test_multiply_adds_by_hand(base):
    # Dense: 2x3x2 and 2x4x2 forward. Per weight of the 4 output rows of 2 weights: 2 samples twice
    # (down and to the gradient), 4 for the update. Per weight of the 3 feature rows of 2 weights: 2
    # samples, 4 for the update. 4 for each of the 2 biases.
    tally = tiny(TINY_X, (2,), base)
    assert tally["multiply_adds"] == 12 + 16 + 8 * (4 + 4) + 6 * (2 + 4) + 8
    # A dense network: 2 or 3 products per weight and sample, and an update of all 8 + 12.
    assert tally["dense_multiply_adds"] == 2 * 6 * 2 + 3 * 2 * 8 + 20 * 4
    # CSR: 4 values forward and back, 3 distinct features.
    tally = tiny(csr_array(TINY_X), (2,), base)
    assert tally["multiply_adds"] == 8 + 16 + 8 * (4 + 4) + (4 * 2 + 3 * 2 * 4) + 8
    assert tally["dense_multiply_adds"] == 2 * 4 * 2 + 3 * 2 * 8 + 20 * 4
    # Two labels and a tail of one: 3 output rows.
    tally = tiny(TINY_X, (2,), {**base, "all_neurons": False, "tail_size": 1})
    assert tally["multiply_adds"] == 12 + 12 + 6 * (4 + 4) + 6 * (2 + 4) + 8
    assert tally["active_neurons"] == 3
    # A second hidden layer of 5: 2x2x5 forward, its 10 weights back.
    tally = tiny(TINY_X, (2, 5), base)
    assert tally["multiply_adds"] == 12 + 20 + 40 + 20 * (4 + 4) + 10 * (4 + 4) + 6 * (2 + 4) + 8
    assert tally["dense_multiply_adds"] == 24 + 3 * 2 * (10 + 20) + (8 + 15 + 24) * 4


def test_update_costs_of_the_solvers(base):
    weights, rest = 3 * 2 + 2 * 4 + 2, 12 + 16 + 8 * 4 + 6 * 2  # weights and shared biases
    for settings, cost in [
        ({"solver": "adam"}, 4),
        ({"solver": "adagrad"}, 4),
        ({"solver": "sgd"}, 3),
        ({"solver": "adam", "alpha": 0.1}, 5),
        ({"solver": "sgd", "alpha": 0.1}, 4),
    ]:
        tally = tiny(TINY_X, (2,), {**base, **settings})
        assert tally["multiply_adds"] == rest + weights * cost
        assert tally["dense_multiply_adds"] == 24 + 48 + 20 * cost


def test_an_empty_run_counts_nothing(base):
    layers = make_layers([N_FEATURES, 13, N_CLASSES])
    before = copied(layers)
    tally = trainer_of(layers, make_problem(), base).run(np.zeros(0, np.int32), 0, 0.1)
    assert not any(np.any(value) for value in tally.values())
    assert_same_bits(layers, before)


def test_threads_lose_no_sample(base):
    n = 1003
    problem = make_problem(n=n)
    layers = make_layers([N_FEATURES, 13, N_CLASSES])
    trainer = trainer_of(layers, problem, {**base, **WITH_TAIL}, weight=problem.weight, n_threads=2)
    for _ in range(3):  # the tally starts at zero each time
        tally = trainer.run(np.random.default_rng(0).permutation(n).astype(np.int32), 0, 0.01)
        assert (tally["n_samples"], tally["n_micro_batches"]) == (n, -(-n // 8))
        assert tally["weight"] == pytest.approx(problem.weight.sum(dtype=float))
        assert np.isfinite(tally["loss"])
    for layer in layers:
        assert all(np.isfinite(getattr(layer, name)).all() for name in ARRAYS)


def test_training_lowers_the_loss(base):
    problem = make_problem(n=200, n_labels=(1,))
    problem.labels = [[int(row.argmax())] for row in problem.x]
    for settings in itertools.product(("softmax", "sigmoid"), (ALL_NEURONS, WITH_TAIL)):
        layers = make_layers([N_FEATURES, 30, N_CLASSES], moments=False)
        trainer = trainer_of(layers, problem, {**base, "loss": settings[0], **settings[1]})
        order, losses = np.arange(200, dtype=np.int32), []
        for epoch in range(15):
            losses.append(trainer.run(order, 25 * epoch, 0.01)["loss"])
        assert losses[-1] < 0.5 * losses[0]


# ------------------------------------------------------------------ NaN --


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("neurons", [ALL_NEURONS, WITH_TAIL], ids=["all", "active"])
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "logistic"])
@pytest.mark.parametrize("where", ["x", "hidden", "output", "bias"])
def test_nan_is_seen_in_the_loss(base, loss, neurons, activation, where):
    problem = make_problem(n=20, n_labels=(1, 2))
    layers = make_layers([N_FEATURES, 13, 9, N_CLASSES])
    if where == "x":
        problem.x[13, 36] = np.nan
    elif where == "hidden":
        layers[1].w[8, 12] = np.nan
    elif where == "output":
        layers[-1].w[problem.labels[-1][0], 8] = np.nan
    else:
        layers[0].b[12] = np.nan
    settings = {**base, **neurons, "loss": loss, "activation": activation}
    tally = trainer_of(layers, problem, settings).run(np.arange(20, dtype=np.int32), 0, 0.01)
    assert np.isnan(tally["loss"])
