"""Sixty rows of eight features, and a small estimator for them."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from slide import SparseMLPClassifier

rng = np.random.RandomState(0)
X = rng.standard_normal((60, 8)).astype(np.float32)
X[rng.uniform(size=X.shape) < 0.4] = 0
Y = np.arange(60) % 3
INDICATOR = (rng.uniform(size=(60, 5)) < 0.3).astype(int)


def classifier(**params):
    defaults = {"hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0}
    return SparseMLPClassifier(**{**defaults, **params})


def with_value(x, value):
    x = x.astype(np.float64)
    x[7, 3] = value
    return x


def assert_unfitted(clf):
    with pytest.raises(NotFittedError):
        clf.predict(X)
    assert not [name for name in vars(clf) if name.endswith("_") or name == "_fitted"]
    for name in ("coefs_", "t_", "hash_params_", "compute_fraction_"):
        assert not hasattr(clf, name)
