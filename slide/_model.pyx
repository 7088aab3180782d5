"""Views of a network's arrays and of its input."""
import numpy as np

from slide._optimizer cimport LayerView, Progress
from slide._postings cimport Postings
from slide._retrieval cimport Retrieval
from slide._typedefs cimport float32_t, int32_t, int64_t, uint8_t, uint64_t
from slide._weights cimport WeightArray

# `slide._optimizer.Progress`, as NumPy knows it.
PROGRESS = np.dtype([("w_v", np.float32), ("steps", np.int32), ("b_m", np.float32),
                     ("b_v", np.float32)])
_ACTIVATIONS = {"identity": 0, "relu": 1, "tanh": 2, "logistic": 3}
_LOSSES = {"softmax": SOFTMAX, "sigmoid": SIGMOID}


cdef class InputRows:
    """Rows of X: a C-contiguous float32 array or a canonical CSR array.

    The arrays are kept alive and read only; indices that are not int32 are copied. With `order`,
    an int array, row i is that of x of the number order[i]. `indptr` is that of x.
    """

    def __init__(self, x, order=None):
        cdef const int32_t[::1] numbers
        cdef const float32_t[:, ::1] dense
        cdef const float32_t[::1] values
        cdef const int32_t[::1] indices
        cdef const int64_t[::1] indptr
        self.n_rows = x.shape[0]
        self.view.n_features = x.shape[1]
        self.view.order = NULL
        if order is not None:
            self.n_rows = len(order)
            self._order = np.ascontiguousarray(order, np.int32)
            numbers = self._order
            self.view.order = &numbers[0] if self.n_rows else NULL
        self.is_dense = isinstance(x, np.ndarray)
        if self.is_dense:
            dense = x
            self.view.values = &dense[0, 0] if x.size else NULL
            self._keep_alive = x
        else:
            self.indptr = np.ascontiguousarray(x.indptr, dtype=np.int64)
            # One element at least: a vector whose ids are NULL is a dense one.
            indices_array = np.ascontiguousarray(x.indices if x.nnz else [0], dtype=np.int32)
            values_array = np.ascontiguousarray(x.data if x.nnz else np.zeros(1, np.float32))
            indptr, indices, values = self.indptr, indices_array, values_array
            self.view.indptr, self.view.indices = &indptr[0], &indices[0]
            self.view.values = &values[0]
            self._keep_alive = (indices_array, values_array)


cdef class Model:
    """Pointers into the arrays of a list of `slide._network.Layer`, which must stay in place.

    With `prototypes`, a `slide._prototypes.Prototypes`, prediction adds their scores.
    """

    def __init__(self, list layers, str activation, str loss, prototypes=None):
        cdef Postings postings
        self._layer_memory = np.zeros(len(layers) * sizeof(LayerView), np.uint8)
        cdef uint8_t[::1] memory = self._layer_memory
        cdef LayerView *views = <LayerView *>&memory[0]
        cdef WeightArray w, w_m
        cdef float32_t[::1] b
        cdef Retrieval retrieval
        self.retrievals = [layer.retrieval for layer in layers]
        for i, layer in enumerate(layers):
            w, w_m, b = WeightArray(layer.w), WeightArray(layer.w_m), layer.b
            views[i].n_in = layer.n_in
            views[i].n_out = layer.n_out
            views[i].width = w.view.width
            views[i].w, views[i].w_m = w.view, w_m.view
            views[i].b = &b[0]
            views[i].rows = <Progress *><uint64_t>_start_of(layer.w_v, layer.steps)
            views[i].biases = <Progress *><uint64_t>(
                _start_of(layer.b_m, layer.b_v) - PROGRESS.fields["b_m"][1])
            views[i].rate = layer.rate
            views[i].bias_rate = layer.bias_rate
            views[i].n_active = layer.n_active
            if layer.retrieval is not None:
                retrieval = layer.retrieval
                views[i].search = &retrieval.view
        self._keep_alive = [layers]
        self.view.n_layers = len(layers)
        self.view.layers = views
        self.view.activation = _ACTIVATIONS[activation]
        self.view.loss = _LOSSES[loss]
        self.view.postings = NULL
        if prototypes is not None:
            postings = Postings(prototypes)
            self.view.postings = &postings.view
            self._keep_alive.append(postings)


def _start_of(field, following):
    """Address of the first element of a field of PROGRESS, beside which the other one lies."""
    start, beside = field.ctypes.data, following.ctypes.data
    if field.strides != following.strides or field.strides != (PROGRESS.itemsize,) or (
            beside != start + 4):
        raise ValueError("w_v, steps, b_m and b_v of a layer must be fields of arrays of PROGRESS")
    return start
