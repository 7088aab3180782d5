from slide._input cimport InputView
from slide._optimizer cimport LayerView
from slide._postings cimport PostingsView
from slide._typedefs cimport int64_t

cdef enum Loss:
    SOFTMAX = 0
    SIGMOID = 1

# What all threads share. Weights and moments are raced on purpose (HOGWILD).
cdef struct ModelView:
    int64_t n_layers
    LayerView *layers          # the last one is the output layer
    int activation
    int loss
    const PostingsView *postings    # of the prototypes, or NULL; only prediction adds them

cdef class InputRows:
    cdef InputView view
    cdef readonly bint is_dense
    cdef readonly int64_t n_rows
    cdef readonly object indptr
    cdef object _order
    cdef object _keep_alive

cdef class Model:
    cdef ModelView view
    cdef readonly list retrievals   # one a layer: Retrieval or None
    cdef object _keep_alive
    cdef object _layer_memory
