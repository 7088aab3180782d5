"""Hash families: codes against the twins, collision probabilities against their closed forms."""

from math import comb

import numpy as np
import pytest
from scipy.sparse import csr_array, csr_matrix
from twins import hashing as reference

from slide._hashing.hash_families import make_hasher

FAMILIES = ["simhash", "wta", "dwta", "minhash"]
# Trials of a collision, each with one bit or hash of an independent set of functions.
N_TRIALS = 10_000
Z = 4.5  # standard errors; a right kernel fails one of some 150,000 such comparisons

ANGLES = np.arange(15, 180, 15)


@pytest.fixture
def rng():
    return np.random.default_rng(30)


def hasher_of(family, n_in, n_tables, n_bits, seed=0, extras=True):
    random_state = np.random.RandomState(seed)
    return make_hasher(family, n_in, n_tables, n_bits, random_state, extras)


def sparse_rows(rng, n, n_in):
    """Real vectors with more and more zero coordinates; the first vector is all zero."""
    x = rng.standard_normal((n, n_in))
    x[rng.random(x.shape) > np.linspace(0, 1, n)[:, None]] = 0
    return x.astype(np.float32)


def shuffled_csr(x, rng):
    """x in CSR with the ids of each row in random order."""
    out = csr_matrix(x)
    for start, stop in zip(out.indptr[:-1], out.indptr[1:], strict=True):
        order = start + rng.permutation(stop - start)
        out.indices[start:stop], out.data[start:stop] = out.indices[order], out.data[order]
    return out


# ---------------------------------------------------------------- twins --

SHAPES = [
    # n_in, n_tables, n_bits
    (1, 1, 1),
    (2, 6, 10),
    (7, 3, 5),
    (8, 1, 16),
    (9, 16, 4),
    (31, 7, 9),  # codes that straddle two words
    (33, 20, 7),
    (63, 1, 1),
    (64, 4, 16),  # a block of 64 projections, all used
    (65, 8, 16),
    (100, 50, 6),
    (256, 50, 11),  # a last block of 64 projections
    (784, 5, 3),  # wider than 512: folded
    (1500, 12, 6),
    (1500, 60, 12),
]


def bits_of(codes, n_bits):
    """Bits (n, n_tables * n_bits) of codes (n_tables, n)."""
    bits = (codes.T[:, :, None] >> np.arange(n_bits)) & 1
    return bits.reshape(codes.shape[1], -1)


@pytest.mark.parametrize(("n_in", "n_tables", "n_bits"), SHAPES)
def test_simhash_of_integers_is_its_twin(n_in, n_tables, n_bits, rng):
    # Every sum of the transform is an integer below 2^24, so float32 makes no error.
    hasher = hasher_of("simhash", n_in, n_tables, n_bits, seed=n_in)
    x = rng.integers(-2, 3, (13, n_in)).astype(np.float32)
    x[:, 700:] = 0
    x[3] = 0
    mean = rng.integers(-1, 2, n_in).astype(np.float32)
    for args in [(), (mean,)] if n_in < 512 else [()]:
        expected = reference.hash_codes(hasher, n_tables, n_bits, x, *args)
        for matrix in (x, shuffled_csr(x, rng)):
            codes = hasher.codes(matrix, *args)
            assert codes.dtype == np.uint16 and codes.shape == (n_tables, 13)
            np.testing.assert_array_equal(codes, expected)


@pytest.mark.parametrize(("n_in", "n_tables", "n_bits"), SHAPES)
def test_simhash_of_real_vectors_is_its_twin(n_in, n_tables, n_bits, rng):
    hasher = hasher_of("simhash", n_in, n_tables, n_bits)
    x, mean = sparse_rows(rng, 40, n_in), rng.standard_normal(n_in).astype(np.float32)
    a, b = rng.standard_normal((2, 40)).astype(np.float32)
    for args in [(), (mean,), (None, a), (None, None, b), (mean, 5 * a, 5 * b)]:
        projections = reference.simhash_projections(hasher.parameters, x, *args)
        projections = projections[:, : n_tables * n_bits]
        # The sign of a projection so close to zero is uncertain in float32.
        certain = abs(projections) > 1e-5 * abs(projections).max()
        assert certain[(x != 0).any(axis=1)].mean() > 0.95
        for matrix in (x, shuffled_csr(x, rng)):
            bits = bits_of(hasher.codes(matrix, *args), n_bits)
            np.testing.assert_array_equal(bits[certain], (projections > 0)[certain])


@pytest.mark.parametrize("family", FAMILIES[1:])
@pytest.mark.parametrize(("n_in", "n_tables", "n_bits"), SHAPES)
@pytest.mark.parametrize("kind", ["real", "ties"])
def test_the_rank_families_are_their_twins(family, n_in, n_tables, n_bits, kind, rng):
    x, mean = sparse_rows(rng, 9, n_in), rng.standard_normal(n_in).astype(np.float32)
    a, b = rng.standard_normal((2, 9)).astype(np.float32)
    if kind == "ties":
        x, mean, a, b = (np.round(v) for v in (x, mean, a, b))
    for extras in (True, False):
        hasher = hasher_of(family, n_in, n_tables, n_bits, n_in, extras)
        for args in [(), (mean,), (mean, 5 * a), (None, a, b)][: 4 if extras else 2]:
            expected = reference.hash_codes(hasher, n_tables, n_bits, x, *args)
            for matrix in (x, shuffled_csr(x, rng)):
                np.testing.assert_array_equal(hasher.codes(matrix, *args), expected)


# ------------------------------------------------------------ interface --


@pytest.mark.parametrize("family", FAMILIES)
def test_sparse_and_dense_agree_in_150_000_coordinates(family, rng):
    n_in = 150_000
    hasher = hasher_of(family, n_in, 24, 8)
    x = np.zeros((5, n_in), np.float32)
    for i in range(1, 5):
        x[i, rng.choice(n_in, 10**i, replace=False)] = rng.standard_normal(10**i)
    mean = np.where(rng.random(n_in) < 0.1, rng.standard_normal(n_in), 0).astype(np.float32)
    extra = rng.standard_normal(5).astype(np.float32)
    for args in [(), (mean,), (mean, extra, extra)]:
        differ = hasher.codes(x, *args) != hasher.codes(shuffled_csr(x, rng), *args)
        # SimHash sums in another order here.
        assert differ.sum() <= (1 if family == "simhash" else 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_read_only_input_sparse_containers_and_no_rows(family, rng):
    x = rng.standard_normal((5, 20)).astype(np.float32)
    hasher = hasher_of(family, 20, 4, 8)
    expected = hasher.codes(x)
    x.flags.writeable = False
    np.testing.assert_array_equal(hasher.codes(x), expected)
    long = csr_array(x)
    long.indices, long.indptr = long.indices.astype(np.int64), long.indptr.astype(np.int64)
    np.testing.assert_array_equal(hasher.codes(long), expected)
    for empty in (np.zeros((0, 20), np.float32), csr_matrix((0, 20), dtype=np.float32)):
        assert hasher.codes(empty).shape == (4, 0)
    zero = csr_matrix((3, 20), dtype=np.float32)
    np.testing.assert_array_equal(hasher.codes(zero), hasher.codes(zero.toarray()))
    with pytest.raises(ValueError, match="20 columns"):
        hasher.codes(np.zeros((2, 19), np.float32))


@pytest.mark.parametrize("family", FAMILIES)
def test_codes_depend_on_the_seed_and_on_nothing_else(family, rng):
    x = rng.standard_normal((5, 200)).astype(np.float32)
    hasher = hasher_of(family, 200, 10, 10, seed=1)
    codes = hasher.codes(x)
    np.testing.assert_array_equal(codes, hasher_of(family, 200, 10, 10, seed=1).codes(x))
    other = hasher_of(family, 200, 10, 10, seed=2)
    other.set_named_arrays(hasher.named_arrays())
    np.testing.assert_array_equal(codes, other.codes(x))
    assert (codes != hasher_of(family, 200, 10, 10, seed=2).codes(x)).mean() > 0.9
    for i in range(5):  # a row's codes do not depend on other rows
        np.testing.assert_array_equal(hasher.codes(x[i : i + 1])[:, 0], codes[:, i])


@pytest.mark.parametrize("family", FAMILIES)
def test_mean_subtracts(family, rng):
    x = rng.standard_normal((30, 100)).astype(np.float32)
    mean = rng.standard_normal(100).astype(np.float32)
    extra = rng.standard_normal(30).astype(np.float32)
    hasher = hasher_of(family, 100, 20, 8)
    with_mean = hasher.codes(x, mean, extra, extra)
    np.testing.assert_array_equal(with_mean, hasher.codes(x - mean, None, extra, extra))
    assert (with_mean != hasher.codes(x, None, extra, extra)).mean() > 0.5


@pytest.mark.parametrize("family", FAMILIES)
def test_length_does_not_matter(family, rng):
    x = rng.standard_normal((5, 40)).astype(np.float32)
    hasher = hasher_of(family, 40, 10, 10)
    np.testing.assert_array_equal(hasher.codes(8 * x), hasher.codes(x))
    if family == "simhash":
        np.testing.assert_array_equal(hasher.codes(-x), hasher.codes(x) ^ 1023)


def test_dwta_without_zeros_is_wta(rng):
    x = rng.standard_normal((20, 50)).astype(np.float32)
    codes = [hasher_of(name, 50, 30, 7, 3, False).codes(x) for name in ("wta", "dwta")]
    np.testing.assert_array_equal(*codes)


def test_an_unknown_family_is_refused():
    with pytest.raises(ValueError, match="simhash, wta, dwta, minhash; got 'cosine'"):
        hasher_of("cosine", 10, 2, 2)


def test_multiply_adds_by_hand():
    # 2 blocks of 128. Each: 100 signs, two rounds of 7 stages and signs, 7 stages, two extras.
    hasher = hasher_of("simhash", 100, 16, 16)
    assert hasher.multiply_adds == 2 * (100 + 128 * (2 * 8 + 7 + 2))
    # One block of 256, of which 64 projections are wanted.
    hasher = hasher_of("simhash", 10_000, 5, 10)
    assert hasher.multiply_adds == 10_000 + 256 * 2 * 9 + (256 - 64) + 64 * (6 + 2)
    # 12 windows of 8 of the 10 coordinates and two extra ones.
    assert hasher_of("wta", 10, 4, 7).multiply_adds == 10 + 12 + 12 * 8
    assert hasher_of("minhash", 100, 4, 7).multiply_adds == 4 * (100 + 5 + 2) + 16


def test_the_transform_grows_with_the_bits_not_with_the_width():
    for n_in, total, size in [(60, 10, 64), (513, 10, 256), (10**5, 200, 256), (10**5, 300, 512)]:
        parameters = hasher_of("simhash", n_in, total // 10, 10).parameters
        assert parameters["later_signs"].shape[::2] == (1, size)


# ------------------------------------------- collision of SimHash's bits --


def pairs_at_angles(kind, n_in, rng):
    """Two vectors per angle, of n_in coordinates and two extra ones: arrays (n_angles, width)."""
    basis = np.zeros((2, n_in + 2))
    if kind == "dense":
        basis[:, :n_in] = np.linalg.qr(rng.standard_normal((n_in, 2)))[0].T
    elif kind == "two non-zeros":
        basis[[0, 1], rng.choice(n_in, 2, replace=False)] = 1
    elif kind == "five non-zeros":
        places = rng.choice(n_in, 5, replace=False)
        basis[:, places] = np.linalg.qr(rng.standard_normal((5, 2)))[0].T
    elif kind == "extras like others":
        basis[:] = np.linalg.qr(rng.standard_normal((n_in + 2, 2)))[0].T
    elif kind == "extras of half the length":  # as in the inner-product transform
        basis[:, :n_in] = np.linalg.qr(rng.standard_normal((n_in, 2)))[0].T
        basis[:, n_in:] = np.eye(2)
        basis /= np.sqrt(2)
    elif kind == "extras alone":
        basis[:, n_in:] = np.eye(2)
    radians = np.radians(ANGLES)[:, None]
    x = np.tile(basis[0], (len(ANGLES), 1))
    return x, np.cos(radians) * basis[0] + np.sin(radians) * basis[1]


def collisions(x, y, n_in, n_tables=4, n_bits=16):
    """Which bits of x[j] and y[j] agree, for N_TRIALS independent sets of functions.

    Coordinates beyond n_in are passed as extra ones. Returns bool (N_TRIALS, n_pairs, n_tables *
    n_bits).
    """
    both = np.concatenate([x, y]).astype(np.float32)
    vectors = np.ascontiguousarray(both[:, :n_in])
    if (vectors != 0).sum(axis=1).max() < n_in / 2:
        vectors = csr_matrix(vectors)
    extras = [np.ascontiguousarray(column) for column in both[:, n_in:].T]
    random_state = np.random.RandomState(31)
    agree = np.empty((N_TRIALS, len(x), n_tables * n_bits), bool)
    for trial in range(N_TRIALS):
        hasher = make_hasher("simhash", n_in, n_tables, n_bits, random_state)
        codes = hasher.codes(vectors, None, *extras)
        differing = (codes[:, : len(x)] ^ codes[:, len(x) :]).T.copy()
        bits = np.unpackbits(differing.view(np.uint8), axis=1, bitorder="little")
        agree[trial] = bits.reshape(len(x), n_tables, 16)[:, :, :n_bits].reshape(len(x), -1) == 0
    return agree


@pytest.fixture(
    scope="module",
    params=[
        ("dense", 64),
        ("dense", 100),
        ("dense", 1100),
        ("two non-zeros", 64),
        ("five non-zeros", 64),
        ("five non-zeros", 1100),
        ("extras like others", 50),
        ("extras of half the length", 50),
        ("extras alone", 50),
    ],
    ids=lambda param: f"{param[0]}, {param[1]}",
)
def agreement(request):
    kind, n_in = request.param
    return collisions(*pairs_at_angles(kind, n_in, np.random.default_rng(32)), n_in)


def standard_error(p, n):
    return np.sqrt(p * (1 - p) / n)


def test_a_bit_collides_with_probability_1_minus_angle_over_pi(agreement):
    n_bits = agreement.shape[2]
    # One bit per trial, another one each time, so that trials are independent.
    sampled = agreement[np.arange(N_TRIALS), :, np.arange(N_TRIALS) % n_bits]
    p = 1 - ANGLES / 180
    error = sampled.mean(axis=0) - p
    assert (abs(error) < Z * standard_error(p, N_TRIALS)).all(), error
    # Every single bit agrees as often, the first and the last.
    error = agreement.mean(axis=0) - p[:, None]
    assert (abs(error) < (Z + 0.5) * standard_error(p, N_TRIALS)[:, None]).all()


def test_pairs_of_bits_are_nearly_independent(agreement):
    # Rows of one transform are orthogonal, not independent, so they correlate slightly.
    for j in range(len(ANGLES)):
        correlation = np.corrcoef(agreement[:, j].T)
        np.fill_diagonal(correlation, 0)
        assert abs(correlation).max() < 0.08
        assert abs(correlation.sum() / (64 * 63)) < 0.01


@pytest.mark.parametrize("n_bits", [2, 4, 8])
def test_k_bits_collide_with_the_kth_power(agreement, n_bits):
    # Codes of K neighbouring bits, at another place in each trial.
    codes = agreement.reshape(N_TRIALS, len(ANGLES), -1, n_bits).all(axis=3)
    sampled = codes[np.arange(N_TRIALS), :, np.arange(N_TRIALS) % codes.shape[2]]
    p = (1 - ANGLES / 180) ** n_bits
    error = abs(sampled.mean(axis=0) - p)
    # The tolerance allows for the correlation of the bits.
    assert (error < Z * standard_error(p, N_TRIALS) + 0.01 * p).all(), error


def test_codes_of_unrelated_vectors_fill_the_buckets_evenly(rng):
    x = rng.standard_normal((20_000, 60)).astype(np.float32)
    codes = hasher_of("simhash", 60, 3, 4).codes(x)
    for table in codes:
        share = np.bincount(table, minlength=16) / 20_000
        # Fixed hyperplanes are only nearly orthogonal, so shares differ by more than chance.
        assert (abs(share - 1 / 16) < 0.04).all()


# --------------------------------------------- collision of other hashes --


def agreements(family, x, y, n_tables, n_bits, n_trials=N_TRIALS):
    """Which codes of x[j] and y[j] agree in independent trials: (n_trials, n_tables, n_pairs)."""
    random_state = np.random.RandomState(33)
    agree = np.empty((n_trials, n_tables, len(x)), bool)
    both = np.concatenate([x, y]).astype(np.float32)
    for trial in range(n_trials):
        hasher = make_hasher(family, x.shape[1], n_tables, n_bits, random_state, False)
        codes = hasher.codes(both)
        agree[trial] = codes[:, : len(x)] == codes[:, len(x) :]
    return agree


def correlated_pairs(n_in, rng):
    x, noise = rng.standard_normal((2, 6, n_in))
    return x, x + np.array([0, 0.3, 0.6, 1, 2, 100])[:, None] * noise


def assert_binomial(agree, p):
    error = agree.mean(axis=0) - p
    assert (abs(error) <= Z * standard_error(p, len(agree)) + 1e-9).all(), (error, p)


def winner_probability(x, y, absent=0.0):
    """P(both vectors have a winner at the same place) in a window of 8: a sum over the places.

    absent : the value of coordinates that never win
    """
    below_x = (x[:, None] > x) | (x == absent)
    below_y = (y[:, None] > y) | (y == absent)
    n_below = (below_x & below_y).sum(axis=1)
    winners = (x != absent) & (y != absent)
    return sum(comb(n, 7) for n in n_below[winners].tolist()) / comb(len(x), 8)


@pytest.mark.parametrize("n_in", [8, 20, 300])
def test_wta_collides_as_its_closed_form(n_in, rng):
    x, y = correlated_pairs(n_in, rng)
    whole = np.array([winner_probability(*pair) for pair in zip(x, y, strict=True)])
    for n_bits in (1, 2, 3):
        # Every window is drawn independently: 100 tables are 100 trials.
        agree = agreements("wta", x, y, 100, n_bits, 200).reshape(-1, len(x))
        assert_binomial(agree, whole + (1 - whole) * (2 ** (3 - n_bits) - 1) / 7)
    # Two hashes and a bit of a third.
    agree = agreements("wta", x, y, 100, 7, 200).reshape(-1, len(x))
    assert_binomial(agree, whole**2 * (whole + (1 - whole) * 3 / 7))


def test_wta_sees_the_extras_as_copies(rng):
    n_in, n_copies = 24, 3
    x, y = correlated_pairs(n_in, rng)
    extras = 2 * rng.standard_normal((2, 12)).astype(np.float32)
    both = np.concatenate([x, y]).astype(np.float32)
    rows = reference.augmented(both, None, *extras, n_copies)
    hits = []
    for seed in range(100):
        codes = hasher_of("wta", n_in, 100, 3, seed).codes(both, None, *extras)
        hits.append(codes[:, :6] == codes[:, 6:])
    whole = []
    for a, b in zip(rows[:6], rows[6:], strict=True):
        # Copies tie, and the first in the window's order wins, which is random.
        samples = [rng.permutation(len(a))[:8] for _ in range(40_000)]
        samples = np.array(samples)
        whole.append((a[samples].argmax(axis=1) == b[samples].argmax(axis=1)).mean())
    error = np.concatenate(hits).mean(axis=0) - whole
    assert (abs(error) < Z * np.sqrt(1.25) * standard_error(np.array(whole), 10_000) + 1e-9).all()


def test_dwta_collides_as_its_closed_form(rng):
    n_in = 60
    x, y = correlated_pairs(n_in, rng)
    # The sets hold 1/16 to 1/2 of the coordinates, some of which only one of the two has.
    for i, share in enumerate([0.06, 0.1, 0.2, 0.06, 0.3, 0.5]):
        absent = rng.random(n_in) > share
        x[i, absent | (rng.random(n_in) < 0.2)] = 0
        y[i, absent | (rng.random(n_in) < 0.2)] = 0
    empty_x, empty_y, both_empty = (
        np.array([comb(int(n), 8) / comb(n_in, 8) for n in (zeros).sum(axis=1)])
        for zeros in (x == 0, y == 0, (x == 0) & (y == 0))
    )
    one_empty = empty_x + empty_y - 2 * both_empty
    assert both_empty.max() > 0.4 and one_empty.max() > 0.1
    agree = np.array([winner_probability(*pair) for pair in zip(x, y, strict=True)])
    p = (agree + one_empty / 8) / (1 - both_empty)
    # Windows take hashes from each other, so only one per trial is independent.
    codes = agreements("dwta", x, y, 50, 3)
    assert_binomial(codes[np.arange(N_TRIALS), np.arange(N_TRIALS) % 50], p)


def test_minhash_collides_as_its_closed_form(rng):
    n_in, size = 400, 20  # the 20 largest of 400
    shared = np.array([0, 1, 5, 10, 18, 20])
    x, y = -rng.uniform(1, 2, (2, 6, n_in))
    for i, n in enumerate(shared):
        ids = rng.permutation(n_in)
        x[i, ids[:size]] = rng.uniform(-1, 1, size)
        y[i, ids[size - n : 2 * size - n]] = rng.uniform(-1, 1, size)
    jaccard = shared / (2 * size - shared)
    p = jaccard + (1 - jaccard) / 4
    for n_tables in (3, 40):  # bins that are all full, bins of which half are empty
        codes = agreements("minhash", x, y, n_tables, 2)
        assert_binomial(codes[np.arange(N_TRIALS), np.arange(N_TRIALS) % n_tables], p)
    codes = agreements("minhash", x, y, 10, 1)
    assert_binomial(codes[np.arange(N_TRIALS), np.arange(N_TRIALS) % 10], (1 + jaccard) / 2)


@pytest.mark.parametrize("family", FAMILIES[1:])
def test_tables_are_independent(family, rng):
    # Given both vectors, collisions in different tables are independent.
    n_in, n_tables = 1000, 6
    x, y = correlated_pairs(n_in, rng)
    x, y = x[1:5], y[1:5]
    n_trials = 4000
    agree = agreements(family, x, y, n_tables, 3, n_trials)
    for pair in range(len(x)):
        correlation = np.corrcoef(agree[:, :, pair].T)
        np.fill_diagonal(correlation, 0)
        assert abs(correlation).max() < Z / np.sqrt(n_trials)
