"""Every kind of estimator that wraps another one."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import RFE
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier


class FirstRows(BaseEstimator):
    """A sampler: training sees only the first rows."""

    def __init__(self, n=100):
        self.n = n

    def fit_resample(self, X, y):
        return X[: self.n], y[: self.n]


class SamplingPipeline(ClassifierMixin, BaseEstimator):
    """A pipeline that knows samplers, like imbalanced-learn's, and is no scikit-learn Pipeline."""

    def __init__(self, steps):
        self.steps = steps

    def fit(self, X, y):
        for _, step in self.steps[:-1]:
            if hasattr(step, "fit_resample"):
                X, y = step.fit_resample(X, y)
            elif step not in (None, "passthrough"):
                X = step.fit(X, y).transform(X)
        self.steps[-1][1].fit(X, y)
        self.fitted_ = True
        return self

    def predict(self, X):
        for _, step in self.steps[:-1]:
            if hasattr(step, "transform"):
                X = step.transform(X)
        return self.steps[-1][1].predict(X)


def sampling(clf, n=100):
    scaler = StandardScaler()
    return SamplingPipeline([("scale", scaler), ("rows", FirstRows(n)), ("none", None), ("c", clf)])


def shifted():
    """A transformer without which the estimator behind it is wrong."""
    return FunctionTransformer(np.roll, kw_args={"shift": 1, "axis": 1})


def first_weights(clf):
    """A measure of the features for RFE."""
    return np.abs(clf.coefs_[0]).sum(axis=1)


def columns(clf):
    parts = [("left", StandardScaler(), [0, 1]), ("right", "passthrough", [2, 3])]
    return make_pipeline(ColumnTransformer(parts, remainder="drop"), clf)


def frames(clf):
    """A pipeline whose transformers make frames of named columns."""
    return make_pipeline(StandardScaler().set_output(transform="pandas"), clf)


GRID = {"learning_rate_init": [0.001, 0.01]}

# name: function of an unfitted SparseMLPClassifier
WRAPPERS = {
    "bare": lambda clf: clf,
    "pipeline": lambda clf: make_pipeline(shifted(), clf),
    "pipelines": lambda clf: make_pipeline(shifted(), make_pipeline(shifted(), clf)),
    "pipeline of transformers": lambda clf: make_pipeline(make_pipeline(shifted()), clf),
    "empty steps": lambda clf: Pipeline([("a", None), ("b", "passthrough"), ("c", clf)]),
    "union": lambda clf: make_pipeline(FeatureUnion([("a", shifted()), ("b", shifted())]), clf),
    "columns": columns,
    "frames": frames,
    "sampling": sampling,
    "grid search": lambda clf: GridSearchCV(clf, GRID, cv=2),
    "random search": lambda clf: RandomizedSearchCV(clf, GRID, n_iter=1, cv=2, random_state=0),
    "halving": lambda clf: HalvingGridSearchCV(clf, GRID, cv=2, random_state=0),
    "search of searches": lambda clf: GridSearchCV(
        GridSearchCV(clf, GRID, cv=2), {"estimator__dropout": [0.0]}, cv=2
    ),
    "search of a pipeline": lambda clf: GridSearchCV(
        Pipeline([("a", shifted()), ("b", clf)]), {"b__dropout": [0.0, 0.1]}, cv=2
    ),
    "search of a sampling pipeline": lambda clf: GridSearchCV(
        sampling(clf, 50), {"steps": [sampling(clf, 50).steps]}, cv=2
    ),
    "search in a pipeline": lambda clf: make_pipeline(shifted(), GridSearchCV(clf, GRID, cv=2)),
    "refit by a function": lambda clf: GridSearchCV(clf, GRID, cv=2, refit=lambda results: 1),
    "feature elimination": lambda clf: RFE(
        clf, n_features_to_select=4, importance_getter=first_weights
    ),
    "self-training": SelfTrainingClassifier,
}
# Frozen ones are fitted before they are wrapped.
FREEZERS = {
    "frozen": FrozenEstimator,
    "frozen twice": lambda model: FrozenEstimator(FrozenEstimator(model)),
    "frozen in a pipeline": lambda model: make_pipeline("passthrough", FrozenEstimator(model)),
}
