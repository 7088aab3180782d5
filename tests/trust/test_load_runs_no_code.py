"""Tests that `load` never executes code from a file."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import slide
from slide import SparseMLPClassifier
from slide._saving import model_file
from slide._saving.tensors import TensorFile, checksum, write_tensors

ROOT = Path(slide.__file__).parents[1]

# Loads the first file, then the others while Python's audit hooks watch.
WATCH = """
import json, sys, warnings
from slide import SparseMLPClassifier

warm_up, *paths = sys.argv[1:]
SparseMLPClassifier.load(warm_up)
CODE = ("exec", "compile", "import", "pickle.", "marshal.", "code.", "os.system", "os.exec",
        "os.posix_spawn", "os.spawn", "os.fork", "os.startfile", "os.putenv", "subprocess.",
        "ctypes.", "socket.", "cpython.", "sys.")
watching, seen = False, []

def audit(event, args):
    if watching and event.startswith(CODE):
        seen.append(f"{event} {args!r:.80}")

sys.addaudithook(audit)
results = {}
for path in paths:
    seen.clear()
    error = None
    watching = True
    try:
        SparseMLPClassifier.load(path)
    except Exception as caught:
        error = caught
    watching = False
    results[path] = [type(error).__name__, str(error), list(seen)]
watching = True
eval("1")
watching = False
assert len(seen) >= 2, "the audit sees nothing"
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def watched(planted, tmp_path_factory):
    """The errors of `load` and the code that ran, for each of the named files."""
    folder = tmp_path_factory.mktemp("files")
    X, y = planted
    names = np.array([f"class {i}" for i in range(40)])
    params = {"max_iter": 1, "random_state": 0}
    models = {
        "warm-up": SparseMLPClassifier((8,), **params).fit(X, y),
        "text": SparseMLPClassifier((9,), **params).fit(X, names[y]),
        "dates": SparseMLPClassifier((9,), **params).fit(X, y.astype("M8[D]")),
        "objects": SparseMLPClassifier((9,), **params).fit(X, names[y].astype(object)),
        "tables": SparseMLPClassifier(
            (9,), active_fraction=(0.5, 0.5), retrieval="rerank", weight_dtype="bfloat16", **params
        ).fit(X, y),
        "instance": SparseMLPClassifier(
            np.array([9]), random_state=np.random.RandomState(0), max_iter=1
        ).fit(X, y),
    }
    for name, model in models.items():
        model.save(folder / name)
    for name, change in HOSTILE.items():
        forge(folder / "text", folder / name, change)
    (folder / "pickle").write_bytes(PICKLE)
    paths = [str(path) for path in sorted(folder.iterdir()) if path.name != "warm-up"]
    done = subprocess.run(
        [sys.executable, "-c", WATCH, str(folder / "warm-up"), *paths],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {Path(path).name: result for path, result in json.loads(done.stdout).items()}


def forge(source, path, change):
    """A file with a change in its JSON or arrays, and with the right checksums."""
    with TensorFile(source) as file:
        plain = json.loads(file.metadata["slide"])
        arrays = {name: file.read(name) for name in file.names}
    del plain["checksum"], plain["checksums"]
    change(plain, arrays)
    plain["checksums"] = {name: checksum(name, array) for name, array in arrays.items()}
    plain["checksum"] = model_file._text_checksum(plain)
    path.touch()
    write_tensors(path, arrays, {"slide": json.dumps(plain)})


def put(*keys, value):
    def change(plain, arrays):
        for key in keys[:-1]:
            plain = plain[key]
        plain[keys[-1]] = value

    return change


def text(*values):
    return lambda plain, arrays: arrays.update(
        classes=np.frombuffer(json.dumps(values).encode(), np.uint8)
    )


CODE = "__import__('os').system('exit 1')"
PICKLE = b"cos\nsystem\n(S'exit 1'\ntR."
HOSTILE = {
    "dtype of objects": put("classes_dtype", value="O"),
    "dtype of code": put("classes_dtype", value=CODE),
    "dtype of a shape": put("classes_dtype", value="()i4"),
    "dtype of a structure": put("classes_dtype", value=f"({CODE},)i4,i4"),
    "dtype as a dict": put("classes_dtype", value={"names": [CODE], "formats": ["O"]}),
    "dtype of dates of code": put("classes_dtype", value=f"M8[{CODE}]"),
    "number of objects": put("params", "tol", value={"numpy": {"dtype": "O", "values": [CODE]}}),
    "number of a shape": put("params", "tol", value={"numpy": {"dtype": "()f8", "values": 1}}),
    "number of code": put("params", "tol", value={"numpy": {"dtype": "f8", "values": CODE}}),
    "a type of its own": put("params", "tol", value={"py/object": "os.system"}),
    "reduce": put("params", "tol", value={"__reduce__": ["os.system", [CODE]]}),
    "a callable parameter": put("params", "activation", value="os.system"),
    "a loss of code": put("params", "loss", value=CODE),
    "a method as parameter": put("params", "fit", value=CODE),
    "a dunder as parameter": put("params", "__class__", value="subprocess.Popen"),
    "an attribute as parameter": put("params", "_network", value=CODE),
    "a generator of code": put("rng", value={"random_state": {
        "key": CODE, "position": 0, "has_gauss": 0, "gauss": CODE}}),
    "another generator": put("rng", value={"random_state": {"bit_generator": CODE}}),
    "a container of code": put("labels", value=CODE),
    "a solver of code": put("network", "settings", "solver", value=CODE),
    "a search of code": put("network", "settings", "layers", 0, "search", value={
        "policy": CODE, "hash_family": "os.system"}),
    "a tally of code": put("network", "tally", "__class__", value=CODE),
    "more of a network": put("network", "__reduce__", value=CODE),
    "classes of code": text(*[CODE] * 40),
    "classes of dicts": text(*[{"py/object": "os.system"}] * 40),
}  # fmt: skip
HARMLESS = {"dtype of objects", "more of a network"}


@pytest.mark.parametrize("name", ["text", "dates", "objects", "tables", "instance"])
def test_a_model_loads_without_code(name, watched):
    assert watched[name] == ["NoneType", "None", []]


@pytest.mark.parametrize("name", [*HOSTILE, "pickle"])
def test_a_hostile_file_runs_no_code(name, watched):
    kind, message, seen = watched[name]
    assert seen == []
    assert kind == ("NoneType" if name in HARMLESS else "ValueError"), message
