"""Twins of the kernels of weights in bfloat16, and of how such weights are rounded."""

import numpy as np

from twins.simd import momentum


def unpack(rows, ids=None):
    """Rows of the upper halves of floats, as floats."""
    rows = rows if ids is None else rows[ids]
    return (rows.astype(np.uint32) << 16).view(np.float32)


def noise(places):
    """The 32 random bits of every place."""
    x = np.asarray(places).astype(np.uint32) * np.uint32(0x9E3779B1)
    return x ^ (x >> 16)


def half(x, bits):
    """The upper half of x + 16 random bits: the neighbour of x below or the one above."""
    return ((np.asarray(x, np.float32).view(np.uint32) + (bits & 0xFFFF)) >> 16).astype(np.uint16)


def nearest_half(x):
    """The bfloat16 nearest to x; in a tie the even one."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def pair_up(rows):
    """Join each two rows of halves to one row of 32-bit words: (n, d) -> ((n + 1) // 2, d)."""
    rows = np.vstack([rows, np.zeros((len(rows) % 2, rows.shape[1]), np.uint16)]).astype(np.uint32)
    return rows[::2] | rows[1::2] << 16


def unpair(pairs):
    """Rows of pairs as rows of floats, twice as many."""
    both = np.stack([pairs & 0xFFFF, pairs >> 16], axis=1)
    return unpack(both.reshape(-1, pairs.shape[1]))


def momentum_half(w, m, g, step, beta_1, seed):
    """`momentum` of halves w and m, rounded by the noise of seed + i."""
    new_w, new_m = momentum(unpack(w), unpack(m), g, step, beta_1)
    bits = noise(np.uint32(seed) + np.arange(len(w), dtype=np.uint32))
    return half(new_w, bits), half(new_m, bits >> 16)
