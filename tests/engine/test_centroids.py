"""Tests of initial output rows, made from the centroids of their labels' samples."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from twins import engine as reference

from slide import SparseMLPClassifier
from slide._engine import centroids

WIDTHS = [0, 1, 7, 8, 9, 15, 16, 17, 31, 33]


@pytest.fixture
def rng():
    return np.random.default_rng(40)


def read_only(values, dtype):
    """A read-only copy that begins one element after the start of its buffer."""
    values = np.asarray(values, dtype)
    out = np.zeros(values.size + 1, dtype)[1:].reshape(values.shape)
    out[...] = values
    out.flags.writeable = False
    return out


def as_csr(labels):
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in labels])])
    indices = np.array([label for row in labels for label in row])
    return read_only(indptr, np.int64), read_only(indices, np.int32)


@pytest.mark.parametrize("width", WIDTHS)
def test_label_sums(width, rng):
    labels = [list(rng.choice(6, rng.integers(0, 4), replace=False)) for _ in range(30)]
    h = rng.standard_normal((30, width)).astype(np.float32)
    sums = np.zeros((6, width), np.float32)
    centroids.add_label_sums(read_only(h, np.float32), *as_csr(labels), 0, sums)
    np.testing.assert_allclose(sums, reference.label_sums(h, labels, 6), rtol=1e-5, atol=1e-5)


def test_label_sums_in_blocks_are_the_same(rng):
    labels = [list(rng.choice(6, rng.integers(0, 4), replace=False)) for _ in range(30)]
    h = rng.standard_normal((30, 9)).astype(np.float32)
    csr = as_csr(labels)
    whole, parts = np.ones((6, 9), np.float32), np.ones((6, 9), np.float32)
    centroids.add_label_sums(h, *csr, 0, whole)
    for first, last in [(0, 11), (11, 11), (11, 29), (29, 30)]:
        centroids.add_label_sums(h[first:last], *csr, first, parts)
    np.testing.assert_array_equal(parts, whole)


@pytest.mark.parametrize("width", WIDTHS[1:])
def test_sparse_label_sums_are_the_dense_ones(width, rng):
    labels = as_csr([list(rng.choice(6, rng.integers(0, 4), replace=False)) for _ in range(30)])
    h = (rng.standard_normal((30, width)) * (rng.random((30, width)) < 0.4)).astype(np.float32)
    dense, csr = np.ones((6, width), np.float32), np.ones((6, width), np.float32)
    for first, last in [(0, 11), (11, 11), (11, 29), (29, 30)]:
        centroids.add_label_sums(h[first:last], *labels, first, dense)
        part = csr_array(h[first:last])
        for array in (part.data, part.indices, part.indptr):
            array.flags.writeable = False
        centroids.add_sparse_label_sums(part, *labels, first, csr)
    np.testing.assert_array_equal(csr, dense)


def test_rows_without_labels_add_nothing(rng):
    h = rng.standard_normal((3, 8)).astype(np.float32)
    sums = np.full((2, 8), 7, np.float32)
    centroids.add_label_sums(h, *as_csr([[], [], []]), 0, sums)
    assert (sums == 7).all()


@pytest.mark.parametrize("width", WIDTHS)
def test_center_and_scale(width, rng):
    counts = np.array([3, 0, 1, 20, 7], np.int64)
    sums = rng.standard_normal((5, width)).astype(np.float32) * counts[:, None].astype(np.float32)
    mean = rng.standard_normal(width).astype(np.float32)
    out = sums.copy()
    centroids.center_and_scale(out, read_only(counts, np.int64), read_only(mean, np.float32), 2.5)
    expected = reference.center_and_scale(sums, counts, mean, 2.5)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    lengths = np.linalg.norm(out, axis=1)
    np.testing.assert_allclose(lengths[counts > 0], 2.5 if width else 0, rtol=1e-5)
    assert (out[1] == 0).all()


def test_a_label_at_the_mean_gets_zeros():
    sums = np.array([[4, 8], [3, 3]], np.float32)
    centroids.center_and_scale(sums, np.array([4, 1]), np.array([1, 2], np.float32), 2.0)
    assert (sums[0] == 0).all()
    np.testing.assert_allclose(sums[1], 2 * np.array([2, 1]) / np.sqrt(5), rtol=1e-6)


def test_few_classes_start_from_a_sample_of_many_rows():
    """Only 4,288 of 5,000 rows of 3 classes are used; they give nearly the same centroids."""
    rng = np.random.RandomState(0)
    y = rng.randint(3, size=5000)
    X = (rng.standard_normal((3, 20))[y] + rng.standard_normal((5000, 20))).astype(np.float32)
    clf = SparseMLPClassifier(32, max_iter=1, learning_rate_init=1e-30, random_state=0).fit(X, y)
    h = np.maximum((X - X.mean(axis=0)) @ clf.coefs_[0], 0)
    wanted = np.array([h[y == label].mean(axis=0) for label in range(3)]) - h.mean(axis=0)
    found = clf.coefs_[1].T
    cosines = (wanted * found).sum(axis=1) / np.linalg.norm(wanted, axis=1)
    cosines /= np.linalg.norm(found, axis=1)
    assert (cosines > 0.99).all() and (cosines < 1 - 1e-6).all()
