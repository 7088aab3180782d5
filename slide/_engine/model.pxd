from slide._base.rows cimport InputRows
from slide._base.typedefs cimport int64_t
from slide._engine.layer cimport LayerView
from slide._hashing.finder cimport RetrievalView
from slide._prototypes.index cimport PostingsView

# A network, shared by all threads. Weights and moments are raced on purpose (HOGWILD).
cdef struct ModelView:
    int64_t n_layers
    LayerView *layers          # the last one is the output layer
    const RetrievalView **retrievals   # (n_layers,) each finds a layer's neurons, or is NULL
    int activation
    int loss
    const PostingsView *postings    # of the prototypes, or NULL; only prediction reads them

cdef class Model:
    cdef ModelView view
    cdef readonly list retrievals   # for every layer a Retrieval or None
    cdef object _keep_alive
    cdef object _layer_memory, _retrieval_memory

    cdef int check_rows(self, InputRows x, int64_t first, int64_t last) except -1
