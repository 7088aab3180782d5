"""Ctrl-C: it is heard at any moment, and never leaves a half-fitted estimator behind."""

import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

import slide
from slide import SparseMLPClassifier

ROOT = Path(slide.__file__).parents[1]  # for child processes; a checkout may lack compiled modules

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


class Stop(BaseException):
    pass


@pytest.fixture
def raise_after():
    """Let a signal handler raise Stop once, after some seconds."""

    def handler(number, frame):
        raise Stop

    def start(seconds):
        signal.setitimer(signal.ITIMER_REAL, seconds)

    before = signal.signal(signal.SIGALRM, handler)
    yield start
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def wide(n_rows, n_classes, n_features=1000, n_labels=1):
    """Random sparse rows and a sparse indicator: nothing to learn, but quickly made."""
    rng = np.random.default_rng(0)
    ends = np.arange(n_rows + 1)
    columns = np.sort(rng.integers(0, n_features, (n_rows, 50), np.int32), axis=1)
    values = np.ones(columns.size, np.float32)
    X = csr_array((values, columns.ravel(), 50 * ends), (n_rows, n_features))
    X.sum_duplicates()
    labels = np.sort(rng.integers(0, n_classes, (n_rows, n_labels), np.int32), axis=1)
    ones = np.ones(labels.size, np.int8)
    Y = csr_array((ones, labels.ravel(), n_labels * ends), (n_rows, n_classes))
    Y.sum_duplicates()
    Y.data[:] = 1
    return X, Y


def repeat_until(raise_after, work):
    """Run `work` until a handler raises in it."""
    raise_after(0.3)
    with pytest.raises(Stop):
        while True:
            work()


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("mode", ["exact", "lsh"])
def test_prediction_is_interrupted_and_goes_on(mode, n_jobs, raise_after):
    X, Y = wide(1000, 100_000)
    clf = SparseMLPClassifier(hidden_layer_sizes=32, max_iter=1, n_jobs=n_jobs, random_state=0)
    clf.set_params(predict_mode=mode).fit(X, Y)
    labels, scores = clf.predict_topk(X)
    repeat_until(raise_after, lambda: clf.predict_topk(X))
    again = clf.predict_topk(X)
    np.testing.assert_array_equal(again[0], labels)
    np.testing.assert_array_equal(again[1], scores)


def test_an_interrupted_fit_is_unfitted(raise_after, assert_same_weights):
    X, Y = wide(1000, 20_000)
    params = {"hidden_layer_sizes": 32, "max_iter": 1, "random_state": 0}
    clf = SparseMLPClassifier(**{**params, "max_iter": 10**6})
    repeat_until(raise_after, lambda: clf.fit(X, Y))
    assert not [name for name in vars(clf) if name.endswith("_") or name == "_fitted"]
    clf.set_params(max_iter=1).fit(X, Y)
    assert_same_weights(clf, SparseMLPClassifier(**params).fit(X, Y))


@pytest.mark.parametrize("network", ["dense", "sampled", "estimated", "hashed"], indirect=True)
def test_an_interrupted_partial_fit_leaves_a_whole_model(network, raise_after, tmp_path):
    X, Y = wide(3000, 2000)
    clf = SparseMLPClassifier(random_state=0, **network).partial_fit(X[:500], Y[:500])
    n_iter = clf.n_iter_
    repeat_until(raise_after, lambda: clf.partial_fit(X, Y))
    assert clf.n_iter_ >= n_iter
    expected = clf.predict_topk(X[:50])
    clf.save(tmp_path / "model")
    found = SparseMLPClassifier.load(tmp_path / "model").predict_topk(X[:50])
    np.testing.assert_array_equal(found[0], expected[0])
    clf.partial_fit(X[:500], Y[:500])
    assert np.isfinite(clf.loss_)


# ---------------------------------------------------------- at 670,000 classes --

CHILD = """
    import json, os, signal, sys, threading, time
    sys.path.insert(0, FOLDER)
    from trust.test_interrupt import wide
    from slide import SparseMLPClassifier

    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where nohup started us
    X, Y = wide(N_ROWS, 670_000, N_FEATURES, n_labels=N_LABELS)
    clf = SparseMLPClassifier(random_state=0, **PARAMS)
"""
# A timer fires every 1/50 of a second, and its handler notes how late it runs.
WAITS = """
    waits, last = [], [time.perf_counter()]

    def handler(number, frame):
        now = time.perf_counter()
        waits.append((now - last[0], frame.f_code.co_qualname, frame.f_lineno))
        last[0] = time.perf_counter()

    signal.signal(signal.SIGALRM, handler)
    last[0] = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    clf.fit(X, Y)
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(json.dumps(max(waits)))
"""
# Ctrl-C's own signal, at many moments spread over a fit of known length.
KILLS = """
    def interrupted_after(seconds):
        sent, done = [], False

        def send():
            time.sleep(seconds)
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            clf.fit(X, Y)
            done = True
            thread.join()
            time.sleep(1)
        except KeyboardInterrupt:
            wait = time.perf_counter() - sent[0]
        if done:  # it was faster this time
            return interrupted_after(0.7 * seconds)
        assert not hasattr(clf, "classes_") and not hasattr(clf, "classes_")
        return wait

    start = time.perf_counter()
    clf.fit(X, Y)
    length = time.perf_counter() - start
    waits = []
    for i in range(10):
        seconds = length * (i + 0.5) / 11
        wait = interrupted_after(seconds)
        # Once more: another process may have held the processors.
        waits.append(wait if wait < 1 else min(wait, interrupted_after(seconds)))
    print(json.dumps([length, waits]))
"""
PROBLEMS = {
    "128": {"hidden_layer_sizes": 128},
    "128-threads": {"hidden_layer_sizes": 128, "n_jobs": 2},
    "128-lists": {"hidden_layer_sizes": 128, "n_labels": 1, "max_iter": 4},
    "128-tables": {"hidden_layer_sizes": 128, "retrieval": "rerank"},
    "128-judged": {"hidden_layer_sizes": 128, "early_stopping": True, "validation_fraction": 0.02},
    "1024-half": {"hidden_layer_sizes": 1024, "weight_dtype": "bfloat16", "n_rows": 8000},
    "sparse": {"hidden_layer_sizes": (10_000, 64), "active_fraction": (0.01, 0.5, 0.01),
               "n_features": 5000, "n_rows": 5000},
}  # fmt: skip


def child(code, params):
    params = {"max_iter": 2, **params}
    names = {"N_ROWS": 30_000, "N_FEATURES": 135_909, "N_LABELS": 3}
    code = textwrap.dedent(CHILD) + textwrap.dedent(code)
    for name, default in names.items():
        code = code.replace(name, repr(params.pop(name.lower(), default)))
    code = code.replace("FOLDER", repr(str(Path(__file__).parents[1])))
    done = subprocess.run(
        [sys.executable, "-c", code.replace("PARAMS", repr(params))],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("problem", PROBLEMS)
def test_signals_wait_less_than_a_second_at_any_moment(problem):
    longest = child(WAITS, PROBLEMS[problem])
    if longest[0] >= 1:  # once more: another process may have held the processors
        longest = child(WAITS, PROBLEMS[problem])
    print(f"{problem}: {longest}")
    assert longest[0] < 1, longest


@pytest.mark.slow
@pytest.mark.parametrize("problem", ["128", "128-threads"])
def test_ctrl_c_returns_within_a_second(problem):
    length, waits = child(KILLS, {**PROBLEMS[problem], "n_rows": 20_000})
    print(f"{problem}: fit of {length:.1f} s, waits {np.round(waits, 2)}")
    assert max(waits) < 1


# ------------------------------------------------------------------- the GIL --

BESIDE = """
    import sys
    sys.path.insert(0, FOLDER)
    from trust.test_interrupt import train_on

    train_on(lambda: False)
"""


def train_on(is_over):
    X, Y = wide(20_000, 50_000, 20_000)
    clf = SparseMLPClassifier(hidden_layer_sizes=128, random_state=0)
    while not is_over():
        clf.partial_fit(X, Y)


def steps():
    """Steps of a loop in a short window, the best of several: other processes run as well."""
    best = 0
    for _ in range(20):
        n, end = 0, time.perf_counter() + 0.1
        while time.perf_counter() < end:
            n += 1
        best = max(best, n)
    return best


@pytest.mark.slow
def test_another_thread_keeps_its_speed_while_one_trains():
    # Once while a thread trains, once while a process does. Only the thread could hold the GIL;
    # both share everything else with the loop.
    code = textwrap.dedent(BESIDE).replace("FOLDER", repr(str(Path(__file__).parents[1])))
    shares = []
    for _ in range(6):
        alone, over = steps(), threading.Event()
        with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as process:
            time.sleep(4)
            beside_process = steps()
            process.kill()
        thread = threading.Thread(target=train_on, args=(over.is_set,))
        thread.start()
        time.sleep(2)
        beside_thread = steps()
        over.set()
        thread.join()
        shares.append((beside_thread / beside_process, beside_thread / alone))
        if shares[-1][0] > 0.8:
            break
    print("speed beside a thread, of that beside a process and of that alone:", np.round(shares, 3))
    assert max(shares)[0] > 0.8
