"""scikit-learn's MLPClassifier, dense; its other defaults are kept."""

import warnings

import sklearn
from common.child import params, run
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits


def train(X, y, threads):
    model = MLPClassifier(**params())
    with threadpool_limits(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the epochs are fixed
        model.fit(X, y)
    return model, {**model.get_params(), "n_iter_": model.n_iter_}


def predict(model, X, threads):
    with threadpool_limits(threads):
        return model.predict(X)[:, None]


if __name__ == "__main__":
    run(train, predict, {"scikit-learn": sklearn.__version__})
