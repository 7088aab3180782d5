from slide._base.rows cimport InputRows, InputView
from slide._base.typedefs cimport float32_t, float64_t, int32_t, int64_t, uint64_t, uint8_t
from slide._engine.bag cimport InputGroups
from slide._engine.dense cimport HalfScratch
from slide._engine.forward cimport HiddenScratch
from slide._engine.model cimport Model, ModelView
from slide._engine.optimizer cimport SolverView
from slide._engine.sparse cimport Pairs

cdef enum:
    SHARES = 16                # of the neurons of a layer, where threads share a step

# The data and settings of a training run; no thread writes to it.
cdef struct TrainView:
    SolverView solver
    InputView x
    const int64_t *y_indptr
    const int32_t *y_indices
    const float32_t *sample_weight   # or NULL
    bint all_neurons           # all neurons of the output layer are active
    float32_t prune            # factor of the gradients that sparse layers prune; 0: none
    int64_t tail_size
    int64_t n_hard             # hard neurons per sample found by retrieval (0: retrieval off)
    int64_t n_hard_kept        # hard neurons per sample found by mining beforehand (0: none)
    const int32_t *hard_kept   # (n_rows, n_hard_kept), -1 where there are fewer
    const float32_t *dropout   # (n_hidden,) rate of the layers whose rows draw neurons, else 0
    const int64_t *n_blocks_kept   # (n_hidden,) blocks that a micro-batch keeps; 0: no blocks
    const float32_t *keep      # (n_hidden,) share of the neurons that dropout keeps
    const uint8_t *tracked     # (n_layers,) whether a layer's inputs are summed, for hashing
    uint64_t seed

# Sums over the micro-batches that a thread trained.
cdef struct Counts:
    float64_t loss
    float64_t weight
    int64_t n_samples
    int64_t n_micro_batches
    int64_t active_neurons
    int64_t multiply_adds
    int64_t dense_multiply_adds
    float64_t retrieval_seconds   # hashing, looking up, ranking; choosing the active set
    float64_t forward_seconds
    float64_t backward_seconds    # including the updates

# Private to one thread; where threads share a step, the results of all threads lie in the arrays
# of the first one.
cdef struct Workspace:
    ModelView model            # the network with the neurons that a micro-batch keeps
    int32_t **block_starts     # (n_hidden,) for layers that drop blocks
    int32_t **kept             # (n_hidden,)
    InputGroups groups         # used by a dense first layer on CSR X
    HiddenScratch hidden
    HalfScratch halves         # used by products of bfloat16
    float32_t **mask           # (n_hidden,) shaped like hidden.a, where rows draw neurons
    float32_t **delta          # (n_hidden,) gradients of the layers' activations, like hidden.a
    float32_t *gradient        # (ROW_BLOCK, widest row)
    float32_t *z               # (micro_batch, max_active): pre-activations, then their gradient
    float64_t *squares         # (micro_batch, 2) see `slide._engine.pruning.note_squares`
    float64_t *losses          # (micro_batch,) of the rows, times their weights
    Pairs own                  # of the neurons that the thread owns, where threads share a step
    int32_t *found             # (2 * pairs,) see `slide._engine.sparse.group_in_range`
    float32_t *sums            # (SHARES, micro_batch, widest input) see `slide._engine.team`
    const int32_t *numbers     # (widest layer,) 0, 1, 2, ..., where threads share a step
    int32_t *active            # (max_active,) the active output neurons
    int32_t *slot_of           # (n_classes,) a neuron's place in `active`
    int32_t *label_slots       # (max_labels,) places of the samples' labels in `active`
    int32_t *candidates        # (most,) room for the most neurons that retrieval returns
    float32_t *scores          # (most,)
    int32_t *hard              # (n_hard,)
    float32_t *hard_scores     # (n_hard,)
    float32_t **query_sums     # (n_layers,) sum of a tracked layer's inputs (n_in,)
    float64_t *query_norms2    # (n_layers,) sum of their squared lengths
    Counts counts

cdef int set_train(TrainView *train, Model model, InputRows x, const int64_t[::1] y_indptr,
                   const int32_t[::1] y_indices, const float32_t[::1] sample_weight,
                   const int32_t[:, ::1] hard_kept, dict settings, list keep_alive) except -1

cdef int allocate_workspaces(Workspace *workspaces, int n_threads, Model model, InputRows x,
                             const TrainView *train, y_indptr, int64_t n,
                             list keep_alive) except -1
