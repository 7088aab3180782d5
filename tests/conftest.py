"""Data, settings and helpers that several test files share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slide import _simd
from slide.datasets import make_extreme_classification


@pytest.fixture(scope="session")
def planted():
    """Sparse rows, 40 classes."""
    return make_extreme_classification(600, 300, 40, n_nonzero=20, random_state=0)


@pytest.fixture(scope="session")
def multilabel():
    """Sparse rows, a sparse indicator of 40 columns, 3 labels a row."""
    return make_extreme_classification(600, 300, 40, n_nonzero=20, n_labels=3, random_state=0)


# ----------------------------------------------------------------- engine --


@pytest.fixture
def base():
    """A trainer's settings, but for the micro-batch and the dropout."""
    return {
        "activation": "relu",
        "loss": "sigmoid",
        "all_neurons": True,
        "tail_size": 0,
        "n_hard": 0,
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
    """Runs the test's own file again under every instruction set but the one in use."""

    def rerun(selection):
        root = Path(_simd.__file__).parents[1]
        for name in _simd.available():
            if name == _simd.instruction_set():
                continue  # every other test of the file
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                 str(request.path), "-k", selection],
                cwd=root, env={**os.environ, "SLIDE_SIMD": name}, capture_output=True, text=True,
                timeout=120,
            )  # fmt: skip
            assert done.returncode == 0, f"{name}: {done.stdout[-2000:]}"
            assert " passed" in done.stdout

    return rerun
