from slide._layers cimport InputView, LayerView
from slide._typedefs cimport float32_t, int64_t

cdef enum Loss:
    SOFTMAX = 0
    SIGMOID = 1

# What all threads share. Weights and moments are raced on purpose (HOGWILD).
cdef struct ModelView:
    int64_t n_layers
    LayerView *layers          # the last one is the output layer
    int activation
    int loss

cdef int64_t forward_hidden(const ModelView *model, int64_t i, int64_t n,
                            float32_t **a) noexcept nogil

cdef class InputRows:
    cdef InputView view
    cdef readonly bint is_dense
    cdef readonly int64_t n_rows
    cdef readonly object indptr
    cdef object _keep_alive

cdef class Model:
    cdef ModelView view
    cdef object _keep_alive
    cdef object _layer_memory
