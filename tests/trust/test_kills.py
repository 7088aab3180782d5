"""Tests that a path always holds a whole model, even if processes are killed or disks are full."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import slide
from slide import SparseMLPClassifier

ROOT = Path(slide.__file__).parents[1]

# A process without threads forks children that save and are killed: each takes below 0.1 s.
KILLS = """
import json, os, random, shutil, signal, sys, time
from slide import SparseMLPClassifier

folder, n_tries = sys.argv[1], int(sys.argv[2])
names = ("old", "new")
models = {name: SparseMLPClassifier.load(f"{folder}/{name}") for name in names}
files = {name: open(f"{folder}/{name}", "rb").read() for name in names}
os.mkdir(f"{folder}/place")
path = f"{folder}/place/model"
chance = random.Random(0)

def restore():
    shutil.rmtree(f"{folder}/place")
    os.mkdir(f"{folder}/place")
    with open(path, "wb") as file:
        file.write(files["old"])

def same(one, other):
    arrays = [[*m.coefs_, *m.intercepts_, m._fitted.network.layers[0].w_m] for m in (one, other)]
    return all(a.tobytes() == b.tobytes() for a, b in zip(*arrays, strict=True))

durations = []
for _ in range(9):
    restore()
    start = time.perf_counter()
    models["new"].save(path)
    durations.append(time.perf_counter() - start)
duration = sorted(durations)[4]

counts = {"old": 0, "new": 0, "temporaries": 0, "ms": 1000 * duration}
for _ in range(n_tries):
    restore()
    ready, begin = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(begin, b"x")
        models["new"].save(path)
        time.sleep(60)  # to be killed here at the latest
        os._exit(1)
    os.read(ready, 1)
    time.sleep(chance.uniform(0, 3 * duration))
    os.kill(child, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    os.close(ready), os.close(begin)
    with open(path, "rb") as file:
        content = file.read()
    found = next(name for name in names if files[name] == content)
    loaded = SparseMLPClassifier.load(path)
    assert [same(loaded, models[name]) for name in names] == [name == found for name in names]
    counts[found] += 1
    left = set(os.listdir(f"{folder}/place")) - {"model"}
    assert len(left) <= 1 and all(name.startswith(".model.") for name in left)
    counts["temporaries"] += len(left)
print(json.dumps(counts))
"""


@pytest.fixture
def two_models(tmp_path, planted):
    """Save a model of 4 MB as "old", and the same one trained further as "new"."""
    X, y = planted
    model = SparseMLPClassifier((1500,), max_iter=1, random_state=0).fit(X, y)
    model.save(tmp_path / "old")
    model.partial_fit(X, y).save(tmp_path / "new")
    return tmp_path


@pytest.mark.slow
def test_saves_killed_at_any_moment_leave_a_whole_model(two_models):
    done = subprocess.run(
        [sys.executable, "-c", KILLS, str(two_models), "400"],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    print(counts)
    assert counts["old"] + counts["new"] == 400
    # Kills before, in the middle of, and after the writing.
    assert counts["new"] > 0
    assert counts["old"] > counts["temporaries"] >= 20


# ----------------------------------------------------------- full devices --


@pytest.mark.parametrize("limit", [0, 100, 10_000, 500_000])
def test_a_save_beyond_the_size_limit_leaves_the_old_file(limit, two_models):
    model = SparseMLPClassifier.load(two_models / "new")
    path = two_models / "old"
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores the signal that the system sends as well.
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError, match=f"{path}.*too large"):
            model.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert sorted(os.listdir(two_models)) == ["new", "old"]


@pytest.fixture
def tiny_device(tmp_path):
    """A file system of 64 kB, if this process may mount one."""
    folder = tmp_path / "device"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_device_keeps_the_old_file(tiny_device, planted, two_models):
    path = tiny_device / "model"
    small = SparseMLPClassifier((4,), max_iter=1, random_state=0).fit(*planted)
    small.save(path)
    before = path.read_bytes()
    with pytest.raises(OSError, match=f"{path}.*No space left"):
        SparseMLPClassifier.load(two_models / "new").save(path)
    assert path.read_bytes() == before
    assert os.listdir(tiny_device) == ["model"]
    twin = SparseMLPClassifier.load(path)
    np.testing.assert_array_equal(twin.predict_proba(planted[0]), small.predict_proba(planted[0]))
