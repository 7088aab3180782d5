"""Ours: as a user who sets nothing but the threads gets it, or an ablation of it.

The environment variable SLIDE_BENCH_SETTINGS may hold JSON of internal settings to replace, those
that are no parameters, after "auto" was resolved.
"""

import dataclasses
import functools
import json
import os
from time import perf_counter

from _child import TOP, params, run

import slide
from slide import SparseMLPClassifier
from slide._network import passes as _passes
from slide._settings import auto as _auto
from slide._settings.settings import RetrievalSettings


def train(X, Y, threads):
    replace_settings(json.loads(os.environ.get("SLIDE_BENCH_SETTINGS", "{}")))
    passes = time_passes()
    model = SparseMLPClassifier(**{"n_jobs": threads, "random_state": 0, **params()}).fit(X, Y)
    fitted = ("n_iter_", "loss_", "compute_fraction_", "hash_params_")
    settings = {name: getattr(model, name, None) for name in fitted}
    counted = {"tally": vars(model._fitted.network.tally), "epochs_s": sum(passes)}
    return model, {**model.get_params(), **settings, **counted}


def predict(model, X, threads):
    labels, _ = model.predict_topk(X, k=min(TOP, model.n_outputs_))
    return labels


def size(model):
    arrays = [array for layer in model._fitted.network.layers for array in (layer.w, layer.b)]
    if model.prototypes_ is not None:
        arrays += [model.prototypes_.data, model.prototypes_.indices, model.prototypes_.indptr]
    return sum(array.nbytes for array in arrays)


def replace_settings(changes):
    """Have `_auto.resolve` end with `changes`, of the network's settings or of how the neurons of
    its layers are found; an unknown name is a TypeError."""
    resolve = _auto.resolve
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
        _auto.resolve = replaced


def time_passes():
    """A list that will hold the seconds of every pass over the rows, all of `fit` but its start."""
    train, passes = _passes.train, []

    @functools.wraps(train)
    def timed(*args, **kwargs):
        start = perf_counter()
        try:
            return train(*args, **kwargs)
        finally:
            passes.append(perf_counter() - start)

    _passes.train = timed
    return passes


if __name__ == "__main__":
    run(
        train,
        predict,
        {"slide": getattr(slide, "__version__", "unknown")},
        size=size,
        log_shares=SparseMLPClassifier.predict_log_proba,
    )
