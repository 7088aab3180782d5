from slide._typedefs cimport float32_t, float64_t, int32_t, int64_t, uint64_t

cdef enum Activation:
    IDENTITY = 0
    RELU = 1
    TANH = 2
    LOGISTIC = 3

# A layer's arrays. Shared by all threads and raced on purpose (HOGWILD).
# The first layer keeps a row for each input feature (rows = n_in, of n_out weights),
# every other layer a row for each neuron (rows = n_out, of n_in weights).
cdef struct LayerView:
    int64_t n_in
    int64_t n_out
    int64_t width              # weights in a row
    float32_t *w               # (rows, width)
    float32_t *b               # (n_out,)
    float32_t *w_m             # (rows, width) Adam's first moment
    float32_t *w_v             # (rows,) its second moment, one a row
    float32_t *b_m             # (n_out,)
    float32_t *b_v             # (n_out,)
    int32_t *steps             # (rows,) updates that a row has had
    float32_t rate             # factors of the learning rate: weights and biases
    float32_t bias_rate

cdef struct AdamView:
    float32_t learning_rate
    float32_t beta_1
    float32_t beta_2
    float32_t epsilon
    const float32_t *corrections  # (CORRECTIONS, 2), see adam_corrections

cdef enum:
    CORRECTIONS = 8192
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

cdef int64_t UPDATE_COST

cdef void adam_corrections(float32_t beta_1, float32_t beta_2, float32_t *out) noexcept nogil

cdef int64_t input_forward(const LayerView *layer, const InputView *x, int64_t first,
                           int64_t n, float32_t *dense, float32_t *out) noexcept nogil

cdef int64_t input_backward(LayerView *layer, const AdamView *adam, const InputView *x,
                            int64_t first, int64_t n, InputScratch *scratch,
                            const float32_t *delta, float32_t *gradient) noexcept nogil

cdef int64_t rows_backward(LayerView *layer, const AdamView *adam, const int32_t *ids,
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
