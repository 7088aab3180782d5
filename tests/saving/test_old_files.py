"""Tests that files of earlier formats load, predict as before, and can be trained on."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from slide import SparseMLPClassifier
from slide._saving.tensors import TensorFile

FOLDER = Path(__file__).parents[1] / "fixtures"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())


@pytest.fixture(params=EXPECTED["models"])
def old(request):
    """Path of an old file, rows, and the expected predictions."""
    rows = np.zeros((len(EXPECTED["rows"]), 50), np.float32)
    for row, pairs in zip(rows, EXPECTED["rows"], strict=True):
        for feature, value in pairs:
            row[feature] = value
    if request.param == "estimates":
        rows += 1
    if request.param == "names":
        pandas = pytest.importorskip("pandas")
        rows = pandas.DataFrame(rows, columns=[f"feature {i}" for i in range(50)])
    return FOLDER / f"{request.param}.safetensors", rows, EXPECTED["models"][request.param]


def test_every_file_has_its_predictions():
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == EXPECTED["models"].keys()


def test_loads_and_predicts_what_it_did(old):
    path, rows, expected = old
    labels, scores = SparseMLPClassifier.load(path).predict_topk(rows, 3)
    assert labels.tolist() == expected["labels"]
    np.testing.assert_allclose(scores, expected["scores"], rtol=1e-3, atol=1e-3)


def test_trains_on_and_is_saved_in_the_present_format(old, tmp_path, assert_same_weights):
    path, rows, _ = old
    models = [SparseMLPClassifier.load(path).set_params(early_stopping=False) for _ in range(2)]
    labels = models[0].predict(rows)
    n_samples = models[0].t_
    for model in models:
        model.partial_fit(rows, labels)
        assert model.t_ == n_samples + len(rows)
    models[0].save(tmp_path / "model")
    twin = SparseMLPClassifier.load(tmp_path / "model")
    assert_same_weights(twin, models[1])
    np.testing.assert_array_equal(twin.predict_proba(rows), models[1].predict_proba(rows))
    with TensorFile(tmp_path / "model") as file:
        assert json.loads(file.metadata["slide"])["format"] == 3


def test_the_oldest_knew_no_weight_dtype():
    with TensorFile(FOLDER / "dense_old.safetensors") as file:
        plain = json.loads(file.metadata["slide"])
    assert "weight_dtype" not in plain["params"] | plain["network"]["settings"]
    model = SparseMLPClassifier.load(FOLDER / "dense_old.safetensors")
    assert model.weight_dtype == "float32"


def test_has_no_checksums():
    for path in FOLDER.glob("*.safetensors"):
        assert b"checksum" not in path.read_bytes()
    arrays = load_file(FOLDER / "dense.safetensors")
    assert arrays["layers.0.w"].shape == (50, 16)
