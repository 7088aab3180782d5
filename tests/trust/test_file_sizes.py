"""Sizes that a model file only says take no memory, and no values take more than its size explains.

A file may take 4 times its size and 64 MB. The limit of the process's address space enforces it.
"""

import json
import struct

import numpy as np
import pytest
from helpers.hostile import memory_limit
from helpers.mutants import Tensor, file_of, parts_of
from helpers.small_files import model_file

from slide import SparseMLPClassifier

N = 6_000_000  # bytes of long JSON: enough for half a gigabyte of empty lists


def load(path, content):
    path.write_bytes(content)
    with memory_limit(4 * len(content) + (64 << 20)):
        return SparseMLPClassifier.load(path)


def put(plain, *keys, **values):
    for key in keys:
        plain = plain[key]
    plain.update(values)


# ---------------------------------------------------------------------- sizes of arrays --


def many_values(plain, tensors):
    tensors["prototypes.values"] = Tensor("F32", [2**33, 0], b"")


def many_labels(plain, tensors):
    tensors["prototypes.labels"] = Tensor("I32", [2**40, 0], b"")


def many_directions(plain, tensors):
    search = {"n_directions": 2**31 - 1, "n_tables": 255, "n_hash_bits": 16}
    put(plain, "network", "settings", "layers", 0, "search", **search)
    tensors["layers.0.retrieval.directions.vectors"] = Tensor("F32", [2**33, 0], b"")


def many_tables(plain, tensors):
    search = {"n_tables": 255, "n_hash_bits": 16}
    put(plain, "network", "settings", "layers", 1, "search", **search)


def many_classes(plain, tensors):
    put(plain, "network", n_classes=1_000_000)
    put(plain, "network", "settings", "layers", 1, "search", n_tables=255, n_hash_bits=16)
    tensors["junk"] = Tensor("U8", [32_000_100], bytes(32_000_100))


def many_features(plain, tensors):
    put(plain, "network", n_features=2**31 - 1)


def a_wide_layer(plain, tensors):
    put(plain, "network", hidden_layer_sizes=[2**31 - 1])


def many_layers(plain, tensors):
    layer = plain["network"]["settings"]["layers"][0]
    put(plain, "network", hidden_layer_sizes=[1] * 20_000, input_lengths=[1.0] * 20_001)
    put(plain, "network", "settings", layers=[layer] * 20_001)


def wide_texts(plain, tensors):
    plain["classes_dtype"] = "<U6000000"
    text = json.dumps(["a", "b", "c", "d", "e" * 6_000_000]).encode()
    tensors["classes"] = Tensor("U8", [len(text)], text)


SIZES = {
    "prototypes": [many_values, many_labels, many_features],
    "coarse": [many_directions],
    "wta": [many_tables, many_classes],
    "dwta": [many_tables],
    "minhash": [many_tables, many_classes],
    "simhash": [many_tables, many_classes],
    "estimate": [many_directions, many_tables],
    "dense": [a_wide_layer, many_layers],
    "texts": [wide_texts],
}


@pytest.mark.parametrize(
    ("kind", "change"), [(kind, change) for kind, changes in SIZES.items() for change in changes]
)
def test_a_size_that_no_array_has_takes_no_memory(kind, change, tmp_path):
    text, tensors = parts_of(model_file(kind))
    plain = json.loads(text)
    change(plain, tensors)
    with pytest.raises(ValueError, match="no model that can be loaded"):
        load(tmp_path / "model", file_of(plain, tensors))


# ------------------------------------------------------------------------ values in JSON --


def many(item):
    return "[" + ",".join([item] * (N // (len(item) + 1))) + "]"


VALUES = {
    "lists": many("[]"),
    "dicts": many('{"a":0}'),
    "keys": "{" + ",".join(f'"{i:07d}":0' for i in range(N // 11)) + "}",
    "numbers": many("0.5"),
    "texts": many('"aa"'),
    "digits": "9" * N,
    "a text": '"' + "x" * N + '"',
    "a text of wide characters": '"' + "x" * N + '\\ud83d\\ude00"',
    "nested lists": "[" * N,
    "a tuple": '{"tuple":' + many("1") + "}",
    "an array": '{"numpy":{"dtype":"<f16","values":' + many("1") + "}}",
}
PLACES = [("loss_curve",), ("network", "settings", "more")]


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_values_take_no_more_than_the_size_explains(place, values, tmp_path):
    text, tensors = parts_of(model_file("dense"))
    plain = json.loads(text)
    plain["format"] = 1  # without checksums
    put(plain, *place[:-1], **{place[-1]: "@here"})
    content = with_text(json.dumps(plain).replace('"@here"', VALUES[values]), tensors)
    with pytest.raises(ValueError, match="no model that can be loaded"):
        load(tmp_path / "model", content)


@pytest.mark.parametrize("values", [*VALUES, "bytes"])
def test_texts_take_no_more_than_the_size_explains(values, tmp_path):
    text, tensors = parts_of(model_file("texts"))
    data = b'["' + b"\xf0\x9f\x98\x80" + b"x" * N + b'"]'
    if values != "bytes":
        data = VALUES[values].encode()
    tensors["classes"] = Tensor("U8", [len(data)], data)
    with pytest.raises(ValueError, match="no model that can be loaded"):
        load(tmp_path / "model", file_of(json.loads(text), tensors))


HEADS = {
    "sides": '"more":{"dtype":"U8","shape":' + many("0") + ',"data_offsets":[0,0]}',
    "arrays": ",".join(
        f'"{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for i in range(N // 60)
    ),
    "a name": '"' + "x" * N + '":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}',
    "a wide name": '"' + "x" * N + '\U0001f600":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}',
    "an escape": '"' + "x" * N + '\\ud83d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}',
}


@pytest.mark.parametrize("head", HEADS)
def test_heads_take_no_more_than_the_size_explains(head, tmp_path):
    text, tensors = parts_of(model_file("dense"))
    content = with_text(text, tensors, HEADS[head])
    with pytest.raises(ValueError, match="no model that can be loaded"):
        load(tmp_path / "model", content)


def with_text(text, tensors, more=None):
    """A file whose JSON is `text`, with `more` in its head."""
    content = file_of({"format": 1}, tensors)
    size = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:size])
    header["__metadata__"]["slide"] = text
    head = json.dumps(header).encode()
    if more is not None:
        head = head[:-1] + b"," + more.encode() + b"}"
    return struct.pack("<Q", len(head)) + head + content[size:]


# ------------------------------------------------------------- what must still be loaded --


def test_a_long_training_is_loaded(tmp_path):
    text, tensors = parts_of(model_file("dense"))
    plain = json.loads(text)
    plain["loss_curve"] = list(np.random.default_rng(0).random(100_000))
    content = file_of({**plain, "format": 2}, tensors)
    assert load(tmp_path / "model", content).n_iter_ == 100_000


def test_many_short_names_are_loaded(tmp_path, classifier):
    x = np.eye(4, dtype=np.float32)
    names = np.array([f"{i:x}" for i in range(200_000)])
    clf = classifier(hidden_layer_sizes=(1,), max_iter=1)
    clf.partial_fit(x, names[:4], classes=names).save(tmp_path / "saved")
    twin = load(tmp_path / "model", (tmp_path / "saved").read_bytes())
    np.testing.assert_array_equal(twin.classes_, clf.classes_)


@pytest.mark.parametrize("width", [20, 1001, 100_000])
def test_labels_in_wide_arrays_are_loaded(width, tmp_path, classifier):
    y = np.array(["a", "b", "cc"], f"U{width}")
    clf = classifier(max_iter=1).fit(np.eye(3), y)
    clf.save(tmp_path / "saved")
    twin = load(tmp_path / "model", (tmp_path / "saved").read_bytes())
    assert twin.classes_.tolist() == ["a", "b", "cc"]
    assert twin.classes_.dtype == (f"U{width}" if width <= 1000 else "U2")
