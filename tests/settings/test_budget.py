"""Memory budget: the limits, the needs of a network, and which networks are refused."""

import subprocess
import sys
import textwrap
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError

import slide
from slide._base import limits as memory_limits
from slide._data.labels import LabelRows
from slide._network.network import Network
from slide._network.start import make_retrieval
from slide._settings import auto, budget
from slide._settings.rules import check_params

ROOT = Path(slide.__file__).parents[1]  # for child processes; a checkout may lack compiled modules

SHAPE = auto.DataShape(
    n_samples=1000, n_features=300, n_classes=400, n_labels=1000, n_values=20.0,
    mean_square_norm=20.0, mean_abs_norm=20.0, multilabel=False, sparse=True, one_label=True,
)  # fmt: skip


def resolved(classifier, shape=SHAPE, **params):
    params = check_params(classifier(**params).get_params(deep=False))
    return params, auto.resolve(params, shape)


# ------------------------------------------------------------- what there is --


@pytest.fixture
def machine(tmp_path):
    """A function that writes Linux's files about a process and its control groups."""

    def write(cgroup, limits, used="1024 kB"):
        proc, groups = tmp_path / "proc", tmp_path / "groups"
        proc.mkdir()
        (proc / "cgroup").write_text(cgroup)
        (proc / "status").write_text(f"Name:\tpython\nVmSize:\t 9 kB\nRssAnon:\t    {used}\n")
        for path, text in limits.items():
            path = groups / path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return memory_limits.memory_limit(proc, groups)

    return write


def test_the_least_limit_of_nested_cgroups_counts(machine):
    limits = {"a/b/memory.max": "max\n", "a/memory.max": "65536\n", "memory.max": "131072\n"}
    limit = machine("0::/a/b\n", limits)
    assert (limit.size, limit.used, limit.left) == (65536, 2**20, 65536 - 2**20)
    assert "cgroup" in limit.source


def test_cgroups_of_version_1(machine):
    # A container sees its own group as the root, whatever path it reads.
    limits = {"memory/memory.limit_in_bytes": "65536\n"}
    assert machine("5:cpu:/\n4:memory:/docker/1a\n0::/\n", limits).size == 65536


@pytest.mark.parametrize("text", ["max\n", f"{2**63 - 4096}\n"])
def test_without_limits_memory_is_the_limit(machine, text):
    limit = machine("0::/\n", {"memory.max": text, "memory/memory.limit_in_bytes": text})
    assert limit.source == "its physical memory"
    assert limit.size > 2**28


def test_a_system_that_tells_nothing_has_no_limit(tmp_path, monkeypatch):
    monkeypatch.delattr(memory_limits.os, "sysconf")
    assert memory_limits.memory_limit(tmp_path, tmp_path) is None
    monkeypatch.setattr(memory_limits, "resource", None)
    assert memory_limits.address_limit() is None


# ------------------------------------------------------------ what is needed --


def bytes_of(network):
    """Bytes of the arrays of a network, by the kinds of the budget."""
    layers = network.layers
    found = {
        "weights": sum(layer.w.nbytes for layer in layers),
        "moments": sum(layer.w_m.nbytes for layer in layers),
        "hashing": sum(
            array.nbytes
            for layer in layers
            if layer.retrieval is not None
            for name, array in layer.retrieval.named_arrays().items()
            if "hasher" not in name
        ),
    }
    return {name: size for name, size in found.items() if size}


@pytest.mark.parametrize("weight_dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "network", ["dense", "sampled", "sparse", "estimated", "hashed"], indirect=True
)
def test_needs_are_the_sizes_of_the_arrays(classifier, network, weight_dtype):
    hidden = network.pop("hidden_layer_sizes", (64,))
    params, settings = resolved(
        classifier, hidden_layer_sizes=hidden, weight_dtype=weight_dtype, **network
    )
    widths = [SHAPE.n_features, *params["hidden_layer_sizes"], SHAPE.n_classes]
    made = Network(SHAPE.n_features, SHAPE.n_classes, widths[1:-1], settings, 0)
    for i, layer in enumerate(made.layers):
        if settings.layers[i].retrieval is not None:
            layer.retrieval = make_retrieval(made, i, np.zeros((4, layer.n_in), np.float32))
    needs = budget.network_needs(widths, settings, SHAPE, 1, False, budget.Use())
    for name, size in bytes_of(made).items():
        assert needs[name] <= size <= 1.1 * needs[name] + 8 * sum(widths), name


def test_the_best_weights_are_counted(classifier):
    _, settings = resolved(classifier)
    needs = budget.network_needs([300, 32, 400], settings, SHAPE, 1, True, budget.Use())
    assert needs["the best weights"] == needs["weights"] == 4 * (300 * 32 + 32 * 400)


def test_threads_hold_a_micro_batch_each(classifier):
    shape = replace(SHAPE, n_samples=100_000, n_labels=100_000)
    _, settings = resolved(classifier, shape, active_fraction=1.0, batch_size=64)
    known = [300, 32, 400], settings, shape
    one, four = (budget.network_needs(*known, n, False, budget.Use())["threads"] for n in (1, 4))
    assert four == 4 * one == 4 * 4 * 64 * 400


def test_only_pages_that_are_written_are_sure(classifier):
    shape = replace(SHAPE, n_classes=10**8, n_features=10**6)
    rng = np.random.default_rng(0)
    x = csr_array((np.ones(1000, np.float32), np.arange(1000), np.arange(1001)), (1000, 10**6))
    labels = LabelRows(np.arange(1001), rng.integers(0, 10**8, 1000, np.int32), 10**8)
    _, settings = resolved(classifier, shape, hidden_layer_sizes=(128,), prototypes=False)
    widths = [10**6, 128, 10**8]
    use = budget.least_use(labels, x, settings, widths, shape, 2)
    # A page for each of some 1,000 labels and of the tails; features of 512 bytes as well.
    drawn = 1000 + 2 * (1000 // settings.batch_size) * settings.tail_size
    page = memory_limits.os.sysconf("SC_PAGE_SIZE")
    assert use.output == pytest.approx(drawn * page / (10**8 * 512), rel=0.01)
    assert use.output_start == pytest.approx(1000 * page / (10**8 * 512), rel=0.01)
    assert use.input_moments == pytest.approx(1000 * page / (10**6 * 512), rel=0.01)
    dense = replace(settings, all_neurons=True)
    assert budget.least_use(labels, x, dense, widths, shape, 1).output == 1
    written = replace(settings, prototypes=True)
    assert budget.least_use(labels, x, written, widths, shape, 1).output == 1


# --------------------------------------------------------------- the verdict --


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("weight_dtype", ["float32", "bfloat16"])
def test_a_network_far_too_large_is_refused_at_once(method, weight_dtype, planted, classifier):
    X, y = planted
    clf = classifier(hidden_layer_sizes=(10**6, 10**7), weight_dtype=weight_dtype)
    more = {"classes": np.unique(y)} if method == "partial_fit" else {}
    tracemalloc.start()
    start = time.perf_counter()
    message = (
        r"hidden_layer_sizes=\(1000000, 10000000\) with 300 features and 39 classes needs "
        r"\S+ GB: \S+ GB for weights \+ \S+ GB for moments.*this machine has \S+ GB"
    )
    with pytest.raises(MemoryError, match=message) as caught:
        getattr(clf, method)(X, y, **more)
    seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ("bfloat16" in str(caught.value)) == (weight_dtype == "float32")
    assert seconds < 5
    assert peak < 50e6
    with pytest.raises(NotFittedError):
        clf.predict(X)


def test_a_network_just_beyond_memory_is_refused(monkeypatch, planted, classifier):
    X, y = planted
    clf = classifier(hidden_layer_sizes=(20_000,), active_fraction=1.0, max_iter=1)
    need = 2 * 4 * 20_000 * (300 + 39)
    monkeypatch.setattr(memory_limits, "LARGE", 1 << 20)
    for spare, fits in [(-1_000_000, False), (5_000_000, True)]:
        limit = memory_limits.Limit(need + spare + 5_000_000, "a test", 5_000_000)
        monkeypatch.setattr(memory_limits, "memory_limit", lambda limit=limit: limit)
        if fits:
            clf.fit(X, y)
        else:
            with pytest.raises(MemoryError, match="a test"):
                clf.fit(X, y)
        assert hasattr(clf, "classes_") == fits


def test_a_copy_of_dense_rows_beyond_memory_is_refused(monkeypatch, classifier):
    rng = np.random.default_rng(0)
    X, y = rng.random((500, 200), np.float32), rng.integers(0, 3, 500)
    clf = classifier(max_iter=1).fit(X, y)
    monkeypatch.setattr(memory_limits, "LARGE", 1 << 10)
    monkeypatch.setattr(
        memory_limits, "memory_limit", lambda: memory_limits.Limit(300_000, "a test", 0)
    )
    with pytest.raises(MemoryError, match=r"X of shape \(500, 200\) .* centred"):
        clf.predict(X)
    with pytest.raises(MemoryError, match="centred"):
        classifier().fit(X, y)
    assert len(clf.predict(X[:100])) == 100


def test_a_result_beyond_memory_is_refused(monkeypatch, planted, classifier):
    X, y = planted
    clf = classifier(max_iter=1).fit(X, y)
    monkeypatch.setattr(memory_limits, "LARGE", 1 << 10)
    monkeypatch.setattr(
        memory_limits, "memory_limit", lambda: memory_limits.Limit(8 * 600 * 39 - 1, "t", 0)
    )
    with pytest.raises(MemoryError, match=r"k=39 for 600 rows needs .* labels and scores"):
        clf.predict_topk(X, k=39)
    assert clf.predict_topk(X, k=38)[0].shape == (600, 38)


# ------------------------------------------------------------- in a child --

CHILD = """
    import re, resource, sys, threading, time
    import numpy as np
    from scipy.sparse import csr_array
    from slide import SparseMLPClassifier
    from slide._settings import budget
    from slide._base import limits as memory_limits

    def status(name):
        return memory_limits._status("/proc/self", name)

    rng = np.random.default_rng(0)
    columns = np.sort(rng.integers(0, 100_000, (20_000, 30), np.int32), axis=1)
    X = csr_array((np.ones(600_000, np.float32), columns.ravel(), np.arange(20_001) * 30))
    X.sum_duplicates()
    y = rng.integers(0, 400_000, 20_000)
    Y = csr_array((np.ones(20_000, np.int8), y, np.arange(20_001)), (20_000, 400_000))
    params = {"hidden_layer_sizes": 256, "random_state": 0, "max_iter": 1, **PARAMS}
    SparseMLPClassifier(hidden_layer_sizes=8, max_iter=1).fit(X[:200], Y[:200])  # the modules
"""


def child(code, **params):
    code = textwrap.dedent(CHILD).replace("PARAMS", repr(params)) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc, RLIMIT_AS")


@needs_linux
@pytest.mark.slow
def test_a_limit_of_address_space_is_obeyed():
    # 0.41 GB of input weights, as much of output weights, both twice: refused below, trained above.
    said = child(
        """
        need = 2 * 4 * 256 * (X.shape[1] + 400_000)
        for spare in (-100_000_000, 700_000_000):
            size = status("VmSize") + need + spare
            resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
            clf = SparseMLPClassifier(**params)
            try:
                clf.fit(X, Y)
                print("trained")
            except MemoryError as error:
                print(error, hasattr(clf, "classes_"))
        """,
        prototypes=False,
    ).splitlines()
    assert "its limit of address space" in said[0] and said[0].endswith("bfloat16' False")
    assert said[1:] == ["trained"]


@needs_linux
@pytest.mark.slow
@pytest.mark.parametrize(
    "params",
    [{}, {"weight_dtype": "bfloat16"}, {"early_stopping": True, "validation_fraction": 0.01}],
    ids=repr,
)
def test_the_need_is_the_measured_peak(params):
    said = child(
        """
        needs = []
        check = memory_limits.check_needs
        memory_limits.check_needs = lambda what, sizes, *_: needs.append(sum(sizes.values()))
        before, peak, done = status("RssAnon"), [0], []

        def look():
            while not done:
                peak[0] = max(peak[0], status("RssAnon"))
                time.sleep(0.005)

        thread = threading.Thread(target=look)
        thread.start()
        SparseMLPClassifier(**params).fit(X, Y)
        done.append(True)
        thread.join()
        print(needs[0], peak[0] - before)
        """,
        prototypes=True,
        **params,
    )
    need, measured = map(int, said.split())
    # Pages are huge, so nearly all are written; the arrays that are not counted are small.
    assert 0.9 * measured < need < 1.1 * measured
