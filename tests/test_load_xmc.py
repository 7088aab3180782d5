"""Tests of reading the text format of the Extreme Classification Repository."""

import gzip
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from helpers.hostile_files import bomb
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from slide.datasets import load_xmc

FINITE = st.floats(-1e6, 1e6, width=32)


@st.composite
def xmc_data(draw):
    n_features, n_labels = draw(st.integers(1, 12)), draw(st.integers(1, 6))
    row = st.tuples(
        st.lists(st.integers(0, n_labels - 1), max_size=5),
        st.dictionaries(st.integers(0, n_features - 1), FINITE, max_size=6),
    )
    return n_features, n_labels, draw(st.lists(row, max_size=6))


def to_text(n_features, n_labels, rows, newline="\n"):
    lines = [f"{len(rows)} {n_features} {n_labels}"]
    for labels, features in rows:
        entries = [f"{feature}:{value!r}" for feature, value in sorted(features.items())]
        lines.append(" ".join([",".join(map(str, labels)), *entries]))
    return newline.join([*lines, ""]).encode()


@settings(max_examples=60, deadline=None)
@given(xmc_data(), st.booleans(), st.sampled_from(["\n", "\r\n"]), st.sampled_from([b"", b"\n \n"]))
def test_round_trip(tmp_path_factory, data, compress, newline, end):
    n_features, n_labels, rows = data
    path = tmp_path_factory.mktemp("xmc") / ("a.txt.gz" if compress else "a.txt")
    text = to_text(*data, newline) + end
    path.write_bytes(gzip.compress(text) if compress else text)
    X, Y = load_xmc(path)
    X_expected = np.zeros((len(rows), n_features), np.float32)
    Y_expected = np.zeros((len(rows), n_labels), np.int8)
    for i, (labels, features) in enumerate(rows):
        Y_expected[i, labels] = 1
        X_expected[i, list(features)] = list(features.values())
    assert isinstance(X, csr_array)
    assert isinstance(Y, csr_array)
    assert (X.dtype, X.indices.dtype) == (np.float32, np.int32)
    assert (Y.dtype, Y.indices.dtype) == (np.int8, np.int32)
    assert X.has_canonical_format
    assert Y.has_canonical_format
    assert (X.data != 0).all()
    np.testing.assert_array_equal(X.toarray(), X_expected)
    np.testing.assert_array_equal(Y.toarray(), Y_expected)


@pytest.fixture
def write(tmp_path):
    def write(content, name="data.txt"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def test_blank_lines_are_rows_and_the_end_of_the_file_is_not(write):
    X, Y = load_xmc(write(b"4 3 2\n\n1 0:1\n \n0\n\n\n"))
    np.testing.assert_array_equal(X.toarray(), [[0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(Y.toarray(), [[0, 0], [0, 1], [0, 0], [1, 0]])


def test_last_line_without_newline(write):
    X, Y = load_xmc(str(write(b"1 3 2\n1 2:5")))
    assert X[0, 2] == 5
    assert Y[0, 1] == 1


def test_a_label_many_times_counts_once(write):
    _, Y = load_xmc(write(b"1 1 2\n" + b",".join([b"1"] * 256) + b" 0:1\n"))
    assert Y.nnz == 1
    assert Y[0, 1] == 1


def test_gzip_is_told_from_its_content(write):
    text = b"1 3 2\n1 2:5\n"
    assert load_xmc(write(text, "plain.gz"))[0].nnz == 1
    assert load_xmc(write(gzip.compress(text), "compressed.txt"))[0].nnz == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "line 1: the header must be"),
        (b"\n", "line 1: the header must be"),
        (b"0 1:2\n", "line 1: the header must be"),
        (b"1 2\n", "line 1: the header must be"),
        (b"1 2 3 4\n", "line 1: the header must be"),
        (b"-1 2 3\n", "line 1: the header must be"),
        (b"1.0 2 3\n", "line 1: the header must be"),
        (b"1 0 3\n 0:1\n", "line 1: the header must be"),
        (b"1 3 0\n 0:1\n", "line 1: the header must be"),
        (b"1 2147483648 3\n 0:1\n", "line 1: the header must be"),
        (b"1 3 1000000000000000000\n 0:1\n", "line 1: the header must be"),
        (b"9" * 10_000, "line 1: the header must be"),
        (b"\xef\xbb\xbf1 2 three\n 0:1\n", "line 1: the header must be"),
        (bytes(range(256)) * 20, "it must be text, .* it is binary data"),
        (b"2 3 4\n0 0:1\n", "announces 2 rows, the file has 1"),
        (b"5 3 4\n\n\n", "announces 5 rows, the file has 2"),
        (b"1 3 4\n0 0:1\n\n1 0:1\n", "line 4: more rows than the 1"),
        (b"2 3 4\n0 0:1\n1 3:1\n", r"line 3: a feature must be an integer in \[0, 3\); got 3"),
        (b"2 3 4\n0 0:1\n1 99999999999:1\n", "line 3: "),
        (b"2 3 4\n0 0:1\n1 -1:1\n", "line 3: a feature must be an integer from 0; got '-1:1'"),
        (b"2 3 4\n\n1,4 0:1\n", r"line 3: a label must be an integer in \[0, 4\); got 4"),
        (b"2 3 4\n\n-1 0:1\n", "line 3: a label must be"),
        (b"2 3 4\n\n0.5 0:1\n", "line 3: a label must be"),
        (b"2 3 4\n\n1e999 0:1\n", "line 3: a label must be"),
        (b"2 3 4\n\n1,,2 0:1\n", "line 3: "),
        (b"2 3 4\n\n1, 2 0:1\n", "line 3: "),
        (b"2 3 4\n\n 1\n", "line 3: the line has no labels, yet"),
        (b"2 3 4\n\n1 2\n", "line 3: "),
        (b"2 3 4\n\n1 2:\n", "line 3: "),
        (b"2 3 4\n\n1 1:2:3\n", "line 3: "),
        (b"2 3 4\n\n1 1:1e39\n", "line 3: a value must be a finite float32; got inf"),
        (b"2 3 4\n\n1 1:nan\n", "line 3: a value must be a finite number; got '1:nan'"),
        (b"2 3 4\n\n1 1:1 0:1\n", "line 3: the features of a row must rise.*; got 0 after 1"),
        (b"2 3 4\n\n1 1:1 1:1\n", "line 3: the features of a row must rise.*; got 1 after 1"),
        (b"2 3 4\n\n1 1:1 # 2:1\n", "line 3: a row is .*; got '#' among the features, without a"),
        (b"2 3 4\n\n1 qid:7 2:1\n", "line 3: a feature must be an integer from 0; got 'qid:7'"),
        (b"2 3 4\n\n1 1:1\x002:1\n", r"line 3: a row is .*; got '1:1.*x002:1': is a space missing"),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_hostile_files(write, content, reason, compress):
    path = write(gzip.compress(content) if compress else content)
    with pytest.raises(ValueError, match=reason) as caught:
        load_xmc(path)
    assert str(caught.value).startswith(str(path))


def test_damaged_gzip(write):
    rng = np.random.default_rng(0)
    text = b"500 10 9\n" + b"".join(
        b"%d 3:%d\n" % tuple(rng.integers(9, size=2)) for _ in range(500)
    )
    whole = gzip.compress(text)
    damaged = bytearray(whole)
    damaged[-6] ^= 1  # in the checksum
    broken = bytearray(whole)
    broken[60:90] = b"\xff" * 30  # in the stream
    contents = [whole[:n] for n in (2, 5, 12, len(whole) // 2, len(whole) - 1)]
    for content in [*contents, bytes(damaged), bytes(broken), whole + b"rubbish"]:
        path = write(content)
        with pytest.raises(ValueError, match="damaged or truncated gzip file") as caught:
            load_xmc(path)
        assert str(path) in str(caught.value)
    load_xmc(write(whole))


def test_the_header_allocates_nothing(write):
    path = write(b"1000000000000000000 2147483647 2147483647\n0 0:1\n")
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="announces 1000000000000000000 rows, the file has 1"):
            load_xmc(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "piece", [b"1", b"1:1 ", b"1,", b" "], ids=["id", "pairs", "labels", "blank"]
)
def test_a_gzip_bomb_of_one_line_is_refused_early(write, piece):
    path = write(bomb(piece, 20_000_000 // len(piece), b"2 3 4\n0 0:1\n1 "))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"line 3: a line has more than \d+ bytes"):
            load_xmc(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_of_blank_lines_is_read_in_blocks(write):
    content = bomb(b"\n", 5_000_000, b"1 3 4\n0 0:1\n")
    assert load_xmc(write(content))[0].shape == (1, 3)
    with pytest.raises(ValueError, match="line 5000004: more rows than the 1 that"):
        load_xmc(write(content + gzip.compress(b"\n0 0:1\n")))


def test_long_rows_are_read(write):
    features = b" ".join(b"%d:1" % i for i in range(200_000))
    text = b"1 200000 1\n0 " + features + b"\n"
    for content in (text, gzip.compress(text)):
        assert load_xmc(write(content))[0].nnz == 200_000


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_xmc(tmp_path / "nothing.txt")


def data_folder():
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SLIDE_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no data: {folder} is not a folder; set SLIDE_DATA")
    return folder


@pytest.mark.parametrize(
    ("name", "X_shape", "n_labels", "n_unlabelled", "labels_per_row"),
    [("bibtex", (7395, 1836), 159, 0, 2.402), ("delicious", (16105, 500), 983, 14, 19.020)],
)
def test_real_files(name, X_shape, n_labels, n_unlabelled, labels_per_row):
    X, Y = load_xmc(data_folder() / "mulan" / f"{name}.xmc.txt.gz")
    assert X.shape == X_shape
    assert Y.shape == (X_shape[0], n_labels)
    assert (np.diff(Y.indptr) == 0).sum() == n_unlabelled
    assert Y.nnz / Y.shape[0] == pytest.approx(labels_per_row, abs=5e-4)
