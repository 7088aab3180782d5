"""Exact prediction: hidden activations, all scores, and the top k, in blocks.

Every row's result depends on that row alone, whatever shares its block.
"""
import numpy as np

from cython.parallel cimport prange
from libc.string cimport memcpy

from slide._layers cimport InputView, LayerView, activate, input_forward
from slide._model cimport InputRows, Model, ModelView, forward_hidden
from slide._openmp cimport omp_get_thread_num
from slide._simd cimport chosen
from slide._typedefs cimport float32_t, int32_t, int64_t, uint64_t, blocks_of

from slide._memory import aligned_zeros

cdef enum:
    ROWS = 64                  # rows of X that one pass over the weights serves
    NEURONS = 512              # neurons whose scores are held at a time for the top k

# What is wanted and where it goes; exactly one of the first two is given.
cdef struct Wanted:
    float32_t *hidden          # (n, last hidden width)
    float32_t *scores          # (n, n_classes), or (n, k) for the top k
    int32_t *ids               # (n, k)
    int64_t k                  # 0: all scores


def hidden(Model model, InputRows x, int64_t first, int64_t last, int n_threads):
    """Activations of the last hidden layer for rows first..last: float32 (n, width)."""
    out = aligned_zeros((last - first, model.view.layers[model.view.n_layers - 1].n_in))
    cdef float32_t[:, ::1] view = out
    cdef Wanted wanted = Wanted(NULL, NULL, NULL, 0)
    if last > first:
        wanted.hidden = &view[0, 0]
        _run(model, x, first, last, n_threads, &wanted)
    return out


def scores(Model model, InputRows x, int64_t first, int64_t last, int n_threads):
    """Pre-activations of all output neurons for rows first..last: float32 (n, n_classes)."""
    out = np.empty((last - first, model.view.layers[model.view.n_layers - 1].n_out), np.float32)
    cdef float32_t[:, ::1] view = out
    cdef Wanted wanted = Wanted(NULL, NULL, NULL, 0)
    if last > first:
        wanted.scores = &view[0, 0]
        _run(model, x, first, last, n_threads, &wanted)
    return out


def topk(Model model, InputRows x, int64_t k, int n_threads):
    """The k best neurons of every row, best first: int32 ids and float32 scores, both (n, k).

    Equal scores go to the lower id. Every neuron is scored, without an n by n_classes array.
    """
    if not 1 <= k <= model.view.layers[model.view.n_layers - 1].n_out:
        raise ValueError(f"k must lie between 1 and the number of classes; got {k}")
    ids = np.empty((x.n_rows, k), np.int32)
    best = np.empty((x.n_rows, k), np.float32)
    cdef int32_t[:, ::1] id_view = ids
    cdef float32_t[:, ::1] score_view = best
    cdef Wanted wanted = Wanted(NULL, NULL, NULL, k)
    if x.n_rows > 0:
        wanted.scores = &score_view[0, 0]
        wanted.ids = &id_view[0, 0]
        _run(model, x, 0, x.n_rows, n_threads, &wanted)
    return ids, best


cdef int _run(Model owner, InputRows x, int64_t first, int64_t last, int n_threads,
              const Wanted *wanted) except -1:
    """Blocks of ROWS rows over the threads; all scratch is allocated before they start."""
    cdef int64_t n = last - first, n_blocks = blocks_of(n, ROWS), i
    cdef int64_t n_hidden = owner.view.n_layers - 1
    cdef const ModelView *model = &owner.view
    cdef const InputView *rows = &x.view
    cdef float32_t[::1] memory
    n_threads = max(1, min(n_threads, n_blocks))
    # Each thread's buffers: one for each hidden layer, dense rows of X, scores of a block.
    sizes = [ROWS * model.layers[i].n_out for i in range(n_hidden)]
    sizes += [ROWS * rows.n_features if x.is_dense else 1, ROWS * NEURONS if wanted.k else 1]
    keep_alive = []
    cdef uint64_t[:, ::1] buffers = np.zeros((n_threads, len(sizes)), np.uint64)
    for thread in range(n_threads):
        for j, size in enumerate(sizes):
            memory = aligned_zeros(size)
            keep_alive.append(memory)
            buffers[thread, j] = <uint64_t>&memory[0]
    for i in prange(n_blocks, nogil=True, num_threads=n_threads, schedule="dynamic"):
        _block(model, rows, first + i * ROWS, min(<int64_t>ROWS, n - i * ROWS), first,
               <float32_t **>&buffers[omp_get_thread_num(), 0], wanted)
    return 0


cdef void _block(const ModelView *model, const InputView *x, int64_t first, int64_t n,
                 int64_t origin, float32_t **buffers, const Wanted *wanted) noexcept nogil:
    """Forward n rows from `first` on and write what is wanted of them.

    IN model, x; OUT the rows' own places in `wanted`; `buffers` belong to the thread. The output
    weights are read once for all n rows. Cost: n times the network's weights.
    """
    cdef int64_t last = model.n_layers - 2, place = first - origin, k = wanted.k, step, u, size, i
    cdef const LayerView *output = &model.layers[last + 1]
    cdef int64_t width = output.width
    cdef float32_t *h = buffers[last]
    cdef float32_t *z = buffers[last + 2]
    input_forward(&model.layers[0], x, first, n, buffers[last + 1], buffers[0])
    activate(model.activation, buffers[0], n * model.layers[0].n_out)
    for i in range(1, last + 1):
        forward_hidden(model, i, n, buffers)
    if wanted.hidden != NULL:
        memcpy(wanted.hidden + place * width, h, n * width * sizeof(float32_t))
    elif k == 0:
        chosen().dots(output.w, width, NULL, output.b, output.n_out, h, width, n, width,
                      wanted.scores + place * output.n_out, output.n_out)
    else:
        for step in range(blocks_of(output.n_out, NEURONS)):
            u = step * NEURONS
            size = min(<int64_t>NEURONS, output.n_out - u)
            chosen().dots(output.w + u * width, width, NULL, output.b + u, size, h, width, n,
                          width, z, size)
            for i in range(n):
                _offer(z + i * size, u, size, wanted.scores + (place + i) * k,
                       wanted.ids + (place + i) * k, k)
        for i in range(n):
            _sort_heap(wanted.scores + (place + i) * k, wanted.ids + (place + i) * k, k)


# ---------------------------------------------------------------- top k --
# A heap whose root is the worst of the k best; worse = smaller score, then larger id.

cdef inline bint _worse(float32_t s0, int32_t i0, float32_t s1, int32_t i1) noexcept nogil:
    return s0 < s1 or (s0 == s1 and i0 > i1)


cdef inline void _sift_down(float32_t *s, int32_t *ids, int64_t n, int64_t i) noexcept nogil:
    """Let item i of the heap s, ids (n,), INOUT, sink to its place; O(log n)."""
    cdef int64_t child
    cdef float32_t score = s[i]
    cdef int32_t item = ids[i]
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and _worse(s[child + 1], ids[child + 1], s[child], ids[child]):
            child += 1
        if not _worse(s[child], ids[child], score, item):
            break
        s[i] = s[child]
        ids[i] = ids[child]
        i = child
    s[i] = score
    ids[i] = item


cdef void _offer(const float32_t *z, int64_t offset, int64_t n, float32_t *s, int32_t *ids,
                 int64_t k) noexcept nogil:
    """Offer z[0..n), the scores of neurons offset.., to a heap that holds min(offset, k)."""
    cdef int64_t i, j
    cdef int64_t fill = max(<int64_t>0, min(k - offset, n))
    for i in range(fill):
        s[offset + i] = z[i]
        ids[offset + i] = <int32_t>(offset + i)
    if fill > 0 and offset + fill == k:
        for j in range(k // 2, -1, -1):
            _sift_down(s, ids, k, j)
    for i in range(fill, n):
        if z[i] > s[0]:      # an equal score has a larger id and is worse
            s[0] = z[i]
            ids[0] = <int32_t>(offset + i)
            _sift_down(s, ids, k, 0)


cdef void _sort_heap(float32_t *s, int32_t *ids, int64_t k) noexcept nogil:
    """Turn the heap s, ids (k,), INOUT, into a list, best first; O(k log k)."""
    cdef int64_t end
    cdef float32_t score
    cdef int32_t item
    for end in range(k - 1, 0, -1):
        score, item = s[0], ids[0]
        s[0], ids[0] = s[end], ids[end]
        s[end], ids[end] = score, item
        _sift_down(s, ids, end, 0)
