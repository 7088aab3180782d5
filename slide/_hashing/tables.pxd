from slide._base.typedefs cimport float32_t, int64_t, uint16_t, uint64_t
from slide._hashing.collisions cimport TablesView
from slide._hashing.hasher cimport Hasher

cdef class HashTables:
    cdef TablesView view
    cdef readonly Hasher hasher
    cdef readonly bint transform
    cdef object _folded_mean
    cdef readonly object offsets
    cdef readonly object ids
    cdef readonly object mean
    cdef object _folded(self, mean)
    cdef _set_folded(self, folded)
    cdef dict _arrays(self)
    cdef _sort(self, const uint64_t *words, int64_t n_words, uint16_t[:, ::1] codes,
               int n_threads)
