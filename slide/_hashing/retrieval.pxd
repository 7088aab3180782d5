from slide._base.rows cimport Vector
from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t, uint8_t
from slide._hashing.directions cimport Directions, DirectionsView
from slide._hashing.hasher cimport HasherView
from slide._hashing.simhash cimport SimHash
from slide._simd.dispatch cimport slide_simhash
from slide._hashing.tables cimport HashTables, TablesView

cdef enum Policy:
    RANDOM = 0       # nothing is looked up: neurons drawn at random
    EXACT = 1        # every neuron
    ESTIMATE = 2     # ranked by the pre-activation that their codes promise
    VANILLA = 3      # the first that the buckets return
    MOST_COLLISIONS = 4         # those of the most collisions
    THRESHOLD = 5    # those of enough collisions
    RERANK = 6       # many by collisions, of which the layer keeps the best by inner product
    SCAN = 7         # of the largest pre-activation under the weights of the last rebuild

cdef enum:
    COARSE_BITS = 64

# How a layer's neurons are found; read-only between two rebuilds.
cdef struct RetrievalView:
    int policy
    int64_t n_neurons
    int64_t n_wanted           # fewer candidates are filled up at random; 0: never
    int64_t n_candidates       # at most so many are returned
    int64_t bucket_limit
    int64_t min_collisions
    const TablesView *tables   # or NULL
    # for estimates: one code of n_bits a neuron, in n_words
    const HasherView *hasher   # or NULL
    const slide_simhash *functions   # of the hasher
    int64_t n_bits
    int64_t n_words
    const uint64_t *codes      # (n_neurons, n_words)
    const float32_t *norms     # (n_neurons,) |w|
    const float32_t *biases    # (n_neurons,) w.mean + b
    const float32_t *folded_mean    # of the hasher, or NULL
    const float32_t *mean      # (n_in,)
    int64_t n_in
    const float32_t *columns   # (n_in, n_neurons) the weights of the last rebuild, or NULL
    float32_t mean_norm2       # |mean|^2
    const float32_t *cosines   # (n_bits + 1,) of pi * distance / n_bits
    const DirectionsView *directions   # or NULL
    int64_t n_coarse           # neurons that a first ranking keeps; 0: there is none
    const uint64_t *coarse     # (n_neurons,) the first word of the codes
    const float32_t *coarse_cosines   # (65,)

# Private to one thread.
cdef struct RetrievalScratch:
    uint8_t *counts            # (n_neurons,) all zero between two retrievals
    int32_t *found             # (most candidates of the tables,)
    float32_t *scores          # (most candidates ranked,)
    uint32_t *keys             # the same
    int32_t *best              # the same
    float32_t *curve           # (n_bits + 1,), at least 65
    float32_t *hashing         # scratch of the hasher
    uint64_t *words
    uint16_t *codes            # (n_tables,)
    float32_t *coordinates     # (directions,)
    float32_t *folded_mean          # of a rest
    float32_t *offsets         # (n_neurons,)

cdef int64_t retrieve(const RetrievalView *view, const Vector *x, uint64_t *rng, RetrievalScratch *scratch,
                      int32_t *out, int64_t *cost) noexcept nogil

cdef class Retrieval:
    cdef RetrievalView view
    cdef readonly str policy
    cdef readonly str family
    cdef readonly bint transform
    cdef readonly int64_t n_coarse      # of the estimates; 0: no first ranking
    cdef readonly HashTables tables     # or None
    cdef readonly SimHash hasher         # of the estimates, or None
    cdef readonly Directions directions   # of the estimates, or None
    cdef dict _settings
    cdef dict _arrays                   # what rebuilds write; the view points into them
    cdef object _cosines, _coarse_cosines, _folded_mean
    cdef _set_view(self)
    cdef _fold_mean(self)
    cdef int64_t max_found(self)
    cdef int64_t max_ranked(self)

cdef int allocate_retrieval(RetrievalScratch *scratch, Retrieval retrieval,
                            list keep_alive) except -1
