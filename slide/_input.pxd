from slide._optimizer cimport LayerView, SolverView
from slide._typedefs cimport float32_t, int32_t, int64_t, uint64_t

# Rows of X in one micro-batch: CSR when indptr is given, else dense.
cdef struct InputView:
    const int64_t *indptr
    const int32_t *indices
    const float32_t *values    # CSR values, or the dense matrix
    int64_t n_features
    const int32_t *order       # (n,) row of X behind each position, or NULL

# The pairs (sample, feature) of a micro-batch of CSR rows by feature, and what it takes to group
# them; private to a thread.
cdef struct InputGroups:
    int64_t n_features         # distinct features of the micro-batch
    int32_t *features          # (max_pairs,) they, rising
    int32_t *starts            # (max_pairs + 1,) first pair of each
    int32_t *samples           # (max_pairs,)
    float32_t *values          # (max_pairs,)
    int32_t *slots             # (max_pairs,) scratch: place of the feature of each pair of X
    int32_t *slot_of           # (n_features of X,) place of a feature in `features`
    uint64_t *seen             # a bit a feature, and
    uint64_t *seen_words       # a bit a word of `seen`; both all zero between two micro-batches

cdef void group_by_feature(const InputView *x, int64_t first, int64_t n,
                           InputGroups *groups) noexcept nogil

cdef int64_t input_forward(const LayerView *layer, const InputView *x, int64_t first, int64_t n,
                           const InputGroups *groups, float32_t *dense, float32_t *rows,
                           float32_t *out) noexcept nogil

cdef int64_t input_backward(LayerView *layer, const SolverView *solver, const InputView *x,
                            int64_t n, const InputGroups *groups, const float32_t *dense,
                            const float32_t *delta, float32_t *gradient) noexcept nogil
