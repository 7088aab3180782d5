# Finders of a layer's neurons, as kernels call them.
from slide._base.rows cimport Vector
from slide._base.typedefs cimport int32_t, int64_t, uint64_t, uint8_t
from slide._hashing.tables cimport HashTables

cdef struct RetrievalView

# Private to one thread.
cdef struct RetrievalScratch:
    uint8_t *counts            # (n_neurons,) zeros between two retrievals
    void *own                  # the finder's own scratch

# Finds distinct neurons for a vector, at most n_candidates; `_hashing.retrieval.retrieve` has the
# parameters.
ctypedef int64_t (*FindKernel)(const RetrievalView *view, const Vector *x, uint64_t *rng,
                               RetrievalScratch *scratch, int32_t *out,
                               int64_t *cost) noexcept nogil

# How a layer's neurons are found; read-only between two rebuilds.
cdef struct RetrievalView:
    FindKernel find
    const void *own            # the finder's own view
    bint by_chance             # whether random numbers decide which neurons are found
    int64_t n_neurons
    int64_t n_wanted           # where fewer are found, random ones are added; 0: never
    int64_t n_candidates       # most neurons that are found

cdef class Finder:
    cdef RetrievalView view
    cdef readonly HashTables tables     # or None
    cdef dict arrays           # arrays that rebuilds write; views point into them
    cdef int set_view(self) except -1
    cdef int allocate(self, RetrievalScratch *scratch, list keep_alive) except -1

cdef class Everything(Finder):
    pass
