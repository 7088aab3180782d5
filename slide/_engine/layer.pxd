# What a layer is to the kernels.
from slide._base.typedefs cimport float32_t, int32_t, int64_t
from slide._simd.weights cimport Weights

# What an update changes beside the weights: of a row its second moment and its count of updates,
# of a neuron its bias's moments. Side by side, so that it is one cache line.
cdef struct Progress:
    float32_t w_v
    int32_t steps
    float32_t b_m
    float32_t b_v

# A layer's arrays. Shared by all threads and raced on purpose (HOGWILD).
# A dense first layer keeps a row for each input feature (rows = n_in, of n_out weights),
# every other layer a row for each neuron (rows = n_out, of n_in weights).
cdef struct LayerView:
    int64_t n_in
    int64_t n_out
    int64_t width              # weights in a row
    int64_t n_active           # neurons computed for a sample; 0: all of them (dense)
    Weights w                  # (rows, width)
    float32_t *b               # (n_out,)
    Weights w_m                # (rows, width) first moment
    Progress *progress           # (rows + 1,), the last one counts the updates of a shared bias
    Progress *bias_progress         # (n_out,); where a row is a neuron, `progress`
    float32_t rate             # factors of the learning rate: weights and biases
    float32_t bias_rate
