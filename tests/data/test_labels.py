"""Tests of the conversion of y to rows of class ids, and back."""

from datetime import date
from decimal import Decimal
from itertools import chain

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.exceptions import DataConversionWarning

from slide._data.coder import LabelCoder
from slide._data.labels import LabelRows
from slide._data.target import read_target

INDICATOR = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 0]])
INDPTR, INDICES = [0, 2, 2, 3, 6], [0, 2, 1, 0, 1, 2]


def rows(*label_sets, n_classes=4):
    indptr = np.cumsum([0, *map(len, label_sets)])
    return LabelRows(indptr, np.array(list(chain(*label_sets)), np.int32), n_classes)


@pytest.mark.parametrize(
    "y",
    [
        [3, 1, 2, 1],
        ["tin", "gold", "zinc", "gold"],
        [2.0, -1.0, 2.0, 7.0],
        [True, False, True, True],
        np.array(["a", "b", "b", "a"], dtype=object),
        np.array([2**40, 5, 5, -3]),
        [7, 7, 7],
    ],
    ids=str,
)
def test_one_label_a_row_comes_back(y):
    y = np.asarray(y)
    coder = LabelCoder.from_y(read_target(y))
    labels = coder.encode(read_target(y))
    assert_array_equal(coder.classes, np.unique(y))
    assert not coder.multilabel
    assert labels.indptr.dtype == np.int64 and labels.indices.dtype == np.int32
    assert_array_equal(labels.indptr, np.arange(len(y) + 1))
    assert_array_equal(coder.decode(labels.indices), y)
    assert coder.decode(labels.indices).dtype == y.dtype


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int64, np.float32, np.float64])
@pytest.mark.parametrize(
    "container",
    [np.asarray, sparse.csr_array, sparse.csr_matrix],
    ids=["ndarray", "csr_array", "csr_matrix"],
)
def test_indicator_comes_back(container, dtype):
    y = container(INDICATOR.astype(dtype))
    coder = LabelCoder.from_y(read_target(y))
    labels = coder.encode(read_target(y))
    assert coder.multilabel
    assert_array_equal(coder.classes, np.arange(4))
    assert labels.n_classes == 4
    assert_array_equal(labels.indptr, INDPTR)
    assert_array_equal(labels.indices, INDICES)
    assert labels.indptr.dtype == np.int64 and labels.indices.dtype == np.int32
    back = coder.indicator(labels)
    assert type(back) is type(y)
    assert_array_equal(back.toarray() if sparse.issparse(back) else back, INDICATOR)


def test_untidy_indicator_is_tidied_on_a_copy():
    # row 0: unsorted; row 1: label 3 twice; row 2: an explicit zero
    data, indices, indptr = np.array([1, 1, 1, 1, 0, 1]), np.array([2, 0, 3, 3, 1, 2]), [0, 2, 4, 6]
    y = sparse.csr_array((data, indices, indptr), shape=(3, 4))
    before = y.data.copy(), y.indices.copy(), y.indptr.copy()
    labels = LabelCoder.from_y(read_target(y)).encode(read_target(y))
    assert_array_equal(labels.indptr, [0, 2, 3, 4])
    assert_array_equal(labels.indices, [0, 2, 3, 2])
    for array, kept in zip((y.data, y.indices, y.indptr), before, strict=True):
        assert_array_equal(array, kept)


def test_64_bit_indices():
    y = sparse.csr_array(INDICATOR)
    y.indices, y.indptr = y.indices.astype(np.int64), y.indptr.astype(np.int64)
    labels = LabelCoder.from_y(read_target(y)).encode(read_target(y))
    assert labels.indices.dtype == np.int32
    assert_array_equal(labels.indices, INDICES)


def test_one_sparse_column_is_an_indicator_and_one_dense_column_is_not():
    column = np.array([[1], [0], [1]])
    assert LabelCoder.from_y(read_target(sparse.csr_array(column))).multilabel
    with pytest.warns(DataConversionWarning):
        read_target(column, warn=True)
    coder = LabelCoder.from_y(read_target(column))
    assert not coder.multilabel
    assert_array_equal(coder.classes, [0, 1])


def test_columns_become_classes_only_when_somebody_asks():
    coder = LabelCoder(range(2**31 - 1), sparse.csr_array)  # 16 GiB of column numbers
    assert coder.n_classes == 2**31 - 1 and coder.multilabel
    assert coder.decode(np.array([5], np.int32)).dtype == np.int64
    assert_array_equal(LabelCoder(range(3), np.ndarray).classes, [0, 1, 2])


def test_equal():
    labels = rows([0, 2], [], [1], [0, 1, 2], [3])
    assert labels.equal(labels).all()
    others = rows([0, 1], [], [1], [0, 1], [2])
    assert_array_equal(labels.equal(others), [False, True, True, False, False])
    assert_array_equal(others.equal(labels), [False, True, True, False, False])


def test_take():
    labels = rows([0, 2], [], [1], [0, 1, 2])
    taken = labels.take(np.array([3, 1, 0, 3]))
    assert_array_equal(taken.indptr, [0, 3, 3, 5, 8])
    assert_array_equal(taken.indices, [0, 1, 2, 0, 2, 0, 1, 2])
    assert taken.n_classes == 4
    assert len(labels.take(np.array([], np.int64))) == 0


def test_only():
    labels = rows([0, 2], [], [1], [0, 1, 2])
    kept = labels.only(np.array([1, 3]))
    assert_array_equal(kept.indptr, [0, 0, 0, 0, 3])
    assert_array_equal(kept.indices, [0, 1, 2])
    assert kept.n_classes == 4
    assert_array_equal(labels.only(np.arange(4)).indices, labels.indices)
    assert len(labels.only(np.array([], np.int64)).indices) == 0


def test_contain():
    labels = rows([0, 2], [], [1], [0, 1, 2])
    ids = np.array([[2, 1], [0, 2], [0, 1], [1, 0]], np.int32)
    expected = [[True, False], [False, False], [False, True], [True, True]]
    assert_array_equal(labels.contain(ids), expected)
    assert_array_equal(rows([], []).contain(ids[:2]), np.zeros((2, 2)))


def test_contain_of_ids_beyond_32_bits():
    """Row numbers times classes do not fit in 32 bits."""
    n = 5000
    labels = LabelRows(np.arange(n + 1), np.full(n, 2**31 - 2, np.int32), 2**31 - 1)
    assert labels.contain(labels.indices[:, np.newaxis]).all()
    assert not labels.contain(np.zeros((n, 1), np.int32)).any()


@pytest.mark.parametrize(
    ("classes", "y"),
    [
        ([1, 2, 4], [1, 3]),
        ([1, 2, 4], [9]),
        ([1, 2, 4], [-9]),
        (["a", "b"], ["a", "ab"]),
        (["a", "b"], [1, 2]),
        ([1, 2], ["a", "b"]),
    ],
    ids=str,
)
def test_unseen_labels_are_refused(classes, y):
    coder = LabelCoder.from_y(read_target(np.asarray(classes)))
    with pytest.raises(ValueError, match="y must hold known classes only"):
        coder.encode(read_target(np.asarray(y)))


def test_known_labels_of_another_type_are_taken():
    coder = LabelCoder.from_y(read_target(np.array([1, 2, 4])))
    assert_array_equal(coder.encode(read_target(np.array([4.0, 1.0]))).indices, [2, 0])
    coder = LabelCoder.from_y(read_target(np.array(["a", "bcd"])))
    assert_array_equal(
        coder.encode(read_target(np.array(["bcd", "a"], dtype=object))).indices, [1, 0]
    )


@pytest.mark.parametrize(
    "y",
    [
        np.array([[0, 1], [2, 0]]),
        np.array([[0.5, 1], [1, 0]]),
        np.array([[0, -1], [1, 0]]),
        sparse.csr_array([[0, 3], [1, 0]]),
    ],
    ids=["two", "half", "minus", "sparse"],
)
def test_an_indicator_holds_zeros_and_ones(y):
    with pytest.raises(ValueError, match="y of two dimensions must be a label indicator of zeros"):
        LabelCoder.from_y(read_target(y)).encode(read_target(y))


def test_an_indicator_of_strings_is_refused():
    y = np.array([["a", "b"], ["b", "a"]])
    with pytest.raises(ValueError, match="y of two dimensions must be a label indicator; got dtyp"):
        LabelCoder.from_y(read_target(y)).encode(read_target(y))


def test_fractions_are_no_labels():
    with pytest.raises(ValueError, match=r"Unknown label type: continuous. y must hold class lab"):
        read_target([0.5, 1.5, 2.0])


class Version:
    """A label that sorts but does not hash."""

    def __init__(self, *numbers):
        self.numbers = numbers

    def __eq__(self, other):
        return self.numbers == other.numbers

    def __lt__(self, other):
        return self.numbers < other.numbers

    __hash__ = None


def test_objects_that_sort_are_labels_whether_they_hash_or_not():
    kinds = [Version(1, 2), Version(1, 10), Version(2)]
    for labels in (
        kinds,
        [Decimal(1), Decimal(2), Decimal(3)],
        [date(2020, 1, i) for i in (1, 2, 3)],
    ):
        y = np.empty(7, object)
        y[:] = [labels[i] for i in (2, 0, 1, 2, 2, 1, 0)]
        coder = LabelCoder.from_y(read_target(y))
        assert coder.classes.tolist() == labels
        assert_array_equal(coder.encode(read_target(y)).indices, [2, 0, 1, 2, 2, 1, 0])
        with pytest.raises(ValueError, match="y must hold known classes only"):
            LabelCoder.from_y(read_target(y[:1])).encode(read_target(y))


def test_a_label_and_its_equal_of_another_type():
    coder = LabelCoder.from_y(read_target([1, 2, 4]))
    y = np.array([Decimal(4), Decimal(1)])
    assert_array_equal(coder.encode(read_target(y)).indices, [2, 0])
    with pytest.raises(ValueError, match="y must hold known classes only"):
        coder.encode(read_target(np.array([Decimal("1.5")])))


def test_labels_that_do_not_compare_are_refused():
    y = np.array(["a", 1, "b"], dtype=object)
    with pytest.raises(ValueError, match="y must hold labels of one type"):
        LabelCoder.from_y(read_target(y))


def test_first_batch():
    coder = LabelCoder.from_first_batch(read_target(np.array([2, 2])), [3, 1, 2, 1])
    assert_array_equal(coder.classes, [1, 2, 3])
    coder.check_classes(np.array([3, 2, 1]))
    with pytest.raises(ValueError, match="classes must be the same in every call"):
        coder.check_classes([1, 2])
    coder = LabelCoder.from_first_batch(read_target(INDICATOR), None)
    assert_array_equal(coder.classes, np.arange(4))
    coder.check_classes(range(4))
    for classes, message in ((None, "classes must be given"), ([], "at least one label")):
        with pytest.raises(ValueError, match=message):
            LabelCoder.from_first_batch(read_target(np.array([2, 2])), classes)


def test_later_batches_have_the_first_one_s_form():
    with pytest.raises(ValueError, match="y must be a label indicator of 4 columns"):
        LabelCoder.from_y(read_target(INDICATOR)).encode(read_target(INDICATOR[:, :3]))
    with pytest.raises(ValueError, match="y must be a label indicator of 4 columns"):
        LabelCoder.from_y(read_target(INDICATOR)).encode(read_target(np.array([0, 1, 2])))
    with pytest.raises(ValueError, match="y must have one label a row"):
        LabelCoder.from_y(read_target(np.array([0, 1, 2]))).encode(read_target(INDICATOR))
    coder = LabelCoder.from_y(read_target(sparse.csr_matrix(INDICATOR)))
    assert_array_equal(coder.encode(read_target(INDICATOR)).indices, INDICES)
