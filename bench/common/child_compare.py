"""The workloads of `compare.py`, a few seconds each. A workload is run as

    python child_compare.py WORKLOAD DATA_DIR THREADS

and prints JSON: the seconds that it took, and the package that it ran. It may only call what older
revisions also have. `compare.py` fills DATA_DIR by `write_data`.
"""

import json
import statistics
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy import sparse

import slide
from common.child import load
from slide import SparseMLPClassifier
from slide.datasets import make_extreme_classification

try:
    from slide._network.rehash import refresh
except ImportError:  # an older revision

    def refresh(network, threads):
        return network.refresh(threads)


def write_data(save):
    """Hand every problem to `save(name=matrix)`."""
    X, y = make_extreme_classification(
        60_000, 50_000, 100_000, n_siblings=10, zipf_exponent=0.5, random_state=0
    )
    # The indicator also has the classes that no row has.
    ones, places = np.ones(len(y), np.float32), np.arange(len(y) + 1)
    save(classes_X=X, classes_y=sparse.csr_array((ones, y, places), shape=(len(y), 100_000)))
    X, Y = make_extreme_classification(
        40_000, 50_000, 10_000, n_nonzero=100, n_informative=40, n_labels=6, random_state=0
    )
    save(tags_X=X, tags_y=Y)
    rng = np.random.default_rng(0)
    y = rng.integers(10, size=20_000)
    X = rng.standard_normal((20_000, 200)) + 0.5 * rng.standard_normal((10, 200))[y]
    save(layers_X=X.astype(np.float32), layers_y=y)


def fit_classes(data, threads):
    return seconds_of_fit(data, "classes", threads, max_iter=4)


def fit_tags(data, threads):
    return seconds_of_fit(data, "tags", threads, max_iter=4)


def fit_tables(data, threads):
    return seconds_of_fit(data, "classes", threads, max_iter=2, retrieval="rerank")


def fit_layers(data, threads):
    layers = {"hidden_layer_sizes": (1000, 1000), "active_fraction": (0.05, 0.05, 1.0)}
    return seconds_of_fit(data, "layers", threads, max_iter=2, **layers)


def predict(data, threads):
    model, X = fitted(data, threads)
    return median_seconds(lambda: model.predict_topk(X[:4096], 5))


def predict_lists(data, threads):
    model, X = fitted(data, threads, predict_mode="lsh")
    return median_seconds(lambda: model.predict_topk(X[:20_000], 5))


def rebuild(data, threads):
    model, _ = fitted(data, threads, retrieval="rerank", n_tables=50)
    network = model._fitted.network if hasattr(model, "_fitted") else model._network
    return median_seconds(lambda: [refresh(network, threads) for _ in range(10)])


WORKLOADS = {
    "fit, 100,000 classes": fit_classes,
    "fit, 10,000 tags": fit_tags,
    "fit, hash tables": fit_tables,
    "fit, sparse layers": fit_layers,
    "predict, exact": predict,
    "predict, lists": predict_lists,
    "10 rebuilds of 50 tables": rebuild,
}


def seconds_of_fit(data, problem, threads, **params):
    X, y = load(data, f"{problem}_X"), load(data, f"{problem}_y")
    model = SparseMLPClassifier((128,), n_jobs=threads, random_state=0).set_params(**params)
    start = perf_counter()
    model.fit(X, y)
    return perf_counter() - start


def fitted(data, threads, **params):
    """A network of 100,000 classes, trained on some rows for one epoch, and all rows."""
    X, y = load(data, "classes_X"), load(data, "classes_y")
    model = SparseMLPClassifier((128,), n_jobs=threads, random_state=0, max_iter=1)
    return model.set_params(**params).fit(X[:15_000], y[:15_000]), X


def median_seconds(call, repeats=5):
    """The median time of a call, without a first call that builds what later calls use."""
    out = []
    for _ in range(repeats + 1):
        start = perf_counter()
        call()
        out.append(perf_counter() - start)
    return statistics.median(out[1:])


if __name__ == "__main__":
    seconds = WORKLOADS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps({"seconds": seconds, "package": slide.__file__}))
