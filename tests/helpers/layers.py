"""Copies of layers for tests of the engine."""

from slide._network.layer import Layer

ARRAYS = ("w", "b", "w_m", "w_v", "b_m", "b_v", "steps")


def copied(layers):
    """Copies of layers that can be trained independently; retrievals are shared."""
    copies = []
    for layer in layers:
        form = layer.n_in, layer.n_out, layer.by_feature, layer.n_active, layer.w.dtype
        copy = Layer.zeros(*form)
        for name in ARRAYS:
            getattr(copy, name)[...] = getattr(layer, name)
        copy.rate, copy.bias_rate, copy.retrieval = layer.rate, layer.bias_rate, layer.retrieval
        copies.append(copy)
    return copies
