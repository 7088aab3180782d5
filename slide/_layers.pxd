from slide._optimizer cimport LayerView, SolverView
from slide._typedefs cimport float32_t, float64_t, int32_t, int64_t, uint64_t

cdef enum Activation:
    IDENTITY = 0
    RELU = 1
    TANH = 2
    LOGISTIC = 3

cdef enum:
    ROW_BLOCK = 32             # rows whose gradients are held at a time

# Rows of X in one micro-batch: CSR when indptr is given, else dense.
cdef struct InputView:
    const int64_t *indptr
    const int32_t *indices
    const float32_t *values    # CSR values, or the dense matrix
    int64_t n_features
    const int32_t *order       # (n,) row of X behind each position, or NULL

# Scratch of the input layer's backward pass, private to a thread.
cdef struct InputScratch:
    float32_t *dense           # (micro_batch, n_features), dense X only
    int32_t *slot_of           # (n_features,) place of a feature in `features`, CSR only
    int32_t *features          # (max_pairs,) distinct features of the micro-batch
    int32_t *starts            # (max_pairs + 1,) first pair of each
    int32_t *pair_sample       # (max_pairs,)
    float32_t *pair_value      # (max_pairs,)

cdef int64_t input_forward(const LayerView *layer, const InputView *x, int64_t first,
                           int64_t n, float32_t *dense, float32_t *out) noexcept nogil

cdef int64_t input_backward(LayerView *layer, const SolverView *solver, const InputView *x,
                            int64_t first, int64_t n, InputScratch *scratch,
                            const float32_t *delta, float32_t *gradient) noexcept nogil

cdef int64_t rows_backward(LayerView *layer, const SolverView *solver, const int32_t *ids,
                           int64_t n_rows, const float32_t *delta, int64_t ldd,
                           const float32_t *x, int64_t n, float32_t *x_delta,
                           float32_t *gradient) noexcept nogil

cdef void activate(int activation, float32_t *z, int64_t n) noexcept nogil

cdef void activate_backward(int activation, const float32_t *a, float32_t *delta,
                            float32_t keep, const float32_t *mask, int64_t n) noexcept nogil

cdef void drop(float32_t *a, float32_t *mask, int64_t n, float32_t rate,
               uint64_t *rng) noexcept nogil

cdef float64_t softmax_gradient(float32_t *z, int64_t n, int64_t n_exact,
                                float32_t tail_weight, const int32_t *labels,
                                int64_t n_labels, float32_t scale) noexcept nogil

cdef float64_t sigmoid_gradient(float32_t *z, int64_t n, int64_t n_exact,
                                float32_t tail_weight, const int32_t *labels,
                                int64_t n_labels, float32_t scale) noexcept nogil
