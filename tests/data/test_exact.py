"""Tests of the conversion of values to arrays that hold them exactly."""

from decimal import Decimal
from enum import Enum
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from slide._data.exact import exact_array


def objects(*values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


# pandas 2.1 gives objects, which become the usual integers.
INT8 = "i1" if np.asarray(pd.Series([1], dtype="Int8")).dtype == "i1" else "i8"


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], "i8"),
        ([True, False], "?"),
        ([True, 2], "i8"),
        ([2**63, 1], "u8"),
        ([2**63, -1], "O"),
        ([2**64, 1], "O"),
        ([np.uint64(2**63), np.int64(1)], "u8"),
        ([1, 2.5], "f8"),
        ([2**53, 0.5], "f8"),
        ([np.float32(1), np.float32(2)], "f4"),
        (["a", "bc"], "U2"),
        (["a", "a\0"], "O"),
        ([b"a", b"bc"], "S2"),
        ([[0, 1], [1, 0]], "i8"),
        ([Fraction(1, 2), Fraction(1, 3)], "O"),
        ([np.datetime64("2020"), np.datetime64("2021-01")], "M8[M]"),
        (objects("a", "bc"), "O"),
        (objects(1, 2), "i8"),
        (objects(1, True), "i8"),
        (pd.Series([1, 2], dtype="Int8"), INT8),
        (pd.DataFrame({"a": [1, 0], "b": [True, False]}), "i8"),
        (pd.DataFrame({"a": [1, 0], "b": ["x", "y"]}), "O"),
        ([], "O"),
    ],
    ids=str,
)
def test_values_come_back(values, dtype):
    array = exact_array(values, "y")
    assert array.dtype == dtype
    if isinstance(values, pd.DataFrame):
        values = values.to_numpy(object)
    assert array.tolist() == np.array(list(values), object).tolist()


class Size(str, Enum):  # noqa: UP042 - not StrEnum, whose members print their value
    SMALL = "s"
    LARGE = "l"


def test_members_of_an_enum_are_their_values():
    assert exact_array([Size.SMALL, Size.LARGE], "y").tolist() == ["s", "l"]
    assert exact_array(objects(Size.SMALL, Size.LARGE), "y").tolist() == ["s", "l"]


@pytest.mark.parametrize(
    ("values", "what", "row"),
    [
        (["a", None], "None", 1),
        (["a", np.nan], "NaN", 1),
        ([1, np.nan], "NaN", 1),
        ([np.nan, 1.0], "NaN", 0),
        ([1, 2, pd.NA], "<NA>", 2),
        ([1, pd.NaT], "NaT", 1),
        (np.array([1, np.nan]), "NaN", 1),
        (np.array([[1, 0], [0, np.nan]]), "NaN", 1),
        ([[1, 0], [None, 1]], "None", 1),
        (np.array(["2020", "NaT"], "M8[D]"), "NaT", 1),
        (pd.Series([1, None], dtype="Int64"), "NaN or another missing value", 1),
        (pd.Series(["a", None], dtype="string"), "NaN or another missing value", 1),
        (pd.Series([True, None], dtype="boolean"), "NaN or another missing value", 1),
        (pd.Series(["a", None], dtype="category"), "NaN or another missing value", 1),
        (pd.DataFrame({"a": pd.array([1, None], "Int64")}), "NaN or another missing value", 1),
        (np.ma.array([1, 2], mask=[False, True]), "NaN or another missing value", 1),
    ],
    ids=str,
)
def test_missing_values_are_named_with_their_row(values, what, row):
    with pytest.raises(ValueError, match=f"^y contains {what} in row {row}: leave such rows out"):
        exact_array(values, "y")


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="NumPy 2 has it")
def test_texts_of_any_width():
    assert exact_array(np.array(["a", "b"], np.dtypes.StringDType()), "y").dtype == object
    gap = np.array(["a", None], np.dtypes.StringDType(na_object=None))
    with pytest.raises(ValueError, match="y contains None in row 1"):
        exact_array(gap, "y")


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
def test_missing_values_of_other_libraries(library):
    module = pytest.importorskip(library)
    column = module.array([1, None]) if library == "pyarrow" else module.Series([1, None])
    with pytest.raises(ValueError, match="y contains NaN or another missing value in row 1"):
        exact_array(column, "y")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1, "a"], "ints and texts, such as 1, 'a'"),
        ([1.5, "a"], "floats and texts"),
        ([True, "a"], "bools and texts"),
        ([b"a", "a"], "bytes and texts"),
        ([1, Decimal(1)], "ints and objects"),
        (objects(1, "a"), "ints and texts"),
        ([np.datetime64("2020"), 1], "dates and ints"),
    ],
    ids=str,
)
def test_values_of_several_types_are_refused(values, words):
    with pytest.raises(ValueError, match=f"y must hold labels of one type; got {words}"):
        exact_array(values, "y")


@pytest.mark.parametrize(
    "values",
    [
        [["a", "b"], ["c"]],
        [[1], [2, 3]],
        [{1}, {2, 3}],
        [frozenset({1}), frozenset()],
        objects(("a", "b"), ("c",)),
        [{"a": 1}, {}],
        [np.ones(2), np.ones(3)],
        pd.Series([["a"], ["b", "c"]]),
    ],
    ids=str,
)
def test_several_labels_in_a_cell_are_refused(values):
    message = r"y must have one value a row.*MultiLabelBinarizer\(sparse_output=True\)"
    with pytest.raises(ValueError, match=message):
        exact_array(values, "y")


def test_sparse_rows_are_refused():
    rows = [sparse.csr_array([[1, 0]]), sparse.csr_array([[0, 1]])]
    with pytest.raises(ValueError, match=r"y must be one matrix.*scipy.sparse.vstack\(y\)"):
        exact_array(rows, "y")


def test_ints_that_no_float_holds_do_not_become_floats():
    for values in ([2**53 + 1, 1.0], [0.5, 2**60 + 1], [1.0, 10**400], objects(2**53 + 1, 2.0)):
        with pytest.raises(ValueError, match="y must hold ints only or floats only where ints exc"):
            exact_array(values, "y")
    with pytest.raises(ValueError, match="Complex data not supported; y has dtype complex128"):
        exact_array(np.array([1j, 2]), "y")


def test_sparse_frames_of_several_fill_values():
    with pytest.raises(ValueError, match=r"y contains NaN"):
        exact_array(pd.DataFrame({"a": pd.arrays.SparseArray([1.0, np.nan])}), "y")
    frame = pd.DataFrame({"a": pd.arrays.SparseArray([0, 1], fill_value=1)})
    assert_array_equal(exact_array(frame, "y"), [[0], [1]])
