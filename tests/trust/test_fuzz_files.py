"""Readers of files with hostile content: a ValueError with the path, or a right result."""

import tempfile
import tracemalloc
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from helpers.hostile import REFUSALS, fuzz
from helpers.hostile_arrays import matrix
from helpers.hostile_files import (
    MANY_LABELS,
    SVMLIGHT,
    XMC,
    damaged_bytes,
    maybe_compressed,
    wrong_headers,
    wrong_models,
)
from hypothesis import strategies as st
from scipy.sparse import csr_array

from slide import SparseMLPClassifier
from slide._cli.reading import read_rows
from slide.datasets import load_xmc

X = matrix(0, 40, 6, density=0.2).astype(np.float32)
Y = np.arange(40) % 5
KINDS = {
    "dense": {},
    "sparse": {"hidden_layer_sizes": (8, 5), "active_fraction": (0.5, 0.5, 0.5)},
    "tables": {"active_fraction": (0.5, 0.5), "retrieval": "rerank", "n_tables": 3,
               "n_hash_bits": 3},
    "windows": {"active_fraction": (0.5, 0.5), "retrieval": "topk", "hash_family": "dwta",
                "n_tables": 2, "n_hash_bits": 2},
    "half": {"weight_dtype": "bfloat16", "solver": "sgd"},
    "prototypes": {"prototypes": True, "early_stopping": True},
    "text": {"retrieval": "lists", "active_fraction": (1.0, 0.5)},
}  # fmt: skip


@contextmanager
def file_of(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(content)
        yield path


def refused(call, path, *args):
    """The result of the call for a file, or None after a ValueError that names the file."""
    try:
        return call(path, *args)
    except ValueError as error:
        assert str(path) in str(error), error
        assert len(str(error)) < 2000
        return None


@contextmanager
def little_memory(n_bytes):
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
        assert peak < n_bytes, f"{peak} bytes, {n_bytes} are allowed"
    finally:
        tracemalloc.stop()


@cache
def model_file(kind):
    """The bytes of a small model."""
    params = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0, **KINDS[kind]}
    y = np.array([f"label {i}" for i in range(5)])[Y] if kind == "text" else Y
    x = X + 1 if kind == "half" else csr_array(X)
    with file_of(b"") as path:
        SparseMLPClassifier(**params).fit(x, y).save(path)
        return path.read_bytes()


def use_if_loaded(path):
    """Predict with a model whose file was accepted: any result is fine, but no crash."""
    model = refused(SparseMLPClassifier.load, path)
    if model is None:
        return
    with np.errstate(all="ignore"):
        for call in (
            lambda: model.predict_topk(X, 1),
            lambda: model.predict_proba(X),
            lambda: model.set_params(predict_mode="lsh").predict(X),
            lambda: model.hash_params_ and model.compute_fraction_,
            lambda: model.set_params(verbose=False).partial_fit(X, model.predict(X)),
            lambda: model.predict_topk(X, 1),
        ):
            try:
                call()
            except (*REFUSALS, FloatingPointError):
                pass


models = st.sampled_from(sorted(KINDS)).map(model_file)


@fuzz(60, 3000, content=maybe_compressed(damaged_bytes(st.just(XMC))))
def test_xmc(content):
    with file_of(content) as path, little_memory(64 * len(content) + 3_000_000):
        found = refused(load_xmc, path)
        if found is not None:
            for part in found:
                assert part.has_canonical_format
                part.check_format(full_check=True)
            assert found[0].shape[0] == found[1].shape[0]
            assert np.isfinite(found[0].data).all() and (found[1].data == 1).all()


@fuzz(
    60, 3000,
    content=maybe_compressed(damaged_bytes(st.sampled_from([XMC, SVMLIGHT, MANY_LABELS]))),
    format=st.sampled_from(["auto", "xmc", "svmlight"]),
)  # fmt: skip
def test_rows(content, format):
    with file_of(content) as path:
        rows = refused(read_rows, path, format)
        if rows is None:
            return
        rows.x.check_format(full_check=True)
        assert len(rows.labels) == rows.counts.sum() and rows.x.shape[0] == len(rows.counts)
        for call in (rows.target, rows.indicator, lambda: rows.features(9)):
            try:
                call()
            except ValueError as error:
                assert str(path) in str(error)


@fuzz(30, 1500, content=damaged_bytes(models))
def test_models_of_damaged_bytes(content):
    with file_of(content) as path, little_memory(64 * len(content) + 3_000_000):
        use_if_loaded(path)


@fuzz(40, 2000, content=wrong_models(models))
def test_models_of_wrong_parts(content):
    with file_of(content) as path, little_memory(64 * len(content) + 3_000_000):
        use_if_loaded(path)


@fuzz(30, 1500, content=wrong_headers(models))
def test_models_of_wrong_headers(content):
    with file_of(content) as path, little_memory(64 * len(content) + 3_000_000):
        use_if_loaded(path)
