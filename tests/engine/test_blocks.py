"""Blocks of hidden neurons that a micro-batch leaves out, against the twin."""

import numpy as np
import pytest
from helpers.layers import copied
from helpers.training import (
    ALL_NEURONS,
    HARD,
    N_CLASSES,
    N_FEATURES,
    RETRIEVAL,
    WITH_TAIL,
    check_against_twin,
    make_layers,
    make_problem,
    of_a_step,
    trainer_of,
)
from ml_dtypes import bfloat16
from scipy.stats import binom
from twins import engine as reference
from twins.random import SplitMix64

from slide._network.layer import Layer

LAST_IS_SHORT = 16 * 8 + 5
WIDE = 16 * 9


@pytest.fixture
def base(base):
    return of_a_step(base)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("hidden", [(WIDE,), (LAST_IS_SHORT,), (WIDE, LAST_IS_SHORT)], ids=str)
@pytest.mark.parametrize("neurons", [ALL_NEURONS, WITH_TAIL], ids=["all", "active"])
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "logistic"])
def test_training_is_the_twins(base, activation, neurons, hidden, sparse):
    settings = {**base, **neurons, "activation": activation, "dropout": [0.75, 0.5][: len(hidden)]}
    check_against_twin(settings, hidden, sparse, weighted=True)


@pytest.mark.parametrize("rates", [[0.5, 0.0, 0.5], [0.0, 0.5, 0.0], [0.5, 0.5, 0.5]], ids=str)
def test_next_to_layers_that_keep_all_or_draw_for_each_row(base, rates):
    for hidden in ((WIDE, 140, WIDE), (WIDE, 20, WIDE), (20, WIDE, 20)):
        check_against_twin({**base, **WITH_TAIL, "dropout": rates}, hidden, sparse=True)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("alpha", [0.0, 0.05])
@pytest.mark.parametrize("solver", ["adam", "sgd", "adagrad"])
def test_solvers(base, solver, alpha, sparse):
    settings = {**base, **WITH_TAIL, "solver": solver, "alpha": alpha, "dropout": [0.75, 0.5]}
    check_against_twin(settings, (WIDE, WIDE), sparse)


def test_a_hashed_output_needs_all_inputs(base):
    # Every row draws its own neurons, as the twin does where a layer is hashed.
    settings = {**base, **WITH_TAIL, **HARD, "dropout": [0.5]}
    check_against_twin(settings, (WIDE,), retrieval_settings=RETRIEVAL)


def half_layers(widths):
    """Layers in bfloat16, and their copies in float32 with the same values."""
    layers = []
    for i, single in enumerate(make_layers(widths)):
        layer = Layer.zeros(single.n_in, single.n_out, i == 0, dtype=bfloat16)
        for name in ("w", "w_m", "b", "b_m", "w_v", "b_v", "steps"):
            getattr(layer, name)[...] = getattr(single, name)
            if name in ("w", "w_m"):
                getattr(single, name)[...] = getattr(layer, name).astype(np.float32)
        layer.rate, layer.bias_rate = single.rate, single.bias_rate
        layers.append((layer, single))
    return [list(side) for side in zip(*layers, strict=True)]


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("neurons", [ALL_NEURONS, WITH_TAIL], ids=["all", "active"])
def test_bfloat16_is_float32_but_for_its_rounding(base, neurons, sparse):
    problem = make_problem(density=0.3 if sparse else 1.0)
    half, single = half_layers([N_FEATURES, WIDE, LAST_IS_SHORT, N_CLASSES])
    before = copied(half)
    settings = {**base, **neurons, "dropout": [0.75, 0.5]}
    order = np.arange(8, dtype=np.int32)
    for layers in (half, single):
        x = problem.csr if sparse else problem.x
        trainer_of(layers, problem, settings, x).run(order, 3, 0.01)
    for layer, other, old in zip(half, single, before, strict=True):
        np.testing.assert_array_equal(layer.steps, other.steps)
        for name, step in (("w", 2.0**-7), ("w_m", 2.0**-7)):
            ours, theirs = (np.asarray(getattr(a, name), np.float32) for a in (layer, other))
            np.testing.assert_allclose(ours, theirs, rtol=2 * step, atol=2e-3)
        moved = np.asarray(layer.w, np.float32) != np.asarray(old.w, np.float32)
        may_move = other.w != np.asarray(old.w, np.float32)
        assert not (moved & ~may_move).any()
        assert moved.any()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
def test_what_is_left_out_is_not_touched(base, sparse, dtype):
    """Weights, moments and biases of dropped neurons keep their bits, even NaN among them."""
    settings = {**base, **WITH_TAIL, "dropout": [0.75]}
    problem = make_problem(density=0.3 if sparse else 1.0)
    half, single = half_layers([N_FEATURES, WIDE, N_CLASSES])
    layers = half if dtype == "bfloat16" else single
    random = SplitMix64(reference.seed_stream(settings["seed"], 7))
    kept = reference.kept_neurons(WIDE, 2, random)
    dropped = np.setdiff1d(np.arange(WIDE), kept)
    assert len(kept) == 32
    for array in (layers[0].w, layers[0].w_m, layers[1].w, layers[1].w_m):
        array[:, dropped] = np.nan
    layers[0].b[dropped] = layers[0].b_m[dropped] = np.nan
    order = np.arange(8, dtype=np.int32)
    x = problem.csr if sparse else problem.x
    counts = trainer_of(layers, problem, settings, x).run(order, 7, 0.01)
    assert np.isfinite(counts["loss"])
    for layer in layers:
        for array in (layer.w, layer.w_m):
            assert np.isnan(np.asarray(array, np.float32)[:, dropped]).all()
            assert np.isfinite(np.asarray(array, np.float32)[:, kept]).all()
    assert np.isnan(layers[0].b[dropped]).all() and np.isfinite(layers[0].b[kept]).all()


def test_blocks_are_drawn_evenly():
    n_draws, n_blocks, n_kept = 4000, 9, 3
    together = np.zeros((n_blocks, n_blocks))
    random = SplitMix64(11)
    for _ in range(n_draws):
        kept = np.unique(reference.kept_neurons(LAST_IS_SHORT, n_kept, random) // 16)
        assert len(kept) == n_kept
        together[np.ix_(kept, kept)] += 1
    alone, pair = n_kept / n_blocks, n_kept * (n_kept - 1) / (n_blocks * (n_blocks - 1))
    for p, counts in ((alone, np.diag(together)), (pair, together[~np.eye(n_blocks, dtype=bool)])):
        assert (binom.ppf(1e-6, n_draws, p) <= counts).all()
        assert (counts <= binom.ppf(1 - 1e-6, n_draws, p)).all()
