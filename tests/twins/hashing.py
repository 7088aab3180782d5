"""Twins of `_hashing`: hash families, tables of neurons, retrieval policies and estimates.

SimHash computes in float64. The other families only compare, so their twins round to float32
where the kernels do and agree exactly. A `hasher` is a `slide._hashing.hasher.Hasher`; its
`parameters` are the random numbers.
"""

import numpy as np
from scipy.linalg import hadamard

from twins.random import MASK, mix64
from twins.simd import float64, hamming

_ATTEMPTS = 64


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
    """Join the hashes of one table to its code, cut to n_bits."""
    return sum(int(value) << (i * width) for i, value in enumerate(hashes)) % 2**n_bits


# -------------------------------------------------------------- simhash --


def simhash_projections(parameters, x, mean=None, extra_0=None, extra_1=None):
    """The projections (n, n_projections) whose signs SimHash takes."""
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
    """Hashes in which every None was replaced by the hash of a bin that has one."""
    n = len(hashes)
    out = list(hashes)
    for i in range(n):
        if hashes[i] is None:
            for attempt in range(_ATTEMPTS):
                j = (mix64((seed + i * _ATTEMPTS + attempt) & MASK) >> 32) * n >> 32
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
        u = mix64((bins + member) & MASK)
        place = (u >> 32) * n_hashes >> 32
        key = (u & 0xFFFFFFFF, member)
        first[place] = key if first[place] is None else min(first[place], key)
    if all(key is None for key in first):
        return [0] * n_hashes
    members = [key[1] for key in densify(first, borrow)]
    return [mix64((cut + (i << 32) + member) & MASK) % 4 for i, member in enumerate(members)]


# --------------------------------------------------------------- tables --


def neuron_extras(w, b, mean, query_length):
    """The two coordinates added to each neuron's weights, which make all vectors equally long."""
    bias = float64(w) @ float64(mean) + float64(b)
    extra_0 = (bias - bias.mean()) / query_length
    length2 = (float64(w) ** 2).sum(axis=1) + extra_0**2
    return extra_0, np.sqrt(length2.max() - length2)


def sort_table(codes, n_buckets):
    """Offsets and ids of one table: neurons by code, rising within a bucket."""
    offsets = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=n_buckets))])
    return offsets, np.argsort(codes, kind="stable")


def collect(offsets, ids, codes, bucket_limit, random):
    """Candidates of one query in the order they are found, and their numbers of collisions."""
    counts = {}
    for table, code in enumerate(codes):
        bucket = list(ids[table, offsets[table, code] : offsets[table, code + 1]])
        if len(bucket) > bucket_limit:
            start = random.below(len(bucket))
            bucket = (bucket + bucket)[start : start + bucket_limit]
        for neuron in bucket:
            counts[neuron] = counts.get(neuron, 0) + 1
    return list(counts), counts


def keep_most_frequent(candidates, counts, n_keep):
    """The n_keep candidates with most collisions (ties: the earlier), in their old order."""
    ranked = sorted(range(len(candidates)), key=lambda i: (-counts[candidates[i]], i))
    return [candidates[i] for i in sorted(ranked[:n_keep])]


def keep_above(candidates, counts, min_collisions):
    """The candidates of at least min_collisions collisions, in their old order."""
    return [i for i in candidates if counts[i] >= min_collisions]


# ------------------------------------------------------------ retrieval --


def collect_from_tables(tables, x, bucket_limit, random):
    """The neurons that the tables return for one vector, and how often each collided."""
    n_tables, n_bits = len(tables.offsets), int(np.log2(tables.offsets.shape[1] - 1))
    query = (tables.mean, [tables.query_bias]) if tables.transform else ()
    codes = hash_codes(tables.hasher, n_tables, n_bits, x[None], *query)[:, 0]
    return collect(tables.offsets, tables.ids, codes, bucket_limit, random)


def retrieve(retrieval, settings, x, random):
    """Neurons for one vector. settings : the Retrieval's; "estimate" has no twin here."""
    n_neurons = settings["n_neurons"]
    n_candidates = min(settings["n_candidates"], n_neurons)
    if retrieval.policy == "exact":
        return list(range(n_neurons))
    found = []
    if retrieval.policy != "none":
        found, counts = collect_from_tables(retrieval.tables, x, settings["bucket_limit"], random)
        if retrieval.policy == "threshold":
            found = keep_above(found, counts, settings["min_collisions"])
        elif retrieval.policy != "vanilla":
            found = keep_most_frequent(found, counts, n_candidates)
    return fill(found[:n_candidates], min(settings["n_wanted"], n_neurons), n_neurons, random)


def fill(found, n_wanted, n_neurons, random):
    """The neurons found, plus random ones if there are fewer than n_wanted."""
    if len(found) >= n_wanted:
        return found
    found = dict.fromkeys(found)
    for _ in range(64 + 8 * n_wanted):
        if len(found) == n_wanted:
            break
        found[random.below(n_neurons)] = None
    neuron = random.below(n_neurons)
    while len(found) < n_wanted:
        found[neuron] = None
        neuron = (neuron + 1) % n_neurons
    return list(found)


def largest(scores, k):
    """Places of the k largest, rising; on ties the lower place."""
    ranked = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    return np.array(sorted(ranked[: max(k, 0)]), int)


def estimates(hasher, code_bits, w, b, x, mean=None, directions=None, n_tables=None):
    """Pre-activations for one vector, estimated from codes of code_bits bits: (n_neurons,).

    |w| |x - mean| cos(pi * distance / code_bits) + w.mean + b. Without a mean, neurons are found by
    the angle alone: |x| cos(pi * distance / code_bits). With directions (n, n_in), orthonormal,
    w and x - mean are split: their parts along these are exact. n_tables: use only the codes of the
    first n_tables tables, code_bits in all.
    """
    if directions is not None:
        along_w, along_x = w @ directions.T, (x - mean) @ directions.T
        w_rest = w - along_w @ directions
        x_rest = x - mean - along_x @ directions
        zero = np.zeros_like(mean)
        rest = estimates(hasher, code_bits, w_rest, 0, x_rest, zero, n_tables=n_tables)
        return np.float64(along_w) @ along_x + rest + np.float64(w) @ mean + b
    query = hasher.codes(x[None], mean)[:n_tables, 0]
    distance = hamming(hasher.codes(w)[:n_tables].T, query)
    cosine = np.cos(np.pi * distance / code_bits)
    w, x = np.float64(w), np.float64(x)
    if mean is None:
        return np.linalg.norm(x) * cosine
    mean = np.float64(mean)
    return np.linalg.norm(w, axis=1) * np.linalg.norm(x - mean) * cosine + w @ mean + b
