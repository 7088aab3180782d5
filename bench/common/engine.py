"""All that the benchmarks take from slide's private modules.

When code moves inside `slide/`, only two files of `bench/` may break: this one, and
`child_compare.py`, whose workloads older revisions run too.
"""

import dataclasses
import functools
from time import perf_counter

from slide._base.rows import InputRows
from slide._engine import predict
from slide._engine.entry_points import OutputRows
from slide._engine.model import Model
from slide._hashing.tables import HashTables
from slide._network import passes
from slide._network.layer import Layer
from slide._prediction import lookup
from slide._settings import auto
from slide._settings.settings import RetrievalSettings
from slide._simd import dispatch

__all__ = [
    "HashTables",
    "InputRows",
    "Layer",
    "Model",
    "OutputRows",
    "default_candidates",
    "dispatch",
    "hidden_activations",
    "make_shortlist",
    "model_bytes",
    "replace_settings",
    "tally",
    "time_passes",
    "uses_shortlist",
]


# ------------------------------------------------------------- estimators --


def tally(model):
    """The counts of the engine in all trainings of a fitted estimator, as a dict."""
    return vars(model._fitted.network.tally)


def model_bytes(model):
    """Bytes of what prediction needs: weights, biases and prototypes."""
    arrays = [array for layer in model._fitted.network.layers for array in (layer.w, layer.b)]
    if model.prototypes_ is not None:
        arrays += [model.prototypes_.data, model.prototypes_.indices, model.prototypes_.indptr]
    return sum(array.nbytes for array in arrays)


def hidden_activations(model, X):
    """Activations of every hidden layer of a fitted estimator for rows X, dense or CSR."""
    network = model._fitted.network
    rows = InputRows(network.inputs(X))
    depths = range(1, len(network.layers))
    return [predict.hidden(network.model(i + 1), rows, 0, rows.n_rows, 1) for i in depths]


def default_candidates(k):
    """The number of candidates that n_candidates="auto" means for the best k."""
    return lookup.candidates_for(k)


def uses_shortlist(model, n_candidates):
    """Whether prediction with `n_candidates` and predict_mode="lsh" uses a short list."""
    return lookup.pays(model._fitted.network, n_candidates)


def make_shortlist(model, n_threads):
    """Make the short list of a fitted estimator once more; returns its bytes."""
    model._fitted.network.changed()
    return lookup.shortlist(model._fitted.network, n_threads).nbytes


# ---------------------------------------------------------------- trainings --


def replace_settings(changes):
    """Replace some of the settings that "auto" is resolved to, in every `fit` of this process.

    `changes` are settings of the network, or of how the neurons of its layers are found. With an
    unknown name `fit` raises a TypeError.
    """
    resolve = auto.resolve
    names = {field.name for field in dataclasses.fields(RetrievalSettings)}
    of_retrieval = {name: value for name, value in changes.items() if name in names}
    of_network = {name: value for name, value in changes.items() if name not in names}

    def changed(layer):
        if layer.retrieval is None:
            return layer
        retrieval = dataclasses.replace(layer.retrieval, **of_retrieval)
        return dataclasses.replace(layer, retrieval=retrieval)

    def replaced(*args, **kwargs):
        settings = dataclasses.replace(resolve(*args, **kwargs), **of_network)
        return dataclasses.replace(settings, layers=tuple(map(changed, settings.layers)))

    if changes:
        auto.resolve = replaced


def time_passes():
    """Return a list to which every later pass over the rows adds its seconds.

    Together the passes are all of `fit` except its start.
    """
    train, seconds = passes.train, []

    @functools.wraps(train)
    def timed(*args, **kwargs):
        start = perf_counter()
        try:
            return train(*args, **kwargs)
        finally:
            seconds.append(perf_counter() - start)

    passes.train = timed
    return seconds
