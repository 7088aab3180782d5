"""A pytest plugin for AddressSanitizer: no code may touch the memory around an aligned array.

`slide._base.memory.aligned_zeros` cuts its arrays out of larger ones of NumPy, so that the
sanitizer alone would not see a read or write up to 64 bytes off their ends.
"""

import ctypes
import sys
import weakref

import numpy as np

from slide._base import memory

_asan = ctypes.CDLL(None)
_SIGNATURE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)
poison = _SIGNATURE(("__asan_poison_memory_region", _asan))
unpoison = _SIGNATURE(("__asan_unpoison_memory_region", _asan))
aligned_zeros = memory.aligned_zeros


def guarded_zeros(shape, dtype=np.float32):
    array = aligned_zeros(shape, dtype)
    buffer = array
    while buffer.base is not None:
        buffer = buffer.base
    start, end = array.ctypes.data, array.ctypes.data + array.nbytes
    whole = buffer.ctypes.data, buffer.nbytes
    poison(whole[0], start - whole[0])
    poison(end, sum(whole) - end)
    weakref.finalize(buffer, unpoison, *whole)
    return array


guarded = [
    module
    for name, module in sys.modules.items()
    if name.startswith("slide.") and vars(module).get("aligned_zeros") is aligned_zeros
]
for module in guarded:
    module.aligned_zeros = guarded_zeros
# These two modules allocate the weights and the scratch memory of the compiled modules.
assert {"slide._network.layer", "slide._base.scratch"} <= {module.__name__ for module in guarded}
