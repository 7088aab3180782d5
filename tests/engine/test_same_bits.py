"""Rows that a training step leaves alone, and trainings that give the same bits."""

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
    assert_same_bits,
    check_against_twin,
    make_layers,
    make_problem,
    of_a_step,
    trainer_of,
    twin_run,
)
from twins import engine as reference


@pytest.fixture
def base(base):
    return of_a_step(base)


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
