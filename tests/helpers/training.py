"""Micro-batches of the engine and of its twin, for the tests of training steps."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from helpers.layers import copied
from scipy.sparse import csr_array
from twins import engine as reference

from slide._base.rows import InputRows
from slide._core import Trainer
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


def of_a_step(base):
    """Settings of a training step: dropout of the first hidden layers; the others have none."""
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


def make_retrieval(output, retrieval_settings):
    retrieval = Retrieval(output.n_out, output.n_in, retrieval_settings, np.random.RandomState(9))
    mean = np.full(output.n_in, 0.2, np.float32)
    retrieval.rebuild(output.w, output.b, mean, 0.8, 1)
    return retrieval


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
