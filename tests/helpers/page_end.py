"""Arrays with no memory beyond their end: a kernel that reads on, masked or not, dies there."""

import ctypes
import mmap

import numpy as np

_NOBODY = 0  # PROT_NONE of sys/mman.h
_protect = ctypes.CDLL(None, use_errno=True).mprotect
_protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int


def at_page_end(values, pad):
    """A flat copy of values, of their dtype; one element `pad` lies beyond its end, then nothing.

    So that it does not start on a cache line where whole lines are read.
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
