"""Hash tables: their contents, what a lookup returns, and how good its candidates are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from twins import hashing as reference
from twins.engine import topk
from twins.random import SplitMix64
from twins.simd import dots

from slide._hashing.tables import HashTables
from slide._simd import dispatch

FAMILIES = ["simhash", "wta", "dwta", "minhash"]

few = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def make_layer(n_neurons, n_in, seed=0):
    """Weights of varied length, biases, and the mean and length of the queries."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((n_neurons, n_in)) * rng.lognormal(0, 0.5, (n_neurons, 1))
    b = rng.standard_normal(n_neurons)
    mean = rng.uniform(0, 1, n_in)
    return w.astype(np.float32), b.astype(np.float32), mean.astype(np.float32), 1.5


def make_tables(layer, n_tables, n_bits, seed=0, n_threads=1, **family):
    n_neurons, n_in = layer[0].shape
    random_state = np.random.RandomState(seed)
    tables = HashTables(n_neurons, n_in, n_tables, n_bits, random_state, **family)
    tables.rebuild(*layer, n_threads)
    return tables


def queries(n, n_in, seed=1):
    return np.random.default_rng(seed).uniform(0, 2, (n, n_in)).astype(np.float32)


def query_codes(tables, x):
    if not tables.transform:
        return tables.hasher.codes(x)
    extra = np.full(len(x), tables.query_bias, np.float32)
    return tables.hasher.codes(x, tables.mean, extra)


def codes_by_place(tables):
    """Codes (n_tables, n_neurons), taken from the buckets that the neurons are in."""
    codes = np.full(tables.ids.shape, -1)
    for t, (offsets, ids) in enumerate(zip(tables.offsets, tables.ids, strict=True)):
        for code in range(len(offsets) - 1):
            codes[t, ids[offsets[code] : offsets[code + 1]]] = code
    return codes


shapes = {
    "n_neurons": st.integers(1, 70),
    "n_in": st.integers(1, 70),
    "n_tables": st.integers(1, 9),
    "n_bits": st.integers(1, 9),
    "seed": seeds,
}

# -------------------------------------------------------------- rebuild --


@few
@given(**shapes)
def test_every_neuron_is_in_one_bucket_of_each_table(n_neurons, n_in, n_tables, n_bits, seed):
    tables = make_tables(make_layer(n_neurons, n_in, seed), n_tables, n_bits, seed)
    assert tables.offsets.shape == (n_tables, 2**n_bits + 1)
    assert tables.ids.shape == (n_tables, n_neurons)
    assert (tables.offsets[:, 0] == 0).all() and (tables.offsets[:, -1] == n_neurons).all()
    assert (np.diff(tables.offsets, axis=1) >= 0).all()
    for ids in tables.ids:
        np.testing.assert_array_equal(np.sort(ids), np.arange(n_neurons))
    # Ids rise within a bucket, as in the twin's stable sort.
    for t, codes in enumerate(codes_by_place(tables)):
        offsets, ids = reference.sort_table(codes, 2**n_bits)
        np.testing.assert_array_equal(tables.offsets[t], offsets)
        np.testing.assert_array_equal(tables.ids[t], ids)


@few
@given(**shapes)
def test_every_neuron_is_in_the_bucket_of_its_code(n_neurons, n_in, n_tables, n_bits, seed):
    layer = make_layer(n_neurons, n_in, seed)
    tables = make_tables(layer, n_tables, n_bits, seed)
    extras = reference.neuron_extras(*layer)
    # The second extra coordinate of the longest neuron is the root of a rounding error, not 0.
    slack = np.sqrt(1e-6 * ((layer[0] ** 2).sum(axis=1) + extras[0] ** 2).max())
    random_numbers = tables.hasher.parameters
    projections = reference.simhash_projections(random_numbers, layer[0], None, *extras)
    projections = projections[:, : n_tables * n_bits]
    bits = (codes_by_place(tables).T[:, :, None] >> np.arange(n_bits)) & 1
    bits = bits.reshape(projections.shape)
    size = random_numbers["later_signs"].shape[2]
    short = extras[1] < 30 * slack
    margin = size * np.where(short, 4 * slack, 1e-3 * slack)[:, None]
    certain = abs(projections) > margin
    assert certain.sum() >= 0.8 * certain.size - 2 * n_tables * n_bits
    np.testing.assert_array_equal(bits[certain], (projections > 0)[certain])


def test_almost_every_bit_of_a_larger_layer_is_the_twins():
    layer = make_layer(1500, 40)
    tables = make_tables(layer, 8, 8)
    extras = reference.neuron_extras(*layer)
    agree = codes_by_place(tables) == reference.hash_codes(
        tables.hasher, 8, 8, layer[0], None, *extras
    )
    assert agree.mean() > 0.999


@pytest.mark.parametrize("transform", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_fills_and_asks_the_tables(family, transform):
    layer = w, _, mean, query_length = make_layer(300, 40)
    w[w < 0.5] = 0
    tables = make_tables(layer, 8, 7, family=family, transform=transform)
    x = queries(20, 40)
    x[x < 1] = 0
    if transform:
        extras = reference.neuron_extras(*layer)
        asked = x, mean, np.full(len(x), query_length)
    else:
        extras, asked = (None, None), (x,)
        assert tables.query_bias == 0
    expected = reference.hash_codes(tables.hasher, 8, 7, w, None, *extras)
    assert (codes_by_place(tables) == expected).mean() > 0.99
    expected = reference.hash_codes(tables.hasher, 8, 7, *asked)
    assert (query_codes(tables, x) == expected).mean() > 0.99
    twin = restored(tables, HashTables(300, 40, 8, 7, np.random.RandomState(0), family, transform))
    for rows in zip(*(t.collect(m, 50) for t in (tables, twin) for m in (x, csr_matrix(x))),
                    strict=True):  # fmt: skip
        # SimHash sums a sparse vector in another order.
        for ids in rows[1:]:
            assert len(np.setxor1d(ids, rows[0])) <= (4 if family == "simhash" else 0)


def float32_extras(w, b, mean, query_length):
    """The extra coordinates of the transform, rounded as the engine rounds them."""
    bias, norm2 = np.empty((2, len(w)), np.float32)
    dispatch.statistics(
        dispatch.instruction_set(), w.ravel(), w.shape[1], b, len(w), mean, bias, norm2
    )
    bias = (bias - bias.mean()) * np.float32(1 / query_length)
    rest = np.max(norm2 + bias * bias) - norm2 - bias * bias
    return bias, np.sqrt(np.maximum(rest, 0))


@pytest.mark.parametrize("n_neurons", [1, 7, 15, 16, 17, 33, 1023])
@pytest.mark.parametrize("n_in", [1, 7, 128, 200, 300])
@pytest.mark.parametrize("transform", [True, False])
@pytest.mark.parametrize("family", ["simhash", "dwta"])
def test_neurons_are_hashed_as_one_vector_is(n_neurons, n_in, transform, family):
    layer = make_layer(n_neurons, n_in)
    extras = float32_extras(*layer) if transform else (None, None)
    for n_tables, n_bits in [(3, 5), (25, 14)]:
        tables = make_tables(layer, n_tables, n_bits, family=family, transform=transform)
        codes = tables.hasher.codes(layer[0], None, *extras)
        for t in range(n_tables):
            offsets, ids = reference.sort_table(codes[t], 2**n_bits)
            np.testing.assert_array_equal(tables.offsets[t], offsets)
            np.testing.assert_array_equal(tables.ids[t], ids)


def test_without_the_transform_only_the_weights_are_read():
    w, *rest = make_layer(50, 20)
    plain = {"family": "wta", "transform": False}
    tables = make_tables((w, *rest), 5, 6, **plain)
    other = make_tables((w, 2 * rest[0], 3 * rest[1], 0.1), 5, 6, **plain)
    np.testing.assert_array_equal(tables.ids, other.ids)
    cost = tables.rebuild(w, *rest, 1)
    assert cost == 50 * tables.hasher.multiply_adds


@pytest.mark.parametrize("n_neurons", [1, 5, 1023, 1024, 1025, 3000])
def test_threads_do_not_change_the_tables(n_neurons):
    layer = make_layer(n_neurons, 33)
    one, two = make_tables(layer, 7, 6), make_tables(layer, 7, 6, n_threads=2)
    np.testing.assert_array_equal(one.offsets, two.offsets)
    np.testing.assert_array_equal(one.ids, two.ids)


def test_a_rebuild_forgets_the_old_neurons():
    first, second = make_layer(300, 20, seed=1), make_layer(300, 20, seed=2)
    tables = make_tables(first, 5, 6)
    before = tables.ids.copy()
    tables.rebuild(*second, 1)
    fresh = make_tables(second, 5, 6)
    np.testing.assert_array_equal(tables.ids, fresh.ids)
    np.testing.assert_array_equal(tables.offsets, fresh.offsets)
    np.testing.assert_array_equal(tables.mean, second[2])
    assert tables.query_bias == 1.5
    assert (tables.ids != before).any()


def test_rebuild_takes_read_only_arrays_and_counts_its_work():
    layer = make_layer(50, 20)
    for array in layer[:3]:
        array.flags.writeable = False
    tables = HashTables(50, 20, 5, 6, np.random.RandomState(0))
    assert tables.rebuild(*layer, 1) == 50 * (2 * 20 + tables.hasher.multiply_adds)


def test_equal_neurons_share_every_bucket():
    w, b, mean, length = make_layer(10, 20)
    w[7], b[7] = w[3], b[3]
    codes = codes_by_place(make_tables((w, b, mean, length), 30, 10))
    np.testing.assert_array_equal(codes[:, 7], codes[:, 3])


def restored(tables, empty):
    """`empty`, other tables of the same parameters, with the named arrays of `tables`."""
    empty.set_named_arrays({name: a.copy() for name, a in tables.named_arrays().items()})
    return empty


def test_restored_tables_are_the_same():
    tables = make_tables(make_layer(300, 20), 5, 6)
    other = restored(tables, HashTables(300, 20, 5, 6, np.random.RandomState(0)))
    x = queries(10, 20)
    for a, b in zip(tables.collect(x, 20, 4, 3), other.collect(x, 20, 4, 3), strict=True):
        np.testing.assert_array_equal(a, b)
    before = tables.ids.copy()
    other.rebuild(*make_layer(300, 20, seed=5), 1)  # and it shares no memory with the old tables
    np.testing.assert_array_equal(tables.ids, before)
    assert (other.ids != before).any()


# ------------------------------------------------------------- retrieve --


@few
@given(**shapes, limit=st.sampled_from([1, 2, 5, 1000]), n_keep=st.integers(0, 80))
def test_retrieve_is_its_twin(n_neurons, n_in, n_tables, n_bits, seed, limit, n_keep):
    tables = make_tables(make_layer(n_neurons, n_in, seed), n_tables, n_bits, seed)
    x = queries(6, n_in, seed)
    found = tables.collect(x, n_keep, limit, seed)
    random = SplitMix64(seed)  # one stream serves all rows
    for ids, codes in zip(found, query_codes(tables, x).T, strict=True):
        expected, counts = reference.collect(tables.offsets, tables.ids, codes, limit, random)
        assert list(ids) == reference.keep_most_frequent(expected, counts, n_keep)
        assert len(set(ids)) == len(ids) <= n_keep


def test_counts_decide_who_is_kept():
    # Every n_keep cuts the ranking at another place. If all cuts are right, so are all counts.
    tables = make_tables(make_layer(400, 30), 40, 3)
    x = queries(3, 30)
    for row, codes in zip(x, query_codes(tables, x).T, strict=True):
        random = SplitMix64(0)
        found, counts = reference.collect(tables.offsets, tables.ids, codes, 400, random)
        assert len(set(counts.values())) > 5
        # A collision is a table where neuron and query have the same code.
        collisions = (codes_by_place(tables) == codes[:, None]).sum(axis=0)
        assert counts == {i: n for i, n in enumerate(collisions) if n}
        for n_keep in range(len(found) + 2):
            kept = tables.collect(row[None], n_keep, 400)[0]
            assert list(kept) == reference.keep_most_frequent(found, counts, n_keep)


@pytest.mark.parametrize("min_collisions", [1, 2, 5, 40, 41])
def test_a_threshold_keeps_those_of_enough_collisions(min_collisions):
    tables = make_tables(make_layer(400, 30), 40, 3)
    x = queries(3, 30)
    # The counts are zero again after each row.
    kept = tables.collect(x, 0, 400, min_collisions=min_collisions)
    for ids, codes in zip(kept, query_codes(tables, x).T, strict=True):
        random = SplitMix64(0)
        found, counts = reference.collect(tables.offsets, tables.ids, codes, 400, random)
        assert list(ids) == reference.keep_above(found, counts, min_collisions)
    assert any(len(ids) > 0 for ids in kept) or min_collisions > 5


def test_a_row_retrieves_the_same_whatever_came_before():
    # The counts are zero again after each row.
    tables = make_tables(make_layer(200, 30), 10, 3)
    x = queries(8, 30)
    together = tables.collect(x, 5, 200)
    for row, ids in zip(x, together, strict=True):
        np.testing.assert_array_equal(tables.collect(row[None], 5, 200)[0], ids)
        assert len(ids) == 5


def test_many_collisions_are_counted():
    # 255 tables, every neuron in the query's bucket of each: the highest count there is.
    w, b, mean, length = make_layer(3, 20)
    w[:], b[:] = w[0], b[0]
    tables = make_tables((w, b, mean, length), 255, 1)
    kept = tables.collect(queries(1, 20), 2, 10)[0]
    np.testing.assert_array_equal(kept, [0, 1])


def one_bucket(n_neurons, n_in=8):
    """One table whose neurons are all equal, and a query that finds them."""
    w, b, mean, length = make_layer(n_neurons, n_in)
    w[:], b[:] = w[0], b[0]
    tables = make_tables((w, b, mean, length), 1, 1)
    x = queries(50, n_in)
    hits = [len(ids) > 0 for ids in tables.collect(x, n_neurons, n_neurons)]
    return tables, x[np.flatnonzero(hits)[:1]]


@pytest.mark.parametrize(("length", "limit"), [(23, 7), (8, 7), (300, 1), (100, 99)])
def test_a_cut_bucket_is_a_fair_sample(length, limit):
    tables, x = one_bucket(length)
    n = 4000
    times = np.zeros(length)
    for seed in range(n):
        ids = tables.collect(x, length, limit, seed)[0]
        assert len(ids) == limit == len(set(ids))
        times[ids] += 1
    p = limit / length
    assert (abs(times - n * p) < 4.5 * np.sqrt(n * p * (1 - p)) + 1).all()


def test_a_bucket_at_the_limit_is_whole():
    tables, x = one_bucket(40)
    np.testing.assert_array_equal(tables.collect(x, 40, 40)[0], np.arange(40))


def test_no_rows_no_candidates():
    tables = make_tables(make_layer(10, 5), 3, 2)
    assert tables.collect(np.zeros((0, 5), np.float32), 5) == []
    assert [len(ids) for ids in tables.collect(queries(2, 5), 0)] == [0, 0]


# ---------------------------------------------- what the tables are for --


def test_the_transform_turns_inner_products_into_angles():
    w, b, mean, query_length = make_layer(200, 30)
    extra_0, extra_1 = reference.neuron_extras(w, b, mean, query_length)
    neurons = np.column_stack([w, extra_0, extra_1]).astype(np.float64)
    np.testing.assert_allclose((neurons**2).sum(axis=1), (neurons[0] ** 2).sum())
    x = queries(20, 30).astype(np.float64)
    asked = np.column_stack([x - mean, np.full(20, query_length), np.zeros(20)])
    difference = asked @ neurons.T - (x @ w.T + b)
    np.testing.assert_allclose(difference, difference[:, :1].repeat(200, axis=1), atol=1e-4)


def test_neurons_collide_as_their_inner_product_wants():
    # The bits of a query and a neuron agree with probability 1 - angle / pi of the transformed
    # vectors. 300 independent sets of tables, one table of one bit taken from each.
    layer = w, _, mean, query_length = make_layer(150, 30)
    neurons = np.column_stack([w, *reference.neuron_extras(*layer)])
    longest = np.argsort(-(w**2).sum(axis=1))[:40]
    x = mean + query_length * w[longest] / np.linalg.norm(w[longest], axis=1)[:, None]
    x = x.astype(np.float32)
    asked = np.column_stack([x - mean, np.full(40, query_length), np.zeros(40)])
    cosine = asked @ neurons.T
    cosine /= np.linalg.norm(asked, axis=1)[:, None] * np.linalg.norm(neurons, axis=1)
    p = 1 - np.arccos(cosine) / np.pi
    assert p.max() - p.min() > 0.3
    n, agree = 300, np.zeros(p.shape)
    for seed in range(n):
        tables = make_tables(layer, 4, 1, seed)
        t = seed % 4
        agree += query_codes(tables, x)[t][:, None] == codes_by_place(tables)[t]
    z = (agree - n * p) / np.sqrt(n * p * (1 - p))
    assert abs(z).max() < 5.5
    # 6,000 pairs, dependent through the 300 hyperplanes: the mean square is about 1.
    assert (z**2).mean() < 1.25


@pytest.mark.parametrize("what", ["longer", "higher bias"])
def test_the_stronger_of_two_parallel_neurons_is_found_more_often(what):
    w, b, mean, query_length = make_layer(300, 30)
    longest = np.linalg.norm(w, axis=1).max()
    direction = w[5] / np.linalg.norm(w[5])
    x = (mean + query_length * direction)[None].astype(np.float32)
    w[:2] = 0.4 * longest * direction
    b[:2] = b.mean()
    # Both changes raise the pre-activation by the same amount.
    if what == "longer":
        w[0] *= 2
        b[0] -= w[1] @ mean
    else:
        b[0] += query_length * (w[1] @ direction)
    hits = np.zeros(300)
    for seed in range(60):
        tables = make_tables((w, b, mean, query_length), 50, 5, seed)
        for ids, offsets, code in zip(
            tables.ids, tables.offsets, query_codes(tables, x)[:, 0], strict=True
        ):
            hits[ids[offsets[code] : offsets[code + 1]]] += 1
    assert hits[0] > 1.5 * hits[1] > 1.5 * np.median(hits)


@pytest.mark.parametrize(("n_bits", "n_tables"), [(4, 40), (6, 50), (8, 100)])
def test_candidates_hold_the_exact_top_10(n_bits, n_tables):
    rng = np.random.default_rng(5)
    w, b, _, _ = make_layer(3000, 64)
    x = np.maximum(rng.standard_normal((100, 64)), 0).astype(np.float32)
    layer = (w, b, x.mean(axis=0), float(np.sqrt(x.var(axis=0).sum())))
    top_ids, _ = topk(dots(w, x, bias=b), 10)
    found = make_tables(layer, n_tables, n_bits).collect(x, 150, 3000)
    n_found = sum(len(np.intersect1d(a, b)) for a, b in zip(top_ids, found, strict=True))
    # Random picks of the same number would hold so many of the 1,000, plus or minus the root.
    by_chance = sum(10 * len(ids) / 3000 for ids in found)
    assert n_found > 3 * by_chance
    assert n_found > 100
