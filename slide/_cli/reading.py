"""Labelled rows from files, for the command line: XMC text format and svmlight format."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from scipy.sparse import csr_array

from slide._base.arrays import Array
from slide._base.text_files import text_lines
from slide._base.values import MAX_INT
from slide._data.text_rows import ROW, TextRows
from slide._data.xmc import is_header, read_xmc

FORMATS = ("auto", "xmc", "svmlight")

# The number of labels that is believed: the first number, plus the second for each label that
# occurs. A file may have the header of a large data set and only its first lines.
_BY_LARGEST = 4096, 256
_BY_HEADER = 1 << 20, 4096


@dataclass(frozen=True)
class LabelledRows:
    """Labelled rows of a file.

    Parameters
    ----------
    path : str
        Path of the file, for messages.
    x : csr_array of shape (n_rows, n_features), dtype=float32
    indptr : int64 ndarray of shape (n_rows + 1,)
        Where the labels of each row start.
    labels : int ndarray of shape (indptr[-1],)
        Labels of the first row, then of the second, and so on.
    n_labels : int or None
        Number of labels in the header of the file; None if there is no header.
    text : slide._data.text_rows.TextRows or None
        The rows of a file without a header; they know their lines.
    """

    path: str
    x: csr_array
    indptr: Array
    labels: Array
    n_labels: int | None
    text: TextRows | None

    @property
    def counts(self) -> Array:
        """Number of labels of each row."""
        return np.diff(self.indptr)

    def target(self, n_labels: int | None = None) -> Any:
        """Make y to train on: an indicator, or labels if a svmlight file has one label per row.

        An indicator has as many columns as the file says, or `n_labels` of them.
        """
        self._check_integers()
        if self.n_labels is None and (self.counts == 1).all():
            if n_labels is not None:
                raise ValueError(
                    f"--labels is for data with several labels a row; {self.path} has one a row, "
                    "and exactly those that occur are learnt"
                )
            return self.labels
        y = self.indicator(n_labels or 1)
        if n_labels is not None and y.shape[1] > n_labels:
            raise ValueError(f"{self.path} has {y.shape[1]} labels, --labels says {n_labels}")
        return y

    def target_for(self, multilabel: bool, n_classes: int) -> Any:
        """Make y to compare predicted labels with; labels that the model lacks are never right."""
        self._check_integers()
        if multilabel:
            return self.indicator(n_classes)
        if not (self.counts == 1).all():
            raise ValueError(
                f"{self.path} must have one label a row, like the model's training rows; "
                f"row {np.argmax(self.counts != 1) + 1} has {self.counts[self.counts != 1][0]}"
            )
        return self.labels

    def indicator(self, least: int = 1) -> csr_array:
        """Make a label indicator of at least `least` columns, a csr_array of int8."""
        labels = self.labels
        good = (labels >= 0) & (labels < MAX_INT)
        if not good.all():
            bad = int(labels[~good][0])
            raise ValueError(
                f"{self._place(bad)}: where rows have several labels, they must be integers in "
                f"[0, {MAX_INT}); got {bad}"
            )
        width = max(self.n_labels or 1, int(labels.max(initial=0)) + 1)
        if width > least:
            self._check_believable(width)
        y = csr_array(
            (np.ones(len(labels), np.int8), labels.astype(np.int32), self.indptr),
            shape=(len(self.indptr) - 1, max(least, width)),
        )
        y.sum_duplicates()
        y.data[:] = 1
        return y

    def features(self, width: int) -> csr_array:
        """Make X with `width` columns; columns that the file lacks are 0."""
        n = self.x.shape[1]
        if n > width:
            raise ValueError(
                f"{self.path} has {n} features, the model takes {width}; train --features {n} "
                f"makes a model that takes them all{self._where(n - 1)}"
            )
        x = self.x
        return csr_array((x.data, x.indices, x.indptr), shape=(x.shape[0], width))

    def _check_integers(self) -> None:
        if self.text is not None and self.text.strange is not None:
            line, label = self.text.strange
            raise ValueError(
                f"{self.path}, line {line}: a label must be an integer of 64 bits; got {label}"
            )

    def _check_believable(self, width: int) -> None:
        """Refuse a number of labels that is out of proportion to those that occur."""
        n = len(np.unique(self.labels))
        free, for_each = _BY_LARGEST if self.n_labels is None else _BY_HEADER
        if width <= free + for_each * n:
            return
        if self.n_labels is None:
            what = f"{self._place(width - 1)}: the label {width - 1} is too large"
            why = "are two numbers run together"
        else:
            what = f"{self.path}, line 1: the header announces too many labels, {width}"
            why = "is it right"
        raise ValueError(
            f"{what}: only {n} different labels occur, {why}? If there are so many, train --labels "
            f"{width} takes them"
        )

    def _where(self, feature: int) -> str:
        """The line of the largest feature, if it is known."""
        if self.text is None:
            return ""
        return f"; feature {feature} is in line {self.text.line_of_feature(feature)}"

    def _place(self, label: int) -> str:
        """The path, and the first line with this label if it is known."""
        return (
            self.path
            if self.text is None
            else (f"{self.path}, line {self.text.line_of_label(label)}")
        )


def read_rows(path: str, format: str = "auto") -> LabelledRows:
    """Read a file, which may be a pipe, or standard input for "-".

    Parameters
    ----------
    path : str
        See `slide._base.text_files.text_lines` for what is decompressed.
    format : {"auto", "xmc", "svmlight"}
        "auto" reads a file whose first line is three words without a colon as XMC. In a svmlight
        file feature j is always column j, so files of one data set match.

    Returns
    -------
    rows : LabelledRows

    Raises
    ------
    OSError
        When the file cannot be read.
    ValueError
        When the file is malformed or has no rows. The message names the path and, if possible, the
        line.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from slide._cli.reading import read_rows
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "tiny.svm"
    ...     _ = path.write_text("7 1:0.5 3:1\\n9 0:2\\n")
    ...     rows = read_rows(str(path))
    >>> rows.x.shape, rows.target().tolist()
    ((2, 4), [7, 9])
    """
    file = stdin() if path == "-" else None
    path = path if file is None else "stdin"
    with text_lines(path, file) as lines:
        if format == "auto":
            format = "xmc" if is_header(lines.first()) else "svmlight"
        if format == "xmc":
            x, y = read_xmc(lines)
            rows = LabelledRows(path, x, y.indptr, y.indices, y.shape[1], None)
        else:
            text = TextRows(lines)
            x = text.features(min(text.n_features, MAX_INT))
            rows = LabelledRows(path, x, text.indptr, text.labels, None, text)
    if not x.shape[0]:
        raise ValueError(f"{path} has no rows")
    if not x.nnz and rows.n_labels is None and (rows.counts > 1).any():
        raise ValueError(f"{path} has no features; is it CSV? {ROW[0].upper()}{ROW[1:]}")
    return rows


def stdin() -> BinaryIO:
    """Standard input; ValueError if it is closed."""
    if sys.stdin is None:
        raise ValueError("stdin, which - stands for, is closed")
    return sys.stdin.buffer
