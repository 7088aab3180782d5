"""Fixtures for all tests: data, kinds of networks, settings of the engine. See README.md."""

import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from slide import SparseMLPClassifier
from slide._simd import dispatch
from slide.datasets import make_extreme_classification

# No deadline: on a busy machine, or with sanitizers, an example may take any time.
hypothesis.settings.register_profile("slide", deadline=None)
hypothesis.settings.load_profile("slide")

SPARSE = {
    "hidden_layer_sizes": (64, 32),
    "active_fraction": (0.25, 0.5, 0.9),
    "rehash_every": 200,
}
NETWORKS = {
    "dense": {},
    # The output is sampled and hashed, although there are few classes.
    "sampled": {
        "active_fraction": (1.0, 0.2),
        "retrieval": "rerank",
        "n_tables": 8,
        "n_hash_bits": 4,
        "rehash_every": 200,
    },
    # Hidden layers are sparse too: by exact search, by estimates, by tables.
    "sparse": SPARSE,
    "estimated": {**SPARSE, "retrieval": "estimate"},
    "hashed": {
        **SPARSE,
        "hash_family": "wta",
        "retrieval": "rerank",
        "n_tables": 16,
        "n_hash_bits": 3,
    },
}


@pytest.fixture(scope="session")
def planted():
    """Sparse rows, 40 classes."""
    return make_extreme_classification(600, 300, 40, n_nonzero=20, random_state=0)


@pytest.fixture(scope="session")
def multilabel():
    """Sparse rows, a sparse indicator of 40 columns, 3 labels per row."""
    return make_extreme_classification(600, 300, 40, n_nonzero=20, n_labels=3, random_state=0)


# -------------------------------------------------------------- estimator --


@pytest.fixture
def classifier():
    """A function that makes a small estimator with the given parameters."""

    def make(**params):
        defaults = {"hidden_layer_sizes": (32,), "max_iter": 3, "random_state": 0}
        return SparseMLPClassifier(**{**defaults, **params})

    return make


@pytest.fixture(params=NETWORKS)
def network(request):
    """Parameters of the estimator, for each kind of network or for the kinds that a test names."""
    return dict(NETWORKS[request.param])


@pytest.fixture
def assert_same_weights():
    """Check that the weights of two fitted estimators have the same bits."""

    def check(one, other):
        for name in ("coefs_", "intercepts_"):
            for ours, theirs in zip(getattr(one, name), getattr(other, name), strict=True):
                np.testing.assert_array_equal(ours.view(np.int32), theirs.view(np.int32))

    return check


# ----------------------------------------------------------------- engine --


@pytest.fixture
def base():
    """Settings of a trainer, without the micro-batch and the dropout."""
    return {
        "activation": "relu",
        "loss": "sigmoid",
        "all_neurons": True,
        "tail_size": 0,
        "n_hard": 0,
        "n_hard_kept": 0,
        "prune": 0.0,
        "solver": "adam",
        "alpha": 0.0,
        "momentum": 0.8,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-8,
        "seed": 5,
    }


@pytest.fixture
def rerun_with_simd(request):
    """Run the file of the test again under every instruction set except the one in use."""

    def rerun(selection):
        root = Path(dispatch.__file__).parents[2]
        for name in dispatch.available():
            if name == dispatch.instruction_set():
                continue  # every other test of the file
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                 str(request.path), "-k", selection],
                cwd=root, env={**os.environ, "SLIDE_SIMD": name}, capture_output=True, text=True,
                timeout=600,
            )  # fmt: skip
            assert done.returncode == 0, f"{name}: {done.stdout[-2000:]}"
            assert " passed" in done.stdout

    return rerun
