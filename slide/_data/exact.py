"""Values from users as arrays that hold them exactly; missing values are refused.

NumPy, pandas and scikit-learn turn a mixture of numbers, and a nullable or Arrow column, into
float64, in which integers from 2**53 on become equal. NumPy turns numbers among texts into texts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from slide._base.arrays import Array, Bools
from slide._base.values import refusing, shown

_WORDS = {"bool": "bools", "int": "ints", "float": "floats", "text": "texts", "bytes": "bytes",
          "time": "dates", "other": "objects"}  # fmt: skip
_MISSING = ("NoneType", "NAType", "NaTType")  # the last two are those of pandas


def exact_array(values: Any, name: str) -> Array:
    """Convert an array-like or a frame `values` of any dimension; `name` is the argument's.

    Objects become an array of numbers if all of them are numbers. Texts and objects of other types
    stay objects.
    """
    with refusing(name):
        columns = columns_of(values)
        if columns is not None:
            return _side_by_side([exact_array(column, name) for column in columns], values)
        _refuse_marked(missing_in(values), "NaN or another missing value", name)
        as_list = isinstance(values, list | tuple)
        array = np.array(values, object) if as_list else np.asarray(values)
        if array.dtype.kind == "T":
            array = array.astype(object)
        if array.dtype.kind == "O" and array.ndim:
            array = _of_objects(array, name, as_list)
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported; {name} has dtype {array.dtype}")
    if array.dtype.kind == "f":
        _refuse_marked(np.isnan(array), "NaN", name)
    elif array.dtype.kind in "Mm":
        _refuse_marked(np.isnat(array), "NaT", name)
    return array


def columns_of(values: Any) -> list[Any] | None:
    """The columns of a frame of pandas or polars or a table of Arrow; None for anything else."""
    if hasattr(values, "iloc") and hasattr(values, "columns"):
        return [values.iloc[:, i] for i in range(values.shape[1])]
    for method in ("get_columns", "itercolumns"):  # of polars, and of Arrow
        if hasattr(values, method):
            return list(getattr(values, method)())
    return None


def is_sparse_frame(values: Any) -> bool:
    """Whether `values` is a frame of pandas whose columns are all sparse."""
    if not (hasattr(values, "sparse") and hasattr(values, "iloc") and hasattr(values, "columns")):
        return False
    return all(hasattr(dtype, "fill_value") for dtype in values.dtypes)


def sparse_numbers(frame: Any, name: str) -> Any:
    """Convert the columns of a sparse frame to one type of numbers: bools are none for pandas."""
    if any(dtype.fill_value != 0 for dtype in frame.dtypes):
        raise ValueError(
            f"{name} must have sparse columns whose fill value is 0; got "
            f"{shown(frame.dtypes.iloc[0])}: convert them with {name}.sparse.to_dense()"
        )
    if any(dtype.kind == "b" for dtype in frame.dtypes):
        return frame.astype(type(frame.dtypes.iloc[0])(np.float32, 0))
    return frame


def _side_by_side(columns: Sequence[Array], frame: Any) -> Array:
    if not columns:
        return np.zeros((len(frame), 0))
    if not all(column.dtype.kind in "biuf" for column in columns) and len(columns) > 1:
        columns = [column.astype(object) for column in columns]
    return np.column_stack(columns)


def missing_in(values: Any) -> Bools | None:
    """Which values a masked array, a column of pandas, polars or Arrow marks as missing."""
    if isinstance(values, np.ma.MaskedArray):
        return np.ma.getmaskarray(values)
    for method in ("isna", "is_null"):  # of pandas, and of polars and Arrow
        if hasattr(values, method):
            return np.asarray(getattr(values, method)(), bool)
    return None


def _refuse_marked(missing: Bools | None, what: str, name: str) -> None:
    if missing is None or not missing.any():
        return
    row = int(np.argwhere(missing)[0, 0]) if missing.ndim else 0
    raise ValueError(_missing_message(what, row, name))


def _missing_message(what: str, row: int, name: str) -> str:
    return f"{name} contains {what} in row {row}: leave such rows out, or fill them in"


def _of_objects(array: Array, name: str, as_list: bool) -> Array:
    """An object array as an array of the type of its values.

    Texts stay objects unless they come from a list, as NumPy has it.
    """
    flat: list[Any] = array.ravel().tolist()
    kinds = {_kind(found) for found in set(map(type, flat))}
    if "missing" in kinds or ("float" in kinds and len(kinds) > 1):
        _refuse_missing(flat, len(flat) // max(len(array), 1), name)
    if "collection" in kinds:
        first = next(value for value in flat if _kind(type(value)) == "collection")
        if hasattr(first, "toarray"):
            raise ValueError(
                f"{name} must be one matrix; got a sequence of sparse rows: stack them with "
                f"scipy.sparse.vstack({name})"
            )
        raise ValueError(
            f"{name} must have one value a row, or rows of zeros and ones; got {shown(first)}. For "
            f"several labels a row, MultiLabelBinarizer(sparse_output=True).fit_transform({name}) "
            "makes an indicator"
        )
    if len(kinds) > 1 and not kinds <= {"bool", "int", "float"}:
        raise ValueError(
            f"{name} must hold labels of one type; got "
            f"{' and '.join(sorted(_WORDS[kind] for kind in kinds))}, such as "
            f"{', '.join(_one_of_each(flat))}: convert them all to one type, for example to str"
        )
    return _of_one_kind(array, flat, kinds, name, as_list).reshape(array.shape)


def _of_one_kind(array: Array, flat: list[Any], kinds: set[str], name: str, as_list: bool) -> Array:
    if not kinds or kinds == {"other"}:
        return array
    if kinds == {"bool"}:
        return np.array(flat, bool)
    if kinds <= {"bool", "int"}:
        return _ints([int(value) for value in flat])
    if kinds == {"float"}:
        return np.array(flat)
    if kinds <= {"bool", "int", "float"}:
        return _numbers(flat, name)
    if kinds == {"time"}:
        return np.array(flat)
    # Arrays of fixed width lose zeros at the end of a text.
    zero: Any = "\0" if kinds == {"text"} else b"\0"
    if not as_list or any(value.endswith(zero) for value in flat):
        return array
    if kinds == {"bytes"}:
        return np.array(flat, bytes)
    # Not str(value), which is the name of a member where an Enum is a str.
    return np.array([str.__str__(value) for value in flat], str)


def _kind(found: type) -> str:
    """The kind of a value's type; "other" types may be labels if they sort."""
    for kind, types in (
        ("bool", (bool, np.bool_)),
        ("time", (np.datetime64, np.timedelta64)),
        ("int", (int, np.integer)),
        ("float", (float, np.floating)),
        ("text", str),
        ("bytes", bytes),
    ):
        if issubclass(found, types):
            return kind
    if found.__name__ in _MISSING:
        return "missing"
    if issubclass(found, Collection) or hasattr(found, "toarray"):
        return "collection"
    return "other"


def _ints(values: list[int]) -> Array:
    """int64 or uint64, or objects where neither holds all of them."""
    least, greatest = min(values), max(values)
    for dtype in (np.int64, np.uint64):
        if np.iinfo(dtype).min <= least and greatest <= np.iinfo(dtype).max:
            return np.array(values, dtype)
    return np.array(values, object)


def _numbers(values: list[Any], name: str) -> Array:
    """float64 of ints and floats together."""
    for value in values:
        if isinstance(value, int | np.integer) and _as_float(value) != int(value):
            raise ValueError(
                f"{name} must hold ints only or floats only where ints exceed 2**53, because no "
                f"float is {shown(value)}: convert them all to int"
            )
    return np.array(values, np.float64)


def _as_float(value: Any) -> float:
    try:
        return float(int(value))
    except OverflowError:
        return np.inf


def _refuse_missing(flat: list[Any], width: int, name: str) -> None:
    for place, value in enumerate(flat):
        if _kind(type(value)) == "missing":
            raise ValueError(_missing_message(shown(value), place // width, name))
        if isinstance(value, float | np.floating) and np.isnan(value):
            raise ValueError(_missing_message("NaN", place // width, name))


def _one_of_each(flat: list[Any]) -> list[str]:
    """The first value of every kind, for a message."""
    first: dict[str, str] = {}
    for value in flat:
        first.setdefault(_kind(type(value)), shown(value))
    return list(first.values())
