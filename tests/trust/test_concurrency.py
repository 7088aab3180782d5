"""Tests with several Python threads, and with several processes."""

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from joblib import Parallel, delayed
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import slide
from slide import SparseMLPClassifier
from slide._base.guard import Guard
from slide._base.threads import max_threads
from slide.datasets import make_extreme_classification

ROOT = Path(slide.__file__).parents[1]
N = 8  # threads
METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "predict_topk")


def at_once(function):
    """Call `function` in N threads that start together; returns their results."""
    gate = threading.Barrier(N)

    def run(i):
        gate.wait()
        return function(i)

    with ThreadPoolExecutor(N) as pool:
        return list(pool.map(run, range(N)))


def predictions(model, X):
    """All predictions of a model for X, as a list of arrays."""
    results = []
    for name in METHODS:
        result = getattr(model, name)(X)
        results += result if isinstance(result, tuple) else [result]
    return [r.toarray() if issparse(r) else r for r in results]


def assert_equal(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


# ------------------------------------------------------------------ threads --


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_threads_predict_what_one_does(classifier, planted, network, n_jobs):
    X, y = planted
    model = classifier(**network).fit(X, y).set_params(n_jobs=n_jobs)
    alone = predictions(model, X)
    for result in at_once(lambda i: predictions(model, X)):
        assert_equal(result, alone)


@pytest.mark.parametrize("params", [{}, {"loss": "softmax"}, {"prototypes": True}])
def test_threads_predict_labels_and_prototypes(classifier, planted, multilabel, params):
    X, y = planted if "prototypes" in params else multilabel
    model = classifier(**params).fit(X, y)
    alone = predictions(model, X)
    for result in at_once(lambda i: predictions(model, X)):
        assert_equal(result, alone)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_threads_make_one_shortlist(n_jobs):
    n_classes = 16_384
    X, y = make_extreme_classification(400, 300, n_classes, random_state=0)
    model = SparseMLPClassifier((64,), predict_mode="lsh", random_state=0, n_jobs=n_jobs)
    model.partial_fit(X, y, classes=np.arange(n_classes))
    alone = pickle.loads(pickle.dumps(model)).predict_topk(X)
    assert model._fitted.network.derived.get("shortlist") is None
    # The first calls make the short list, all at the same time.
    for result in at_once(
        lambda i: (model.predict_topk(X), model._fitted.network.derived.get("shortlist"))
    ):
        assert_equal(result[0], alone)
        assert result[1] is model._fitted.network.derived.get("shortlist") is not None


def test_threads_fit_what_one_does(classifier, planted, network, assert_same_weights):
    X, y = planted
    seeds = [0, 1] * (N // 2)
    alone = [classifier(**network, random_state=seed).fit(X, y) for seed in (0, 1)]
    models = at_once(lambda i: classifier(**network, random_state=seeds[i]).fit(X, y))
    for seed, model in zip(seeds, models, strict=True):
        assert_same_weights(model, alone[seed])


def test_threads_save_read_and_predict_at_once(classifier, planted, network, tmp_path):
    X, y = planted
    model = classifier(**network).fit(X, y)
    alone, weights = predictions(model, X), pickle.dumps(model.coefs_)
    model.save(tmp_path / "alone")
    whole = (tmp_path / "alone").read_bytes()

    def work(i):
        for _ in range(3):
            if i % 4 == 0:
                model.save(tmp_path / "shared")  # all to the same path
                assert (tmp_path / "shared").read_bytes() == whole
            elif i % 4 == 1:
                assert_equal(predictions(SparseMLPClassifier.load(tmp_path / "alone"), X), alone)
            elif i % 4 == 2:
                assert pickle.dumps(model.coefs_) == weights
                assert pickle.loads(pickle.dumps(model)).t_ == model.t_
            else:
                assert_equal(predictions(model, X), alone)

    at_once(work)
    assert {path.name for path in tmp_path.iterdir()} == {"alone", "shared"}


def train_and_predict(model, X, y, path, n_passes):
    """Two threads train one model; until they end, the others predict with it, read and save it.

    Returns how often they predicted.
    """
    done, n_predicted = [threading.Event(), threading.Event()], [0] * N

    def work(i):
        if i < 2:
            try:
                for _ in range(n_passes):
                    model.partial_fit(X, y)
            finally:
                done[i].set()
        while not all(event.is_set() for event in done):
            if i == 2:
                model.save(path)  # between two passes: otherwise the checksums would be wrong
                type(model).load(path)
            labels, scores = model.predict_topk(X, 3)
            assert np.isin(labels, model.classes_).all() and np.isfinite(scores).all()
            assert np.isfinite(model.predict_proba(X)).all()
            assert all(np.isfinite(w).all() for w in model.coefs_)
            n_predicted[i] += 1

    at_once(work)
    return sum(n_predicted)


def test_threads_train_and_predict_at_once(classifier, planted, network, tmp_path):
    X, y = planted
    model = classifier(**network).fit(X, y)
    train_and_predict(model, X, y, tmp_path / "model", 3)
    # No pass and no sample is lost.
    assert (model.n_iter_, model.t_) == (9, 9 * len(y))
    twin = pickle.loads(pickle.dumps(model))
    assert_equal(predictions(twin, X), predictions(model, X))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "family"),
    [
        *(("rerank", family) for family in ("simhash", "wta", "dwta", "minhash")),
        *((policy, "simhash") for policy in ("topk", "estimate", "scan")),
    ],
)
def test_threads_train_and_predict_for_long(policy, family, classifier, planted, tmp_path):
    X, y = planted
    model = classifier(
        hidden_layer_sizes=(2000,), active_fraction=(0.02, 1.0), retrieval=policy,
        hash_family=family, n_tables=20, n_hash_bits=6, rehash_every=50,
    ).fit(X, y)  # fmt: skip
    assert train_and_predict(model, X, y, tmp_path / "model", 8) > N
    assert model.t_ == 19 * len(y)


def test_a_fitted_network_is_left_alone_while_it_is_read():
    guard = Guard()
    order = []
    with guard.reading():
        writer = threading.Thread(target=enter, args=(guard.writing, order, "write"))
        writer.start()
        while guard.n_waiting == 0:
            pass
        late = threading.Thread(target=enter, args=(guard.reading, order, "read"))
        late.start()
        late.join(0.1)
        order.append("first")
    for thread in (writer, late):
        thread.join(5)
        assert not thread.is_alive()
    assert order == ["first", "write", "read"]


def enter(kind, order, name):
    with kind():
        order.append(name)


# ---------------------------------------------------------------- processes --


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblib_fits_what_one_does(backend, classifier, planted, network, assert_same_weights):
    X, y = planted
    model = classifier(**network)
    # Every array becomes a read-only memory map.
    parallel = Parallel(n_jobs=2, backend=backend, max_nbytes=100)
    fitted = parallel(delayed(clone(model).fit)(X, y) for _ in range(2))
    model.fit(X, y)
    for one in fitted:
        assert_same_weights(one, model)
    for result in parallel(delayed(model.predict_proba)(X) for _ in range(2)):
        np.testing.assert_array_equal(result, model.predict_proba(X))
    # A fitted model in a worker can be trained on too.
    trained = parallel(delayed(model.partial_fit)(X, y) for _ in range(1))[0]
    if backend == "loky":
        model.partial_fit(X, y)
    assert_same_weights(trained, model)


@pytest.mark.slow
def test_grid_search_in_processes(classifier, planted):
    X, y = planted
    grid = {"learning_rate_init": [1e-3, 1e-2], "n_jobs": [None, 2]}
    searches = [GridSearchCV(classifier(), grid, cv=2, n_jobs=n).fit(X, y) for n in (2, 1)]
    one_thread = np.array(
        [params["n_jobs"] is None for params in searches[0].cv_results_["params"]]
    )
    ours, theirs = (search.cv_results_["mean_test_score"] for search in searches)
    np.testing.assert_array_equal(ours[one_thread], theirs[one_thread])
    assert np.isfinite(ours).all()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_of_a_threaded_one(method, classifier, planted):
    X, y = planted
    model = classifier(n_jobs=2).fit(X, y)
    with multiprocessing.get_context(method).Pool(1) as pool:
        result = pool.apply_async(model.predict_proba, (X,)).get(timeout=60)
        fitted = pool.apply_async(classifier(n_jobs=2).fit, (X, y)).get(timeout=60)
    np.testing.assert_array_equal(result, model.predict_proba(X))
    assert fitted.t_ == model.t_


# The parent may have used threads, and its child is asked to use some.
FORK = """
import json, multiprocessing, os, signal, sys, threading, time, warnings
import numpy as np
from slide import SparseMLPClassifier
from slide._base import locks
from slide._prediction import lookup
from slide.datasets import make_extreme_classification

X, y = make_extreme_classification(600, 300, 40, n_nonzero=20, random_state=0)

def make(n_jobs):
    return SparseMLPClassifier((32,), max_iter=2, random_state=0, n_jobs=n_jobs)

def in_child(work):
    '''What `work` returns in a forked child, and its warnings; "hangs" after 20 s.'''
    ready, given = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            try:
                result = work()
            except BaseException as error:
                result = repr(error)
        seen = [[str(w.message), w.category.__name__] for w in seen]
        with open(given, "w") as file:
            json.dump([result, seen], file)
        os._exit(0)
    os.close(given)
    with open(ready) as file:
        text = file.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else ["hangs", []]

def all_of(n_jobs):
    model = make(n_jobs).fit(X, y).partial_fit(X, y)
    same = make(None).fit(X, y).partial_fit(X, y)
    return [model.t_, bool((model.coefs_[0] == same.coefs_[0]).all())]

def predicted(model, n_jobs):
    model.set_params(n_jobs=n_jobs)
    return float((model.predict_proba(X) - alone).any())

def again():
    return [in_child(lambda: all_of(2)), make(2).fit(X, y).t_]

def hold(held):
    with locks.guard_of(model).writing():
        held.set()
        time.sleep(1000)

def listed():
    # The thread that holds a lock is not in the child.
    with lookup._making.writing():
        pass
    return [True, model.partial_fit(X, y).predict(X).shape]

model = SparseMLPClassifier((32,), active_fraction=(0.5, 1.0), max_iter=2, random_state=0)
model.fit(X, y)
alone = model.predict_proba(X)
found = {"one, two": in_child(lambda: all_of(2)), "tags": None}
model.set_params(n_jobs=2).__sklearn_tags__()
found["tags"] = in_child(lambda: all_of(2))
with lookup._making.writing(), model._fitted.network.guard.writing():
    held = threading.Event()
    threading.Thread(target=hold, args=(held,), daemon=True).start()
    held.wait()
    found["lock"] = in_child(listed)
make(2).fit(X, y)
found["two, one"] = in_child(lambda: all_of(None))
found["two, two"] = in_child(lambda: all_of(2))
found["two, all"] = in_child(lambda: all_of(-1))
found["predict"] = in_child(lambda: predicted(model, 2))
found["again"] = in_child(again)
pool = multiprocessing.get_context("fork").Pool(1)
model.set_params(n_jobs=1)
found["pool"] = float(abs(pool.apply_async(model.predict_proba, (X,)).get(20) - alone).max())
pool.terminate()
print(json.dumps(found))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="knows no fork")
def test_a_forked_process_has_one_thread_and_says_so():
    done = subprocess.run(
        [sys.executable, "-c", FORK], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # The child may use threads if the parent never had any, whatever the parent's n_jobs was.
    for name in ("one, two", "tags"):
        (n_samples, _), seen = found[name]
        assert n_samples == 1800 and seen == []
    assert found["lock"] == [[True, [600]], []]
    assert found["two, one"] == [[1800, True], []]
    warned = [found["two, two"], found["again"][0][0]]
    if max_threads() > 1:
        for name, n_jobs in (("two, two", 2), ("two, all", -1)):
            result, seen = found[name]
            assert result == [1800, True]  # the same bits as with one thread
            ((message, kind),) = seen  # one warning for a fit and a partial_fit
            assert kind == "RuntimeWarning"
            assert message.startswith(f"n_jobs={n_jobs} is one thread here")
            assert all(word in message for word in ("loky", "spawn", "forkserver", "n_jobs=1"))
        result, seen = found["predict"]
        assert result == 0 and len(seen) == 1
        # A child of the child warns too.
        assert all(len(seen) == 1 for _, seen in warned)
    assert found["again"][0][1] == 1200
    assert found["pool"] == 0


FOREIGN = """
import ctypes, os, signal, sys, time, warnings
import numpy as np
from slide import SparseMLPClassifier
from slide._base.n_jobs import resolve_n_jobs

libgomp = ctypes.CDLL("libgomp.so.1")
body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda data: None)
X, y = np.random.RandomState(0).standard_normal((200, 20)), np.arange(200) % 3

def child():
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            clf = SparseMLPClassifier((16,), max_iter=2, n_jobs=2, random_state=0).fit(X, y)
            clf.partial_fit(X, y).predict(X)
            words = [str(w.message) for w in seen]
        told = sum("another library" in text for text in words)
        os._exit(10 * told + resolve_n_jobs(2))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

found = [child()]
libgomp.GOMP_parallel(body, None, 2, 0)
found.append(child())
found.append(child())  # the threads have ended, so that this child is free again
libgomp.GOMP_parallel(body, None, 2, 0)
found.append(resolve_n_jobs(2))
print(found)
"""


@pytest.mark.skipif(
    not os.path.isdir("/proc/self/task") or max_threads() < 2, reason="needs Linux and two threads"
)
def test_a_forked_process_knows_of_the_threads_of_other_libraries():
    maps = Path("/proc/self/maps").read_text()
    if "libgomp.so.1" not in maps:
        pytest.skip("slide has a GNU OpenMP of its own here")
    done = subprocess.run(
        [sys.executable, "-c", FOREIGN], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    # Tens: warnings; ones: threads. The parent itself goes on with several.
    assert done.stdout.split("\n")[0] == "[2, 11, 2, 2]"
