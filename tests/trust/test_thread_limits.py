"""Tests of how many threads a fit starts, counted by the operating system."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from joblib import cpu_count

import slide

ROOT = Path(slide.__file__).parents[1]
pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self/task") or cpu_count() < 2,
    reason="needs Linux and two processors",
)

# Fits under every limit that can be set in a running process. OpenMP keeps the threads that it has
# started, and they stay in the count; so fits that start none come first.
SCRIPT = """
import json, os, sys
if "affinity" in sys.argv:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from threadpoolctl import threadpool_limits
from slide import SparseMLPClassifier
from slide.datasets import make_extreme_classification

X, y = make_extreme_classification(600, 300, 40, n_nonzero=20, random_state=0)
found, n_samples = {}, set()

def fit(name, n_jobs):
    before = len(os.listdir("/proc/self/task"))
    model = SparseMLPClassifier(
        (32, 16), active_fraction=(0.5, 0.5, 0.2), retrieval="rerank", prototypes=True, max_iter=2,
        batch_size=8, n_jobs=n_jobs, random_state=0,
    ).fit(X, y)
    # No sample is lost, however many threads share them.
    n_samples.add(model.t_)
    assert len(n_samples) == 1 and model.score(X, y) > 0.1
    model.predict_topk(X)
    model.predict_proba(X)
    found[name] = len(os.listdir("/proc/self/task")) - before

fit("none", None)
fit("one", 1)
with threadpool_limits(1):
    fit("threadpoolctl", 2)
os.environ["LOKY_MAX_CPU_COUNT"] = "1"
fit("loky", -1)
del os.environ["LOKY_MAX_CPU_COUNT"]
processors = os.sched_getaffinity(0)
os.sched_setaffinity(0, {min(processors)})
fit("affinity", -1)
os.sched_setaffinity(0, processors)
fit("two", 2)
fit("all", -1)
fit("none again", None)
print(json.dumps(found))
"""


def started(*arguments, command=(), **environment):
    """The number of threads that each kind of fit started, in a process of its own."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "LOKY_"))}
    done = subprocess.run(
        [*command, sys.executable, "-c", SCRIPT, *arguments],
        cwd=ROOT, env={**clean, **environment}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


NONE = dict.fromkeys(
    ("none", "one", "threadpoolctl", "loky", "affinity", "two", "all", "none again"), 0
)


def test_only_n_jobs_starts_threads_and_limits_are_obeyed():
    n_more = cpu_count() - 2  # threads besides the first and the second
    assert started() == {**NONE, "two": 1, "all": n_more}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ((), {"OMP_NUM_THREADS": "1"}),
        (("affinity",), {}),
        # OpenMP then starts fewer threads than it is asked for.
        ((), {"OMP_THREAD_LIMIT": "1"}),
    ],
)
def test_limits_from_before_the_start(arguments, environment):
    assert started(*arguments, **environment) == NONE


@pytest.mark.slow
@pytest.mark.parametrize("value", ["OMP_DYNAMIC=true", "OMP_THREAD_LIMIT=2", "OMP_NUM_THREADS=2"])
def test_openmp_may_give_fewer_threads_than_asked(value):
    name, value = value.split("=")
    found = started(**{name: value})
    assert {**found, "two": 0, "all": 0} == NONE
    assert found["two"] <= 1 and found["all"] <= os.cpu_count()


@pytest.mark.slow
def test_a_taskset_is_obeyed():
    first = min(os.sched_getaffinity(0))
    assert started(command=("taskset", "-c", str(first))) == NONE


STACK = """
import warnings
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    from slide import SparseMLPClassifier
    SparseMLPClassifier((16,), max_iter=1, n_jobs=2).fit([[0.0], [1.0]] * 50, [0, 1] * 50)
print([str(w.message) for w in seen if "OMP_STACKSIZE" in str(w.message)])
"""


@pytest.mark.parametrize("size", ["16k", " 16 K ", "16384B", "16", "64k", "1M", "none"])
def test_threads_without_room_for_a_stack_are_not_started(size):
    done = subprocess.run(
        [sys.executable, "-c", STACK], cwd=ROOT, env={**os.environ, "OMP_STACKSIZE": size},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ("64 KiB" in done.stdout) == ("16" in size)
