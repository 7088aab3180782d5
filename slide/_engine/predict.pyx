"""Exact prediction: hidden activations, all scores, and the top k, in blocks.

The result of a row depends on that row alone, not on the other rows of its block.
"""
import numpy as np
from scipy.sparse import csr_array

from cython.parallel cimport prange
from libc.string cimport memcpy

from slide._base.openmp cimport omp_get_thread_num
from slide._base.rows cimport InputRows, InputView
from slide._base.scratch cimport scratch_array
from slide._base.signals cimport end_watch, interrupted, start_watch, Watch
from slide._base.typedefs cimport blocks_of, float32_t, int32_t, int64_t
from slide._engine.dense cimport rows_forward
from slide._engine.forward cimport allocate_hidden, forward_layer, HiddenScratch
from slide._engine.layer cimport LayerView
from slide._engine.model cimport Model, ModelView
from slide._engine.sparse cimport pair_all, pairs_forward
from slide._prototypes.index cimport (
    allocate_cursors,
    open_postings,
    PostingsCursor,
    sum_postings,
)
from slide._simd.largest cimport offer, sort_heap

from slide._base.memory import aligned_zeros

cdef enum:
    PREDICT_ROWS = 64          # rows of X that one pass over the weights serves
    LEAST_ROWS = 16            # ... at least, unless X has fewer
    PREDICT_NEURONS = 512      # neurons whose scores are held at a time
    POSTINGS_NEURONS = 2048    # ... with prototypes, whose postings are then read in fewer pieces

# Which results are wanted and where they go. Exactly one of `hidden` and `scores` is given.
cdef struct Wanted:
    float32_t *hidden          # (n, last hidden width), or (n, n_active) of a sparse layer
    float32_t *scores          # (n, n_classes), or (n, k) for the top k
    int32_t *ids               # (n, k) for the top k, (n, n_active) for sparse `hidden`
    int64_t k                  # 0: all scores
    float32_t *apart_scores    # (n, k) for the top k without the prototypes' scores, or NULL
    int32_t *apart_ids         # (n, k) or NULL


def hidden(Model model, InputRows x, int64_t first, int64_t last, int n_threads):
    """Activations of the last hidden layer for rows first..last.

    The result is float32 (n, width), or for a sparse layer a scipy CSR array of that shape.
    """
    model.check_rows(x, first, last)
    cdef const LayerView *layer = &model.view.layers[model.view.n_layers - 2]
    cdef Wanted wanted = Wanted(NULL, NULL, NULL, 0, NULL, NULL)
    cdef int32_t[:, ::1] id_view
    n, k = last - first, layer.n_active
    out = aligned_zeros((n, k if k > 0 else layer.n_out))
    ids = np.zeros((n, k), np.int32)
    cdef float32_t[:, ::1] view = out
    if n > 0:
        wanted.hidden = &view[0, 0]
        if k > 0:
            id_view = ids
            wanted.ids = &id_view[0, 0]
        _run(model, x, first, last, n_threads, &wanted)
    if k == 0:
        return out
    starts = np.arange(n + 1, dtype=np.int64) * k
    return csr_array((out.ravel(), ids.ravel(), starts), shape=(n, layer.n_out))


def scores(Model model, InputRows x, int64_t first, int64_t last, int n_threads):
    """Pre-activations of all output neurons for rows first..last: float32 (n, n_classes)."""
    model.check_rows(x, first, last)
    out = np.empty((last - first, model.view.layers[model.view.n_layers - 1].n_out), np.float32)
    cdef float32_t[:, ::1] view = out
    cdef Wanted wanted = Wanted(NULL, NULL, NULL, 0, NULL, NULL)
    if last > first:
        wanted.scores = &view[0, 0]
        _run(model, x, first, last, n_threads, &wanted)
    return out


def topk(Model model, InputRows x, int64_t k, int n_threads, bint apart=False):
    """The k best neurons of every row, best first: int32 ids and float32 scores, both (n, k).

    Among equal scores the lower id comes first. Every neuron is scored, but there is never an array
    of n by n_classes. With `apart` both results are (2, n, k): the best without the prototypes'
    scores, then the best with them.
    """
    model.check_rows(x, 0, x.n_rows)
    if not 1 <= k <= model.view.layers[model.view.n_layers - 1].n_out:
        raise ValueError(f"k must lie between 1 and the number of classes; got {k}")
    ids = np.empty((1 + apart, x.n_rows, k), np.int32)
    best = np.empty((1 + apart, x.n_rows, k), np.float32)
    cdef int32_t[:, :, ::1] id_view = ids
    cdef float32_t[:, :, ::1] score_view = best
    cdef Wanted wanted = Wanted(NULL, NULL, NULL, k, NULL, NULL)
    if x.n_rows > 0:
        wanted.scores, wanted.ids = &score_view[apart, 0, 0], &id_view[apart, 0, 0]
        if apart:
            wanted.apart_scores, wanted.apart_ids = &score_view[0, 0, 0], &id_view[0, 0, 0]
        _run(model, x, 0, x.n_rows, n_threads, &wanted)
    return (ids, best) if apart else (ids[0], best[0])


cdef int _run(Model owner, InputRows x, int64_t first, int64_t last, int n_threads,
              const Wanted *wanted) except -1:
    """Run blocks of rows in parallel; all scratch is allocated before that.

    A block has PREDICT_ROWS rows, or down to LEAST_ROWS where some threads would have no block.
    """
    cdef int64_t n = last - first, share = max(<int64_t>LEAST_ROWS, blocks_of(n, n_threads))
    cdef int64_t n_rows = min(<int64_t>PREDICT_ROWS, share), n_blocks = blocks_of(n, n_rows), i
    cdef const ModelView *model = &owner.view
    cdef const InputView *rows = &x.view
    cdef HiddenScratch *scratches
    cdef PostingsCursor *cursors
    n_threads = max(1, min(n_threads, n_blocks))
    cdef int64_t n_output = POSTINGS_NEURONS if model.postings != NULL else PREDICT_NEURONS
    n_output = min(n_output, model.layers[model.n_layers - 1].n_out)
    cdef Watch watch
    keep_alive = []
    scratches = <HiddenScratch *>scratch_array(n_threads * sizeof(HiddenScratch), np.uint8,
                                               keep_alive)
    cursors = <PostingsCursor *>scratch_array(n_threads * sizeof(PostingsCursor), np.uint8,
                                              keep_alive)
    cdef float32_t[:, ::1] z = aligned_zeros((n_threads, PREDICT_ROWS * n_output))
    cdef float32_t[:, ::1] more = z
    if model.postings != NULL and wanted.hidden == NULL:
        allocate_cursors(cursors, n_threads, x, first, last, n_rows, keep_alive)
        more = aligned_zeros((n_threads, PREDICT_ROWS * n_output))
    for i in range(n_threads):
        allocate_hidden(&scratches[i], owner, x, PREDICT_ROWS, n_output, keep_alive)
    start_watch(&watch)
    for i in prange(n_blocks, nogil=True, num_threads=n_threads, schedule="dynamic"):
        _block(model, rows, first + i * n_rows, min(n_rows, n - i * n_rows), first,
               &scratches[omp_get_thread_num()], &cursors[omp_get_thread_num()],
               &z[omp_get_thread_num(), 0], &more[omp_get_thread_num(), 0], n_output, wanted,
               &watch)
    return end_watch(&watch)


cdef void _block(const ModelView *model, const InputView *x, int64_t first, int64_t n,
                 int64_t origin, HiddenScratch *hidden, PostingsCursor *cursors, float32_t *z,
                 float32_t *more, int64_t n_output, const Wanted *wanted,
                 Watch *watch) noexcept nogil:
    """Forward n rows from `first` on and write the wanted results.

    IN model, x; OUT the rows' own places in `wanted`. hidden, cursors, z and more, both
    (PREDICT_ROWS, n_output), belong to the thread; watch is shared. The output weights are read
    once for all n rows. Cost: n times the number of weights that are used.
    """
    cdef int64_t last = model.n_layers - 2, place = first - origin, k = wanted.k, step, u, size, i
    cdef int64_t n_out = model.layers[last + 1].n_out, ld
    if interrupted(watch):
        return
    for i in range(last + 1):
        forward_layer(model, x, i, first, n, hidden, NULL)
    if wanted.hidden != NULL:
        ld = hidden.ld[last]
        memcpy(wanted.hidden + place * ld, hidden.a[last], n * ld * sizeof(float32_t))
        if wanted.ids != NULL:
            memcpy(wanted.ids + place * ld, hidden.active[last], n * ld * sizeof(int32_t))
        return
    if model.postings != NULL:
        open_postings(model.postings, x, first, n, cursors)
    for step in range(blocks_of(n_out, n_output)):
        if interrupted(watch):
            return
        u = step * n_output
        size = min(n_output, n_out - u)
        _output(model, u, size, n, hidden, z)
        if wanted.apart_ids != NULL:
            for i in range(n):
                offer(z + i * size, NULL, u, size, wanted.apart_scores + (place + i) * k,
                      wanted.apart_ids + (place + i) * k, k)
        if model.postings != NULL:
            sum_postings(model.postings, x, first, n, u, size, cursors, more)
            for i in range(n * size):
                z[i] += more[i]
        for i in range(n):
            if k == 0:
                memcpy(wanted.scores + (place + i) * n_out + u, z + i * size,
                       size * sizeof(float32_t))
            else:
                offer(z + i * size, NULL, u, size, wanted.scores + (place + i) * k,
                      wanted.ids + (place + i) * k, k)
    if k > 0:
        for i in range(n):
            sort_heap(wanted.scores + (place + i) * k, wanted.ids + (place + i) * k, k)
            if wanted.apart_ids != NULL:
                sort_heap(wanted.apart_scores + (place + i) * k,
                          wanted.apart_ids + (place + i) * k, k)


cdef void _output(const ModelView *model, int64_t u, int64_t size, int64_t n, HiddenScratch *hidden,
                  float32_t *z) noexcept nogil:
    """Pre-activations of output neurons u..u + size for n rows; OUT z (n, size)."""
    cdef int64_t i = model.n_layers - 1, width = model.layers[i].w.width
    cdef LayerView part = model.layers[i]
    if part.w.half == NULL:
        part.w.single += u * width
    else:
        part.w.half += u * width
    part.b += u
    if hidden.x[i].dense != NULL:
        rows_forward(&part, NULL, size, hidden.x[i].dense, width, n, z, size, hidden.unpacked)
    else:
        pair_all(NULL, size, n, &hidden.pairs[i])
        pairs_forward(&part, &hidden.x[i], &hidden.pairs[i], &hidden.scratch, z)
