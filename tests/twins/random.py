"""Twins of `_base.random`: the same 64-bit words, in Python's integers."""

import numpy as np

MASK = 2**64 - 1


def mix64(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def seed_stream(seed, counter):
    """State at the start of stream `counter`."""
    mixed = mix64((seed + 0x9E3779B97F4A7C15) & MASK)
    return mix64(mixed ^ (counter * 0xD1342543DE82EF95 & MASK))


class SplitMix64:
    """One stream: a word of state."""

    def __init__(self, state):
        self.state = state

    def next64(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        return mix64(self.state)

    def below(self, n):
        """An integer in 0..n-1."""
        return (self.next64() >> 32) * n >> 32


def uniform_rows(seed, layer, ids, width, scale):
    """Initial weights of deviation `scale`: float32 (n, width)."""
    unit = np.float32(scale * np.sqrt(3) / 2**24)
    rows = []
    for i in ids:
        stream = SplitMix64(seed_stream(seed_stream(seed, layer), i))
        odd = [2 * (stream.next64() >> 40) + 1 - 2**24 for _ in range(width)]
        rows.append(np.array(odd, np.float32) * unit)
    return np.array(rows)
