# Number types of the engine: float32 weights, int32 ids, 64-bit offsets and products.
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

ctypedef float float32_t
ctypedef double float64_t


cdef inline int64_t blocks_of(int64_t n, int64_t size) noexcept nogil:
    # Number of blocks of `size` items that hold n items; the last block may be shorter.
    return (n + size - 1) // size
