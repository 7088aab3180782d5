"""Metrics, planted problems and checkpoints with hostile values: an error or a right result."""

import os
import tempfile
from contextlib import chdir
from pathlib import Path

import numpy as np
from helpers.hostile import REFUSALS, fuzz, item_of, values
from helpers.hostile_arrays import any_features, any_labels, right_labels
from hypothesis import strategies as st
from scipy.sparse import issparse

from slide import SparseMLPClassifier, metrics
from slide.callback import Checkpoint
from slide.datasets import make_extreme_classification

METRICS = {name: getattr(metrics, name) for name in ("precision_at_k", "recall_at_k", "ndcg_at_k")}


@st.composite
def rankings(draw, n_labels=20):
    """Ranked labels of 8 rows: columns, labels, or anything."""
    rng = np.random.RandomState(draw(st.integers(0, 99)))
    ranked = np.array([rng.permutation(n_labels)[:5] for _ in range(8)])
    kind = draw(st.sampled_from("plain plain type spiced twice short text list any".split()))
    if kind == "type":
        return ranked.astype(
            draw(st.sampled_from(["u1", "i1", "u8", "f8", "O", "?", "c8", "M8[s]"]))
        )
    if kind == "spiced":
        ranked[draw(st.integers(0, 7)), 0] = draw(st.sampled_from([-1, 20, 2**31, 2**62, -(2**63)]))
    elif kind == "twice":
        ranked[draw(st.integers(0, 7)), 1] = ranked[0, 0]
    elif kind == "short":
        return ranked[: draw(st.integers(0, 8)), : draw(st.integers(0, 5))]
    elif kind == "text":
        return ranked.astype("U")
    elif kind == "list":
        return ranked.tolist()
    elif kind == "any":
        return draw(any_features() | values)
    return ranked


targets = right_labels(8) | any_labels(8)
ks = item_of([1, 1, 2, 5, np.int8(2), 6]) | values


@fuzz(60, 3000, name=st.sampled_from(sorted(METRICS)), y=targets, ranked=rankings(), k=ks)
def test_metrics(name, y, ranked, k):
    try:
        result = METRICS[name](y, ranked, k)
    except REFUSALS as error:
        assert str(error) and len(str(error)) < 10_000
    else:
        assert isinstance(result, float) and 0 <= result <= 1


@fuzz(
    40, 1500,
    y=right_labels(8, single=False) | any_labels(8),
    ranked=rankings(3),
    k=ks,
    A=item_of([0.55, 1, np.float16(0.5), 1e-300, 1e300]) | values,
    B=item_of([1.5, 1, np.float32(1), 1e-300, 1e300]) | values,
    propensities=item_of([None, None]) | any_features() | values,
)  # fmt: skip
def test_propensities(y, ranked, k, A, B, propensities):
    try:
        found = metrics.label_propensities(y, A, B)
    except REFUSALS as error:
        assert str(error) and len(str(error)) < 10_000
        found = np.ones(3)
    else:
        assert found.dtype == np.float64 and ((found >= 0) & (found <= 1)).all()
        width = y.shape[1] if issparse(y) else np.shape(y)[1]
        assert found.shape == (width,)
    try:
        result = metrics.psp_at_k(y, ranked, found if propensities is None else propensities, k)
    except REFUSALS as error:
        assert str(error) and len(str(error)) < 10_000
    else:
        assert 0 <= result <= 1 + 1e-12


SIZES = {
    "n_samples": [1, 10, np.int8(100), np.uint8(200)],
    "n_features": [2, 50, 2**31 - 1, np.int8(100)],
    "n_classes": [1, 5, 100, np.uint8(255)],
    "n_nonzero": [1, 3, 10, np.int8(25), np.uint8(25)],
    "n_informative": [1, 3, np.int8(20)],
    "n_labels": [1, 2, 3, np.int8(2)],
    "n_siblings": [1, 2, 7, np.uint8(5)],
    "similarity": [0, 0.0, 0.5, 0.999, np.float16(0.5)],
    "zipf_exponent": [0, 1.0, 0.5, 50, np.float32(2), 1e300, np.float16(1)],
    "random_state": [0, None, np.int64(3)],
}
SMALL = {"n_samples": 10, "n_features": 60, "n_classes": 5, "n_nonzero": 6, "n_informative": 3}


@st.composite
def sizes(draw):
    chosen = draw(st.lists(st.sampled_from(sorted(SIZES)), max_size=6))
    found = {**SMALL, "random_state": 0, **{name: draw(item_of(SIZES[name])) for name in chosen}}
    if draw(st.booleans()):
        found[draw(st.sampled_from(sorted(SIZES)))] = draw(values)
    return found


@fuzz(40, 1500, params=sizes())
def test_planted_problems(params):
    try:
        X, y = make_extreme_classification(**params)
    except REFUSALS as error:
        assert str(error) and len(str(error)) < 10_000
        return
    n, p = int(params["n_samples"]), int(params["n_features"])
    assert X.shape == (n, p) and y.shape[0] == n
    X.check_format(full_check=True)
    assert X.has_canonical_format and (np.diff(X.indptr) == int(params["n_nonzero"])).all()
    np.testing.assert_allclose(X.multiply(X).sum(axis=1), 1, rtol=1e-5)
    if y.ndim == 1:
        assert y.min() >= 0 and y.max() < params["n_classes"]
    else:
        assert y.shape == (n, params["n_classes"]) and (y.data == 1).all()


DENSE = np.random.RandomState(0).standard_normal((40, 6))


@fuzz(
    30, 1500,
    path=item_of(["kept", b"kept", Path("kept"), "folder", "none/kept"]) | values,
    every_n_epochs=item_of([1, None, np.int8(2), 2**62]) | values,
    every_n_seconds=item_of([None, 0.5, 1e-9, np.float16(1), 1e300]) | values,
)  # fmt: skip
def test_checkpoints(path, every_n_epochs, every_n_seconds):
    """Valid arguments keep the training; others are refused before a file is written."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        os.mkdir("folder")
        clf = SparseMLPClassifier(3, max_iter=4, random_state=0)
        try:
            kept = Checkpoint(path, every_n_epochs=every_n_epochs, every_n_seconds=every_n_seconds)
            clf.set_callbacks(kept).fit(DENSE, np.arange(40) % 3)
        except (*REFUSALS, OSError) as error:
            assert str(error) and len(str(error)) < 10_000
            assert os.listdir() == ["folder"] and not hasattr(clf, "classes_")
        else:
            whole = SparseMLPClassifier.load(path)
            np.testing.assert_array_equal(whole.predict(DENSE), clf.predict(DENSE))
