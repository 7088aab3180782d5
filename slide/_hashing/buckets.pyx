"""Buckets of hash tables: the finder of the policies that only look neurons up in tables.

    vanilla      the first neurons that the buckets return
    topk         the neurons with the most collisions
    threshold    the neurons with at least min_collisions collisions
    rerank       more neurons than are wanted, with the most collisions; the layer then keeps the
                 best of them by inner product
"""
import numpy as np

from libc.string cimport memcpy

from slide._base.rows cimport Vector
from slide._base.scratch cimport scratch_array
from slide._base.typedefs cimport int32_t, int64_t, uint64_t
from slide._hashing.collisions cimport (
    allocate_lookup,
    collect,
    hash_query,
    keep_above,
    keep_most_frequent,
    LookupScratch,
    TablesView,
)
from slide._hashing.finder cimport Finder, RetrievalScratch, RetrievalView
from slide._hashing.tables cimport HashTables

BUCKETS = ("vanilla", "topk", "threshold", "rerank")

cdef struct BucketsView:
    const TablesView *tables
    int64_t bucket_limit
    int64_t n_keep             # most candidates that are kept by their number of collisions
    int32_t min_collisions     # used where by_threshold is set, in place of n_keep
    bint by_threshold


cdef int64_t _look_up(const RetrievalView *view, const Vector *x, uint64_t *rng,
                      RetrievalScratch *scratch, int32_t *out, int64_t *cost) noexcept nogil:
    """Find neurons in the buckets of the query, at most n_candidates."""
    cdef const BucketsView *own = <const BucketsView *>view.own
    cdef LookupScratch *work = <LookupScratch *>scratch.own
    cdef int64_t n
    cost[0] += hash_query(own.tables, x, work)
    n = collect(own.tables, own.bucket_limit, rng, work)
    if own.by_threshold:
        n = keep_above(work, n, own.min_collisions)
    else:
        n = keep_most_frequent(work, n, own.n_keep)
    n = min(n, view.n_candidates)
    memcpy(out, work.found, n * sizeof(int32_t))
    return n


cdef class Buckets(Finder):
    """Finder that looks a layer's neurons up in hash tables."""

    cdef BucketsView own

    def __init__(self, int64_t n_neurons, int64_t n_in, dict settings, random_state,
                 directions=None):
        Finder.__init__(self, n_neurons, n_in, settings, random_state)
        policy = settings["policy"]
        self.tables = HashTables(n_neurons, n_in, settings["n_tables"], settings["n_hash_bits"],
                                 random_state, settings["hash_family"], settings["transform"])
        self.own.tables, self.own.bucket_limit = &self.tables.view, settings["bucket_limit"]
        self.own.n_keep = n_neurons if policy == "vanilla" else self.view.n_candidates
        self.own.by_threshold = policy == "threshold"
        self.own.min_collisions = settings["min_collisions"]
        self.view.find, self.view.own = _look_up, &self.own

    def parts(self):
        return {"tables": self.tables}

    def rebuild(self, weights, biases, mean, query_length, n_threads, steps=None):
        return self.tables.rebuild(weights, biases, mean, query_length, n_threads)

    cdef int allocate(self, RetrievalScratch *scratch, list keep_alive) except -1:
        n_found = min(self.view.n_neurons, self.tables.view.n_tables * self.own.bucket_limit)
        scratch.own = scratch_array(sizeof(LookupScratch), np.uint8, keep_alive)
        allocate_lookup(<LookupScratch *>scratch.own, self.tables.hasher, n_found, scratch.counts,
                        keep_alive)
        return 0
