"""Twins of the hash families, `_hashing.simhash`, `winners`, `minhash` and `bins`: slow, obvious.

`twins.engine` has the twins of the other modules. SimHash computes in float64. The other families
only compare, so that their twins round to float32 where the kernels do and agree exactly.
A `hasher` is a `slide._hashing.hasher.Hasher`; its `parameters` are the random numbers.
"""

import numpy as np
from scipy.linalg import hadamard

_MASK = 2**64 - 1
_ATTEMPTS = 64


def mix64(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _MASK
    return z ^ (z >> 31)


def hash_codes(hasher, n_tables, n_bits, x, mean=None, extra_0=None, extra_1=None):
    """Codes (n_tables, n) of the rows of a dense x, with every family."""
    if hasher.family == "simhash":
        projections = simhash_projections(hasher.parameters, x, mean, extra_0, extra_1)
        return simhash_codes(projections, n_tables, n_bits)
    width = 2 if hasher.family == "minhash" else 3
    n_hashes = n_tables * -(-n_bits // width)
    rows = augmented(x, mean, extra_0, extra_1, hasher.parameters["n_copies"])
    codes = []
    for row in rows:
        if hasher.family == "minhash":
            hashes = minhash(hasher.parameters, row, n_hashes, -(-x.shape[1] // 20))
        else:
            hashes = winner_take_all(hasher.parameters, row, hasher.family == "dwta")
        codes.append([join(table, width, n_bits) for table in np.reshape(hashes, (n_tables, -1))])
    return np.array(codes, int).reshape(len(rows), n_tables).T


def join(hashes, width, n_bits):
    """The code of one table: its hashes beside each other, cut to n_bits."""
    return sum(int(value) << (i * width) for i, value in enumerate(hashes)) % 2**n_bits


# -------------------------------------------------------------- simhash --


def simhash_projections(parameters, x, mean=None, extra_0=None, extra_1=None):
    """What SimHash takes the signs of: (n, projections)."""
    later = parameters["later_signs"].astype(np.float64)
    size = later.shape[2]
    n, n_in = x.shape
    x = x.astype(np.float64) - (0 if mean is None else mean.astype(np.float64))
    matrix = hadamard(size).astype(np.float64)
    blocks = []
    for signs, later_signs in zip(parameters["signs"], later, strict=True):
        y = np.zeros((n, size))
        for j in range(n_in):
            y[:, j % size] += signs[j] * x[:, j]
        for round_signs in later_signs:
            y = (y @ matrix) * round_signs
        blocks.append(y @ matrix)
    extra = parameters["extra"].astype(np.float64)
    projections = np.concatenate(blocks, axis=1)[:, : extra.shape[1]]
    for coordinate, row in zip((extra_0, extra_1), extra, strict=True):
        if coordinate is not None:
            projections = projections + np.outer(coordinate, row)
    return projections


def simhash_codes(projections, n_tables, n_bits):
    """Codes (n_tables, n): bit k of table t is the sign of projection t * n_bits + k."""
    bits = projections[:, : n_tables * n_bits] > 0
    bits = bits.reshape(len(projections), n_tables, n_bits)
    return (bits << np.arange(n_bits)).sum(axis=2).T


# -------------------------------------------------- wta, dwta, minhash --


def augmented(x, mean, extra_0, extra_1, n_copies):
    """Rows x - mean with n_copies of each extra coordinate, in float32 as in the kernels."""
    parts = [x if mean is None else x - mean]
    scale = np.float32(1 / np.sqrt(max(1, n_copies)))
    for extra in (extra_0, extra_1):
        extra = np.zeros(len(x)) if extra is None else np.asarray(extra)
        parts.append(np.repeat((extra.astype(np.float32) * scale)[:, None], n_copies, axis=1))
    return np.concatenate(parts, axis=1).astype(np.float32)


def densify(hashes, seed):
    """The hashes, where those that are None take the hash of a bin that is not."""
    n = len(hashes)
    out = list(hashes)
    for i in range(n):
        if hashes[i] is None:
            for attempt in range(_ATTEMPTS):
                j = (mix64((seed + i * _ATTEMPTS + attempt) & _MASK) >> 32) * n >> 32
                if hashes[j] is not None:
                    break
            while hashes[j] is None:
                j = (j + 1) % n
            out[i] = hashes[j]
    return out


def winner_take_all(parameters, row, skip_zeros):
    """Places of the largest coordinate of every window; all 0 where there is none."""
    hashes = []
    for window in parameters["used"][parameters["windows"]]:
        places = [i for i in range(8) if row[window[i]] != 0 or not skip_zeros]
        hashes.append(max(places, key=lambda i: row[window[i]], default=None))
    if all(value is None for value in hashes):
        return [0] * len(hashes)
    return densify(hashes, parameters["seeds"][0])


def largest_set(row, n_largest):
    """Ids of the n_largest non-zero coordinates, the lower on ties."""
    present = [i for i in range(len(row)) if row[i] != 0]
    return sorted(present, key=lambda i: (-row[i], i))[:n_largest]


def minhash(parameters, row, n_hashes, n_largest):
    """Two bits of the first member of every bin; all 0 where there is no member."""
    borrow, bins, cut = parameters["seeds"]
    first = [None] * n_hashes
    for member in largest_set(row, n_largest):
        u = mix64((bins + member) & _MASK)
        place = (u >> 32) * n_hashes >> 32
        key = (u & 0xFFFFFFFF, member)
        first[place] = key if first[place] is None else min(first[place], key)
    if all(key is None for key in first):
        return [0] * n_hashes
    members = [key[1] for key in densify(first, borrow)]
    return [mix64((cut + (i << 32) + member) & _MASK) % 4 for i, member in enumerate(members)]
