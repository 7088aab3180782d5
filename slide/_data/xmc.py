"""Files in the text format of the Extreme Classification Repository: a header, then rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from scipy.sparse import csr_array

from slide._base.values import MAX_INT
from slide._data.text_rows import TextRows, check_bytes

if TYPE_CHECKING:
    from slide._base.text_files import Lines

_HEADER = re.compile(rb"\s*(\d{1,20})\s+(\d{1,20})\s+(\d{1,20})\s*")


def is_header(line: bytes) -> bool:
    """Whether the first line of a file is meant as a header: three words without a colon."""
    return len(line.split()) == 3 and b":" not in line and b"#" not in line


def read_xmc(lines: Lines) -> tuple[csr_array, csr_array]:
    """Read X and Y, see `slide.datasets.load_xmc`."""
    n_samples, n_features, n_labels = _read_header(lines)
    rows = _XMCRows(lines, n_samples)
    n_found = len(rows.indptr) - 1
    if n_found != n_samples:
        raise ValueError(f"the header announces {n_samples} rows, the file has {n_found}")
    x = rows.features(n_features)
    x.eliminate_zeros()
    return x, rows.indicator(n_labels)


def _read_header(lines: Lines) -> list[int]:
    line = next(iter(lines), b"")
    match = _HEADER.fullmatch(line)
    numbers = list(map(int, match.groups())) if match else []
    if not match or not all(1 <= number <= MAX_INT for number in numbers[1:]):
        raise ValueError(
            "the header must be 'n_samples n_features n_labels', three integers, the last two "
            f"between 1 and {MAX_INT}; got {line[:60]!r}"
        )
    return numbers


class _XMCRows(TextRows):
    """The rows of an XMC file after its header.

    Every line is a row, blank ones too. There are no comments and no qid.
    """

    def __init__(self, lines: Lines, n_samples: int) -> None:
        self._n_samples = n_samples
        super().__init__(lines)

    def _rows(self) -> Iterator[bytes]:
        for n_before, whole in enumerate(self._lines):
            if n_before == self._n_samples:
                self._read_end(whole)
                return
            line = whole.rstrip(b"\r\n")
            check_bytes(line)
            if line[:1].isspace() and not line.isspace() and b":" not in line.split(None, 1)[0]:
                raise ValueError("the line has no labels, yet its first entry is not feature:value")
            yield line

    def _read_end(self, block: bytes) -> None:
        """Check that only empty lines follow the last row."""
        lines = self._lines
        lines.at -= 1
        while block:
            rest = block.lstrip()
            lines.at += block.count(b"\n", 0, len(block) - len(rest))
            if rest:
                lines.at += 1
                raise ValueError(f"more rows than the {self._n_samples} that the header announces")
            block = lines.block()
