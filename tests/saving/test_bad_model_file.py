"""Files that are not a whole model: `load` refuses them and names them."""

import gzip
import json
import pickle
from dataclasses import fields

import numpy as np
import pytest
from helpers.kinds import KINDS
from helpers.mutants import file_of, parts_of
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array
from sklearn.utils import shuffle

from slide import SparseMLPClassifier
from slide._saving import model_file
from slide._saving.tensors import checksum
from slide._settings.settings import LayerSettings, RetrievalSettings, Settings, rules_of


def test_refuses_what_is_no_model(path, saved):
    with pytest.raises(FileNotFoundError):
        SparseMLPClassifier.load(path.with_name("nothing"))
    with pytest.raises(IsADirectoryError):
        SparseMLPClassifier.load(path.parent)
    for content in (b"", b"\0" * 100, b"\xff" * 100, pickle.dumps([1, 2])):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{path.name} is no model that can be loaded"):
            SparseMLPClassifier.load(path)
    for content, what in (
        (b"", "empty"),
        (b"1 0:2 5:0.5\n" * 9, "text"),
        (pickle.dumps([1, 2]), "a pickle"),
        (gzip.compress(b"{}"), "compressed with gzip"),
        (b"PK\x03\x04" + b"\0" * 99, "a zip archive"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"must be a safetensors file; it is {what}"):
            SparseMLPClassifier.load(path)
    save_file({"x": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="not from save"):
        SparseMLPClassifier.load(path)


@pytest.fixture
def edit(saved):
    """A function that writes the saved file again with a change in its JSON or arrays."""
    return lambda change: rewrite(saved, change)


def rewrite(path, change):
    arrays = {name: array.copy() for name, array in load_file(path).items()}
    with safe_open(path, framework="numpy") as file:
        plain = json.loads(file.metadata()["slide"])
    del plain["checksum"], plain["checksums"]
    change(plain, arrays)
    if plain.get("format") == 1:
        save_file(arrays, path, {"slide": json.dumps(plain)})
        return path
    plain["checksums"] = {name: checksum(name, array) for name, array in arrays.items()}
    plain["checksum"] = model_file._text_checksum(plain)
    save_file(arrays, path, {"slide": json.dumps(plain)})
    return path


def set_in(*keys, value):
    def change(plain, arrays):
        for key in keys[:-1]:
            plain = plain[key]
        plain[keys[-1]] = value

    return change


def set_array(name, make):
    def change(plain, arrays):
        arrays[name] = make(arrays[name])

    return change


def set_first(name, value):
    def make(array):
        array[(0,) * array.ndim] = value
        return array

    return set_array(name, make)


SEARCH = ("network", "settings", "layers", 0, "search")
CHANGES = [
    (set_in("format", value=4), "newer version"),
    (set_in("format", value="1"), "format must be"),
    (set_in("params", "solver", value="lbfgs"), "solver must be"),
    (set_in("params", "depth", value=3), "depth"),
    (set_in("params", "tol", value={"code": "1"}), "type that save writes"),
    (set_in("params", "random_state", value={"random_state": {
        "key": [1] * 624, "position": 10**6, "has_gauss": 0, "gauss": 0.0}}), "word in"),
    (set_in("rng", value={"random_state": {
        "key": [0] * 624, "position": 0, "has_gauss": 0, "gauss": 0.0}}), "not all 0"),
    (set_in("rng", value=7), "rng must be"),
    (set_in("network", "n_classes", value=2**31 - 1), "do not fit"),
    (set_in("network", "n_classes", value=-1), "n_classes must be"),
    (set_in("network", "n_classes", value=20), r"layers.1.w must be float32 of shape \(20, 16\)"),
    (set_in("network", "hidden_layer_sizes", value=[10**6] * 3), "do not fit"),
    (set_in("network", "tally", "n_samples", value=0.5), "tally.n_samples must be"),
    (set_in("network", "tally", "dense_multiply_adds", value=0), "dense_multiply_adds must be"),
    (set_in("network", "input_lengths", value=[1.0]), "zip"),
    (set_in("params", "x" * 10_000, value=1), "no model that can be loaded: .{200}…$"),
    (set_in("network", "rebuild_gap", value=0.0), "rebuild_gap"),
    (set_in("network", "settings", "n_hard", value=0), "n_hard"),
    (set_in("network", "settings", "layers", 0, "n_active", value=16), "n_active must be below"),
    (set_in("network", "settings", "layers", 0, "n_active", value=7), "n_active=7"),
    (set_in("network", "settings", "layers", 1, "search", "n_wanted", value=4), "n_wanted=0"),
    (set_in(*SEARCH, "use_tables", value=False), "needs use_tables"),
    (set_in(*SEARCH, "n_directions", value=2), "estimates without tables"),
    (set_in(*SEARCH, "n_coarse", value=-1), "n_coarse must be"),
    (set_in(*SEARCH, "n_coarse", value=8), "n_coarse is for estimates without tables"),
    (set_in(*SEARCH, "n_hash_bits", value=16), "offsets must be int32"),
    (set_in(*SEARCH, "n_candidates", value=-1), "n_candidates must be"),
    (set_in(*SEARCH, "policy", value="estimate"), "unknown array|no array"),
    (set_in("classes_dtype", value="<i8"), "classes must be int64"),
    (set_in("classes_dtype", value="V2"), "classes cannot be"),
    (set_in("classes_dtype", value="U1001"), "classes of at most 8 characters"),
    (set_in("classes_dtype", value="()i4"), "a dtype must be"),
    (set_in("classes_dtype", value=["<i4"]), "a dtype must be"),
    (set_in("labels", value="csr_array"), "unknown array 'classes'"),
    (set_in("loss_curve", value=[]), "loss_curve"),
    (lambda plain, arrays: plain.pop("network"), "network"),
    (lambda plain, arrays: arrays.pop("layers.1.w_m"), "no array 'layers.1.w_m'"),
    (lambda plain, arrays: arrays.update(more=np.zeros(2)), "unknown array 'more'"),
    (set_array("layers.1.w", np.transpose), "layers.1.w must be"),
    (set_array("layers.1.w", np.float64), "layers.1.w must be float32"),
    (set_array("classes", np.atleast_2d), "texts must be bytes"),
    (lambda plain, arrays: arrays.update(feature_names=np.frombuffer(b'["a"]', np.uint8)),
     "feature_names must be 300; got 1"),
    (set_first("layers.0.w", np.nan), "layers.0.w must hold finite"),
    (set_first("layers.0.steps", -1), "steps must lie"),
    (set_first("layers.0.steps", 2**31 - 1), "steps must lie"),
    (set_first("layers.1.retrieval.tables.ids", 40), "once a table"),
    (set_first("layers.1.retrieval.tables.ids", -1), "once a table"),
    (set_array("layers.1.retrieval.tables.ids", np.zeros_like), "once a table"),
    (set_first("layers.1.retrieval.tables.offsets", 1), "must rise"),
    (set_array("layers.1.retrieval.tables.offsets", lambda a: a[:, ::-1].copy()), "must rise"),
    (set_array("classes", lambda a: a[::-1].copy()), "no model"),
    (set_array("classes", lambda a: np.frombuffer(b'["b", "a"]', np.uint8)), "rising order"),
    (set_array("classes", lambda a: np.frombuffer(b'[1, 2]', np.uint8)), "list of strings"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_refuses_wrong_content(change, message, edit):
    path = edit(change)
    with pytest.raises(ValueError, match=message) as caught:
        SparseMLPClassifier.load(path)
    assert str(path) in str(caught.value)


def test_refuses_a_dtype_that_no_array_has(saved):
    text, tensors = parts_of(saved.read_bytes())
    tensors["classes"].dtype = "F8_E4M3"
    saved.write_bytes(file_of(json.loads(text), tensors))
    with pytest.raises(ValueError, match="a dtype that no array here has"):
        SparseMLPClassifier.load(saved)


def test_refuses_windows_of_no_coordinate(path, classifier, planted):
    classifier(**KINDS["dwta"]).fit(*planted).save(path)
    for wrong in (-1, 10_000):
        rewrite(path, set_first("layers.1.retrieval.tables.hasher.windows", wrong))
        with pytest.raises(ValueError, match="windows of hash functions"):
            SparseMLPClassifier.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_coarse": -1}, "n_coarse must be"),
        ({"n_coarse": 10.5}, "n_coarse must be"),
        ({"n_coarse": 0}, "unknown array 'layers.0.retrieval.coarse'"),
        ({"use_tables": True}, "n_coarse is for estimates"),
        ({"policy": "scan"}, "n_coarse is for estimates"),
        ({"n_tables": 8, "n_hash_bits": 8}, "of more than 64 bits"),
    ],
)
def test_refuses_a_wrong_first_ranking(changes, message, path, classifier, planted):
    X, y = planted
    classifier(**KINDS["wide"]).fit(X[:50], y[:50]).save(path)
    for name, value in changes.items():
        rewrite(path, set_in(*SEARCH, name, value=value))
    with pytest.raises(ValueError, match=message):
        SparseMLPClassifier.load(path)


def test_refuses_directions_that_are_none_or_too_many(path, classifier, planted):
    X, y = planted
    classifier(**KINDS["wide"]).fit(X.toarray()[:50] + 1, y[:50]).save(path)
    name = "layers.0.retrieval.directions.vectors"
    n = len(load_file(path)[name])
    for n_wrong in (0, n + 1):
        rewrite(path, set_array(name, lambda old, n=n_wrong: np.resize(old, (n, old.shape[1]))))
        with pytest.raises(ValueError, match=f"layers.0 has {n_wrong} directions"):
            SparseMLPClassifier.load(path)


@pytest.mark.parametrize(
    "change",
    [
        set_first("columns", -1),
        set_first("columns", 2**31 - 1),
        set_array("columns", lambda ids: np.full_like(ids, ids[0])),
        set_array("columns", lambda ids: ids[:-1]),
        set_array("columns", lambda ids: ids.astype(np.int64)),
        set_in("network", "n_announced", value=3),
        set_in("network", "n_announced", value=2**31),
        set_in("network", "n_announced", value=None),
    ],
)
def test_refuses_columns_that_x_cannot_have(change, path, classifier, planted):
    X, y = planted
    wide = csr_array((X.data, X.indices, X.indptr), (X.shape[0], 100_000))
    classifier().fit(wide, y).save(path)
    rewrite(path, change)
    with pytest.raises(ValueError, match="no model that can be loaded"):
        SparseMLPClassifier.load(path)


@pytest.mark.parametrize(
    ("settings", "parts"),
    [(RetrievalSettings, set()), (LayerSettings, {"retrieval"}), (Settings, {"layers"})],
)
def test_every_setting_is_checked(settings, parts):
    assert {field.name for field in fields(settings)} == rules_of(settings).keys() | parts


def test_damaged_files_never_crash(saved, planted):
    # A forged file would have the right checksums, so take format 1, which has none.
    rewrite(saved, set_in("format", value=1))
    X, y = planted
    y = np.array([f"class {i}" for i in y % 5])
    whole, rng = saved.read_bytes(), np.random.default_rng(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    n_loaded = 0
    for trial in range(400):
        content = bytearray(whole)
        if trial % 4 == 0:
            del content[rng.integers(len(whole)) :]
        else:
            # Half of the damage is in the header, which matters most.
            limit = header if trial % 4 == 1 else len(whole)
            for place in rng.integers(limit, size=rng.integers(1, 4)):
                content[place] ^= 1 << rng.integers(8)
        saved.write_bytes(content)
        try:
            model = SparseMLPClassifier.load(saved)
        except ValueError as error:
            assert str(saved) in str(error)
            continue
        n_loaded += 1
        if trial % 10 == 1 or n_loaded < 20:
            # A model that was loaded must predict something without an error.
            with np.errstate(all="ignore"):
                model.predict_topk(X[:20], 1)
                try:
                    model.set_params(verbose=False).partial_fit(X[:20], shuffle(y)[:20])
                except (ValueError, FloatingPointError):
                    pass
    assert n_loaded < 300
