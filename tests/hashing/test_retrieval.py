"""Selection of the largest scores, and the neurons that every retrieval policy finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twins import hashing as reference

from slide._hashing.finder import MOVED
from slide._hashing.retrieval import POLICIES, Retrieval
from slide._simd.largest import largest_of

few = settings(max_examples=200, deadline=None)
FAMILIES = ("simhash", "wta", "dwta", "minhash")
# Policy, whether it uses tables, hash family.
RETRIEVALS = [
    ("none", False, "simhash"),
    ("exact", False, "simhash"),
    ("scan", False, "simhash"),
    ("estimate", False, "simhash"),
    ("estimate", True, "simhash"),
    *[
        (policy, True, family)
        for policy in ("vanilla", "topk", "threshold", "rerank")
        for family in FAMILIES
    ],
]
each_retrieval = pytest.mark.parametrize(("policy", "use_tables", "family"), RETRIEVALS)


# -------------------------------------------------------------- largest --


def assert_largest(scores, k):
    scores = np.array(scores, np.float32)
    found = largest_of(scores, k)
    # A sort ignores the sign of zero, but the keys do not: see below.
    np.testing.assert_array_equal(found, reference.largest(scores + np.float32(0), k))


ties = st.sampled_from([-np.inf, -2.5, -1e-40, 0.0, 1e-40, 1.0, 1.0000001, 3e38, np.inf])
numbers = st.floats(width=32, allow_nan=False).map(lambda v: v + 0.0)


@few
@given(st.lists(st.one_of(ties, numbers), max_size=70), st.integers(0, 80))
def test_largest_is_a_sorts(scores, k):
    assert_largest(scores, k)


@few
@given(st.lists(ties, max_size=200), st.integers(0, 200))
def test_largest_takes_the_lower_place_on_ties(scores, k):
    assert_largest(scores, k)


@few
@given(
    st.lists(st.one_of(st.floats(width=32), st.sampled_from([0.0, -0.0])), max_size=50),
    st.integers(0, 60),
)
def test_largest_with_nan_and_signed_zeros_finds_distinct_places(scores, k):
    scores = np.array(scores, np.float32)
    found = largest_of(scores, k)
    assert len(found) == min(k, len(scores))
    assert (np.diff(found) > 0).all()
    assert not len(found) or (found[0] >= 0 and found[-1] < len(scores))
    if not np.isnan(scores).any() and 0 < len(found) < len(scores):
        assert scores[found].min() >= np.delete(scores, found).max()


@pytest.mark.parametrize("n", [1, 2047, 2048, 2049, 30_000])
def test_largest_of_many(n):
    rng = np.random.default_rng(n)
    for scores in (rng.standard_normal(n), rng.integers(-50, 50, n), np.full(n, -3.0)):
        for k in (0, 1, n // 3, n - 1, n, n + 5):
            assert_largest(scores, k)


# ------------------------------------------------------------ candidates --


class Problem:
    """A layer's weights with varying norms and biases, and inputs like ReLU activations."""

    def __init__(self, n_neurons=300, n_in=64, n=8, seed=0, spread=0.5):
        rng = np.random.default_rng(seed)
        length = np.exp(spread * rng.standard_normal((n_neurons, 1)))
        w = length * rng.standard_normal((n_neurons, n_in)) / np.sqrt(n_in)
        self.w = w.astype(np.float32)
        self.b = (spread * rng.standard_normal(n_neurons)).astype(np.float32)
        self.x = np.maximum(rng.standard_normal((n, n_in)), 0).astype(np.float32)
        self.mean = np.full(n_in, 0.4, np.float32)  # that of a rectified normal
        self.made = []

    def retrieval(self, policy="estimate", use_tables=False, family="simhash", directions=None,
                  **changes):  # fmt: skip
        n_in = self.w.shape[1]
        chosen = {
            "policy": policy, "hash_family": family, "n_tables": 32, "n_hash_bits": 8,
            "use_tables": use_tables, "n_wanted": 20, "n_candidates": 20, "bucket_limit": 32,
            "min_collisions": 2, "transform": True, **changes,
        }  # fmt: skip
        if use_tables:
            chosen["n_hash_bits"] = changes.get("n_hash_bits", 4)
        random_state = np.random.RandomState(5)
        found = Retrieval(len(self.w), n_in, chosen, random_state, directions)
        self.rebuild(found)
        self.made.append((found, chosen, directions))
        return found

    def twin(self, retrieval):
        """Another Retrieval with the named arrays of one of ours, as a file restores it."""
        chosen, directions = next(rest for found, *rest in self.made if found is retrieval)
        directions = None if directions is None else np.zeros_like(directions)
        other_functions = np.random.RandomState(0)
        twin = Retrieval(len(self.w), self.w.shape[1], chosen, other_functions, directions)
        arrays = retrieval.named_arrays()
        twin.set_named_arrays({name: array.copy() for name, array in arrays.items()})
        return twin

    def rebuild(self, retrieval, n_threads=1):
        length = np.sqrt(((self.x - self.mean) ** 2).sum(axis=1).mean())
        return retrieval.rebuild(self.w, self.b, self.mean, float(length), n_threads)

    def scores(self):
        return self.x.astype(np.float64) @ self.w.T.astype(np.float64) + self.b


def assert_same(a, b):
    for ids, others in zip(a, b, strict=True):
        np.testing.assert_array_equal(ids, others)


@each_retrieval
@pytest.mark.parametrize(
    ("n_wanted", "n_candidates"), [(20, 20), (20, 100), (300, 300), (0, 64), (1, 1), (299, 299)]
)
@pytest.mark.parametrize("transform", [False, True])
def test_candidates_are_distinct_and_of_the_number_asked_for(
    policy, use_tables, family, n_wanted, n_candidates, transform
):
    problem = Problem()
    retrieval = problem.retrieval(
        policy, use_tables, family, n_wanted=n_wanted, n_candidates=n_candidates,
        transform=transform,
    )  # fmt: skip
    found = retrieval.retrieve(problem.x, seed=3)
    assert len(found) == len(problem.x)
    for ids in found:
        assert len(np.unique(ids)) == len(ids)
        assert not len(ids) or (ids.min() >= 0 and ids.max() < 300)
        if policy == "exact":
            np.testing.assert_array_equal(ids, np.arange(300))
        else:
            assert n_wanted <= len(ids) <= max(n_candidates, n_wanted)
    assert_same(found, retrieval.retrieve(problem.x, seed=3))
    assert_same(found, problem.twin(retrieval).retrieve(problem.x, seed=3))


def test_scan_finds_the_largest_under_the_weights_of_the_last_rebuild():
    problem = Problem()
    retrieval = problem.retrieval("scan")
    best = np.argsort(-problem.scores(), axis=1)[:, :20]
    problem.w[:] = 0  # has no effect: these weights are newer than the rebuild
    for ids, truth in zip(retrieval.retrieve(problem.x), best, strict=True):
        assert set(ids) == set(truth)
    problem.rebuild(retrieval)
    assert set(retrieval.retrieve(problem.x)[0]) == set(np.argsort(-problem.b)[:20])


def test_every_policy_is_tested():
    assert {policy for policy, *_ in RETRIEVALS} == set(POLICIES)


@each_retrieval
@pytest.mark.parametrize("n_neurons", [1, 2, 3, 65])
@pytest.mark.parametrize("n_in", [1, 2, 37])
def test_layers_of_few_neurons_and_few_inputs(policy, use_tables, family, n_neurons, n_in):
    problem = Problem(n_neurons, n_in)
    for n_wanted in {1, n_neurons}:
        retrieval = problem.retrieval(
            policy, use_tables, family, n_wanted=n_wanted, n_candidates=n_wanted, bucket_limit=2
        )
        for ids in retrieval.retrieve(np.concatenate([problem.x, np.zeros_like(problem.x)])):
            assert len(np.unique(ids)) == len(ids) >= n_wanted


def test_none_draws_every_neuron_alike():
    problem = Problem(n_neurons=60, n=400)
    retrieval = problem.retrieval("none", n_wanted=20)
    times = np.zeros(60)
    for seed in range(5):
        found = retrieval.retrieve(problem.x, seed=10_000 * seed)
        times += np.bincount(np.concatenate(found), minlength=60)
    n, p = 2000, 1 / 3
    assert times.sum() == 20 * n
    assert (abs(times - n * p) < 4.5 * np.sqrt(n * p * (1 - p))).all()


def test_other_seeds_fill_up_with_other_neurons():
    problem = Problem()
    for policy in ("none", "threshold"):
        changes = {"n_wanted": 200, "n_candidates": 200, "min_collisions": 30}
        retrieval = problem.retrieval(policy, policy != "none", **changes)
        a, b = (np.concatenate(retrieval.retrieve(problem.x, seed)) for seed in (0, 10**6))
        assert (a != b).any()


# ------------------------------------------------------------- estimates --


@pytest.mark.parametrize(("n_tables", "n_hash_bits"), [(32, 8), (12, 5), (13, 5), (1, 16), (3, 1)])
@pytest.mark.parametrize("transform", [False, True])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_estimates_are_the_twins(n_tables, n_hash_bits, transform, n_threads):
    problem = Problem(n_neurons=600)  # several blocks
    retrieval = problem.retrieval(n_tables=n_tables, n_hash_bits=n_hash_bits, transform=transform)
    cost = problem.rebuild(retrieval, n_threads)
    assert cost >= 2 * problem.w.size
    for ids, x in zip(retrieval.retrieve(problem.x), problem.x, strict=True):
        assert len(ids) == 20 and (np.diff(ids) > 0).all()
        expected = reference.estimates(
            retrieval.hasher, n_tables * n_hash_bits, problem.w, problem.b, x,
            problem.mean if transform else None,
        )  # fmt: skip
        if transform:
            assert expected[ids].min() >= np.delete(expected, ids).max() - 1e-4
        else:  # distances are whole numbers: ties go to the lower id
            np.testing.assert_array_equal(ids, reference.largest(expected.round(6), 20))


@pytest.mark.parametrize("n_neurons", [1, 15, 17, 63, 65, 1023])
@pytest.mark.parametrize("n_in", [7, 128, 300])
@pytest.mark.parametrize(("n_tables", "n_bits"), [(3, 5), (25, 14)])
def test_neurons_have_the_codes_that_one_vector_has(n_neurons, n_in, n_tables, n_bits):
    problem = Problem(n_neurons, n_in)
    found = problem.retrieval(use_tables=True, n_tables=n_tables, n_hash_bits=n_bits)
    codes = found.hasher.codes(problem.w)
    bits = (codes.T[:, :, None] >> np.arange(n_bits)) & 1
    state = found.named_arrays()
    words = np.ascontiguousarray(state["codes"]).view(np.uint8)
    words = np.unpackbits(words, axis=1, bitorder="little")
    np.testing.assert_array_equal(words[:, : n_tables * n_bits], bits.reshape(n_neurons, -1))
    assert not words[:, n_tables * n_bits :].any()
    for t in range(n_tables):
        np.testing.assert_array_equal(state["tables.ids"][t], np.argsort(codes[t], kind="stable"))


def test_estimates_of_what_the_tables_return():
    problem = Problem(n_neurons=600)
    retrieval = problem.retrieval(use_tables=True, n_hash_bits=8, n_wanted=0, n_candidates=12)
    found = retrieval.retrieve(problem.x)
    candidates = [in_buckets(retrieval, x, problem.mean) for x in problem.x]
    assert all(12 < len(ids) < 600 for ids in candidates)
    for ids, among, x in zip(found, candidates, problem.x, strict=True):
        assert set(ids) <= set(among) and len(ids) == 12
        expected = reference.estimates(
            retrieval.hasher, 32 * 8, problem.w, problem.b, x, problem.mean
        )
        rest = np.setdiff1d(among, ids)
        assert expected[ids].min() >= expected[rest].max() - 1e-4


@pytest.mark.parametrize("n_directions", [1, 3, 64])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_estimates_with_directions_are_the_twins(n_directions, n_threads):
    problem = Problem(n_neurons=600)
    directions = orthonormal(n_directions, 64)
    retrieval = problem.retrieval(directions=directions)
    cost = problem.rebuild(retrieval, n_threads)
    assert cost == problem.rebuild(problem.retrieval()) + 600 * n_directions * (64 + 256)
    assert_same(retrieval.retrieve(problem.x), problem.twin(retrieval).retrieve(problem.x))
    for ids, x in zip(retrieval.retrieve(problem.x), problem.x, strict=True):
        assert len(ids) == 20 and (np.diff(ids) > 0).all()
        expected = reference.estimates(
            retrieval.hasher, 256, problem.w, problem.b, x, problem.mean, directions
        )
        assert expected[ids].min() >= np.delete(expected, ids).max() - 1e-4


def orthonormal(n, n_in):
    basis = np.random.default_rng(n).standard_normal((n_in, n))
    return np.ascontiguousarray(np.linalg.qr(basis)[0].T, np.float32)


def test_all_directions_leave_nothing_to_estimate():
    problem = Problem(n=50)
    assert recall(problem.retrieval(directions=orthonormal(64, 64)), problem) > 0.999


def test_directions_of_large_variance_find_more():
    problem = Problem(n=100)
    directions = orthonormal(4, 64)
    # Half of the variance and more lies along four directions.
    along = 4 * np.random.default_rng(1).standard_normal((100, 4)).astype(np.float32)
    problem.x += along @ directions
    plain = recall(problem.retrieval(n_tables=8), problem)
    known = recall(problem.retrieval(n_tables=8, directions=directions), problem)
    assert known > plain + 0.1


@pytest.mark.parametrize("n_directions", [0, 2])
def test_a_first_ranking_keeps_the_best_by_64_bits(n_directions):
    problem = Problem(n_neurons=600)
    directions = orthonormal(n_directions, 64) if n_directions else None
    retrieval = problem.retrieval(n_coarse=80, directions=directions)
    assert_same(retrieval.retrieve(problem.x), problem.twin(retrieval).retrieve(problem.x))
    for ids, x in zip(retrieval.retrieve(problem.x), problem.x, strict=True):
        coarse, fine = (
            reference.estimates(
                retrieval.hasher, 8 * n_tables, problem.w, problem.b, x, problem.mean, directions,
                n_tables,
            )
            for n_tables in (8, 32)
        )  # fmt: skip
        limit = np.sort(coarse)[-80]
        assert len(ids) == 20 and coarse[ids].min() >= limit - 1e-4
        kept = np.flatnonzero(coarse > limit + 1e-4)
        assert fine[ids].min() >= fine[np.setdiff1d(kept, ids)].max() - 1e-4


@pytest.mark.parametrize(("policy", "use_tables"), [(p, t) for p, t, _ in RETRIEVALS[:5]])
def test_follow_hashes_what_moved(policy, use_tables):
    problem = Problem()
    changes = {"n_coarse": 60} if policy == "estimate" and not use_tables else {}
    retrieval = problem.retrieval(policy, use_tables, **changes)
    before = retrieval.retrieve(problem.x)
    steps = np.zeros(300, np.int32)
    moved = np.arange(0, 300, 3)
    rng = np.random.default_rng(4)
    problem.w[moved] = rng.standard_normal((100, 64))
    steps[moved] = MOVED - 1
    assert retrieval.follow(problem.w, problem.b, steps, 1) == 0
    assert_same(before, retrieval.retrieve(problem.x))
    steps[moved] += 1
    twin = problem.twin(retrieval)
    cost = retrieval.follow(problem.w, problem.b, steps, 2)
    assert cost == twin.follow(problem.w, problem.b, steps, 1)
    fresh = problem.retrieval(policy, use_tables, **changes)
    assert cost * 3 == (problem.rebuild(fresh) if policy == "estimate" else 0)
    for found in (retrieval, twin):
        assert_same(fresh.retrieve(problem.x), found.retrieve(problem.x))
    assert retrieval.follow(problem.w, problem.b, steps, 1) == 0
    # `follow` hashes only the neurons that moved, not the others.
    problem.w[:] = 0
    steps[moved] += MOVED
    retrieval.follow(problem.w, problem.b, steps, 1)
    if policy in ("estimate", "scan"):
        assert any(
            (a[:20] != b[:20]).any()
            for a, b in zip(retrieval.retrieve(problem.x), fresh.retrieve(problem.x), strict=True)
        )


def in_buckets(retrieval, x, mean):
    """Neurons that share a bucket with x in a table."""
    tables, met = retrieval.tables, []
    for t, code in enumerate(retrieval.hasher.codes(x[None], mean)[:, 0]):
        first, last = tables.offsets[t, code : code + 2]
        assert last - first <= 32  # else a random part of it is taken
        met.extend(tables.ids[t, first:last])
    return np.unique(met)


def recall(retrieval, problem):
    """Share of the truly best 5 % of neurons that is among the candidates."""
    scores, total = problem.scores(), 0
    n_best = len(problem.w) // 20
    for ids, row in zip(retrieval.retrieve(problem.x), scores, strict=True):
        total += np.isin(np.argsort(-row)[:n_best], ids).mean()
    return total / len(problem.x)


class Learnt(Problem):
    """Inputs with few degrees of freedom, and weights that partly follow them, as if learnt."""

    def __init__(self, n_neurons=1000, n_in=256, n=200, spread=0.5, rank=16):
        super().__init__(n_neurons, n_in, n, spread=spread)
        rng = np.random.default_rng(1)
        latent = rng.standard_normal((n + n_neurons, rank))
        x = np.maximum(latent @ rng.standard_normal((rank, n_in)) / np.sqrt(rank), 0)
        self.x, self.mean = x[:n].astype(np.float32), x.mean(axis=0).astype(np.float32)
        seen = x[n:] - x.mean(axis=0)
        seen *= np.linalg.norm(self.w, axis=1, keepdims=True) / np.linalg.norm(
            seen, axis=1, keepdims=True
        )
        self.w += seen.astype(np.float32)


BEST = {"n_wanted": 50, "n_candidates": 50}


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_estimates_find_the_best_twentieth(spread):
    problem = Learnt(spread=spread)
    assert recall(problem.retrieval(**BEST), problem) >= 0.6
    assert recall(problem.retrieval(use_tables=True, n_hash_bits=4, **BEST), problem) >= 0.4
    at_random = recall(problem.retrieval("none", **BEST), problem)
    assert at_random == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_estimates_are_no_worse_than_independent_bits(spread):
    # Random weights are nearly orthogonal to every input: the hardest case. Each bit of an ideal
    # SimHash differs with probability angle / pi, independently (Charikar, STOC 2002).
    problem = Problem(n_neurons=1000, n_in=256, n=200, spread=spread)
    rng = np.random.default_rng(4)
    w, x = problem.w.astype(float), (problem.x - problem.mean).astype(float)
    lengths = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(w, axis=1)
    distances = rng.binomial(256, np.arccos(x @ w.T / lengths) / np.pi)
    promised = lengths * np.cos(np.pi * distances / 256) + w @ problem.mean + problem.b
    ideal = [
        np.isin(np.argsort(-row)[:50], np.argsort(-guess)[:50]).mean()
        for row, guess in zip(problem.scores(), promised, strict=True)
    ]
    found = recall(problem.retrieval(**BEST), problem)
    assert found > np.mean(ideal) - 4 * np.std(ideal) / np.sqrt(200) > 0.25


@pytest.mark.parametrize(
    ("policy", "use_tables", "gain"),
    [("estimate", False, 0.1), ("estimate", True, 0.1), ("topk", True, 0.015)],
)
def test_the_transform_finds_more_where_norms_and_biases_vary(policy, use_tables, gain):
    problem = Problem(n_neurons=1000, n_in=256, n=200)
    with_it, without = (
        recall(problem.retrieval(policy, use_tables, transform=transform, **BEST), problem)
        for transform in (True, False)
    )
    assert with_it > without + gain


@pytest.mark.parametrize("policy", ["vanilla", "topk", "threshold", "rerank"])
@pytest.mark.parametrize("family", FAMILIES)
def test_tables_are_better_than_chance(policy, family):
    # 10,000 places: chance reaches .06 in less than one case of 100,000.
    problem = Learnt(spread=0.0)
    assert recall(problem.retrieval(policy, True, family, **BEST), problem) > 0.06


# ------------------------------------------------------------ draw, rebuild --


@each_retrieval
def test_rebuild_follows_the_weights(policy, use_tables, family):
    problem = Problem()
    retrieval, copied = (problem.retrieval(policy, use_tables, family) for _ in range(2))
    copied = problem.twin(copied)
    rng = np.random.default_rng(9)
    problem.w[:] = rng.standard_normal(problem.w.shape)
    problem.mean[:] = 0.3
    fresh = problem.retrieval(policy, use_tables, family)
    for old in (retrieval, copied):
        problem.rebuild(old, n_threads=2)
        assert_same(old.retrieve(problem.x), fresh.retrieve(problem.x))


def test_good_neurons_move_up():
    # Every policy except the random one finds a neuron that points along x.
    problem = Problem(n_neurons=1000, n=4)
    for policy, use_tables, family in RETRIEVALS:
        if policy in ("none", "vanilla", "threshold"):
            continue
        retrieval = problem.retrieval(policy, use_tables, family)
        for i, x in enumerate(problem.x):
            problem.w[i] = 3 * (x - problem.mean)
        problem.rebuild(retrieval)
        for i, ids in enumerate(retrieval.retrieve(problem.x)):
            assert i in ids, (policy, family)
