"""Input and output arrays for the tests of the vector kernels."""

import numpy as np
from helpers.page_end import at_page_end

from slide._simd import dispatch

NAMES = dispatch.available()
SIZES = [0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 257]
EPS = float(np.finfo(np.float32).eps)
CANARY = np.float32(-12345.0)


def misaligned(values, dtype=np.float32, pad=None):
    """A read-only copy; after its end come `pad` (default: NaN or a large id), then no memory."""
    if pad is None:
        pad = np.nan if dtype == np.float32 else 2**30
    out = at_page_end(np.asarray(values, dtype), pad)
    out.flags.writeable = False
    return out


def read_only(ids):
    return misaligned(ids, np.int32)


class Output:
    """A misaligned array to write to, between canaries."""

    def __init__(self, values):
        values = np.asarray(values, np.float32).ravel()
        self.buffer = np.full(values.size + 41, CANARY)
        self.array = self.buffer[1 : 1 + values.size]
        self.array[...] = values

    def values(self, shape=-1):
        assert self.buffer[0] == CANARY
        assert (self.buffer[1 + self.array.size :] == CANARY).all()
        return self.array.copy().reshape(shape)


def bits(a):
    return np.asarray(a, np.float32).view(np.int32)


def assert_same_bits(a, b):
    np.testing.assert_array_equal(bits(a), bits(b))
