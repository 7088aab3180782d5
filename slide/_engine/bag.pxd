from slide._base.rows cimport InputView
from slide._base.typedefs cimport float32_t, int32_t, int64_t
from slide._engine.layer cimport LayerView
from slide._engine.optimizer cimport SolverView

cdef struct InputPair:
    int32_t feature
    int32_t sample
    float32_t value

# The (sample, feature) pairs of a micro-batch of CSR rows, grouped by feature, and the scratch for
# grouping them; private to a thread.
cdef struct InputGroups:
    int64_t n_features         # number of distinct features of the micro-batch
    int32_t *features          # (max_pairs,) their ids in ascending order
    int32_t *starts            # (max_pairs + 1,) first pair of each feature
    int32_t *samples           # (max_pairs,)
    float32_t *values          # (max_pairs,)
    InputPair *pairs           # (max_pairs,) scratch
    InputPair *other_pairs     # (max_pairs,)

# One of n disjoint shares of the features.
cdef struct Share:
    int64_t i
    int64_t n

cdef void group_by_feature(const InputView *x, int64_t first, int64_t n, Share share,
                           InputGroups *groups) noexcept nogil

cdef int64_t input_forward(const LayerView *layer, const InputView *x, int64_t first, int64_t n,
                           const InputGroups *groups, float32_t *dense, float32_t *rows,
                           float32_t *out) noexcept nogil

cdef int64_t input_backward(LayerView *layer, const SolverView *solver, const InputView *x,
                            int64_t n, Share share, const InputGroups *groups,
                            const float32_t *dense, const float32_t *delta,
                            float32_t *gradient) noexcept nogil

cdef int64_t input_columns(const LayerView *layer, const float32_t *dense, int64_t d, int64_t n,
                           int64_t low, int64_t high, float32_t *out) noexcept nogil
