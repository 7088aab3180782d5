"""With one thread, fits give the same bits, whatever surrounds the process.

BLAS and LAPACK round differently with another number of threads or another build. So nothing that
they compute may decide a weight.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.same_bits import WIDE, dense_problem, digest, digests, fit, sparse_problem
from joblib import Parallel, delayed
from scipy.sparse import coo_array, csr_array
from threadpoolctl import threadpool_limits

import slide
from slide import SparseMLPClassifier

ROOT = Path(slide.__file__).parent
TESTS = Path(__file__).parents[1]
# It measures, and decides nothing.
MAY_CALL_BLAS = {"inspection/_recall.py"}


@pytest.fixture(scope="module")
def here():
    return digests()


def test_limits_on_blas_change_nothing(here):
    with threadpool_limits(1, user_api="blas"):
        assert digests() == here


def test_a_worker_of_joblib_changes_nothing(here):
    # Two workers share the processors, so BLAS may use fewer threads in each.
    for found in Parallel(n_jobs=2)(delayed(digests)() for _ in range(2)):
        assert found == here


@pytest.mark.parametrize(
    "environment",
    [
        {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "1"},
        # OpenBLAS then takes the kernels of an old processor.
        {"OPENBLAS_CORETYPE": "Prescott", "PYTHONHASHSEED": "2", "LC_ALL": "C"},
    ],
    ids=["one core", "another BLAS"],
)
def test_another_process_changes_nothing(here, environment):
    path = os.pathsep.join([str(ROOT.parent), str(TESTS), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(TESTS / "helpers" / "same_bits.py")],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == here


def placed(values, offset):
    """A copy of an array that starts `offset` bytes after a multiple of 64."""
    memory = np.zeros(values.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    copy = memory[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


@pytest.mark.parametrize("params", [{}, {**WIDE, "retrieval": "estimate"}], ids=["dense", "sparse"])
def test_the_place_of_x_in_memory_changes_nothing(params, tmp_path):
    x, y = dense_problem()
    expected = digest(fit(x, y, **params))
    np.save(tmp_path / "x.npy", x)
    every_other = np.zeros((2 * len(x), x.shape[1] + 3), np.float32)
    every_other[::2, 3:] = x
    for same in (
        placed(x, 1),
        placed(x, 4),
        np.asfortranarray(x),
        every_other[::2, 3:],
        np.load(tmp_path / "x.npy", mmap_mode="r"),
        x.astype(np.float64),
        x.astype(x.dtype.newbyteorder()),
        csr_array(x),
    ):
        assert digest(fit(same, y, **params)) == expected


@pytest.mark.parametrize("params", [{}, WIDE, {**WIDE, "early_stopping": True}])
def test_the_place_of_sparse_x_in_memory_changes_nothing(params):
    x, y = sparse_problem()
    parts = x.data, x.indices, x.indptr
    expected = digest(fit(x, y, **params))
    for same in (
        *(csr_array(tuple(placed(part, at) for part in parts), x.shape) for at in (1, 4)),
        csr_array((x.data, *(part.astype(np.int64) for part in parts[1:])), x.shape),
        coo_array(x),
        *([x.toarray()] if params else []),  # a dense first layer has other columns, but see below
    ):
        assert digest(fit(same, y, **params)) == expected


def test_a_dense_first_layer_predicts_the_same_after_every_container():
    x, y = sparse_problem()
    one, other = fit(x, y), fit(x.toarray(), y)
    assert (one.decision_function(x) == other.decision_function(x)).all()


def test_batches_and_predictions_have_the_same_bits_in_every_container():
    x, y = sparse_problem()
    sparse, dense = (
        SparseMLPClassifier((64,), active_fraction=(0.3, 1.0), random_state=0) for _ in range(2)
    )
    for start in range(0, 300, 100):
        part = slice(start, start + 100)
        sparse.partial_fit(x[part], y[part], classes=range(60))
        dense.partial_fit(x[part].toarray(), y[part], classes=range(60))
    assert digest(sparse) == digest(dense)
    assert (sparse.decision_function(x) == sparse.decision_function(x.toarray())).all()


@pytest.mark.skipif(not (ROOT / "_core.pyx").exists(), reason="a wheel has no sources")
def test_no_source_calls_blas():
    calls = re.compile(
        r" @=? |\bnp\.(dot|vdot|inner|matmul|tensordot|linalg|cov|corrcoef)\b|\.dot\("
        r"|optimize=|linalg|extmath|cython_blas|LogisticRegression|BFGS|SLSQP"
    )
    sources = [path for kind in ("*.py", "*.pyx", "*.pxd") for path in ROOT.rglob(kind)]
    found = {str(path.relative_to(ROOT)) for path in sources if calls.search(path.read_text())}
    assert found == MAY_CALL_BLAS
