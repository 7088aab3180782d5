"""Rows of text, ``label,label feature:value ...``: what is right is parsed by scikit-learn.

Its parser makes floats of labels, so the labels are read here. A line that it cannot parse is read
once more, for words about what is wrong.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from scipy.sparse import csr_array
from sklearn.datasets import load_svmlight_file

from slide._base.arrays import Array
from slide._base.handlers import raise_from_handler
from slide._base.values import MAX_INT, cut

if TYPE_CHECKING:
    from slide._base.text_files import Lines

_PLAIN = b"0123456789+-.eE,: \t"  # the only bytes of most rows
_INTEGER = re.compile(rb"[+-]?\d+")
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_QID = re.compile(rb"^(\s*(?:[^\s:]+\s+)?)qid:[+-]?\d+(?=\s|$)")
_LONG = 11  # digits of an id that is too large for sure
_EXACT = 2**53  # floats are exact integers below
ROW = "a row is 'label,label feature:value feature:value'"


class TextRows:
    """The rows of a text file.

    Parameters
    ----------
    lines : slide._base.text_files.Lines
        From the first row on.

    Attributes
    ----------
    n_features : int
        The largest feature of the file, plus 1.
    labels : int64 ndarray
        Labels of the first row, then of the second, and so on.
    indptr : int64 ndarray of shape (n_rows + 1,)
        Where the labels of each row start.
    strange : tuple (line, text) or None
        The first label that is a number, but no 64-bit integer. `labels` has 0 in its place.

    Raises
    ------
    ValueError
        When a line is no row.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._line = b""  # that is parsed at the moment
        self._labels, self._counts = array("q"), array("q")
        self.strange: tuple[int, str] | None = None
        # The rows after which more lines than before are no rows, and how many then.
        self._jumps, self._n_other = [0], [lines.at]
        self._is_read = False
        try:
            x, _ = load_svmlight_file(self, dtype=np.float32, zero_based=True)
        except (ValueError, OverflowError) as error:
            raise_from_handler(error)
            # At the end no line is at fault, but the numbers of all of them.
            words = None if self._is_read else fault_of(self._line)
            raise ValueError(words or cut(str(error))) from error
        self._x = x
        self.n_features: int = x.shape[1]
        self.labels = np.frombuffer(self._labels, np.int64)
        self.indptr = np.zeros(len(self._counts) + 1, np.int64)
        np.cumsum(np.frombuffer(self._counts, np.int64), out=self.indptr[1:])
        del self._labels, self._counts

    def read(self) -> NoReturn:
        """Never called: `load_svmlight_file` only asks whether a file has it, and then iterates."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[bytes]:
        """The rows for scikit-learn's parser, with 0 in place of their labels."""
        for line in self._rows():
            self._line = line
            n_other = self._lines.at - len(self._counts) - 1
            if n_other != self._n_other[-1]:
                self._jumps.append(len(self._counts))
                self._n_other.append(n_other)
            yield b"0 " + self._take_labels(line)
        self._is_read = True

    def features(self, n_features: int) -> csr_array:
        """X with int32 indices; ids and values that it cannot hold are refused."""
        x = self._x
        taken = f"an integer in [0, {n_features})"
        self._check("a feature", x.indices, x.indptr, x.indices < n_features, taken)
        self._check("a value", x.data, x.indptr, np.isfinite(x.data), "a finite float32")
        self._x = _csr(x.data, x.indices, x.indptr, n_features)
        return self._x

    def indicator(self, n_labels: int) -> csr_array:
        """Y, a label indicator of int8; labels that it cannot hold are refused."""
        ids, taken = self.labels, f"an integer in [0, {n_labels})"
        self._check("a label", ids, self.indptr, (ids >= 0) & (ids < n_labels), taken)
        if self.strange is not None:
            line, label = self.strange
            raise self._error(line, f"a label must be {taken}; got {label}")
        y = _csr(np.ones(len(ids), np.int8), ids, self.indptr, n_labels)
        y.sum_duplicates()
        y.data[:] = 1
        return y

    def line_of_label(self, label: int) -> int:
        """The number of the first line that has this label."""
        return self._line_of(int(np.argmax(self.labels == label)), self.indptr)

    def line_of_feature(self, feature: int) -> int:
        """The number of the first line that has this feature."""
        return self._line_of(int(np.argmax(self._x.indices == feature)), self._x.indptr)

    def _check(self, what: str, entries: Array, indptr: Array, good: Array, taken: str) -> None:
        """Refuse the first entry of any row that is not good."""
        if not good.all():
            bad = int(np.argmin(good))
            words = f"{what} must be {taken}; got {entries[bad]}"
            raise self._error(self._line_of(bad, indptr), words)

    def _line_of(self, place: int, indptr: Array) -> int:
        """The number of the line that holds an entry of a row."""
        row = int(np.searchsorted(indptr, place, side="right")) - 1
        return row + 1 + self._n_other[bisect_right(self._jumps, row) - 1]

    def _error(self, line: int, words: str) -> ValueError:
        self._lines.at = line
        return ValueError(words)

    def _rows(self) -> Iterator[bytes]:
        """The lines that are rows, without comments, qid and line end."""
        for whole in self._lines:
            line = whole.rstrip(b"\r\n")
            if line.translate(None, _PLAIN):
                line = _QID.sub(rb"\1", line.partition(b"#")[0], count=1)
                check_bytes(line)
            if line and not line.isspace():
                yield line

    def _take_labels(self, line: bytes) -> bytes:
        """Read the labels of a row, and return its features."""
        parts = line.split(None, 1)
        if not parts or b":" in parts[0]:
            features, n_labels = line, 0
        else:
            features = parts[1] if len(parts) > 1 else b""
            tokens = parts[0].split(b",")
            n_labels = len(tokens)
            try:
                self._labels.extend(array("q", map(int, tokens)))
            except (ValueError, OverflowError):
                self._labels.extend(map(self._unusual_label, tokens))
        self._counts.append(n_labels)
        # The last feature is the largest. Here, because the parser would not tell its line.
        colon = features.rfind(b":")
        if (
            colon >= _LONG
            and features[colon - _LONG : colon].isdigit()
            and (words := fault_of(line))
        ):
            raise ValueError(words)
        return features

    def _unusual_label(self, token: bytes) -> int:
        """A label that is not written as an integer of 64 bits."""
        if _INTEGER.fullmatch(token) is None:
            if _NUMBER.fullmatch(token) is None:
                raise ValueError(_fault_of_label(token))
            value = float(token)
            if value == value // 1 and abs(value) < _EXACT:
                return int(value)
        elif len(token) < 20 and abs(int(token)) < 2**63:
            return int(token)
        self.strange = self.strange or (self._lines.at, _shown(token))
        return 0


def _csr(data: Array, indices: Array, indptr: Array, n_columns: int) -> csr_array:
    """A csr_array with int32 indices, and an indptr of int32 if that can count the entries."""
    dtype = np.int32 if indptr[-1] <= MAX_INT else np.int64
    arrays = data, indices.astype(np.int32), indptr.astype(dtype)
    return csr_array(arrays, shape=(len(indptr) - 1, n_columns))


# ----------------------------------------------------------- what is wrong --


def check_bytes(line: bytes) -> None:
    """Refuse a row with bytes that no row has; they may look like a number to Python."""
    if line.translate(None, _PLAIN):
        raise ValueError(fault_of(line) or f"{ROW}; got {_shown(line)}")


def fault_of(line: bytes) -> str | None:
    """Say what is wrong in a line that is no row; None if nothing is found."""
    if b"\r" in line:
        return "a line must end in \\n or \\r\\n; got \\r without \\n within it"
    entries = line.split()
    if entries and b":" not in entries[0]:
        for label in entries.pop(0).split(b","):
            if not _NUMBER.fullmatch(label):
                return _fault_of_label(label)
    for entry in entries:
        words = _fault_of_entry(entry)
        if words:
            return words
    ids = [int(entry.split(b":")[0]) for entry in entries]
    for i, j in pairwise(ids):
        if j <= i:
            return f"the features of a row must rise, each at most once; got {j} after {i}"
    return None


def _fault_of_label(label: bytes) -> str:
    if not label:
        return f"{ROW}; a label is missing before or after a comma"
    return f"a label must be an integer; got {_shown(label)}; number the labels from 0"


def _fault_of_entry(entry: bytes) -> str | None:
    shown = _shown(entry)
    feature, _, value = entry.partition(b":")
    if b":" not in entry:
        return f"{ROW}; got {shown} among the features, without a colon"
    if b":" in value and _INTEGER.fullmatch(feature):
        return f"{ROW}; got {shown}: is a space missing, or a colon too many?"
    if not feature or not value:
        return f"{ROW}, without spaces around the colon; got {shown}"
    if not _INTEGER.fullmatch(feature):
        return f"a feature must be an integer from 0; got {shown}; number the features"
    digits = feature.lstrip(b"+-0")
    if feature.startswith(b"-") and digits:
        return f"a feature must be an integer from 0; got {shown}"
    if len(digits) >= _LONG or int(feature) >= MAX_INT:
        return (
            f"a feature must be an integer in [0, {MAX_INT}); got {_shown(feature)}; if it is a "
            "hash, take it modulo the number of features that you want, such as 2**20"
        )
    if not _NUMBER.fullmatch(value):
        return f"a value must be a finite number; got {shown}"
    return None


def _shown(text: bytes) -> str:
    return repr(cut(text.decode("ascii", "backslashreplace")))
