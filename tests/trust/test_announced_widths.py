"""Widths that a few bytes announce: nothing of that size is allocated before it is checked."""

import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
from scipy.sparse import csr_array

from slide import SparseMLPClassifier
from slide._cli.commands import main
from slide._data.coder import LabelCoder
from slide._data.target import read_target
from slide.datasets import load_xmc

WIDTH = 2**31 - 1


@contextmanager
def little_memory(n_bytes=20_000_000):
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < n_bytes
    finally:
        tracemalloc.stop()


def wide_labels():
    return csr_array((np.ones(2, np.int8), [0, 1], [0, 1, 2]), shape=(2, WIDTH))


def test_the_columns_of_an_indicator_are_not_listed_before_they_are_asked_for():
    with little_memory():
        coder = LabelCoder.from_y(read_target(wide_labels()))
        assert coder.n_classes == WIDTH
        assert coder.encode(read_target(wide_labels())).indices.tolist() == [0, 1]
    few = LabelCoder.from_y(read_target(wide_labels()[:, :5]))
    assert few.classes.tolist() == [0, 1, 2, 3, 4]
    assert few.classes is few.classes


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_network_that_the_system_does_not_grant_is_refused_in_our_words(method):
    model = SparseMLPClassifier((1 << 20,))  # 9 PB, more than an address can reach
    with pytest.raises(MemoryError, match=str(WIDTH)):
        getattr(model, method)(np.eye(2), wide_labels())
    assert not hasattr(model, "classes_")


@pytest.mark.parametrize(
    "header", [b"2 5 500000000", b"2 5 2147483647", b"2 2147483647 1999999999"]
)
def test_the_header_of_a_data_file(header, tmp_path, capsys):
    path = tmp_path / "data"
    path.write_bytes(header + b"\n0,2 1:0.5 3:1\n1 0:2\n")
    with little_memory():
        assert load_xmc(path)[1].nnz == 3
        assert main(["train", str(path), str(tmp_path / "model")]) == 1
    assert "line 1: the header announces too many labels" in capsys.readouterr().err


@pytest.mark.parametrize("label", [2_000_000, 100_000_000, WIDTH - 1])
def test_one_label_of_a_data_file(label, tmp_path, capsys):
    path = tmp_path / "data"
    path.write_bytes(b"3,7 1:1 2:1\n5 2:1\n3,%d 1:1\n" % label)
    with little_memory():
        assert main(["train", str(path), str(tmp_path / "model")]) == 1
    assert f"line 3: the label {label} is too large" in capsys.readouterr().err


def test_labels_of_propensities_are_held_to_the_same(tmp_path, capsys):
    files = {"train": b"1 2 2000000000\n0 0:1\n", "data": b"2 2 3\n0 0:1\n1 1:1\n"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    model = tmp_path / "model"
    SparseMLPClassifier((4,), max_iter=1).fit(np.eye(2), np.eye(2, 3, dtype=int)).save(model)
    with little_memory():
        line = ["evaluate", str(model), str(tmp_path / "data"), "--train", str(tmp_path / "train")]
        assert main(line) == 1
    assert "line 1: the header announces too many labels" in capsys.readouterr().err
