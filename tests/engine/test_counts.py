"""Tests of the counts of a training step, and that NaN shows in the loss."""

import itertools

import numpy as np
import pytest
from helpers.layers import copied
from helpers.training import (
    ALL_NEURONS,
    ARRAYS,
    N_CLASSES,
    N_FEATURES,
    WITH_TAIL,
    assert_same_bits,
    complete,
    make_layers,
    make_problem,
    of_a_step,
    trainer_of,
)
from scipy.sparse import csr_array

from slide._base.rows import InputRows
from slide._core import Trainer
from slide._engine.model import Model


@pytest.fixture
def base(base):
    return of_a_step(base)


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


def test_blocks_that_are_left_out_cost_nothing(base):
    # As if the layer had the 32 neurons that are kept, of 128.
    settings = {**base, "dropout": [0.75]}
    for x in (TINY_X, csr_array(TINY_X)):
        wide, narrow = tiny(x, (128,), settings), tiny(x, (32,), base)
        assert wide["multiply_adds"] == narrow["multiply_adds"]
        assert wide["dense_multiply_adds"] == tiny(x, (128,), base)["dense_multiply_adds"]


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
