"""A network's arrays as the kernels see them."""
import numpy as np

from slide._base.typedefs cimport float32_t, int32_t, uint64_t, uint8_t
from slide._engine.layer cimport LayerView, Progress
from slide._hashing.finder cimport RetrievalView
from slide._hashing.retrieval cimport Retrieval
from slide._prototypes.index cimport Postings
from slide._simd.weights cimport WeightArray

from slide._engine import activations, losses

# `slide._engine.layer.Progress` as a NumPy dtype.
PROGRESS = np.dtype([("w_v", np.float32), ("steps", np.int32), ("b_m", np.float32),
                     ("b_v", np.float32)])


cdef class Model:
    """Pointers into the arrays of a network's layers, which must stay in place.

    Parameters
    ----------
    layers : list of slide._network.layer.Layer
        The last one is the output layer.
    activation, loss : str
        Names in `slide._engine.activations.ACTIVATIONS` and `slide._engine.losses.LOSSES`.
    prototypes : slide._prototypes.prototypes.Prototypes or None
        Prediction adds their scores to those of the output layer.
    """

    def __init__(self, list layers, str activation, str loss, prototypes=None):
        cdef Postings postings
        self._layer_memory = np.zeros(len(layers) * sizeof(LayerView), np.uint8)
        cdef uint8_t[::1] memory = self._layer_memory
        cdef LayerView *views = <LayerView *>&memory[0]
        self._retrieval_memory = np.zeros(len(layers), np.uint64)
        cdef uint64_t[::1] retrievals = self._retrieval_memory
        cdef WeightArray w, w_m
        cdef float32_t[::1] b
        cdef const int32_t[::1] ids
        cdef Retrieval retrieval
        _check_shapes(layers, prototypes)
        self.retrievals = [layer.retrieval for layer in layers]
        for i, layer in enumerate(layers):
            w, w_m, b = WeightArray(layer.w), WeightArray(layer.w_m), layer.b
            views[i].n_in = layer.n_in
            views[i].n_out = views[i].n_kept = layer.n_out
            views[i].w, views[i].w_m = w.view, w_m.view
            views[i].b = &b[0]
            if layer.ids is not None:
                ids = layer.ids
                views[i].ids = &ids[0]
            views[i].progress = <Progress *><uint64_t>_start_of(layer.w_v, layer.steps)
            views[i].bias_progress = <Progress *><uint64_t>(
                _start_of(layer.b_m, layer.b_v) - PROGRESS.fields["b_m"][1])
            views[i].rate = layer.rate
            views[i].bias_rate = layer.bias_rate
            views[i].n_active = layer.n_active
            if layer.retrieval is not None:
                retrieval = layer.retrieval
                retrievals[i] = <uint64_t>&retrieval.finder.view
        self._keep_alive = [layers]
        self.view.n_layers = len(layers)
        self.view.layers = views
        self.view.retrievals = <const RetrievalView **>&retrievals[0]
        self.view.activation = activations.ACTIVATIONS[activation]
        self.view.loss = losses.LOSSES[loss]
        self.view.postings = NULL
        if prototypes is not None:
            postings = Postings(prototypes)
            self.view.postings = &postings.view
            self._keep_alive.append(postings)

    cdef int check_rows(self, InputRows x, int64_t first, int64_t last) except -1:
        """Refuse rows that the model cannot read: another width, or no rows first..last of x."""
        cdef int64_t width = self.view.layers[0].n_in
        if x.view.n_features != width:
            raise ValueError(
                f"X has {x.view.n_features} features, but the network takes {width} features"
            )
        if not 0 <= first <= last <= x.n_rows:
            raise ValueError(f"rows {first} to {last} do not lie within the {x.n_rows} rows of X")
        return 0


def _check_shapes(list layers, prototypes):
    """Raise ValueError if arrays do not have the shapes that kernels rely on."""
    n_in = layers[0].n_in
    for i, layer in enumerate(layers):
        n_rows, width = (n_in, layer.n_out) if layer.by_feature else (layer.n_out, n_in)
        wanted = {"w": (n_rows, width), "w_m": (n_rows, width), "b": (layer.n_out,),
                  "w_v": (n_rows,), "steps": (n_rows + 1,), "b_m": (layer.n_out,),
                  "b_v": (layer.n_out,)}
        for name, shape in wanted.items():
            found = getattr(layer, name).shape
            if found != shape:
                raise ValueError(f"{name} of layer {i} must have shape {shape}; got {found}")
        if layer.n_in != n_in or layer.n_active > layer.n_out or (layer.by_feature and i > 0):
            raise ValueError(f"layer {i} must take the {n_in} outputs of the layer below")
        if layer.retrieval is not None and layer.retrieval.shape != (layer.n_out, n_in):
            raise ValueError(
                f"the retrieval of layer {i} must be of shape {(layer.n_out, n_in)}; got "
                f"{layer.retrieval.shape}"
            )
        n_in = layer.n_out
    shape = (n_in, layers[0].n_in)
    if prototypes is not None and prototypes.by_feature.shape != shape:
        raise ValueError(
            f"prototypes must have shape {shape}; got {prototypes.by_feature.shape}"
        )


def _start_of(field, following):
    """Address of the first element of a field of PROGRESS; `following` must be the next field."""
    start, next_start = field.ctypes.data, following.ctypes.data
    if field.strides != following.strides or field.strides != (PROGRESS.itemsize,) or (
            next_start != start + 4):
        raise ValueError("w_v, steps, b_m and b_v of a layer must be fields of arrays of PROGRESS")
    return start
