"""NumPy arrays that start on a cache line."""

import math

import numpy as np
import numpy.typing as npt

from slide._base.arrays import Array

_LINE = 64  # bytes of a cache line
_COPIED_AT_ONCE = 1 << 22  # elements copied before Ctrl-C is checked


def aligned_zeros(shape: int | tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> Array:
    """A C-contiguous array of zeros whose first element lies on a 64-byte boundary.

    The vector kernels read whole rows in 64-byte steps; on NumPy's own 16-byte
    alignment every such read touches two cache lines.

    Raises
    ------
    MemoryError
        If the system grants no array of this size.
    """
    dtype = np.dtype(dtype)
    n_bytes = math.prod(shape if isinstance(shape, tuple) else (shape,)) * dtype.itemsize
    try:
        buffer = np.zeros(n_bytes + _LINE, np.uint8)
    except (MemoryError, ValueError) as error:  # ValueError: more than an address can reach
        raise MemoryError(
            f"the network needs an array of shape {shape}, {n_bytes / 1e9:.3g} GB, which the "
            "system does not grant: use fewer neurons, or fewer columns of X or y"
        ) from error
    start = -buffer.ctypes.data % _LINE
    return buffer[start : start + n_bytes].view(dtype).reshape(shape)


def aligned_copy(array: Array) -> Array:
    """A C-contiguous, aligned, writeable copy of `array`; `array` itself if it is all three."""
    if array.flags.c_contiguous and array.flags.writeable and array.ctypes.data % _LINE == 0:
        return array
    out = aligned_zeros(array.shape, array.dtype)
    out[...] = array
    return out


def copy_blocks(source: Array, out: Array | None = None) -> Array:
    """Copy a C-contiguous array, into `out` if given, and return the copy.

    It copies block by block, so that Ctrl-C is heard in between: touching new memory for the first
    time may take seconds per gigabyte.
    """
    out = np.empty_like(source) if out is None else out
    flat, flat_out = source.reshape(-1), out.reshape(-1)
    for start in range(0, source.size, _COPIED_AT_ONCE):
        flat_out[start : start + _COPIED_AT_ONCE] = flat[start : start + _COPIED_AT_ONCE]
    return out
