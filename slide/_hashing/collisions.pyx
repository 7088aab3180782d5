"""Collisions of a query with neurons in hash tables: finding, counting and keeping neurons."""
import numpy as np

from libc.string cimport memset

from slide._base.random cimport next_below
from slide._base.rows cimport Vector
from slide._base.scratch cimport scratch_array
from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint16_t, uint64_t, uint8_t
from slide._hashing.hasher cimport cut_codes, hash_vector, Hasher


cdef int64_t hash_query(const TablesView *tables, const Vector *x,
                        LookupScratch *scratch) noexcept nogil:
    """Compute the codes of one query in all tables; returns the cost.

    OUT scratch.codes. Thread-safe.
    """
    hash_vector(tables.hasher, x, tables.folded_mean, tables.query_bias, 0.0, scratch.hashing,
                scratch.words)
    cut_codes(tables.hasher, scratch.words, scratch.codes, 1)
    return tables.hasher.fixed_cost + tables.hasher.cost_per_value * x.size


cdef int64_t collect(const TablesView *tables, int64_t bucket_limit, uint64_t *rng,
                     LookupScratch *scratch) noexcept nogil:
    """Collect the neurons in the buckets of one query, each once, and count their collisions.

    A bucket longer than bucket_limit is cut to a run that starts at a random place
    and wraps around, so that all its neurons are equally likely to be kept.

    IN scratch.codes; INOUT scratch.counts, zeros on entry, on return the number of collisions of
    every candidate; OUT scratch.found, with room for n_tables * bucket_limit neurons or for all.
    Returns the number of neurons found. Thread-safe: scratch and rng are the thread's own.
    """
    cdef int64_t n = 0, length, start, j, _cut
    cdef int32_t t, neuron
    cdef const int32_t *bucket
    cdef const int32_t *offsets
    cdef const uint16_t *codes = scratch.codes
    cdef uint8_t *counts = scratch.counts
    cdef int32_t *candidates = scratch.found
    for t in range(tables.n_tables):
        offsets = tables.offsets + t * (tables.n_buckets + 1) + codes[t]
        bucket = tables.ids + t * tables.n_neurons + offsets[0]
        length = offsets[1] - offsets[0]
        if length <= bucket_limit:
            for j in range(length):
                neuron = bucket[j]
                if counts[neuron] == 0:
                    candidates[n] = neuron
                    n += 1
                counts[neuron] += 1
        else:
            start = next_below(rng, <int32_t>length)
            for _cut in range(bucket_limit):
                neuron = bucket[start]
                start += 1
                if start == length:
                    start = 0
                if counts[neuron] == 0:
                    candidates[n] = neuron
                    n += 1
                counts[neuron] += 1
    return n


cdef int64_t keep_most_frequent(LookupScratch *scratch, int64_t n, int64_t n_keep) noexcept nogil:
    """Keep the n_keep candidates with the most collisions, and set all counts to zero.

    Ties at the last place go to the earlier candidate. The order of the candidates is kept.
    INOUT scratch.found, of which n are candidates, and counts; returns the number kept.
    Cost: O(n).
    """
    cdef int64_t histogram[256]
    cdef int64_t i, kept = 0, above = 0, at_least
    cdef int32_t threshold = 0
    cdef int64_t room
    cdef uint8_t c
    cdef uint8_t *counts = scratch.counts
    cdef int32_t *candidates = scratch.found
    if n <= n_keep:
        for i in range(n):
            counts[candidates[i]] = 0
        return n
    memset(histogram, 0, sizeof(histogram))
    for i in range(n):
        histogram[counts[candidates[i]]] += 1
    threshold = 255
    at_least = histogram[255]
    while at_least < n_keep:
        above = at_least
        threshold -= 1
        at_least += histogram[threshold]
    room = n_keep - above   # places for candidates exactly at the threshold
    for i in range(n):
        c = counts[candidates[i]]
        counts[candidates[i]] = 0
        if c > threshold or (c == threshold and room > 0):
            room -= c == threshold
            candidates[kept] = candidates[i]
            kept += 1
    return kept


cdef int64_t keep_above(LookupScratch *scratch, int64_t n, int32_t min_collisions) noexcept nogil:
    """Keep the candidates with at least min_collisions collisions, and set all counts to zero.

    Their order is kept. INOUT scratch.found, of which n are candidates, and counts; returns the
    number kept. Cost: O(n). Source: Chen et al., MLSys 2020 ("hard thresholding").
    """
    cdef int64_t i, kept = 0
    cdef int32_t neuron
    cdef uint8_t *counts = scratch.counts
    cdef int32_t *candidates = scratch.found
    for i in range(n):
        neuron = candidates[i]
        if counts[neuron] >= min_collisions:
            candidates[kept] = neuron
            kept += 1
        counts[neuron] = 0
    return kept


cdef int allocate_lookup(LookupScratch *scratch, Hasher hasher, n_found, uint8_t *counts,
                         list keep_alive) except -1:
    """Set the pointers of one thread's scratch; arrays join keep_alive.

    n_found: the most candidates of a lookup; counts (n_neurons,): zeros.
    """
    scratch.hashing = <float32_t *>scratch_array(hasher.scratch_size, np.float32, keep_alive)
    scratch.words = <uint64_t *>scratch_array(hasher.n_words + 1, np.uint64, keep_alive)
    scratch.codes = <uint16_t *>scratch_array(hasher.view.n_tables, np.uint16, keep_alive)
    scratch.found = <int32_t *>scratch_array(n_found, np.int32, keep_alive)
    scratch.counts = counts
    return 0
