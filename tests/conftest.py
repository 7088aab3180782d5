"""Data that several test files share."""

import pytest

from slide.datasets import make_extreme_classification


@pytest.fixture(scope="session")
def planted():
    """Sparse rows, 40 classes."""
    return make_extreme_classification(600, 300, 40, n_nonzero=20, random_state=0)


@pytest.fixture(scope="session")
def multilabel():
    """Sparse rows, a sparse indicator of 40 columns, 3 labels a row."""
    return make_extreme_classification(600, 300, 40, n_nonzero=20, n_labels=3, random_state=0)
