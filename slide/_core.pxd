from slide._hash cimport SimHashView
from slide._layers cimport AdamView, InputScratch, InputView
from slide._model cimport InputRows, Model, ModelView
from slide._tables cimport HashTables, TablesView
from slide._typedefs cimport float32_t, float64_t, int32_t, int64_t, uint8_t, uint16_t, uint64_t

# What a training run reads; nobody writes it while threads run.
cdef struct TrainView:
    AdamView adam
    InputView x
    const int64_t *y_indptr
    const int32_t *y_indices
    const float32_t *sample_weight   # or NULL
    const TablesView *tables   # of the output layer, or NULL
    const SimHashView *hasher
    int64_t hash_cost          # multiply-adds of hashing one query
    bint all_neurons           # the whole output layer is active
    int64_t tail_size
    int64_t n_hard
    int64_t n_candidates
    int64_t bucket_limit
    float32_t dropout
    uint64_t seed

# Sums over the micro-batches that a thread trained.
cdef struct Tally:
    float64_t loss
    float64_t weight
    int64_t n_samples
    int64_t n_micro_batches
    int64_t n_active
    int64_t multiply_adds
    int64_t dense_multiply_adds
    int64_t n_queries
    float64_t query_norm2

# Private to one thread.
cdef struct Workspace:
    InputScratch input
    float32_t **a              # a buffer (micro_batch, n_out) a hidden layer: activations
    float32_t **mask           # the same shapes, with dropout only
    float32_t *delta           # (micro_batch, widest hidden layer)
    float32_t *delta_next
    float32_t *gradient        # (ROW_BLOCK, widest row)
    float32_t *z               # (micro_batch, max_active): pre-activations, then their gradient
    int32_t *active            # (max_active,) ids of the union
    int32_t *slot_of           # (n_classes,) place of a neuron in `active`
    int32_t *label_slots       # (max_labels,) places of the samples' labels
    uint8_t *counts            # (n_classes,) collisions, all zero between samples
    int32_t *candidates
    float32_t *scores          # (n_candidates,)
    int32_t *hard              # (n_hard,)
    float32_t *hard_scores
    float32_t *hash_scratch
    uint64_t *hash_words
    uint16_t *codes
    Tally tally
    float32_t *query_sum       # (width of the last hidden layer,)

cdef class Trainer:
    cdef Model model
    cdef HashTables tables
    cdef TrainView train
    cdef readonly int64_t micro_batch
    cdef int n_threads
    cdef int64_t last_width
    cdef object _keep_alive
    cdef object _workspace_memory

    cdef Workspace *_workspace(self, int64_t thread) noexcept
    cdef void *_array(self, size, dtype) except NULL
    cdef int _allocate(self, Workspace *ws, bint is_dense, max_labels, max_pairs) except -1
