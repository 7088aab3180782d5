# The hash functions of one family as kernels call them, and what all families share.
from slide._base.rows cimport InputRows, Vector
from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint16_t, uint64_t

cdef struct HasherView

# Dense rows that are hashed together.
cdef struct DenseRows:
    const float32_t *values    # (., ld)
    int64_t ld
    const int32_t *ids         # (n,) the number of each row, or NULL: the first n
    int64_t n
    const float32_t *extra_0   # (n,) extra coordinates of each row, or both NULL
    const float32_t *extra_1

# The kernels of a family; `hash_vector` and `hash_rows` below say what they do.
ctypedef void (*VectorKernel)(const HasherView *hasher, const Vector *x,
                              const float32_t *folded_mean, float32_t extra_0, float32_t extra_1,
                              float32_t *scratch, uint64_t *words) noexcept nogil
ctypedef void (*RowsKernel)(const HasherView *hasher, const DenseRows *rows, float32_t *scratch,
                            uint64_t *words, uint16_t *codes, int64_t stride) noexcept nogil

# One set of hash functions, shared and read-only.
cdef struct HasherView:
    VectorKernel vector_kernel
    RowsKernel rows_kernel
    const void *own            # the family's own view
    int32_t n_tables           # L
    int32_t n_bits             # K, 1..16
    int64_t n_in               # width of a vector
    int64_t n_words            # words of 64 bits that hold the code_bits = L * K of one vector
    int64_t fixed_cost         # hashing n values costs fixed_cost + n * cost_per_value
    int64_t cost_per_value


cdef inline void hash_vector(const HasherView *hasher, const Vector *x,
                             const float32_t *folded_mean, float32_t extra_0, float32_t extra_1,
                             float32_t *scratch, uint64_t *words) noexcept nogil:
    # The L * K bits of x - mean: table t has bits t * K to (t + 1) * K - 1.
    #
    # IN x; folded_mean: the mean as `Hasher.fold` returns it, or NULL for no mean; extra_0,
    # extra_1: two more coordinates. OUT words (n_words,); scratch (scratch_size,), 8-byte aligned.
    # Cost: fixed_cost + x.size * cost_per_value. Thread-safe: scratch and words are the thread's.
    hasher.vector_kernel(hasher, x, folded_mean, extra_0, extra_1, scratch, words)


cdef inline void hash_rows(const HasherView *hasher, const DenseRows *rows, float32_t *scratch,
                           uint64_t *words, uint16_t *codes, int64_t stride) noexcept nogil:
    # Codes of dense rows, the same as `hash_vector` and `cut_codes` make without a mean.
    #
    # IN rows with extra coordinates; OUT codes (n_tables, stride); scratch (rows_scratch_size,),
    # words (n_words,) of the thread. Cost: that of `hash_vector` for each row; SimHash takes rows
    # side by side, which is about six times faster.
    hasher.rows_kernel(hasher, rows, scratch, words, codes, stride)


cdef void cut_codes(const HasherView *hasher, const uint64_t *words, uint16_t *codes,
                    int64_t stride) noexcept nogil

cdef void codes_in_table(const HasherView *hasher, int64_t table, const uint64_t *words,
                         int64_t n_words, int64_t n, uint16_t *codes) noexcept nogil

cdef class Hasher:
    cdef HasherView view
    cdef readonly dict parameters         # the random numbers; the view points into them
    cdef readonly int64_t scratch_size    # float32s that hash_vector needs
    cdef readonly int64_t rows_scratch_size   # float32s that hash_rows needs
    cdef int set_view(self) except -1
    cdef InputRows rows_of(self, x)
