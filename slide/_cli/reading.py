"""Labelled rows from files, for the command line: XMC text format and svmlight format."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from sklearn.datasets import load_svmlight_file

from slide._base.files import DAMAGED, Lines, opened
from slide._base.values import MAX_INT, cut
from slide.datasets import _XMC_HEADER, load_xmc

FORMATS = ("auto", "xmc", "svmlight")


@dataclass(frozen=True)
class LabelledRows:
    """Labelled rows of a file.

    Parameters
    ----------
    path : str
        Path of the file, for messages.
    x : csr_array of shape (n_rows, n_features), dtype=float32
    counts : ndarray of shape (n_rows,)
        Number of labels of each row.
    labels : ndarray of shape (counts.sum(),)
        Labels of the first row, then of the second, and so on.
    n_labels : int or None
        Number of labels in the header of the file; None if there is no header.
    """

    path: str
    x: csr_array
    counts: np.ndarray
    labels: np.ndarray
    n_labels: int | None

    def target(self) -> Any:
        """Make y to train on: an indicator, or labels if a svmlight file has one label per row."""
        if self.n_labels is None and (self.counts == 1).all():
            return self.labels
        return self.indicator()

    def target_for(self, multilabel: bool, n_classes: int) -> Any:
        """Make y to compare predicted labels with; labels that the model lacks are never right."""
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
        good = (labels >= 0) & (labels < MAX_INT) & (labels == np.floor(labels))
        if not good.all():
            raise ValueError(
                f"{self.path} has several labels a row: they must be integers in [0, {MAX_INT}); "
                f"got {labels[~good][0]}"
            )
        width = max(least, self.n_labels or 1, int(labels.max(initial=0)) + 1)
        indptr = np.concatenate(([0], np.cumsum(self.counts)))
        y = csr_array(
            (np.ones(len(labels), np.int8), labels.astype(np.int32), indptr),
            shape=(len(self.counts), width),
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
                "makes a model that takes them all"
            )
        x = self.x
        return csr_array((x.data, x.indices, x.indptr), shape=(x.shape[0], width))


def read_rows(path: str, format: str = "auto") -> LabelledRows:
    """Read a plain or gzip-compressed file; its content, not its name, decides which it is.

    Parameters
    ----------
    path : str
    format : {"auto", "xmc", "svmlight"}
        "auto" reads a file whose first line is three integers as XMC. In a svmlight file feature j
        is always column j, so files of one data set match.

    Returns
    -------
    rows : LabelledRows

    Raises
    ------
    OSError
        When the file cannot be read.
    ValueError
        When the file is malformed or has no rows. The message names the path.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from slide._cli.reading import read_rows
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "tiny.svm"
    ...     _ = path.write_text("7 1:0.5 3:1\\n9 0:2\\n")
    ...     rows = read_rows(path)
    >>> rows.x.shape, rows.target().tolist()
    ((2, 4), [7, 9])
    """
    if format == "auto":
        format = "xmc" if _XMC_HEADER.fullmatch(_first_line(path)) else "svmlight"
    rows = _read_xmc(path) if format == "xmc" else _read_svmlight(path)
    if not len(rows.counts):
        raise ValueError(f"{path} has no rows")
    return rows


def _read_xmc(path: str) -> LabelledRows:
    x, y = load_xmc(path)
    return LabelledRows(path, x, np.diff(y.indptr), y.indices, y.shape[1])


def _read_svmlight(path: str) -> LabelledRows:
    with opened(path) as file:
        try:
            x, labels = load_svmlight_file(
                Lines(file, os.stat(path).st_size),
                dtype=np.float32,
                multilabel=True,
                zero_based=True,
            )
        except (ValueError, OverflowError, *DAMAGED) as error:
            raise ValueError(f"{path} is no svmlight file: {cut(str(error))}") from error
    counts = np.array([len(row) for row in labels], np.int64)
    flat = np.fromiter(chain.from_iterable(labels), np.float64, counts.sum())
    whole = np.isfinite(flat).all() and (np.abs(flat) < 2**53).all() and (flat == flat // 1).all()
    x = csr_array((x.data, x.indices, x.indptr), shape=x.shape)
    return LabelledRows(path, x, counts, flat.astype(np.int64) if whole else flat, None)


def _first_line(path: str) -> bytes:
    with opened(path) as file:
        try:
            return file.readline(200)
        except DAMAGED as error:
            raise ValueError(f"{path} is a damaged gzip file: {error}") from error
