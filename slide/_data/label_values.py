"""Values of labels: compared, sorted and shown, of whatever types they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from slide._base.arrays import Array, Bools
from slide._base.handlers import raise_from_handler
from slide._base.values import shown


def same_labels(labels: Array, others: Array) -> Bools:
    """Which of `labels` equal `others`, of the same shape or one that NumPy stretches."""
    held: Any
    others, held = of_dtype(others, labels.dtype)
    same: Bools = np.asarray(labels == others, bool) & held
    return same


def of_dtype(y: Array, dtype: np.dtype[Any]) -> tuple[Array, Any]:
    """Convert numbers y to another dtype; returns them, and which of them it holds.

    Other types are returned as they are. NumPy would compare int64 and uint64 as float64, in which
    large labels may become equal.
    """
    if y.dtype == dtype or y.dtype.kind not in "biuf" or dtype.kind not in "biuf":
        return y, True
    with np.errstate(all="ignore"):
        converted = y.astype(dtype)
        return converted, (converted.astype(y.dtype) == y) & ((converted < 0) == (y < 0))


def type_of(labels: Array) -> str:
    """A word for the type of labels; numbers and bools are one type, as 1 equals True."""
    words = {"U": "texts", "S": "bytes", "M": "dates", "m": "durations"}
    if labels.dtype.kind != "O":
        return words.get(labels.dtype.kind, "numbers")
    first = labels[0]
    if isinstance(first, str | bytes):
        return "texts" if isinstance(first, str) else "bytes"
    return "numbers" if isinstance(first, int) else type(first).__name__


def unique_labels(y: Array, name: str) -> Array:
    """The labels of y, sorted, each once."""
    try:
        return _unique_objects(y) if y.dtype.kind == "O" else np.unique(y)
    except MemoryError:
        raise
    except Exception as error:  # foreign classes may raise anything
        raise_from_handler(error)
        raise ValueError(
            f"{name} must hold labels of one type that sorts; got {some_of(y)}: convert them, for "
            "example to str"
        ) from error


def _unique_objects(y: Array) -> Array:
    """As np.unique, which would compare all labels and not only the different ones."""
    try:
        labels = sorted(set(y.tolist()))
    except TypeError:  # labels that do not hash
        return np.unique(y)
    unique = np.empty(len(labels), object)
    unique[:] = labels
    return unique


def some_of(values: Array) -> str:
    """The first few different values, for a message."""
    some = values[:1000].astype(str) if values.dtype.kind in "Mm" else values[:1000]
    texts = list(dict.fromkeys(map(shown, some.tolist())))
    text = ", ".join(texts[:5])
    return f"[{text}, …]" if len(texts) > 5 else f"[{text}]"
