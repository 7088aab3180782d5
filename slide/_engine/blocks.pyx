"""Blocks of hidden neurons that a micro-batch leaves out: dropout that saves the computation.

All rows of a micro-batch drop the same neurons of a dense hidden layer, in blocks of SLIDE_BLOCK
neurons, whose weights fill whole cache lines. The weights into and out of dropped neurons are
neither read, multiplied nor changed, in the forward pass, the backward pass and the update. So a
layer of 1,024 neurons that drops three quarters of them costs little more than a layer of 256.

Source: Graham, Reizenstein & Robinson 2015, Efficient batchwise dropout training using submatrices
(arXiv 1502.02478).
"""
from slide._base.random cimport next_below
from slide._base.typedefs cimport blocks_of, uint32_t
from slide._engine.layer cimport LayerView
from slide._simd.dispatch cimport SLIDE_BLOCK

cdef enum:
    FEWEST = 8                 # blocks of a layer that drops in blocks


cdef int64_t n_blocks_kept(const ModelView *model, int64_t i, float32_t rate) noexcept nogil:
    """Number of blocks of hidden layer i that a micro-batch keeps at a dropout rate.

    0 where every row draws its own neurons: in narrow layers, and next to sparse or hashed layers,
    which need all inputs. There nothing would be saved.
    """
    cdef const LayerView *layer = &model.layers[i]
    cdef int64_t n_blocks = blocks_of(layer.n_out, SLIDE_BLOCK), n_kept
    if n_blocks < FEWEST or layer.n_active > 0 or (i > 0 and model.layers[i - 1].n_active > 0):
        return 0
    if model.layers[i + 1].n_active > 0 or model.retrievals[i + 1] != NULL:
        return 0
    n_kept = max(<int64_t>1, <int64_t>((1 - rate) * n_blocks + 0.5))
    return n_kept if n_kept < n_blocks else 0


cdef void keep_blocks(ModelView *model, const int64_t *n_kept, int32_t **starts, int32_t **kept,
                      uint64_t *rng) noexcept nogil:
    """Draw the blocks that a micro-batch keeps, uniformly, and set the views of its layers.

    INOUT model, of one thread; IN n_kept (n_hidden,), blocks to keep, or 0; OUT starts[i]
    (n_kept[i],), kept[i] (n_kept[i] * SLIDE_BLOCK,), both rising. Source: Knuth, The Art of
    Computer Programming, vol. 2, 3.4.2, algorithm S.
    """
    cdef int64_t i, b, n_blocks, n_drawn, n, j
    cdef LayerView *layer
    for i in range(model.n_layers - 1):
        if n_kept[i] == 0:
            continue
        layer = &model.layers[i]
        n_blocks = blocks_of(layer.n_out, SLIDE_BLOCK)
        n_drawn = n = 0
        for b in range(n_blocks):
            if <int64_t>next_below(rng, <uint32_t>(n_blocks - b)) >= n_kept[i] - n_drawn:
                continue
            starts[i][n_drawn] = <int32_t>(b * SLIDE_BLOCK)
            n_drawn += 1
            for j in range(b * SLIDE_BLOCK, min((b + 1) * SLIDE_BLOCK, layer.n_out)):
                kept[i][n] = <int32_t>j
                n += 1
        layer.kept = kept[i]
        layer.n_kept = n
        if i == 0:
            _use(layer, starts[0], n)
        _use(&model.layers[i + 1], starts[i], n)


cdef inline void _use(LayerView *layer, const int32_t *starts, int64_t width) noexcept nogil:
    # Use some columns of the layer's rows.
    layer.w.starts = layer.w_m.starts = starts
    layer.w.width = layer.w_m.width = width
