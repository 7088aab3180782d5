"""Arrays that end where memory ends: a kernel that reads beyond the end crashes."""

import ctypes
import mmap

import numpy as np

_NOBODY = 0  # PROT_NONE of sys/mman.h
_protect = ctypes.CDLL(None, use_errno=True).mprotect
_protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int


def at_page_end(values, pad):
    """A flat copy of `values`; one element `pad` follows its end, then no memory.

    With the pad, a copy of whole cache lines does not start on a cache line.
    """
    values = np.ascontiguousarray(values)
    size = values.nbytes + values.itemsize
    n_bytes = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = np.frombuffer(mmap.mmap(-1, n_bytes + mmap.PAGESIZE), np.uint8)
    if _protect(memory.ctypes.data + n_bytes, mmap.PAGESIZE, _NOBODY):
        raise OSError(ctypes.get_errno(), "mprotect")
    buffer = memory[n_bytes - size : n_bytes].view(values.dtype)
    buffer[:-1], buffer[-1] = values.ravel(), pad
    return buffer[:-1]
