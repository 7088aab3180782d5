"""Tests of the judgement of sparse matrices by their indices."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from slide._data.structure import check_structure, tidy, without_spare

DENSE = np.array([[1, 0, 2, 0], [0, 0, 0, 0], [0, 3, 0, 4]], np.float32)


def arrays_of(x):
    return [array.copy() for array in (x.data, x.indices, x.indptr)]


def assert_tidy_by_a_copy(x, expected):
    before, flags = arrays_of(x), dict(vars(x))
    result = tidy(x)
    assert result is not x
    assert_array_equal(result.toarray(), expected)
    for start, stop in zip(result.indptr, result.indptr[1:], strict=False):
        assert (np.diff(result.indices[start:stop]) > 0).all()
    assert result.data.all()
    for array, kept in zip((x.data, x.indices, x.indptr), before, strict=True):
        assert_array_equal(array, kept)
    assert vars(x).keys() == flags.keys()


def test_a_tidy_matrix_is_returned_itself():
    x = sparse.csr_array(DENSE)
    assert tidy(x) is x
    assert tidy(sparse.csr_array((3, 4), dtype=np.float32)).nnz == 0
    assert tidy(sparse.csr_array((0, 4), dtype=np.float32)).shape == (0, 4)


@pytest.mark.parametrize("flag", [True, False])
def test_indices_decide_and_not_the_cached_flag(flag):
    x = sparse.csr_array(DENSE)
    x.has_canonical_format = flag
    assert tidy(x) is x
    x.indices[:] = x.indices[::-1].copy()
    x.has_canonical_format = x.has_sorted_indices = flag
    assert_tidy_by_a_copy(x, [[0, 2, 0, 1], [0, 0, 0, 0], [4, 0, 3, 0]])
    x.indices[:] %= 2
    x.has_canonical_format = flag
    assert_tidy_by_a_copy(x, [[0, 3, 0, 0], [0, 0, 0, 0], [7, 0, 0, 0]])


def test_stored_zeros_and_spare_places():
    x = sparse.csr_array(DENSE)
    x.data[1] = 0
    assert_tidy_by_a_copy(x, [[1, 0, 0, 0], [0, 0, 0, 0], [0, 3, 0, 4]])
    x = sparse.csr_array(DENSE)
    x.data, x.indices = np.append(x.data, np.float32(9)), np.append(x.indices, 3)
    check_structure("X", x)
    assert_array_equal(tidy(x).data, [1, 2, 3, 4])


@pytest.mark.parametrize("form", ["csr", "csc", "bsr", "coo", "lil", "dok", "dia"])
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_valid_matrices_pass_unchanged(form, kind):
    x = getattr(sparse, f"{form}_{kind}")(DENSE)
    before = {name: id(value) for name, value in vars(x).items()}
    check_structure("X", x)
    check_structure("X", DENSE)
    assert {name: id(value) for name, value in vars(x).items()} == before


@pytest.mark.parametrize("form", ["csr", "csc", "bsr"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("high", "within its shape"),
        ("negative", "within its shape"),
        ("float", "are no ints"),
        ("short", "must have the sizes"),
        ("start", "must rise from 0"),
        ("falling", "must rise from 0"),
        ("end", "must rise from 0"),
    ],
)
def test_invalid_matrices(form, damage, message):
    x = getattr(sparse, f"{form}_array")(np.tile(DENSE, (2, 1)))
    if damage in ("high", "negative"):
        x.indices[1] = 99 if damage == "high" else -1
    elif damage == "float":
        x.indices = x.indices.astype(float)
    elif damage == "short":
        x.indptr = x.indptr[:-1]
    elif damage == "falling":
        x.indptr[1] = x.indptr[-1] + 1
    else:
        x.indptr[0 if damage == "start" else -1] += 1
    with pytest.raises(ValueError, match=f"X is not a valid {form} matrix: .*{message}"):
        check_structure("X", x)


def damaged_lists(part, value):
    x = sparse.lil_array(DENSE)
    getattr(x, part)[0] = value
    return x


def damaged_diagonals(**arrays):
    x = sparse.dia_array(DENSE)
    vars(x).update(arrays)
    return x


def damaged_keys(place):
    x = sparse.dok_array(DENSE)
    x._dict[place] = 1.0
    return x


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (damaged_lists("rows", [0, 4]), "ints within its shape"),
        (damaged_lists("rows", [-1, 2]), "ints within its shape"),
        (damaged_lists("rows", ["a", "b"]), "ints within its shape"),
        (damaged_lists("data", [1.0]), "ints within its shape"),
        (damaged_diagonals(offsets=np.arange(40)), "one offset, an int, for each diagonal"),
        (damaged_diagonals(offsets=np.zeros(4)), "one offset, an int, for each diagonal"),
        (damaged_diagonals(offsets=np.zeros(4, int)), "one diagonal for each offset"),
        (damaged_keys((0, 4)), "ints within its shape"),
        (damaged_keys((-1, 0)), "ints within its shape"),
    ],
)
def test_other_invalid_matrices(x, message):
    with pytest.raises(ValueError, match=f"y is not a valid {x.format} matrix: .*{message}"):
        check_structure("y", x)


@pytest.mark.parametrize("form", ["csr", "csc", "bsr"])
def test_places_behind_the_last_value_may_hold_anything(form):
    x = getattr(sparse, f"{form}_array")(DENSE)
    x.data = np.concatenate([x.data, np.full_like(x.data[:1], np.nan)])
    x.indices = np.append(x.indices, 99)
    assert_array_equal(without_spare(x).toarray(), DENSE)
    assert len(x.indices) == len(x.data)
    good = getattr(sparse, f"{form}_array")(DENSE)
    assert without_spare(good) is good
