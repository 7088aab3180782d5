"""Training steps whose hard neurons are found by retrieval."""

import numpy as np
import pytest
from helpers.layers import copied
from helpers.training import (
    HARD,
    N_CLASSES,
    N_FEATURES,
    RETRIEVAL,
    WITH_TAIL,
    check_against_twin,
    make_layers,
    make_problem,
    make_retrieval,
    of_a_step,
    trainer_of,
)

from slide._base.rows import InputRows
from slide._engine import predict
from slide._engine.model import Model


@pytest.fixture
def base(base):
    return of_a_step(base)


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
