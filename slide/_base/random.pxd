# Inline random numbers: SplitMix64 (Steele, Lea & Flood, OOPSLA 2014). A state is
# one word, private to its owner. Seeding from (seed, counter) makes the stream of
# a micro-batch independent of the thread that runs it.
from slide._base.typedefs cimport uint32_t, uint64_t


cdef inline uint64_t mix64(uint64_t z) noexcept nogil:
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)


cdef inline uint64_t seed_stream(uint64_t seed, uint64_t counter) noexcept nogil:
    cdef uint64_t start = mix64(seed + <uint64_t>0x9E3779B97F4A7C15)
    return mix64(start ^ (counter * <uint64_t>0xD1342543DE82EF95))


cdef inline uint64_t next64(uint64_t *state) noexcept nogil:
    state[0] += <uint64_t>0x9E3779B97F4A7C15
    return mix64(state[0])


cdef inline uint64_t skipped(uint64_t state, uint64_t n) noexcept nogil:
    # The state after n more numbers.
    return state + n * <uint64_t>0x9E3779B97F4A7C15


cdef inline uint32_t next_below(uint64_t *state, uint32_t n) noexcept nogil:
    # Multiply-shift (Lemire 2019) without rejection: bias below n / 2^32.
    return <uint32_t>(((next64(state) >> 32) * <uint64_t>n) >> 32)
