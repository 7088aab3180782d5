"""Omikuji with the defaults of its Python interface: three Parabel-like trees, or Bonsai-like ones.

The parameter ``kind`` chooses: "parabel", balanced binary trees, or "bonsai", trees of depth 3 with
100 unbalanced children, as Omikuji's and Annif's documentation set them. Rows are used as they are.
Omikuji reads its training data from a file. Writing the file does not count as training; reading it
does, as Omikuji offers no other way.
"""

import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import omikuji
from common.child import TOP, folder_bytes, load, pad, params, run

KINDS = {
    "parabel": {},
    "bonsai": {"cluster_balanced": False, "cluster_k": 100, "max_depth": 3},
}


def write_rows(path, X, Y):
    """The Extreme Classification text format."""
    with open(path, "w") as file:
        file.write(f"{X.shape[0]} {X.shape[1]} {Y.shape[1]}\n")
        for i in range(X.shape[0]):
            values = slice(X.indptr[i], X.indptr[i + 1])
            labels = Y.indices[Y.indptr[i] : Y.indptr[i + 1]]
            pairs = zip(X.indices[values], X.data[values], strict=True)
            features = " ".join(f"{feature}:{value:.8g}" for feature, value in pairs)
            # Omikuji reads no line without features.
            file.write(f"{','.join(map(str, labels))} {features or '0:0'}\n")


def train(X, Y, threads):
    hyper_param = omikuji.Model.default_hyper_param()
    settings = KINDS[params().get("kind", "parabel")]
    for name, value in settings.items():
        setattr(hyper_param, name, value)
    model = omikuji.Model.train_on_data(str(FOLDER / "train.txt"), hyper_param, threads)
    model.init_prediction_thread_pool(threads)
    return model, {"n_trees": hyper_param.n_trees, **settings}


def size(model):
    model.save(str(FOLDER / "model"))
    return folder_bytes(FOLDER / "model")


def predict(model, X, threads):
    rows = (
        zip(X.indices[first:last], X.data[first:last], strict=True)
        for first, last in zip(X.indptr[:-1], X.indptr[1:], strict=True)
    )
    found = [model.predict(list(row), top_k=TOP) for row in rows]
    return pad([np.array([label for label, _ in row], np.int32) for row in found])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        FOLDER = Path(folder)
        data = Path(sys.argv[1])
        write_rows(FOLDER / "train.txt", load(data, "X_train"), load(data, "Y_train"))
        run(train, predict, {"omikuji": version("omikuji")}, size=size)
