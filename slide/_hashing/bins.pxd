# The hashes, or bins, of the families that use only the ranks of coordinates.
from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint64_t
from slide._hashing.hasher cimport Hasher, HasherView

cdef struct BinsView:
    int64_t n_hashes           # hashes of all tables
    int32_t hash_bits          # bits of one hash
    int64_t n_copies           # copies of each extra coordinate
    float32_t copy_scale       # 1 / sqrt(n_copies), which multiplies each copy
    uint64_t seed_borrow

cdef bint densify(const BinsView *bins, int32_t *hashes, int32_t *next_full) noexcept nogil

cdef void pack(const HasherView *hasher, const BinsView *bins, const int32_t *hashes,
               uint64_t *words) noexcept nogil

cdef class BinnedHasher(Hasher):
    cdef BinsView bins
    cdef int set_bins(self, int32_t hash_bits) except -1
