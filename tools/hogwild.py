"""HOGWILD fits under ThreadSanitizer, which may see races on the weights and on nothing else.

    tools/hogwild.py           fits, rebuilds and predicts with every kind of network
    tools/hogwild.py NAME      the same, but races on NAME, a key of RACED, are reported too

tools/sanitize.sh starts both under ThreadSanitizer, whose exit status tells what it saw. RACED
lists all intended races: ThreadSanitizer gets the address and the size of each of these arrays, and
reports every race elsewhere. So it sees a race of the same functions on another array. With NAME it
must find races: if it did not, the run without NAME would prove nothing, or RACED would be longer
than necessary.
"""

import ctypes
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from slide import SparseMLPClassifier
from slide._network.layer import Layer
from slide.datasets import make_extreme_classification

# Arrays of a layer that threads write and read without locks (Niu et al., NIPS 2011): weights,
# their first moments, biases, and records of second moments, counts of updates and moments of
# biases, whose fields lie side by side (`slide._engine.model.PROGRESS`).
RACED = {"w": ["w"], "w_m": ["w_m"], "b": ["b"], "progress": ["w_v", "steps", "b_m", "b_v"]}
THREADS = 4
HASHED = {"active_fraction": (1.0, 0.2), "n_tables": 8, "n_hash_bits": 4, "rehash_every": 200}
SPARSE = {"hidden_layer_sizes": (64, 32), "active_fraction": (0.25, 0.5, 0.9), "rehash_every": 200}
NETWORKS = {
    "dense": {"batch_size": 64},
    "dense, softmax": {"loss": "softmax", "activation": "tanh"},
    "dense, sgd": {"solver": "sgd", "learning_rate_init": 0.01, "alpha": 1e-4},
    "dense, adagrad": {"solver": "adagrad", "learning_rate_init": 0.01, "activation": "logistic"},
    "dense, bfloat16": {"weight_dtype": "bfloat16", "dropout": 0.3},
    "prototypes": {"prototypes": True},
    "tail": {**HASHED, "retrieval": "none"},
    "tail, softmax": {**HASHED, "retrieval": "none", "loss": "softmax", "solver": "sgd"},
    "vanilla": {**HASHED, "retrieval": "vanilla"},
    "topk": {**HASHED, "retrieval": "topk", "hash_family": "dwta"},
    "threshold": {**HASHED, "retrieval": "threshold", "hash_family": "minhash"},
    "rerank": {**HASHED, "retrieval": "rerank", "solver": "adagrad"},
    "rerank, bfloat16": {**HASHED, "retrieval": "rerank", "weight_dtype": "bfloat16"},
    "estimate": {**SPARSE, "retrieval": "estimate"},
    "estimate, bfloat16": {**SPARSE, "retrieval": "estimate", "weight_dtype": "bfloat16"},
    "exact": {**SPARSE, "retrieval": "exact", "solver": "adagrad"},
    "scan": {**SPARSE, "retrieval": "scan", "solver": "sgd"},
    "hashed": {**SPARSE, "retrieval": "rerank", "hash_family": "wta", "n_tables": 16},
}
_ignore = ctypes.CDLL(None).AnnotateBenignRaceSized
_ignore.argtypes = ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
_kept = []  # keeps all raced arrays alive, so that no other memory gets their addresses


def main(strict=None):
    zeros = Layer.zeros

    def raced_zeros(*args, **kwargs):
        layer = zeros(*args, **kwargs)
        for name in RACED:
            if name != strict:
                declare_raced(layer, name)
        _kept.append(vars(layer).copy())
        return layer

    Layer.zeros = raced_zeros
    rows = make_extreme_classification(600, 300, 40, n_nonzero=20, random_state=0)
    multilabel = make_extreme_classification(600, 300, 40, n_nonzero=20, n_labels=3, random_state=0)
    for i, (name, params) in enumerate(NETWORKS.items()):
        print(name, flush=True)
        X, y = multilabel if i % 2 else rows
        run({**params}, X.toarray() if i % 3 == 1 and "prototypes" not in params else X, y)
    # "lists" and "lsh" make codes only where there are this many classes.
    print("lists", flush=True)
    X, y = make_extreme_classification(500, 300, 20_000, n_nonzero=20, random_state=0)
    run({"hidden_layer_sizes": (64,), "retrieval": "lists", "predict_mode": "lsh"}, X, y)


def declare_raced(layer, name):
    """Tell ThreadSanitizer that races on these arrays of the layer are intended."""
    for field in RACED[name]:
        start, end = np.lib.array_utils.byte_bounds(getattr(layer, field))
        _ignore(__file__.encode(), 0, start, end - start, field.encode())


def run(params, X, y):
    """Fit, go on with smaller steps, and predict, in parallel and from parallel threads."""
    params = {"hidden_layer_sizes": (32,), "batch_size": 8, "prototypes": False, **params}
    clf = SparseMLPClassifier(max_iter=2, random_state=0, n_jobs=THREADS, **params).fit(X, y)
    clf.partial_fit(X, y)
    clf.set_params(n_jobs=2)
    with ThreadPoolExecutor(THREADS) as pool:
        parts = list(pool.map(lambda _: clf.predict_topk(X, k=3), range(THREADS)))
        scores = list(pool.map(lambda _: clf.decision_function(X[:100]), range(THREADS)))
    for ids, values in parts:
        np.testing.assert_array_equal(ids, parts[0][0])
        np.testing.assert_array_equal(values, parts[0][1])
    for table in scores:
        np.testing.assert_array_equal(table, scores[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
