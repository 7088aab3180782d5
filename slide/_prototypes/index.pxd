from slide._base.rows cimport InputRows, InputView
from slide._base.typedefs cimport float32_t, float64_t, int32_t, int64_t, uint32_t, uint8_t

# The inverted index of `slide._prototypes.prototypes.Prototypes`: read only.
cdef struct PostingsView:
    const int64_t *indptr           # (n_features + 1,)
    const int32_t *labels           # labels of every feature, rising
    const float32_t *values
    const float32_t *feature_weights
    float64_t weight                # factor of a cosine in the score
    const float32_t *biases         # (n_classes,) added to every score, or NULL

# How far a thread has read the postings of its block of rows.
cdef struct PostingsCursor:
    int64_t *places                 # (values of the rows), the next posting of each
    int64_t *ends                   # where the postings of its feature end
    float32_t *values               # (values of the rows), as they enter the cosine

# The prototypes' scores of one row at a time; private to a thread. Every array is (n_classes,).
cdef struct PostingsSums:
    float32_t *sums                 # zeros between two rows
    uint8_t *seen                   # zeros between two rows: whether a sum was begun, or listed
    int32_t *labels                 # the labels whose sums were begun
    float32_t *values               # the sums of these labels
    uint32_t *keys
    int32_t *best

cdef class Postings:
    cdef PostingsView view
    cdef int64_t _n_classes
    cdef object _keep_alive

cdef float64_t inverse_length(const float32_t *feature_weights, const InputView *x,
                              int64_t row) noexcept nogil
cdef void open_postings(const PostingsView *view, const InputView *x, int64_t first, int64_t n,
                        PostingsCursor *cursor) noexcept nogil
cdef int allocate_sums(PostingsSums *scratch, int64_t n_classes, list keep_alive) except -1
cdef int64_t offer_postings(const PostingsView *view, const InputView *x, int64_t row,
                            int64_t n_best, PostingsSums *scratch, int32_t *ids,
                            int64_t n) noexcept nogil
cdef void sum_postings(const PostingsView *view, const InputView *x, int64_t first, int64_t n,
                       int64_t u, int64_t size, PostingsCursor *cursor,
                       float32_t *sums) noexcept nogil
cdef int allocate_cursors(PostingsCursor *cursors, int n_threads, InputRows x, int64_t first,
                          int64_t last, int64_t n_rows, list keep_alive) except -1
