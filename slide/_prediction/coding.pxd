from slide._base.signals cimport Watch
from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint64_t, uint8_t
from slide._simd.dispatch cimport slide_simhash
from slide._simd.weights cimport Weights

cdef enum:
    BLOCK = 64                 # neurons whose codes stand side by side

# The neurons to code, and where their codes go; shared by all threads.
cdef struct Coding:
    const slide_simhash *hasher
    const Weights *weights         # (n_neurons, n_in)
    const float32_t *weight_biases   # (n_neurons,)
    const float32_t *folded_mean   # the mean neuron u, as the hasher takes it
    const float32_t *query_mean    # (n_in,) m
    float32_t offset               # u.m
    const int32_t *neurons         # (n_neurons,) the neuron at every place
    int64_t n_neurons
    int entry_bits                 # bits of a code that share an entry: 4 or 6
    int64_t n_bytes                # bytes of a code
    uint8_t *codes                 # (blocks, n_bytes, BLOCK), zero before
    float32_t *scales              # (blocks * BLOCK,)
    float32_t *biases              # (blocks * BLOCK,)
    Watch *watch

cdef void code_block(const Coding *coding, int64_t block, float32_t *row, float32_t *projections,
                     uint64_t *words) noexcept nogil
