"""Small files of every kind of model and of checkpoint."""

from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from helpers.hostile_arrays import matrix
from helpers.mortal import Killed, make_mortal
from scipy.sparse import csr_array, csr_matrix

from slide import SparseMLPClassifier
from slide._data.target import read_target
from slide._hashing.retrieval import Retrieval
from slide._network import passes
from slide._network.rehash import rebuild_layer
from slide._prototypes.prototypes import make_prototypes
from slide.callback import Checkpoint

X = matrix(0, 40, 6, density=0.2).astype(np.float32)
Y = np.arange(40) % 5
SEVERAL = np.eye(5, dtype=np.int8)[Y] | np.eye(5, dtype=np.int8)[(Y * 3) % 5]
TABLES = {"active_fraction": (0.5, 0.5), "n_tables": 3, "n_hash_bits": 3}
MODELS = {
    "dense": {},
    "estimate": {"hidden_layer_sizes": (8, 5), "active_fraction": (0.5, 0.5, 0.5)},
    "scan": {"active_fraction": (0.5, 1.0), "retrieval": "scan"},
    "exact": {"active_fraction": (0.5, 0.5), "retrieval": "exact"},
    "random": {"active_fraction": (0.5, 0.5), "retrieval": "none"},
    "lists": {"active_fraction": (1.0, 0.5), "retrieval": "lists"},
    "simhash": {**TABLES, "retrieval": "rerank", "hash_family": "simhash"},
    "wta": {**TABLES, "retrieval": "vanilla", "hash_family": "wta"},
    "dwta": {**TABLES, "retrieval": "topk", "hash_family": "dwta"},
    "minhash": {**TABLES, "retrieval": "threshold", "hash_family": "minhash"},
    "coarse": {"active_fraction": (0.5, 1.0), "retrieval": "estimate"},
    "half": {"weight_dtype": "bfloat16", "solver": "sgd"},
    "half tables": {**TABLES, "weight_dtype": "bfloat16", "retrieval": "rerank"},
    "judged": {"early_stopping": True, "solver": "adagrad"},
    "softmax": {"loss": "softmax", "dropout": 0.2},
    "prototypes": {"loss": "sigmoid"},
    "texts": {},
    "names": {},
    "dates": {},
    "several": {"loss": "sigmoid"},
    "several sparse": {},
    "batches": {"random_state": np.random.RandomState(0)},
}
CHECKPOINTS = {
    "in an epoch": ({}, 3),
    "in an epoch, estimates": ({"active_fraction": (0.5, 0.5)}, 5),
    "in an epoch, tables": ({**TABLES, "retrieval": "rerank"}, 5),
    "between epochs": ({"early_stopping": True}, None),
    "with prototypes": ({"prototypes": True}, None),
    "with lists": ({"retrieval": "lists", "active_fraction": (1.0, 0.5)}, None),
    "over": ({"weight_dtype": "bfloat16"}, 0),
}


def rows_of(kind):
    """X and y of a kind of model or checkpoint."""
    y = {
        "texts": np.array([f"label {i}" for i in range(5)])[Y],
        "dates": Y.astype("M8[D]"),
        "several": SEVERAL,
        "several sparse": csr_matrix(SEVERAL),
    }.get(kind, Y)
    if kind == "names":
        return pd.DataFrame(X, columns=list("abcdef")), y
    return (X + 1 if kind in ("dense", "half", "coarse", "scan") else csr_array(X)), y


def make(params):
    return SparseMLPClassifier(
        **{"hidden_layer_sizes": (4,), "max_iter": 3, "batch_size": 8, "random_state": 0, **params}
    )


@cache
def model_file(kind):
    """The bytes of a small model."""
    x, y = rows_of(kind)
    clf = make(MODELS[kind])
    if kind == "batches":
        clf.partial_fit(x, y, classes=range(5)).partial_fit(x, y)
    else:
        clf.fit(x, y)
    network = clf._fitted.network
    if kind == "prototypes":
        labels = clf._fitted.coder.encode(read_target(Y))
        network.set_prototypes(make_prototypes(x, labels, None, 1).of_weight(0.5))
    if kind == "coarse":
        _rank_twice(network)
    with TemporaryDirectory() as folder:
        path = Path(folder, "model")
        clf.save(path)
        return path.read_bytes()


def _rank_twice(network):
    """Give the first layer a first ranking and directions, which only wide layers get."""
    first, output = network.settings.layers
    search = replace(first.retrieval, n_tables=20, n_hash_bits=5, n_directions=2, n_coarse=3)
    layers = (replace(first, retrieval=search), output)
    network.settings = replace(network.settings, layers=layers)
    directions, layer = np.eye(2, 6, dtype=np.float32), network.layers[0]
    rng = np.random.RandomState(0)
    layer.retrieval = Retrieval(layer.n_out, layer.n_in, asdict(search), rng, directions)
    rebuild_layer(network, 0, 1)


@cache
def checkpoint_file(kind):
    """The bytes of the file of a training that was killed, or is over."""
    params, n_chunks = CHECKPOINTS[kind]
    x, y = rows_of(kind)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder, "training")
        life = make_mortal(patch)
        patch.setattr(passes, "_CHUNK", 16)
        if n_chunks is None:
            life.left = 7
            clf = make(params).set_callbacks(Checkpoint(path, every_n_epochs=1))
        else:
            life.left = n_chunks or None
            clf = make(params).set_callbacks(Checkpoint(path, every_n_seconds=1e-9))
        try:
            clf.fit(x, y)
        except Killed:
            pass
        return path.read_bytes()
