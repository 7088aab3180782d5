"""Twins of `_prediction.shortlist` and of its kernel in `_simd.dispatch`."""

import numpy as np

from twins.hashing import simhash_projections


def shortlist(codes, entry_bits, lut, step, low, scale, bias):
    """Estimates of the neurons whose codes are (n, n_bytes): scale (low + step s) + bias."""
    entries = np.stack([codes & 15, codes >> 4], axis=2).reshape(len(codes), 2 * codes.shape[1])
    if entry_bits == 6:
        entries = codes
    s = np.array([sum(int(table[h]) for table, h in zip(lut, row, strict=True)) for row in entries])
    return np.float64(scale) * (low + np.float64(step) * s) + np.float64(bias)


def estimates(hasher, w, b, query_mean, h):
    """The scores that one-bit codes predict for the hidden vector h, and their rounding.

    Returns the estimates, float64 (n,), and the error that the kernel's rounded tables may make.
    """
    w, m = np.float64(w), np.float64(query_mean)
    centered = w - w.mean(axis=0)
    p = simhash_projections(hasher.parameters, centered)
    q = simhash_projections(hasher.parameters, (h - m)[np.newaxis])[0] / p.shape[1] ** 3
    scale = (p**2).sum(axis=1) / np.abs(p).sum(axis=1)
    return scale * (np.sign(p) @ q) + centered @ m + b, scale * np.abs(q).max()
