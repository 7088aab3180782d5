"""Retrieval: which neurons of a layer to compute for a vector, by one of several policies.

The classes of finders have files of their own; LOOKUPS says which policy uses which class.
"""
import numpy as np

from slide._base.random cimport next_below
from slide._base.rows cimport dense_vector, Vector
from slide._base.scratch cimport scratch_array
from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint32_t, uint64_t, uint8_t
from slide._hashing.finder cimport RetrievalScratch, RetrievalView

from slide._hashing.buckets import BUCKETS, Buckets
from slide._hashing.estimates import Estimates
from slide._hashing.finder import Everything, Finder
from slide._hashing.scan import Scan

# Names and finders of the policies that look neurons up, and of all policies.
LOOKUPS = {"estimate": Estimates, "scan": Scan, **dict.fromkeys(BUCKETS, Buckets)}
POLICIES = {"none": Finder, "exact": Everything, **LOOKUPS}


cdef int64_t _add_random(const RetrievalView *view, int32_t *out, int64_t n, uint64_t *rng,
                         uint8_t *counts) noexcept nogil:
    """Add random neurons to the n in `out`, up to n_wanted distinct ones; returns their number."""
    cdef int64_t i, _draw, target = min(view.n_wanted, view.n_neurons)
    cdef int32_t neuron
    if n >= target:
        return n
    for i in range(n):
        counts[out[i]] = 1
    for _draw in range(64 + 8 * target):
        if n == target:
            break
        neuron = <int32_t>next_below(rng, <uint32_t>view.n_neurons)
        if counts[neuron] == 0:
            counts[neuron] = 1
            out[n] = neuron
            n += 1
    neuron = <int32_t>next_below(rng, <uint32_t>view.n_neurons)
    while n < target:
        # Nearly all neurons are in: take the free ones in turn.
        if counts[neuron] == 0:
            counts[neuron] = 1
            out[n] = neuron
            n += 1
        neuron = neuron + 1 if neuron + 1 < view.n_neurons else 0
    for i in range(n):
        counts[out[i]] = 0
    return n


cdef int64_t retrieve(const RetrievalView *view, const Vector *x, uint64_t *rng,
                      RetrievalScratch *scratch, int32_t *out, int64_t *cost) noexcept nogil:
    """Find distinct neurons for one vector: at most n_candidates, but at least n_wanted.

    IN x; OUT out (max(n_candidates, n_wanted),); INOUT cost, to which the multiply-adds of hashing
    and ranking are added; a population count of 64 bits counts as one multiply-add. Returns the
    number of neurons. Thread-safe: scratch and rng are the thread's own.
    """
    cdef int64_t n = view.find(view, x, rng, scratch, out, cost)
    return _add_random(view, out, n, rng, scratch.counts)


cdef class Retrieval:
    """Retrieval of the neurons of one layer.

    Parameters
    ----------
    n_neurons, n_in : int
    settings : dict
        policy, hash_family, n_tables, n_hash_bits, use_tables, n_wanted, n_candidates,
        bucket_limit, min_collisions, transform. Without the inner-product transform, neurons are
        found by the angle between w and x alone. The policy "estimate" has two more settings, which
        may be missing: n_rounds of SimHash (3 by default), and n_coarse, the number of neurons that
        a first ranking keeps where there are no tables (0 by default).
    random_state : numpy.random.RandomState
        Draws the hash functions.
    directions : float32 (n, n_in) or None
        Orthonormal directions along which estimates are exact; for the policy "estimate" with the
        transform and without tables.
    """

    def __init__(self, int64_t n_neurons, int64_t n_in, dict settings, random_state,
                 directions=None):
        self.policy, self._n_in = settings["policy"], n_in
        self.finder = POLICIES[self.policy](n_neurons, n_in, settings, random_state, directions)

    @property
    def shape(self):
        """Number of neurons, and width of their inputs."""
        return self.finder.view.n_neurons, self._n_in

    @property
    def tables(self):
        """The hash tables of the neurons, or None."""
        return self.finder.tables

    @property
    def hasher(self):
        """The hash functions of the estimates, or None."""
        return getattr(self.finder, "hasher", None)

    @property
    def directions(self):
        """The directions of the estimates, or None."""
        return getattr(self.finder, "directions", None)

    def named_arrays(self):
        """The hash functions and all that rebuilds change: arrays by name."""
        return self.finder.named_arrays()

    def set_named_arrays(self, arrays):
        """Take over the arrays of a Retrieval with the same parameters and number of directions."""
        self.finder.set_named_arrays(arrays)

    def rebuild(self, weights, const float32_t[::1] biases, const float32_t[::1] mean,
                float query_length, int n_threads, steps=None):
        """Fit the finder to new weights, as `Finder.rebuild` says."""
        self._check(weights, biases, steps)
        if mean.shape[0] != self._n_in:
            raise ValueError(f"mean must have {self._n_in} values; got {mean.shape[0]}")
        return self.finder.rebuild(weights, np.asarray(biases), np.asarray(mean), query_length,
                                   n_threads, steps)

    def follow(self, weights, const float32_t[::1] biases, steps, int n_threads):
        """Fit the finder to the neurons that moved, as `Finder.follow` says."""
        self._check(weights, biases, steps)
        return self.finder.follow(weights, np.asarray(biases), steps, n_threads)

    def _check(self, weights, biases, steps):
        """Refuse arrays that are not of this Retrieval's neurons and inputs."""
        shapes = [weights.shape, biases.shape[:1], self.shape[:1] if steps is None else steps.shape]
        if shapes != [self.shape, self.shape[:1], self.shape[:1]]:
            raise ValueError(
                f"weights, biases and steps must be of {self.shape[0]} neurons with {self._n_in} "
                f"inputs; got shapes {shapes}"
            )

    def retrieve(self, x, seed=0):
        """The neurons found for every row of x, dense (n, n_in): a list of id arrays.

        Python entry point for tests; row i draws its random numbers from seed + i.
        """
        cdef const float32_t[:, ::1] rows = np.ascontiguousarray(x, np.float32)
        if rows.shape[1] != self._n_in:
            raise ValueError(f"x must have {self._n_in} columns; got {rows.shape[1]}")
        cdef const RetrievalView *view = &self.finder.view
        cdef RetrievalScratch scratch
        cdef int32_t[::1] out = np.empty(max(1, view.n_candidates, view.n_wanted), np.int32)
        cdef Vector query
        cdef uint64_t rng
        cdef int64_t i, n, cost = 0
        keep_alive, result = [], []
        allocate_retrieval(&scratch, self, keep_alive)
        for i in range(rows.shape[0]):
            rng = seed + i
            query = dense_vector(&rows[i, 0], self._n_in)
            n = retrieve(view, &query, &rng, &scratch, &out[0], &cost)
            result.append(np.asarray(out[:n]).copy())
        return result


cdef int allocate_retrieval(RetrievalScratch *scratch, Retrieval retrieval,
                            list keep_alive) except -1:
    """Set the pointers of one thread's scratch; arrays join keep_alive."""
    n_neurons = retrieval.finder.view.n_neurons
    scratch.counts = <uint8_t *>scratch_array(n_neurons, np.uint8, keep_alive)
    retrieval.finder.allocate(scratch, keep_alive)
    return 0
