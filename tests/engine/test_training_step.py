"""Micro-batches of the engine against a float64 twin."""

import numpy as np
import pytest
from helpers.layers import copied
from helpers.training import (
    ALL_NEURONS,
    MICRO_BATCH,
    N_CLASSES,
    N_FEATURES,
    WITH_TAIL,
    assert_is_twins,
    check_against_twin,
    make_layers,
    make_problem,
    of_a_step,
    trainer_of,
    twin_run,
)
from twins import engine as reference

from slide._engine.entry_points import OutputRows
from slide._engine.model import Model


@pytest.fixture
def base(base):
    return of_a_step(base)


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
