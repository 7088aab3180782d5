"""Bins: hashes of a few bits each, which WTA, DWTA and MinHash use.

These families use only the ranks of coordinates. One extra coordinate among 1,000 others would
hardly ever matter, however large it is. So they append n_copies of each extra coordinate, divided
by the square root of n_copies.
"""
import numpy as np

from libc.string cimport memset

from slide._base.random cimport mix64
from slide._base.typedefs cimport blocks_of, int32_t, int64_t, uint64_t
from slide._hashing.hasher cimport Hasher, HasherView

cdef enum:
    ATTEMPTS = 64   # attempts of an empty bin to borrow, before it takes the next full bin


cdef bint densify(const BinsView *bins, int32_t *hashes, int32_t *next_full) noexcept nogil:
    """Let empty bins borrow from full bins; returns False where no bin is full.

    An empty bin tries the bins of a random sequence until it finds a full one. Every bin has its
    own sequence, which is the same for every vector. After ATTEMPTS attempts the bin takes the
    first full bin after the last bin that it tried, around the end. So two vectors in which bin i
    is empty try the same bins.

    INOUT hashes (n_hashes,), -1 where empty; OUT next_full (n_hashes,).
    Cost: n_hashes, and a random number per attempt. Thread-safe on one thread's own arrays.
    Source: Shrivastava, ICML 2017 (optimal densification).
    """
    cdef int64_t i, j = 0, attempt, n = bins.n_hashes
    cdef int32_t full = -1
    cdef uint64_t u
    for i in range(n - 1, -1, -1):
        if hashes[i] >= 0:
            full = <int32_t>i
    if full < 0:
        return False
    for i in range(n - 1, -1, -1):
        if hashes[i] >= 0:
            full = <int32_t>i
        next_full[i] = full
    for i in range(n):
        if next_full[i] == i:
            continue
        for attempt in range(ATTEMPTS):
            u = mix64(bins.seed_borrow + <uint64_t>(i * ATTEMPTS + attempt))
            j = <int64_t>(((u >> 32) * <uint64_t>n) >> 32)
            if next_full[j] == j:
                break
        hashes[i] = hashes[next_full[j]]
    return True


cdef void pack(const HasherView *hasher, const BinsView *bins, const int32_t *hashes,
               uint64_t *words) noexcept nogil:
    """Pack the hashes of each table into K bits; of the last hash only the low bits are kept.

    IN hashes (n_hashes,), each of hash_bits bits; OUT words (n_words,), zero beyond L * K bits.
    """
    cdef int64_t per_table = blocks_of(hasher.n_bits, bins.hash_bits), j, bit = 0
    cdef int32_t _table, n_bits = hasher.n_bits
    cdef uint64_t code, mask = (<uint64_t>1 << n_bits) - 1
    memset(words, 0, hasher.n_words * sizeof(uint64_t))
    for _table in range(hasher.n_tables):
        code = 0
        for j in range(per_table):
            code |= <uint64_t>hashes[j] << (j * bins.hash_bits)
        hashes += per_table
        code &= mask
        words[bit >> 6] |= code << (bit & 63)
        if (bit & 63) + n_bits > 64:
            words[(bit >> 6) + 1] |= code >> (64 - (bit & 63))
        bit += n_bits


cdef class BinnedHasher(Hasher):
    """Base class of the families with bins.

    Parameters: n_copies; seeds, the first for borrowing, the others for the family.
    """

    cdef int set_bins(self, int32_t hash_bits) except -1:
        cdef BinsView *bins = &self.bins
        bins.hash_bits = hash_bits
        bins.n_hashes = self.view.n_tables * blocks_of(self.view.n_bits, hash_bits)
        bins.n_copies = self.parameters["n_copies"]
        bins.copy_scale = 1 / np.sqrt(max(1, bins.n_copies))
        bins.seed_borrow = self.parameters["seeds"][0]
        return 0

    def named_arrays(self):
        arrays = {name: value for name, value in self.parameters.items() if name != "n_copies"}
        arrays["seeds"] = np.array(arrays["seeds"], np.uint64)
        return arrays

    def parameters_from(self, arrays):
        return {**arrays, "seeds": tuple(int(seed) for seed in arrays["seeds"])}


def draw_seeds(random_state):
    """Draw seeds, from which hash functions make their random numbers when they need them."""
    seeds = random_state.randint(0, 2**64, size=3, dtype=np.uint64)
    return tuple(int(seed) for seed in seeds)
