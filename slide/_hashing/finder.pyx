"""Finders of a layer's neurons: the base of all kinds, and the two trivial ones."""
import numpy as np

from slide._base.rows cimport Vector
from slide._base.typedefs cimport int32_t, int64_t, uint64_t

from slide._base.named_arrays import fill, flat, part_of

MOVED = 192  # updates of a neuron after which a finder must look at it again


cdef int64_t _find_nothing(const RetrievalView *view, const Vector *x, uint64_t *rng,
                           RetrievalScratch *scratch, int32_t *out, int64_t *cost) noexcept nogil:
    return 0


cdef int64_t _find_everything(const RetrievalView *view, const Vector *x, uint64_t *rng,
                              RetrievalScratch *scratch, int32_t *out,
                              int64_t *cost) noexcept nogil:
    cdef int64_t i
    for i in range(view.n_neurons):
        out[i] = <int32_t>i
    return view.n_neurons


cdef class Finder:
    """Base class of the finders, which find the neurons of one layer; each kind is a subclass.

    The base class finds nothing, so that all neurons are drawn at random (policy "none"). A
    subclass sets its kernel and its own view in `view`, and overrides the methods that it needs.

    Parameters
    ----------
    n_neurons, n_in : int
    settings : dict
    random_state : numpy.random.RandomState
    directions : float32 (n, n_in) or None
        As for `_hashing.retrieval.Retrieval`.
    """

    def __init__(self, int64_t n_neurons, int64_t n_in, dict settings, random_state,
                 directions=None):
        self.arrays = {}
        self.view.find, self.view.by_chance = _find_nothing, True
        self.view.n_neurons = n_neurons
        self.view.n_wanted = settings["n_wanted"]
        self.view.n_candidates = min(n_neurons, settings["n_candidates"])

    cdef int set_view(self) except -1:
        """Point the view to the arrays after they were changed."""
        return 0

    def parts(self):
        """Hash functions, tables and directions by name; some may be None."""
        return {}

    def named_arrays(self):
        """The hash functions and all that rebuilds change: arrays by name."""
        return flat(self.arrays, **self.parts())

    def set_named_arrays(self, arrays):
        """Take over the arrays of another finder with the same parameters."""
        fill(self.arrays, arrays)
        for name, part in self.parts().items():
            if part is not None:
                part.set_named_arrays(part_of(arrays, name))
        self.set_view()

    def rebuild(self, weights, biases, mean, query_length, n_threads, steps=None):
        """Look at every neuron again; returns the multiply-adds that it took.

        Parameters
        ----------
        weights : float32 or bfloat16 (n_neurons, n_in)
        biases : float32 (n_neurons,)
        mean : float32 (n_in,)
            Mean of the queries.
        query_length : float
            Root mean square of |x - mean|.
        n_threads : int
        steps : int32 (n_neurons,) or None
            Updates of each neuron so far, for `follow`.
        """
        return 0

    def follow(self, weights, biases, steps, n_threads):
        """Look again at the neurons that had MOVED updates since the last look.

        In a wide layer some neurons are active for every tenth sample, and most for hardly any
        sample. Parameters as in `rebuild`; the mean of the queries does not change. Returns the
        multiply-adds that it took.
        """
        return 0

    cdef int allocate(self, RetrievalScratch *scratch, list keep_alive) except -1:
        """Allocate the finder's own scratch of one thread; scratch.counts is set before."""
        return 0


cdef class Everything(Finder):
    """Finder that returns every neuron: the policy "exact"."""

    def __init__(self, int64_t n_neurons, int64_t n_in, dict settings, random_state,
                 directions=None):
        Finder.__init__(self, n_neurons, n_in, settings, random_state)
        self.view.find, self.view.by_chance = _find_everything, False
        self.view.n_candidates = n_neurons


def take_moved(looked_at, steps):
    """Return the neurons that had MOVED updates since they were last looked at, int32.

    From now on these neurons count as looked at.

    looked_at : int32 (n_neurons,), INOUT
        Updates of each neuron when it was last looked at.
    steps : int32 (n_neurons,)
        Updates so far.
    """
    moved = np.flatnonzero(steps - looked_at >= MOVED).astype(np.int32)
    looked_at[moved] = steps[moved]
    return moved
