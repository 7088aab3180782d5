"""Offsets beyond 31 bits, in arrays that take little memory as most pages are never touched."""

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csr_array

import slide
from slide._base.rows import InputRows
from slide._data.labels import LabelRows
from slide._engine import predict
from slide._network import passes
from slide._network.network import Network
from slide._network.start import make_retrieval
from slide._settings import auto
from slide._settings.rules import check_params

ROOT = Path(slide.__file__).parents[1]  # for child processes; a checkout may lack compiled modules

FAR = 17_000_000  # rows of 128 weights: 2**31 + 28,516,352 of them


# ----------------------------------------------- kernels, against a near twin --


def network(classifier, n_features, n_classes, **params):
    """A network whose arrays are all zeros, except the biases of the hidden layer."""
    shape = auto.DataShape(
        n_samples=64, n_features=n_features, n_classes=n_classes, n_labels=64, n_values=3.0,
        mean_square_norm=3.0, mean_abs_norm=3.0, multilabel=True, sparse=True, one_label=True,
    )  # fmt: skip
    defaults = {"hidden_layer_sizes": (128,), "prototypes": False, "dropout": 0.0, "batch_size": 8}
    params = check_params(classifier(**{**defaults, **params}).get_params(deep=False))
    settings = auto.resolve(params, shape)
    made = Network(n_features, n_classes, params["hidden_layer_sizes"], settings, 5)
    made.layers[0].b[...] = np.random.default_rng(1).standard_normal(128)
    return made


def rows_of(offset, n_features):
    """Rows of 3 of 20 features from `offset` on."""
    rng = np.random.default_rng(2)
    columns = np.sort([rng.choice(20, 3, replace=False) for _ in range(64)], axis=1)
    values = rng.uniform(0.5, 1.0, 192).astype(np.float32)
    indptr = 3 * np.arange(65)
    return csr_array((values, (offset + columns.ravel()).astype(np.int32), indptr),
                     (64, n_features))  # fmt: skip


def labels_of(offset, n_classes):
    ids = np.random.default_rng(3).integers(0, 20, 64)
    return LabelRows(np.arange(65), (offset + ids).astype(np.int32), n_classes)


def trained(made, x, labels, order=None):
    order = np.arange(64, dtype=np.int32) if order is None else order
    passes.train(made, made.trainer(x, labels, None, 1), order, lambda share: 0.01, 1)
    return made


def assert_same_rows(one, other, far, near):
    """Check that rows from `far` on of one layer equal those from `near` on of another."""
    for name in ("w", "w_m", "w_v", "steps"):
        ours, theirs = getattr(one, name)[far : far + 20], getattr(other, name)[near : near + 20]
        assert theirs.any()
        np.testing.assert_array_equal(ours, theirs)


def check_features(classifier):
    far, near = network(classifier, FAR + 20, 30), network(classifier, 20, 30)
    for made, offset in ((far, FAR), (near, 0)):
        made.layers[0].w[offset:] = np.random.default_rng(4).standard_normal((20, 128))
        made.layers[1].w[...] = np.random.default_rng(5).standard_normal((30, 128))
    hidden = [
        predict.hidden(made.model(), InputRows(rows_of(offset, made.n_features)), 0, 64, 1)
        for made, offset in ((far, FAR), (near, 0))
    ]
    np.testing.assert_array_equal(*hidden)
    for made, offset in ((far, FAR), (near, 0)):
        trained(made, InputRows(rows_of(offset, made.n_features)), labels_of(0, 30))
    assert_same_rows(far.layers[0], near.layers[0], FAR, 0)
    assert not far.layers[0].w[:20].any()


def check_classes(classifier):
    # Without a tail, training does not depend on the number of classes.
    params = {"active_fraction": (1.0, 0.5), "tail_size": 0, "retrieval": "none"}
    far, near = network(classifier, 20, FAR + 20, **params), network(classifier, 20, 40, **params)
    for made, offset in ((far, FAR), (near, 20)):
        made.layers[0].w[...] = np.random.default_rng(4).standard_normal((20, 128))
        made.layers[1].w[offset:] = np.random.default_rng(5).standard_normal((20, 128))
        trained(made, InputRows(rows_of(0, 20)), labels_of(offset, made.n_classes))
    assert_same_rows(far.layers[1], near.layers[1], FAR, 20)
    assert not far.layers[1].w[:20].any()
    x = InputRows(rows_of(0, 20))
    ids, scores = predict.topk(far.model(), x, 5, 1)
    near_ids, near_scores = predict.topk(near.model(), x, 5, 1)
    positive = near_scores > 0  # the other classes have score 0
    assert positive.any()
    np.testing.assert_array_equal(scores[positive], near_scores[positive])
    np.testing.assert_array_equal(ids[positive] - FAR, near_ids[positive] - 20)


def check_dense_rows(classifier):
    made = network(classifier, 100_000, 30)
    made.layers[0].w[:20] = np.random.default_rng(4).standard_normal((20, 128))
    x, last = np.zeros((22_000, 100_000), np.float32), rows_of(0, 100_000)
    x[-64:, :20] = last[:, :20].toarray()
    far = predict.hidden(made.model(), InputRows(x), 22_000 - 64, 22_000, 1)
    np.testing.assert_array_equal(
        far, predict.hidden(made.model(), InputRows(last), 0, 64, 1)
    )  # fmt: skip
    assert far.any()


def check_values(classifier):
    """More than 2**31 values of CSR; SciPy would make their indices 64 bits wide."""
    last, n_empty, size = rows_of(0, 20), 1100, 2_000_000
    n_values = n_empty * size + last.nnz
    indptr = np.concatenate([np.arange(n_empty) * size, n_empty * size + last.indptr])
    indices, data = np.zeros(n_values, np.int32), np.zeros(n_values, np.float32)
    indices[-last.nnz :], data[-last.nnz :] = last.indices, last.data
    shape = (len(indptr) - 1, 20)
    x = SimpleNamespace(indptr=indptr, indices=indices, data=data, nnz=n_values, shape=shape)
    far, near = (network(classifier, 20, 30, batch_size=2) for _ in range(2))
    labels = labels_of(0, 30)
    for made in (far, near):
        made.layers[0].w[...] = np.random.default_rng(4).standard_normal((20, 128))
    before = np.concatenate([np.zeros(n_empty, np.int64), labels.indptr])
    trained(
        far, InputRows(x), LabelRows(before, labels.indices, 30),
        np.arange(n_empty, n_empty + 64, dtype=np.int32),
    )  # fmt: skip
    trained(near, InputRows(last), labels)
    assert_same_rows(far.layers[0], near.layers[0], 0, 0)
    hidden = predict.hidden(far.model(), InputRows(x), n_empty, n_empty + 64, 1)
    np.testing.assert_array_equal(
        hidden, predict.hidden(near.model(), InputRows(last), 0, 64, 1)
    )  # fmt: skip


def check_fit(classifier):
    """A whole fit and prediction of more than 2**31 weights, whose labels are the last ones."""
    ids = np.random.default_rng(0).integers(0, 20, 200)
    X = csr_array((np.ones(200, np.float32), ids, np.arange(201)), (200, 20))
    Y = csr_array((np.ones(200, np.int8), FAR + ids, np.arange(201)), (200, FAR + 20))
    clf = classifier(
        hidden_layer_sizes=128, tail_size=16, prototypes=False, max_iter=2, retrieval="none"
    )
    clf.fit(X, Y)
    labels, scores = clf.predict_topk(X[:50], k=2)
    np.testing.assert_array_equal(labels[:, 0], FAR + ids[:50])
    assert (scores[:, 0] > scores[:, 1]).all()
    clf.partial_fit(X[:20], Y[:20])
    assert np.isfinite(clf.loss_)


CHECKS = {
    check.__name__.removeprefix("check_"): check
    for check in (check_features, check_classes, check_dense_rows, check_values, check_fit)
}
CHILD = """
    import resource, sys
    sys.path.insert(0, FOLDER)
    from slide import SparseMLPClassifier
    from trust.test_large import CHECKS

    def classifier(**params):
        return SparseMLPClassifier(random_state=0, **params)

    CHECKS[NAME](classifier)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is taken when it is touched")
@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_offsets_beyond_31_bits(name):
    code = textwrap.dedent(CHILD).replace("NAME", repr(name))
    done = subprocess.run(
        [sys.executable, "-c", code.replace("FOLDER", repr(str(Path(__file__).parents[1])))],
        # Otherwise each touched page takes two megabytes.
        cwd=ROOT, env={**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    taken = 1024 * int(done.stdout)
    print(f"{name}: {taken / 1e9:.2f} GB")
    assert taken < 6e9


# ----------------------------------------------------------------- refusals --


def test_more_pairs_than_31_bits_count_are_refused(classifier):
    made = network(classifier, 20, 30, hidden_layer_sizes=(128, 60_000),
                   active_fraction=(1.0, 0.9, 1.0), retrieval="exact")  # fmt: skip
    made.layers[1].retrieval = make_retrieval(made, 1, np.zeros((4, 128), np.float32))
    made.settings = replace(made.settings, batch_size=50_000)
    x = InputRows(csr_array((50_000, 20), dtype=np.float32))
    labels = LabelRows(np.arange(50_001), np.zeros(50_000, np.int32), 30)
    with pytest.raises(ValueError, match=r"batch_size must be smaller: .* 2700000000 pairs"):
        made.trainer(x, labels, None, 1)
