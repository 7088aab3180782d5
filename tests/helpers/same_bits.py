"""Fits of many kinds, and a digest of everything that each of them leaves in its model file."""

import hashlib
import json
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from helpers.kinds import KINDS

from slide import SparseMLPClassifier
from slide.datasets import make_extreme_classification

# Arrays are so large that BLAS would split its sums among threads.
WIDE = {"hidden_layer_sizes": (600, 400), "active_fraction": (0.1, 0.1, 0.5), "rehash_every": 200}
DENSE_KINDS = {
    **KINDS,
    "estimates with directions": {**WIDE, "retrieval": "estimate"},
    "buckets": {**WIDE, "retrieval": "rerank"},
    "automatic wide layer": {"hidden_layer_sizes": (8500,)},
    "bfloat16": {"weight_dtype": "bfloat16"},
    "early stopping": {"early_stopping": True},
    "softmax over a sample": {"loss": "softmax", "tail_size": 30},
    "lists": {"retrieval": "lists", "tail_size": 10, "max_iter": 4},
}
SPARSE_KINDS = {
    "prototypes": {"prototypes": True, "loss": "softmax", "max_iter": 4},
    "prototypes and early stopping": {"prototypes": True, "early_stopping": True},
    "scan": {"hidden_layer_sizes": (600,), "active_fraction": (0.1, 1.0)},
}


@cache
def dense_problem():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 400)) + 0.5 * rng.standard_normal((200, 1))
    return x.astype(np.float32), np.arange(200) % 50


@cache
def sparse_problem(n_labels=1):
    return make_extreme_classification(300, 2000, 60, n_labels=n_labels, random_state=0)


def digest(model):
    """A digest of the model file and of attributes that are computed when they are read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        model.save(path)
        found = hashlib.sha256(path.read_bytes())
    for bias in model.intercepts_:
        found.update(bias.tobytes())
    return found.hexdigest()


def fit(x, y, **params):
    return SparseMLPClassifier(**{"max_iter": 1, "random_state": 0, **params}).fit(x, y)


def digests():
    """The digest of every kind of fit, by name."""
    models = {name: fit(*dense_problem(), **params) for name, params in DENSE_KINDS.items()}
    for name, params in SPARSE_KINDS.items():
        for n_labels in (1, 3):
            models[f"{name}, {n_labels}"] = fit(*sparse_problem(n_labels), **params)
    x, y = dense_problem()
    for name in ("dense", "estimates with directions"):
        clf = SparseMLPClassifier(random_state=0, **DENSE_KINDS[name])
        for start in (0, 100):
            clf.partial_fit(x[start : start + 100], y[start : start + 100], classes=range(50))
        models[f"{name}, in batches"] = clf
    return {name: digest(model) for name, model in models.items()}


if __name__ == "__main__":
    json.dump(digests(), sys.stdout)
