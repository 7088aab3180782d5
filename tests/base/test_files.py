"""Tests of files: the format of arrays, checksums, files that appear whole or not at all."""

import json
import os
import re
import stat
import struct

import ml_dtypes
import numpy as np
import pytest

from slide import SparseMLPClassifier
from slide._base.files import replacing
from slide._base.named_arrays import forms_of
from slide._saving.tensors import TensorFile, checksum, write_tensors
from slide.datasets import make_extreme_classification

ARRAYS = {
    "a": np.arange(12, dtype=np.int32).reshape(3, 4),
    "b": np.array([True, False, True]),
    "none": np.zeros((0, 5), np.float64),
    "wide": np.array([[0, 2**64 - 1]], np.uint64),
    "half": np.array([1, -2.5], ml_dtypes.bfloat16),
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.safetensors"
    path.touch()
    return path


@pytest.fixture(scope="module")
def small():
    """A model with tables and text classes whose file is small, and rows to predict."""
    X, y = make_extreme_classification(200, 30, 6, n_nonzero=8, n_informative=4, random_state=0)
    names = np.array([f"class {i}" for i in range(6)])
    model = SparseMLPClassifier(
        (8,), active_fraction=(0.5, 0.5), retrieval="rerank", n_tables=2, n_hash_bits=2,
        max_iter=1, random_state=0,
    )  # fmt: skip
    return model.fit(X, names[y]), X[:20]


# -------------------------------------------------- arrays in safetensors format --


def test_arrays_come_back(path):
    write_tensors(path, ARRAYS, {"text": "\u4e2d\n"})
    with TensorFile(path) as file:
        assert file.metadata == {"text": "\u4e2d\n"}
        assert file.names == ARRAYS.keys()
        file.check(forms_of(ARRAYS))
        for name, array in ARRAYS.items():
            again = file.read(name)
            assert again.dtype == array.dtype
            np.testing.assert_array_equal(again, array)


def test_the_rights_of_the_file_stay(path):
    os.chmod(path, 0o640)
    write_tensors(path, ARRAYS, {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def header_of(**changes):
    entry = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **changes}
    return json.dumps({"x": entry}).encode()


HEADERS = {
    "not JSON": b"{",
    "a list": b"[]",
    "no entry": b'{"x": 1}',
    "deep": b"[" * 10**5,
    "a huge number": b'{"x": ' + b"9" * 10**5 + b"}",
    "no text": b"\xff",
    "more": header_of(more=1),
    "objects": header_of(dtype="O"),
    "code": header_of(dtype="__import__('os')"),
    "no dtype": header_of(dtype=None),
    "negative": header_of(shape=[-2, -2]),
    "fractions": header_of(shape=[2.0, 2.0]),
    "true": header_of(shape=[True, 4]),
    "many dimensions": header_of(shape=[1] * 40 + [4]),
    "huge": header_of(shape=[10**18, 10**18]),
    "huge and empty": header_of(shape=[10**30, 0], data_offsets=[0, 0]),
    "hole": header_of(shape=[3], data_offsets=[4, 16]),
    "short": header_of(shape=[3], data_offsets=[0, 12]),
    "beyond": header_of(shape=[5], data_offsets=[0, 20]),
    "overlap": json.dumps({
        name: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for name in "xy"
    }).encode(),
}  # fmt: skip


@pytest.mark.parametrize("kind", HEADERS)
def test_refuses_a_hostile_header(kind, path):
    path.write_bytes(struct.pack("<Q", len(HEADERS[kind])) + HEADERS[kind] + bytes(16))
    with pytest.raises(ValueError, match="is no model that can be loaded"):
        SparseMLPClassifier.load(path)


@pytest.mark.parametrize("length", [17, 10**8 + 1, 2**63, 2**64 - 1])
def test_refuses_a_header_longer_than_the_file(length, path):
    path.write_bytes(struct.pack("<Q", length) + bytes(16))
    with pytest.raises(ValueError, match="is no model that can be loaded"):
        SparseMLPClassifier.load(path)


# --------------------------------------------------------------- checksums --


def test_a_checksum_is_of_name_form_and_bytes():
    array = ARRAYS["a"]
    others = [
        checksum("b", array), checksum("a", array.reshape(4, 3)), checksum("a", array + 1),
        checksum("a", array.view(np.uint32)),
    ]  # fmt: skip
    assert len({checksum("a", array), *others}) == 5
    assert checksum("a", array) == checksum("a", array.copy())


def test_a_damaged_array_is_named(small, path):
    small[0].save(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with TensorFile(path) as file:
        arrays = file.names
    with pytest.raises(ValueError, match=r"the array '(.*)' is damaged") as error:
        SparseMLPClassifier.load(path)
    assert re.search("'(.*)'", str(error.value))[1] in arrays


@pytest.mark.parametrize("missing", ["checksum", "checksums"])
def test_format_2_needs_its_checksums(missing, small, path):
    small[0].save(path)
    with TensorFile(path) as file:
        plain = json.loads(file.metadata["slide"])
        arrays = {name: file.read(name) for name in file.names}
    del plain[missing]
    write_tensors(path, arrays, {"slide": json.dumps(plain)})
    with pytest.raises(ValueError, match="JSON is damaged"):
        SparseMLPClassifier.load(path)


def test_any_wrong_byte_is_found_or_harmless(small, tmp_path, path):
    model, X = small
    model.save(path)
    whole, scores = path.read_bytes(), model.decision_function(X)
    start = 8 + int.from_bytes(whole[:8], "little")
    rng = np.random.default_rng(0)
    # Places to damage: a tenth of the header, all of its start and end, some of the data.
    places = {*range(64), *range(start - 64, start), *rng.choice(start, start // 10).tolist()}
    places |= set(rng.integers(start, len(whole), 500).tolist())
    flips = [(place, 1 << rng.integers(8)) for place in sorted(places)]
    assert_found_or_harmless(path, whole, flips, scores, X, tmp_path / "again")


@pytest.mark.slow
def test_any_wrong_byte_at_all_is_found_or_harmless(small, tmp_path, path):
    model, X = small
    model.save(path)
    whole, scores = path.read_bytes(), model.decision_function(X)
    start = 8 + int.from_bytes(whole[:8], "little")
    rng = np.random.default_rng(1)
    flips = [(place, 1 << bit) for place in range(start) for bit in range(8)]
    flips += [(place, int(rng.integers(1, 256))) for place in range(start, len(whole))]
    n_loaded = assert_found_or_harmless(path, whole, flips, scores, X, tmp_path / "again")
    print(f"{len(flips)} wrong bytes, {n_loaded} harmless ones")


def assert_found_or_harmless(path, whole, flips, scores, X, again):
    """Check that a file with one wrong byte is refused, or gives the same model."""
    n_loaded = 0
    with open(path, "r+b", buffering=0) as file:
        for place, flip in flips:
            os.pwrite(file.fileno(), bytes([whole[place] ^ flip]), place)
            try:
                model = SparseMLPClassifier.load(path)
            except ValueError as error:
                assert str(path) in str(error)
            else:
                n_loaded += 1
                model.save(again)
                assert again.read_bytes() == whole, (place, flip)
            os.pwrite(file.fileno(), whole[place : place + 1], place)
    np.testing.assert_array_equal(SparseMLPClassifier.load(path).decision_function(X), scores)
    assert n_loaded < len(flips) / 10
    return n_loaded


# --------------------------------------------------------------- replacing --


def test_a_new_file_has_the_rights_of_any_other(small, path, tmp_path):
    path.unlink()
    small[0].save(path)
    (tmp_path / "other").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def test_a_temporary_tells_whose_it_is(path):
    with replacing(str(path)) as temporary:
        folder, name = os.path.split(os.path.dirname(temporary))
        assert name.startswith(".model.safetensors.") and name.endswith(".tmp")
        assert folder == str(path.parent)
    long = path.with_name("\u4e2d" * 80)
    with replacing(str(long)) as temporary:
        pass
    assert os.listdir(path.parent) == [path.name, long.name] or long.exists()


def test_refuses_a_pipe_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a plain file"):
        SparseMLPClassifier.load(tmp_path / "pipe")
