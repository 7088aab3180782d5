"""Memory that a thread works in, allocated before the threads start."""
from slide._base.typedefs cimport uint64_t

from slide._base.memory import aligned_zeros


cdef void *scratch_array(size, dtype, list keep_alive) except NULL:
    """Allocate an aligned array of zeros, which joins keep_alive; returns its address.

    It has at least one element, so that there is an address.
    """
    array = aligned_zeros(max(1, size), dtype)
    keep_alive.append(array)
    return <void *><uint64_t>array.ctypes.data
