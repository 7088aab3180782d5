"""Twins of the vector kernels of `_simd.dispatch`. Those of bfloat16 are in `twins.half`.

Each takes float32 arrays as they are, computes in float64 and returns new arrays.
"""

import numpy as np


def float64(a):
    return np.asarray(a, dtype=np.float64)


def dots(rows, x, ids=None, bias=None):
    """out[b, i] = rows[ids[i]] . x[b] + bias[ids[i]]."""
    if ids is None:
        ids = np.arange(len(rows))
    out = float64(x) @ float64(rows)[ids].T
    return out if bias is None else out + float64(bias)[ids]


def accumulate(coef, rows, out, ids=None):
    """out[i] + sum_k coef[i, k] rows[ids[k]]."""
    picked = float64(rows) if ids is None else float64(rows)[ids]
    return float64(out) + float64(coef) @ picked


def spread(row, coef, ids, out):
    """out with coef[k] * row added to its row ids[k], for every k."""
    out = float64(out).copy()
    np.add.at(out, ids, np.multiply.outer(float64(coef), float64(row)))
    return out


def gather_sum(coef, rows, ids):
    return float64(coef) @ float64(rows)[ids]


def square_sum(x):
    return (float64(x) ** 2).sum()


def block_columns(starts, d):
    """The first d columns of blocks that start at `starts` and have 16 columns each."""
    columns = (np.asarray(starts)[:, np.newaxis] + np.arange(16)).ravel()
    return columns[:d]


def momentum(w, m, g, step, beta_1):
    """New (w, m) after one step along the first moment."""
    m = beta_1 * float64(m) + (1 - beta_1) * float64(g)
    return float64(w) - step * m, m


def momentum_some(w, m, g, step, beta_1):
    """`momentum` of the elements that have a gradient; also returns their number."""
    new_w, new_m = momentum(w, m, g, step, beta_1)
    return np.where(g != 0, new_w, w), np.where(g != 0, new_m, m), np.count_nonzero(g)


def rising_keys(x):
    """Integers that rise with float32 numbers: their bits, those of negative ones turned round."""
    bits = np.asarray(x, np.float32).view(np.int32)
    return np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


def hadamard(x):
    """Unnormalised Walsh-Hadamard transform along the last axis, whose length is a power of 2."""
    x = float64(x)
    shape, h = x.shape, 1
    while h < shape[-1]:
        pairs = x.reshape(-1, 2, h)
        a, b = pairs[:, 0], pairs[:, 1]
        x = np.stack([a + b, a - b], axis=1)
        h *= 2
    return x.reshape(shape)


def sign_bits(x):
    """Words of 64 bits; bit i is set where x[i] > 0."""
    words = [0] * -(-len(x) // 64)
    for i, value in enumerate(x):
        if value > 0:
            words[i // 64] |= 1 << (i % 64)
    return np.array(words, np.uint64)


def exp_sum(z, shift):
    """exp(z + shift) and its sum. z + shift is rounded to float32, as in the kernel."""
    x = float64(np.asarray(z, np.float32) + np.float32(shift))
    e = np.exp(np.clip(x, -87, 88))
    return e, e.sum()


def vector_max(z):
    return max([-np.inf, *z])


def sigmoid(z):
    """1 / (1 + exp(-z)), and the sum of log(1 + exp(z))."""
    z = float64(z)
    return np.exp(-np.logaddexp(0, -z)), np.logaddexp(0, z).sum()


def gather_dot(row, ids, values):
    """Dot product of a dense row and the sparse vector (ids, values)."""
    return np.float64(row)[ids] @ np.float64(values)


def hamming(codes, query):
    """In how many bits each row of integers (., n) differs from the query (n,)."""
    return np.array([sum(int(word).bit_count() for word in row ^ query) for row in codes], int)


def code_scores(codes, ids, query, curve, norm, bias):
    """norm * curve[distance] + bias of the neurons `ids`."""
    distance = hamming(codes[ids], query)
    return np.float64(norm)[ids] * np.float64(curve)[distance] + np.float64(bias)[ids]
