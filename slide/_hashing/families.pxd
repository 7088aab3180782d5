from slide._base.rows cimport Vector
from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint16_t, uint64_t

cdef enum:
    SIMHASH = 0
    WTA = 1
    DWTA = 2
    MINHASH = 3

    WINDOW = 8    # coordinates of a winner-take-all hash

# One set of hash functions, shared and read-only. A family reads its own part.
cdef struct HasherView:
    int32_t family
    int32_t n_tables           # L
    int32_t n_bits             # K, 1..16
    int64_t n_in               # width of a vector
    int64_t n_words            # of the L * K bits of one vector
    int64_t fixed_cost         # hashing n values costs fixed_cost + n * cost_per_value
    int64_t cost_per_value
    # SimHash
    int64_t size               # of a transform: a power of two, at least 64
    int64_t last_size          # projections of the last one; of the others `size`
    int64_t n_blocks           # transforms
    int64_t n_rounds           # of one transform
    int64_t n_padded           # n_in, up to a multiple of size
    const float32_t *signs         # (n_blocks, n_padded) of the first round, +-1
    const float32_t *later_signs   # (n_blocks, n_rounds - 1, size)
    const float32_t *extra         # (2, projections), Gaussian times the transforms' scale
    # WTA, DWTA and MinHash
    int64_t n_hashes           # elementary hashes of all tables
    int32_t hash_bits          # bits of one: 3, or 2 of MinHash
    int64_t n_copies           # r, of each extra coordinate
    float32_t copy_scale       # 1 / sqrt(r)
    uint64_t seed_borrow
    # WTA and DWTA: the coordinates that are in a window have slots
    int64_t n_used             # slots
    int64_t first_extra        # slots from here on are copies of extra_0 ...
    int64_t second_extra       # ... and from here on of extra_1
    const int32_t *used        # (n_used,) slot -> coordinate, rising
    const int32_t *slot_of     # (n_in,) coordinate -> slot or -1
    const int32_t *windows     # (n_hashes, WINDOW) slots
    # MinHash
    int64_t n_largest          # t
    uint64_t seed_bins
    uint64_t seed_cut

cdef void simhash(const HasherView *hasher, const Vector *x, const float32_t *folded_mean, float32_t extra_0,
                  float32_t extra_1, float32_t *scratch, uint64_t *words) noexcept nogil

cdef int64_t project(const HasherView *hasher, int64_t block, const Vector *x, const float32_t *folded_mean,
                     float32_t *scratch) noexcept nogil

cdef void simhash_rows(const HasherView *hasher, int32_t n_codes, int32_t n_bits,
                       const float32_t *rows, int64_t ld, const int32_t *ids, int64_t n,
                       const float32_t *extra_0, const float32_t *extra_1, float32_t *scratch,
                       uint16_t *codes, int64_t stride) noexcept nogil

cdef void winner_take_all(const HasherView *hasher, const Vector *x, const float32_t *folded_mean, float32_t extra_0,
                          float32_t extra_1, float32_t *scratch, uint64_t *words) noexcept nogil

cdef void minhash(const HasherView *hasher, const Vector *x, const float32_t *folded_mean, float32_t extra_0,
                  float32_t extra_1, float32_t *scratch, uint64_t *words) noexcept nogil
