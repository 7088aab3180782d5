"""Ours: as a user who sets nothing but the threads gets it, or an ablation of it.

The ablation's parameters come as JSON in the environment variable SLIDE_BENCH_PARAMS.
"""

import json
import os

from _child import TOP, run

import slide
from slide import SparseMLPClassifier


def train(X, Y, threads):
    params = json.loads(os.environ.get("SLIDE_BENCH_PARAMS", "{}"))
    model = SparseMLPClassifier(n_jobs=threads, random_state=0, **params).fit(X, Y)
    fitted = ("n_iter_", "loss_", "compute_fraction_", "hash_params_")
    settings = {name: getattr(model, name, None) for name in fitted}
    return model, {**model.get_params(), **settings}


def predict(model, X, threads):
    labels, _ = model.predict_topk(X, k=TOP)
    return labels


if __name__ == "__main__":
    run(train, predict, {"slide": getattr(slide, "__version__", "unknown")})
