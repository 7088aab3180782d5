"""The frame of every child script: data in, one timed fit and prediction, a report out.

A child is run as ``python child_<system>.py DATA_DIR OUT_DIR THREADS``. It reads
``DATA_DIR/{X_train,Y_train,X_test}``, each as ``.npz`` (CSR) or ``.npy`` (dense), and writes
``OUT_DIR/top.npy``, the best labels of each test row, best first, and ``OUT_DIR/report.json``.
Parameters come as JSON in the environment variable SLIDE_BENCH_PARAMS. This module must
also run under the older NumPy of the peers.
"""

import json
import os
import platform
import resource
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import scipy
from scipy import sparse

TOP = 5


def run(train, predict, versions, reload=None, size=None, log_shares=None):
    """Time a system's fit and its prediction; write its labels and its report.

    ``train(X, Y, threads) -> model, settings`` and ``predict(model, X, threads) -> labels``, best
    first, are timed. ``reload(model) -> model`` is for a system that predicts best from a model
    that was written and read back; its time counts neither as fit nor as prediction.
    ``size(model)`` gives the bytes that prediction needs, in memory or on disk.
    ``log_shares(model, X)`` gives the logarithm of every label's share, up to a constant for each
    row. With it, the report has the held-out loss if ``DATA_DIR`` has Y_test.
    """
    data, out, threads = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    X_train, Y_train, X_test = (load(data, name) for name in ("X_train", "Y_train", "X_test"))

    start = perf_counter()
    model, settings = train(X_train, Y_train, threads)
    trained = perf_counter()
    if reload is not None:
        model = reload(model)
    ready = perf_counter()
    top = predict(model, X_test, threads)
    predicted = perf_counter()

    np.save(out / "top.npy", np.asarray(top, dtype=np.int32))
    report = {
        "train_s": trained - start,
        "reload_s": ready - trained,
        "predict_s": predicted - ready,
        "peak_mb": peak_mb(),
        "settings": settings,
        "versions": {
            **versions,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
    }
    if size is not None:
        report["model_mb"] = size(model) / 2**20
    if log_shares is not None and (data / "Y_test.npz").exists():
        report["loss"] = cross_entropy(lambda X: log_shares(model, X), X_test, load(data, "Y_test"))
    (out / "report.json").write_text(json.dumps(report, default=str))


def cross_entropy(log_shares, X, Y, chunk=500):
    """Mean softmax loss of the rows; a row's target is spread evenly over its labels."""
    total = 0.0
    for start in range(0, X.shape[0], chunk):
        scores, labels = log_shares(X[start : start + chunk]), Y[start : start + chunk]
        scores = scores - scores.max(axis=1, keepdims=True)
        norms = np.log(np.exp(scores).sum(axis=1, dtype=np.float64))
        counts = np.diff(labels.indptr)
        owners = np.repeat(np.arange(len(counts)), counts)
        losses = norms[owners] - scores[owners, labels.indices]
        total += (losses / counts[owners]).sum()
    return float(total / X.shape[0])


def load(folder, name):
    """The matrix of that name, CSR or dense."""
    path = folder / f"{name}.npz"
    if path.exists():
        return sparse.csr_matrix(sparse.load_npz(path))
    return np.load(path.with_suffix(".npy"))


def params():
    """The parameters of the system that the benchmark sets."""
    return json.loads(os.environ.get("SLIDE_BENCH_PARAMS", "{}"))


def pad(rows):
    """Rows of at most TOP labels -> (n, TOP) array; -1 where a system returned fewer."""
    top = np.full((len(rows), TOP), -1, dtype=np.int32)
    for i, row in enumerate(rows):
        top[i, : len(row)] = row[:TOP]
    return top


def folder_bytes(folder):
    """Size of all files under a folder."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def peak_mb():
    """Peak resident memory of this process in MB, data loading included.

    Linux starts a child's ``ru_maxrss`` at its parent's peak, so ``VmHWM`` is read if it exists.
    """
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 1024
