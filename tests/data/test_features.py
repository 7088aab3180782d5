"""Tests of what is said about an X that cannot be taken, and of the forms of X that can."""

import datetime

import numpy as np
import pandas as pd
import pytest
from helpers.small_problem import X, Y, assert_unfitted, classifier, with_value
from numpy.testing import assert_array_equal
from scipy import sparse

FRAME = pd.DataFrame(X, columns=list("abcdefgh"))


class Gradient:
    """Like an array of another library that must be detached from its gradient first."""

    def __array__(self, *args, **kwargs):
        raise RuntimeError("use detach() before")


def object_rows(value):
    rows = np.empty(60, object)
    rows[:] = [value] * 60
    return rows


@pytest.mark.filterwarnings("ignore:X has feature names:UserWarning")
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["some text"] * 60, "got texts, such as 'some text': .* with TfidfVectorizer or Hashing"),
        (np.array(["a"] * 60), "got texts, such as 'a': .*HashingVectorizer"),
        (pd.Series(["a"] * 60), "got texts, such as 'a': .*HashingVectorizer"),
        ("some text", "got one text: .*TfidfVectorizer"),
        ([["a", "b"], ["c"]] * 30, r"got collections of texts: .*MultiLabelBinarizer\(sparse_"),
        ([{"a", "b"}, {"c"}] * 30, r"got collections of texts: .*MultiLabelBinarizer\(sparse_"),
        ([{1, 2}] * 60, r"got sets, such as \{1, 2\}: .*MultiLabelBinarizer"),
        ([["a", "b"]] * 60, "got 'a' in row 0, column 0: .*OneHotEncoder"),
        (FRAME.assign(shop="corner"), "got 'corner' in row 0, column 'shop': .*OneHotEncoder"),
        (FRAME.assign(shop=pd.Categorical(["x"] * 60)), "got 'x' in row 0, column 'shop'"),
        (FRAME.assign(day=pd.Timestamp("2020")), "got dates in column 'day': turn dates into num"),
        (FRAME.assign(day=pd.Timestamp("2020"))[["day"]], "got dates in column 'day'"),
        (FRAME.assign(day=datetime.date(2020, 1, 1)), "got datetime.date.* in row 0, column 'day'"),
        (FRAME.assign(time=pd.Timedelta(1)), "got dates in column 'time'"),
        (np.zeros((60, 8), "M8[D]"), "got dates in X: turn dates into numbers"),
        (X[None], r"got shape \(1, 60, 8\): .*reshape"),
        ([[1, 2], [3]] * 30, "got 2 numbers in row 0 and 1 in row 1: every row needs all feat"),
        ([{"a": 1}] * 60, "got dicts: .*DictVectorizer"),
        ({"a": [1] * 60}, "got a dict: make a pandas.DataFrame"),
        ((row for row in X), r"got a generator: collect its rows with numpy.stack\(list\(X\)\)"),
        (None, "got None"),
        (3.0, "got 3.0"),
        ([sparse.csr_array(X[:1])] * 60, r"got a sequence of sparse rows: .*scipy.sparse.vstack"),
        (object_rows(sparse.csr_array(X[:1])), "got a sequence of sparse rows"),
        (with_value(X, np.nan), "X contains NaN in row 7, column 3: .*SimpleImputer"),
        (with_value(X, np.nan).tolist(), "X contains NaN in row 7, column 3: .*SimpleImputer"),
        (sparse.csc_array(with_value(X, np.nan)), "X contains NaN in row 7, column 3"),
        (with_value(X, np.inf), "X contains infinity .* in row 7, column 3: .*scale X"),
        (sparse.coo_matrix(with_value(X, 1e300)), "X contains infinity .* in row 7, column 3"),
        (pd.DataFrame(with_value(X, np.nan)).astype("Float64"), "X contains .* row 7, column 3"),
        (np.ma.array(X, mask=X > 1), "X contains a masked value in row .*SimpleImputer"),
        (np.array([[1, pd.NA]] * 60, object), "X contains <NA> in row 0, column 1"),
        (X.astype(complex), "Complex data not supported; X has dtype complex128"),
        (sparse.csr_array(X.astype(complex)), "Complex data not supported; X has dtype complex"),
        (np.array([[1, 1j]] * 60, object), "Complex data not supported; X has 1j in row 0, col"),
        (Gradient(), r"X cannot be made an array .*RuntimeError: use detach\(\) before"),
        (pd.DataFrame(X).astype(pd.SparseDtype(float, np.nan)), r"whose fill value is 0.*to_dense"),
        (X[0], "X must hold numbers in the shape .*Reshape your data"),
        (X[:0], r"X must hold numbers in the shape .*0 sample\(s\)"),
        (X[:, :0], r"X must hold numbers in the shape .*0 feature\(s\)"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) > 9 else "",
)
def test_what_is_wrong_with_x(wrong, message):
    clf = classifier()
    with pytest.raises(ValueError, match=f"(?s){message}"):
        clf.fit(wrong, Y)
    assert_unfitted(clf)
    if not hasattr(wrong, "__next__"):
        clf = classifier().fit(X, Y)
        with pytest.raises(ValueError, match=f"(?s){message}"):
            clf.predict(wrong)


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
def test_what_is_wrong_with_a_table(library):
    module = pytest.importorskip(library)
    make = module.table if library == "pyarrow" else module.DataFrame
    for column, message in (
        (["corner"] * 60, "got 'corner' in row 0, column 'a': .*OneHotEncoder"),
        ([1, None] * 30, "X contains NaN or another missing value in row 1, column 'a'"),
        ([datetime.date(2020, 1, 1)] * 60, "got .*date.* in .*column 'a': turn dates into numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier().fit(make({"a": column, "b": [0.0] * 60}), Y)


BITS = (X > 0).astype(np.int8)
TAKEN = {
    "bools": BITS.astype(bool),
    "lists": BITS.tolist(),
    "objects": BITS.astype(object),
    "masked without a mask": np.ma.array(BITS, mask=False),
    "texts of numbers": BITS.astype(str),
    "sparse bools": sparse.csr_array(BITS.astype(bool)),
    "coordinates of bools": sparse.coo_matrix(BITS.astype(bool)),
    "frame": pd.DataFrame(BITS),
    "nullable frame": pd.DataFrame(BITS).astype("Int64"),
    "frame of nullable bools": pd.DataFrame(BITS).astype("boolean"),
    "frame of several types": pd.DataFrame(BITS).astype({0: "boolean", 1: "Float32", 2: object}),
    "frame of categories": pd.DataFrame(BITS).astype("category"),
    "sparse frame of bools": pd.DataFrame(BITS).astype(pd.SparseDtype(bool)),
    "sparse frame of ints": pd.DataFrame(BITS).astype(pd.SparseDtype("int8", 0)),
    "sparse frame of both": pd.DataFrame(BITS).astype(
        {i: pd.SparseDtype(bool) if i % 2 else pd.SparseDtype(float, 0) for i in range(8)}
    ),
}


@pytest.mark.parametrize("form", TAKEN)
def test_forms_of_x(form):
    expected = classifier().fit(BITS, Y)
    clf = classifier().fit(TAKEN[form], Y)
    np.testing.assert_allclose(clf.coefs_[0], expected.coefs_[0], rtol=1e-4, atol=1e-6)
    assert_array_equal(clf.predict(TAKEN[form]), clf.predict(BITS))
    assert clf.score(TAKEN[form], Y) == clf.score(BITS, Y)


def test_arrow_columns_of_x():
    pytest.importorskip("pyarrow")
    expected = classifier().fit(BITS, Y)
    for dtype in ("int64[pyarrow]", "bool[pyarrow]", "float[pyarrow]"):
        clf = classifier().fit(pd.DataFrame(BITS).astype(dtype), Y)
        assert_array_equal(clf.coefs_[0], expected.coefs_[0])


def test_sparse_dummies_keep_their_names():
    shops = pd.Series(list("abcd") * 15, name="shop")
    clf = classifier().fit(pd.get_dummies(shops, prefix="shop", sparse=True), Y)
    assert clf.feature_names_in_.tolist() == ["shop_a", "shop_b", "shop_c", "shop_d"]
    dense = classifier().fit(pd.get_dummies(shops, prefix="shop"), Y)
    assert_array_equal(clf.predict(pd.get_dummies(shops, prefix="shop")), dense.predict(
        pd.get_dummies(shops, prefix="shop", sparse=True)))  # fmt: skip


def test_a_matrix_of_numpy_is_an_array():
    with pytest.warns(PendingDeprecationWarning):
        x = np.matrix(X)
    assert_array_equal(classifier().fit(x, Y).coefs_[0], classifier().fit(X, Y).coefs_[0])
