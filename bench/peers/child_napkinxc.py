"""napkinXC PLT, a probabilistic label tree, with its defaults."""

import tempfile
from importlib.metadata import version

from common.child import TOP, folder_bytes, pad, run
from napkinxc.models import PLT


def train(X, Y, threads):
    model = PLT(FOLDER, threads=threads, seed=0)
    model.fit(X, Y)  # fitting writes the model into FOLDER
    return model, {"seed": 0}


def reload(model):
    model.load()
    return model


def size(model):
    return folder_bytes(FOLDER)


def predict(model, X, threads):
    return pad(model.predict(X, top_k=TOP))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as FOLDER:
        run(train, predict, {"napkinxc": version("napkinxc")}, reload, size)
