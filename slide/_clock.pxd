# The time, for what happens now and then in a loop. A look costs 25 ns.
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from slide._typedefs cimport float64_t


cdef inline float64_t seconds() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + 1e-9 * now.tv_nsec
