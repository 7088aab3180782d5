"""Tests of rows of text: what scikit-learn parses is what is read, and labels stay integers."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

from slide._base.text_files import text_lines
from slide._data.text_rows import TextRows, fault_of
from slide._data.xmc import is_header


def rows_of(content):
    with text_lines("rows", io.BytesIO(content)) as lines:
        rows = TextRows(lines)
        return rows, rows.features(rows.n_features)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_reads_what_scikit_learn_writes(seed, comment):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(7, 5)) * (rng.random((7, 5)) < 0.5)
    y = rng.integers(-9, 9, 7)
    file = io.BytesIO()
    dump_svmlight_file(x, y, file, comment="two words" if comment else None)
    rows, found = rows_of(file.getvalue())
    file.seek(0)
    expected = load_svmlight_file(file, dtype=np.float32, zero_based=True)[0]
    assert (found != expected).nnz == 0
    np.testing.assert_array_equal(rows.labels, y)
    assert found.indices.dtype == np.int32


@settings(max_examples=200, deadline=None)
@given(st.text("019:., -+e#\tq\r", max_size=14))
def test_a_line_is_read_or_its_fault_is_named(line):
    content = line.encode()
    try:
        rows_of(b"1 1:1\n" + content + b"\n")
    except ValueError as error:
        assert str(error).startswith("rows, line 2: ")
        words = str(error).removeprefix("rows, line 2: ")
        assert words.startswith(
            ("a row is", "a label", "a feature", "the features", "a value", "a line")
        )


@pytest.mark.parametrize("line", [b"1 1:1", b"1,2 0:1 3:-1e5", b" 2:2", b"", b"7"])
def test_a_right_line_has_no_fault(line):
    assert fault_of(line) is None


def test_headers():
    assert is_header(b"3 4 5\n") and is_header(b" a b c\r\n")
    for line in (b"", b"1 2\n", b"1 2:1 3:1\n", b"# a b\n", b"1 2 3 4\n"):
        assert not is_header(line)
