from slide._base.typedefs cimport int64_t
from slide._engine.layer cimport LayerView
from slide._hashing.finder cimport RetrievalView
from slide._prototypes.index cimport PostingsView

cdef enum Loss:
    SOFTMAX = 0
    SIGMOID = 1

# What all threads share. Weights and moments are raced on purpose (HOGWILD).
cdef struct ModelView:
    int64_t n_layers
    LayerView *layers          # the last one is the output layer
    const RetrievalView **retrievals   # what finds each layer's neurons, or NULL
    int activation
    int loss
    const PostingsView *postings    # of the prototypes, or NULL; only prediction adds them

cdef class Model:
    cdef ModelView view
    cdef readonly list retrievals   # one a layer: Retrieval or None
    cdef object _keep_alive
    cdef object _layer_memory, _retrieval_memory
