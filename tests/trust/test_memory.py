"""Memory: mapped files are not copied to train on them, and no call leaks memory."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

import slide
from slide import SparseMLPClassifier

ROOT = Path(slide.__file__).parents[1]  # for child processes; a checkout may lack compiled modules

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc")


def child(code, **names):
    """Run code with the variables `names` in a child process; returns the JSON it prints."""
    head = "import json, os, sys, time, threading, gc\nimport numpy as np\n"
    head += f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
    head += "".join(f"{name} = {value!r}\n" for name, value in names.items())
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(code)],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def anonymous():
    """Bytes of this process's own memory, without mapped files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])


def random_rows(n, n_features, n_values, rng):
    """Rising columns (n, n_values) and values of random rows."""
    columns = np.sort(rng.integers(0, n_features - n_values, (n, n_values)), axis=1)
    return columns + np.arange(n_values), rng.uniform(0.1, 1.0, (n, n_values)).astype(np.float32)


# -------------------------------------------------------------- rows in files --


def mapped_rows(folder, n, n_features, n_values, index_dtype=np.int32):
    """A CSR array whose arrays are read-only memory maps of files, written part by part."""
    rng = np.random.default_rng(0)
    kinds = {"data": np.float32, "indices": index_dtype, "indptr": index_dtype}
    files = {name: open(Path(folder, name), "wb") for name in kinds}
    np.arange(0, n * n_values + 1, n_values, dtype=index_dtype).tofile(files["indptr"])
    for start in range(0, n, 10_000):
        columns, values = random_rows(min(10_000, n - start), n_features, n_values, rng)
        columns.astype(index_dtype).tofile(files["indices"])
        values.tofile(files["data"])
    for file in files.values():
        file.close()
    arrays = [np.memmap(Path(folder, name), kind, mode="r") for name, kind in kinds.items()]
    return csr_array(tuple(arrays), (n, n_features))


def mapped_dense_rows(folder, n, n_features):
    """A dense read-only memory map, of which a tenth is non-zero."""
    rng = np.random.default_rng(0)
    with open(Path(folder, "dense"), "wb") as file:
        for start in range(0, n, 10_000):
            part = np.zeros((min(10_000, n - start), n_features), np.float32)
            part[:, rng.choice(n_features, n_features // 10, replace=False)] = 1
            part[:, 0] = rng.random(len(part))
            part.tofile(file)
    return np.memmap(Path(folder, "dense"), np.float32, mode="r", shape=(n, n_features))


@pytest.fixture(params=["int32", "int64", "dense"])
def mapped(request, tmp_path):
    if request.param == "dense":
        return mapped_dense_rows(tmp_path, 600, 300)
    return mapped_rows(tmp_path, 600, 300, 20, np.dtype(request.param))


@pytest.mark.parametrize("network", ["dense", "sampled", "sparse"], indirect=True)
def test_memory_mapped_rows_train_as_those_in_memory(
    mapped, network, classifier, assert_same_weights
):
    y = np.random.default_rng(0).integers(0, 120, 600)
    in_memory = mapped.copy() if isinstance(mapped, csr_array) else np.array(mapped)
    one, other = (classifier(**network).fit(X, y) for X in (mapped, in_memory))
    assert_same_weights(one, other)
    np.testing.assert_array_equal(one.predict(mapped), other.predict(in_memory))
    one.partial_fit(mapped, y)


GROWTH = """
    import tempfile
    from slide import SparseMLPClassifier
    from trust.test_memory import anonymous, mapped_dense_rows, mapped_rows

    with tempfile.TemporaryDirectory() as folder:
        if kind == "dense":
            X = mapped_dense_rows(folder, 100_000, 2_000)
        else:
            X = mapped_rows(folder, n, 50_000, 250, np.dtype(kind))
        size = sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))
        y = np.random.default_rng(0).integers(0, 200, X.shape[0])
        params = {"hidden_layer_sizes": 16, "max_iter": 2, "random_state": 0, "n_jobs": 2}
        if kind == "dense":
            params["prototypes"] = False  # which make dense rows sparse ones
        SparseMLPClassifier(**params).fit(X[:2000], y[:2000])  # the modules, the threads
        before, peak, done = anonymous(), [0], []

        def look():
            while not done:
                peak[0] = max(peak[0], anonymous())
                time.sleep(0.005)

        thread = threading.Thread(target=look)
        thread.start()
        clf = SparseMLPClassifier(**params).fit(X, y)
        clf.predict(X)
        clf.partial_fit(X, y)
        done.append(True)
        thread.join()
    print(json.dumps([size, peak[0] - before]))
"""


@needs_linux
@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, n, share",
    # Converted to 32 bits, the 64-bit indices take a third of the size of the file.
    [("int32", 500_000, 0.1), ("int64", 150_000, 0.45), ("dense", 0, 0.1)],
)
def test_memory_mapped_rows_are_not_copied(kind, n, share):
    size, growth = child(GROWTH, kind=kind, n=n)
    print(f"{kind}: a file of {size / 1e6:.0f} MB, memory grew by {growth / 1e6:.0f} MB")
    assert growth < share * size


# -------------------------------------------------- growth from call to call --

CALLS = """
    import tracemalloc
    from slide import SparseMLPClassifier
    from slide.datasets import make_extreme_classification
    from trust.test_memory import CALLED, anonymous

    X, y = make_extreme_classification(600, 1000, n_classes, n_nonzero=20, random_state=0)
    clf = SparseMLPClassifier(hidden_layer_sizes=32, max_iter=2, random_state=0, **params)
    clf.fit(X, y) if called != "partial_fit" else clf.partial_fit(X, y, classes=np.unique(y))
    call = CALLED[called]
    for _ in range(10):
        call(clf, X, y)
    seen = []
    for i in range(101):
        if i in (20, 100):
            gc.collect()
            seen.append(anonymous())
        call(clf, X, y)
    # The objects of Python are counted apart, which is slow.
    tracemalloc.start()
    for i in range(15):
        if i in (5, 14):
            gc.collect()
            seen.append(tracemalloc.get_traced_memory()[0])
        call(clf, X, y)
    print(json.dumps([seen[1] - seen[0], seen[3] - seen[2]]))
"""


def fail_to_fit(clf, X, y):
    infinite = X.copy()
    infinite.data[-1] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        SparseMLPClassifier(**clf.get_params()).fit(infinite, y)
    with pytest.raises(FloatingPointError):
        SparseMLPClassifier(**{**clf.get_params(), "learning_rate_init": 1e30}).fit(X, y)


def save_and_load(clf, X, y):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        clf.save(Path(folder, "model"))
        SparseMLPClassifier.load(Path(folder, "model")).predict(X[:5])


def predict(clf, X, y):
    clf.predict(X)
    clf.predict_topk(X, k=3)
    clf.predict_proba(X[:10])
    clf.decision_function(X[:10])
    clf.set_params(predict_mode="exact" if clf.predict_mode == "lsh" else "lsh")


CALLED = {
    "partial_fit": lambda clf, X, y: clf.partial_fit(X, y),
    "fit": lambda clf, X, y: clf.fit(X, y),
    "fail": fail_to_fit,
    "save": save_and_load,
    "predict": predict,
}
NETWORKS = {
    "dense": ({}, 500),
    "lists": ({"n_jobs": 2}, 40_000),
    "sparse": ({"active_fraction": (0.5, 0.2), "retrieval": "rerank"}, 500),
    "judged": ({"early_stopping": True, "weight_dtype": "bfloat16"}, 500),
}


@needs_linux
@pytest.mark.slow
@pytest.mark.parametrize("called", CALLED)
@pytest.mark.parametrize("network", NETWORKS)
def test_memory_does_not_grow_from_call_to_call(called, network):
    params, n_classes = NETWORKS[network]
    if called == "partial_fit" and "early_stopping" in params:
        pytest.skip("partial_fit has no early stopping")
    grown, objects = child(CALLS, called=called, params=params, n_classes=n_classes)
    print(f"{called} {network}: {grown / 1e3:.0f} KB in 80 calls, objects {objects} bytes in 9")
    # One copy of X that is not freed would be 100 KB a call.
    assert grown < 1e6
    assert objects < 60_000
