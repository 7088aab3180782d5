from slide._base.rows cimport Vector
from slide._base.typedefs cimport int32_t, int64_t, uint64_t
from slide._hashing.finder cimport Finder, RetrievalScratch, RetrievalView

cdef int64_t retrieve(const RetrievalView *view, const Vector *x, uint64_t *rng,
                      RetrievalScratch *scratch, int32_t *out, int64_t *cost) noexcept nogil

cdef class Retrieval:
    cdef readonly str policy
    cdef readonly Finder finder
    cdef int64_t _n_in

cdef int allocate_retrieval(RetrievalScratch *scratch, Retrieval retrieval,
                            list keep_alive) except -1
