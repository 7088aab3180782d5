"""SimHash: codes against the twin, collision probabilities against their closed form."""

import numpy as np
import pytest

from slide import _hash
from slide import _reference as reference

# Trials of a collision: one bit of each of so many independent function sets.
N_TRIALS = 10_000
Z = 4.5  # standard errors; a right kernel fails one of some 150,000 such comparisons

ANGLES = np.arange(15, 180, 15)


@pytest.fixture
def rng():
    return np.random.default_rng(30)


def hasher_of(n_in, n_tables, n_bits, seed=0):
    return _hash.SimHash(n_in, n_tables, n_bits, np.random.RandomState(seed))


def projections_of(hasher, *args):
    return reference.simhash_projections(*hasher.signs, *args)


# ----------------------------------------------------------------- twin --

SHAPES = [
    # n_in, n_tables, n_bits
    (1, 1, 1),
    (7, 3, 5),
    (8, 1, 16),
    (9, 16, 4),
    (31, 7, 9),  # codes that straddle two words
    (33, 20, 7),
    (63, 1, 1),
    (64, 4, 16),  # a block of 64 projections, all used
    (65, 8, 16),
    (100, 50, 6),
    (256, 50, 11),
]


@pytest.mark.parametrize(("n_in", "n_tables", "n_bits"), SHAPES)
def test_codes_of_integers_are_the_twins(n_in, n_tables, n_bits, rng):
    # Every sum of the transform is an integer below 2^24, so float32 makes no error.
    hasher = hasher_of(n_in, n_tables, n_bits, seed=n_in)
    x = rng.integers(-8, 9, (13, n_in)).astype(np.float32)
    x[3] = 0
    mean = rng.integers(-3, 4, n_in).astype(np.float32)
    for args in [(), (mean,)]:
        codes = hasher.codes(x, *args)
        assert codes.dtype == np.uint16 and codes.shape == (n_tables, 13)
        projections = projections_of(hasher, x, *args)
        np.testing.assert_array_equal(codes, reference.simhash_codes(projections, n_tables, n_bits))


@pytest.mark.parametrize(("n_in", "n_tables", "n_bits"), SHAPES)
def test_codes_of_real_vectors_are_the_twins(n_in, n_tables, n_bits, rng):
    hasher = hasher_of(n_in, n_tables, n_bits)
    x, mean = rng.standard_normal((40, n_in)), rng.standard_normal(n_in)
    x, mean, a, b = (v.astype(np.float32) for v in (x, mean, *rng.standard_normal((2, 40))))
    for args in [(), (mean,), (None, a), (None, None, b), (mean, 5 * a, 5 * b)]:
        projections = projections_of(hasher, x, *args)[:, : n_tables * n_bits]
        got = (hasher.codes(x, *args).T[:, :, None] >> np.arange(n_bits)) & 1
        got = got.reshape(projections.shape)
        # A projection this near zero has no certain sign in float32.
        certain = abs(projections) > 1e-5 * abs(projections).max()
        assert certain.mean() > 0.99
        np.testing.assert_array_equal(got[certain], (projections > 0)[certain])


def test_read_only_input_and_no_rows(rng):
    x = rng.standard_normal((5, 20)).astype(np.float32)
    hasher = hasher_of(20, 4, 8)
    expected = hasher.codes(x)
    x.flags.writeable = False
    np.testing.assert_array_equal(hasher.codes(x), expected)
    assert hasher.codes(np.zeros((0, 20), np.float32)).shape == (4, 0)


def test_codes_depend_on_the_seed_and_on_nothing_else(rng):
    x = rng.standard_normal((5, 40)).astype(np.float32)
    codes = hasher_of(40, 10, 10, seed=1).codes(x)
    np.testing.assert_array_equal(codes, hasher_of(40, 10, 10, seed=1).codes(x))
    assert (codes != hasher_of(40, 10, 10, seed=2).codes(x)).mean() > 0.9
    for i in range(5):  # a row's codes are its own
        np.testing.assert_array_equal(hasher_of(40, 10, 10, seed=1).codes(x[i : i + 1])[:, 0],
                                      codes[:, i])  # fmt: skip


def test_length_does_not_matter(rng):
    x = rng.standard_normal((5, 40)).astype(np.float32)
    hasher = hasher_of(40, 10, 10)
    np.testing.assert_array_equal(hasher.codes(8 * x), hasher.codes(x))
    flipped = hasher.codes(-x)
    np.testing.assert_array_equal(flipped ^ hasher.codes(x), np.full((10, 5), 1023))


def test_mean_subtracts(rng):
    x = rng.standard_normal((30, 100)).astype(np.float32)
    mean = rng.standard_normal(100).astype(np.float32)
    extra = rng.standard_normal(30).astype(np.float32)
    hasher = hasher_of(100, 20, 8)
    with_mean = hasher.codes(x, mean, extra, extra)
    np.testing.assert_array_equal(with_mean, hasher.codes(x - mean, None, extra, extra))
    assert (with_mean != hasher.codes(x, None, extra, extra)).mean() > 0.5


def test_multiply_adds_by_hand():
    # 2 blocks of 128: three rounds of a sign and 7 stages, and two extras.
    assert hasher_of(100, 16, 16).multiply_adds == 2 * 128 * (3 * 8 + 2)
    assert hasher_of(5, 1, 1).multiply_adds == 64 * (3 * 7 + 2)


# ------------------------------------------------ collision probability --


def pairs_at_angles(kind, n_in, rng):
    """For each angle two vectors of n_in coordinates and two extras: arrays (n_angles, width)."""
    basis = np.zeros((2, n_in + 2))
    if kind == "dense":
        basis[:, :n_in] = np.linalg.qr(rng.standard_normal((n_in, 2)))[0].T
    elif kind == "sparse":  # two coordinates and no more
        basis[[0, 1], rng.choice(n_in, 2, replace=False)] = 1
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
    """Which bits of x[j] and y[j] agree, under N_TRIALS independent function sets.

    Coordinates beyond n_in go in as extras. Returns bool (N_TRIALS, n_pairs, n_tables * n_bits).
    """
    both = np.concatenate([x, y]).astype(np.float32)
    vectors = np.ascontiguousarray(both[:, :n_in])
    extras = [np.ascontiguousarray(column) for column in both[:, n_in:].T]
    random_state = np.random.RandomState(31)
    agree = np.empty((N_TRIALS, len(x), n_tables * n_bits), bool)
    for trial in range(N_TRIALS):
        codes = _hash.SimHash(n_in, n_tables, n_bits, random_state).codes(vectors, None, *extras)
        differing = (codes[:, : len(x)] ^ codes[:, len(x) :]).T.copy()
        bits = np.unpackbits(differing.view(np.uint8), axis=1, bitorder="little")
        agree[trial] = bits.reshape(len(x), n_tables, 16)[:, :, :n_bits].reshape(len(x), -1) == 0
    return agree


@pytest.fixture(
    scope="module",
    params=[
        ("dense", 64),
        ("dense", 100),
        ("sparse", 64),
        ("sparse", 100),
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
    # One bit a trial, another one each time, so that the trials are independent.
    sampled = agreement[np.arange(N_TRIALS), :, np.arange(N_TRIALS) % n_bits]
    p = 1 - ANGLES / 180
    error = sampled.mean(axis=0) - p
    assert (abs(error) < Z * standard_error(p, N_TRIALS)).all(), error
    # And every single bit, the first as the last.
    error = agreement.mean(axis=0) - p[:, None]
    assert (abs(error) < (Z + 0.5) * standard_error(p, N_TRIALS)[:, None]).all()


def test_pairs_of_bits_are_nearly_independent(agreement):
    # Rows of one transform are orthogonal, not independent: a small correlation is theirs.
    for j in range(len(ANGLES)):
        correlation = np.corrcoef(agreement[:, j].T)
        np.fill_diagonal(correlation, 0)
        assert abs(correlation).max() < 0.08
        assert abs(correlation.sum() / (64 * 63)) < 0.01


@pytest.mark.parametrize("n_bits", [2, 4, 8])
def test_k_bits_collide_with_the_kth_power(agreement, n_bits):
    # Codes of K neighbouring bits, a code of another place each trial.
    codes = agreement.reshape(N_TRIALS, len(ANGLES), -1, n_bits).all(axis=3)
    sampled = codes[np.arange(N_TRIALS), :, np.arange(N_TRIALS) % codes.shape[2]]
    p = (1 - ANGLES / 180) ** n_bits
    error = abs(sampled.mean(axis=0) - p)
    # The allowance is for the correlation of the bits.
    assert (error < Z * standard_error(p, N_TRIALS) + 0.01 * p).all(), error


def test_codes_of_unrelated_vectors_fill_the_buckets_evenly(rng):
    x = rng.standard_normal((20_000, 60)).astype(np.float32)
    codes = hasher_of(60, 3, 4).codes(x)
    for table in codes:
        share = np.bincount(table, minlength=16) / 20_000
        # Fixed hyperplanes are only nearly orthogonal, so shares differ by more than chance.
        assert (abs(share - 1 / 16) < 0.04).all()
