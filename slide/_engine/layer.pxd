# A layer as the kernels see it.
from slide._base.typedefs cimport float32_t, int32_t, int64_t
from slide._simd.weights cimport Weights

# The numbers that an update changes besides the weights and their first moments: a row's second
# moment and its count of updates, and the moments of a neuron's bias. They share a cache line.
cdef struct Progress:
    float32_t w_v
    int32_t steps
    float32_t b_m
    float32_t b_v

# A layer's arrays, shared by all threads and raced on purpose (HOGWILD).
# A dense first layer keeps one row for each input feature: n_in rows of n_out weights. Every other
# layer keeps one row for each neuron: n_out rows of n_in weights.
cdef struct LayerView:
    int64_t n_in
    int64_t n_out
    const int32_t *kept        # (n_kept,) the neurons that a micro-batch computes; NULL: all
    int64_t n_kept
    const int32_t *ids         # (rows,) names of the rows for random rounding; NULL: numbers
    int64_t n_active           # neurons computed for a sample; 0: all of them (dense)
    Weights w                  # (rows, stride)
    float32_t *b               # (n_out,)
    Weights w_m                # (rows, stride) first moment
    Progress *progress         # (rows + 1,), the last one counts updates of a first layer's biases
    Progress *bias_progress    # (n_out,); where a row is a neuron, this is `progress`
    float32_t rate             # factor of the learning rate for weights
    float32_t bias_rate        # factor of the learning rate for biases
