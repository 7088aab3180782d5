"""PECOS XR-Linear with the defaults of its Python interface.

PIFA label features, hierarchical k-means, a tree of linear models, beam 20 (10 on its command
line). Two things are in its favour. Rows are scaled to length 1 first, as its own text features are
and as napkinXC does by itself (raw rows are far worse: bibtex P@1 .519 against .638). Prediction
uses the model read back as ``is_predict_only``, which gives the same labels six times faster.
"""

import tempfile
from importlib.metadata import version

import numpy as np
from common.child import TOP, folder_bytes, pad, run
from pecos.utils import smat_util
from pecos.xmc import Indexer, LabelEmbeddingFactory
from pecos.xmc.xlinear.model import XLinearModel
from sklearn.preprocessing import normalize


def train(X, Y, threads):
    X = normalize(X)
    label_features = LabelEmbeddingFactory.create(Y, X, method="pifa", threads=threads)
    clusters = Indexer.gen(
        label_features, indexer_type="hierarchicalkmeans", threads=threads, seed=0
    )
    model = XLinearModel.train(X, Y.tocsc(), C=clusters, threads=threads)
    settings = {
        "label_features": "pifa",
        "indexer": "hierarchicalkmeans",
        "seed": 0,
        "row_norm": "l2",
        "beam_size": model.get_pred_params().hlm_args.model_chain[0].only_topk,
    }
    return model, settings


def reload(model):
    model.save(FOLDER)
    return XLinearModel.load(FOLDER, is_predict_only=True)


def size(model):
    return folder_bytes(FOLDER)


def predict(model, X, threads):
    scores = smat_util.sorted_csr(model.predict(normalize(X), only_topk=TOP, threads=threads))
    return pad(np.split(scores.indices, scores.indptr[1:-1]))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as FOLDER:
        run(train, predict, {"libpecos": version("libpecos")}, reload, size)
