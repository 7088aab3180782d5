from slide._base.rows cimport InputRows, InputView
from slide._base.typedefs cimport float32_t, float64_t, int32_t, int64_t, uint32_t, uint64_t
from slide._engine.bag cimport InputGroups
from slide._engine.model cimport Model, ModelView
from slide._engine.sparse cimport Pairs, PairScratch, Vectors
from slide._hashing.finder cimport RetrievalScratch

# The results of a forward pass and its scratch; private to one thread.
cdef struct HiddenScratch:
    Vectors *x                 # (n_layers,) inputs of every layer
    Pairs *pairs               # (n_layers,) for layers that are sparse or have sparse input
    float32_t **a              # (n_hidden,) activations, (rows, ld)
    int32_t **active           # (n_hidden,) ids of the activations, sparse layers only
    int64_t *ld                # (n_hidden,) n_active, or n_kept of a dense layer
    RetrievalScratch *retrieval    # (n_layers,)
    PairScratch scratch
    Pairs candidates
    int32_t **tried            # (n_hidden,) neurons that a sparse layer tries, (rows, candidates)
    int32_t *sizes             # (rows,)
    float32_t *z               # (rows, candidates)
    uint32_t *keys             # (candidates,)
    int32_t *best              # (most active,)
    float32_t *dense_rows      # (rows, n_features), for dense X and a dense first layer only
    InputGroups *groups        # for CSR X and a dense first layer, in training only; else NULL
    float32_t *unpacked        # (ROW_BLOCK, widest row), where rows of weights are copied
    float64_t retrieval_seconds   # time spent on retrieval so far

cdef inline int64_t n_tried(const ModelView *model, int64_t i) noexcept nogil:
    # The most neurons of sparse layer i whose pre-activations are computed for a sample.
    return max(model.retrievals[i].n_candidates, model.layers[i].n_active)


cdef int64_t find_candidates(const ModelView *model, const InputView *rows, int64_t i,
                             int64_t first, int64_t n, HiddenScratch *hidden,
                             const uint64_t *stream) noexcept nogil

cdef void keep_best(const ModelView *model, int64_t i, int64_t n,
                    HiddenScratch *hidden) noexcept nogil

cdef int64_t forward_layer(const ModelView *model, const InputView *x, int64_t i, int64_t first,
                           int64_t n, HiddenScratch *hidden,
                           const uint64_t *stream) noexcept nogil

cdef int allocate_hidden(HiddenScratch *hidden, Model model, InputRows x, int64_t n_rows,
                         int64_t n_output, list keep_alive) except -1

cdef int allocate_pairs(Pairs *pairs, n_rows, n_pairs, list keep_alive) except -1
