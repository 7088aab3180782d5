"""Fixtures: a path to save models to, and a saved model."""

import numpy as np
import pytest


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(path, classifier, planted):
    """The path and the bytes of a model with tables, a mean row and text classes."""
    X, y = planted
    names = np.array([f"class {i}" for i in range(40)])
    model = classifier(
        hidden_layer_sizes=(16,), active_fraction=(0.5, 0.5), retrieval="rerank", n_tables=3,
        n_hash_bits=2, max_iter=1,
    )  # fmt: skip
    model.fit(X[:200], names[y[:200]]).save(path)
    return path
