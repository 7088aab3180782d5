"""Displays and recalls of estimators that stand in pipelines, searches and other wrappers."""

import matplotlib
import numpy as np
import pytest
from helpers.wrappers import FREEZERS, WRAPPERS, shifted
from matplotlib import pyplot
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from slide import SparseMLPClassifier
from slide.datasets import make_extreme_classification
from slide.inspection import (
    CostDisplay,
    HashTablesDisplay,
    TimeSpentDisplay,
    TrainingCurveDisplay,
    prediction_recall,
    retrieval_recall,
)

matplotlib.use("Agg")

IDS = np.arange(120) % 3
X = np.random.default_rng(0).standard_normal((120, 8)) + 2 * np.eye(3, 8)[IDS]

# Each takes an estimator; those with an X give it to the outermost estimator.
TOOLS = {
    "curve": TrainingCurveDisplay.from_estimator,
    "time": TimeSpentDisplay.from_estimator,
    "tables": HashTablesDisplay.from_estimator,
    "tables and recall": lambda model: HashTablesDisplay.from_estimator(model, X),
    "cost": lambda model: CostDisplay.from_estimators([model]),
    "retrieval": lambda model: retrieval_recall(model, X),
    "prediction": lambda model: prediction_recall(model, X, k=2),
}


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    pyplot.close("all")


@pytest.fixture(params=TOOLS)
def tool(request):
    return TOOLS[request.param]


def classifier(**params):
    defaults = {
        "hidden_layer_sizes": (32,),
        "active_fraction": (0.25, 1.0),
        "retrieval": "topk",
        "n_tables": 4,
        "n_hash_bits": 2,
        "max_iter": 3,
        "random_state": 0,
    }
    return SparseMLPClassifier(**{**defaults, **params})


@pytest.mark.filterwarnings("ignore:y contains no unlabeled samples")
@pytest.mark.parametrize("name", WRAPPERS)
def test_tools_see_through(name):
    model = WRAPPERS[name](classifier()).fit(X, IDS)
    for tool in TOOLS.values():
        tool(model)


@pytest.mark.parametrize("freeze", FREEZERS.values(), ids=FREEZERS)
def test_tools_see_through_frozen_estimators(freeze, tool):
    tool(freeze(make_pipeline(shifted(), classifier()).fit(X, IDS)))


def test_tools_see_through_a_threshold(tool):
    rows = IDS < 2
    tool(TunedThresholdClassifierCV(classifier(), cv=2).fit(X[rows], IDS[rows]))


def test_numbers_are_those_of_the_classifier_behind_its_transformers():
    model = make_pipeline(StandardScaler(), GridSearchCV(classifier(), {"alpha": [0.0]}, cv=2))
    model.fit(X, IDS)
    clf, scaled = model[-1].best_estimator_, model[0].transform(X)
    curve = TrainingCurveDisplay.from_estimator(model, against="epochs")
    assert_array_equal(curve.y, clf.loss_curve_)
    time = TimeSpentDisplay.from_estimator(model)
    assert_array_equal(sum(time.seconds.values()), [epoch["seconds"] for epoch in clf.history_])
    recall = retrieval_recall(clf, scaled)
    assert retrieval_recall(model, X) == HashTablesDisplay.from_estimator(model, X).recall == recall
    assert recall != retrieval_recall(clf, X)
    costs = CostDisplay.from_estimators([model])
    assert costs.cost / costs.dense_cost == pytest.approx(clf.compute_fraction_)


def test_prediction_recall_of_more_classes_than_there_are():
    assert prediction_recall(classifier().fit(X, IDS), X, k=5) == 1


def test_rows_of_a_pipeline_that_finds_short_lists():
    rows, Y = make_extreme_classification(300, 200, 20_000, n_labels=3, random_state=0)
    clf = SparseMLPClassifier((64,), max_iter=1, random_state=0)
    model = make_pipeline(StandardScaler(with_mean=False), clf).fit(rows, Y)
    recall = prediction_recall(model, rows, k=5, n_candidates=32)
    scaled = model[0].transform(rows)
    assert 0 < recall < 1
    assert recall == prediction_recall(model[-1], scaled, k=5, n_candidates=32)


# ----------------------------------------------------------------- refused --


@pytest.mark.parametrize(
    "unfitted",
    [
        classifier(),
        make_pipeline(shifted(), classifier()),
        GridSearchCV(classifier(), {"alpha": [0.0]}),
        FrozenEstimator(classifier()),
        clone(make_pipeline(classifier()).fit(X, IDS)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_unfitted_estimators(unfitted, tool):
    with pytest.raises(NotFittedError):
        tool(unfitted)


@pytest.mark.parametrize(
    "model",
    [
        OneVsRestClassifier(classifier()).fit(X, IDS),
        MultiOutputClassifier(classifier()).fit(X, np.c_[IDS, IDS]),
        CalibratedClassifierCV(classifier(), cv=2).fit(X, IDS),
        make_pipeline(BaggingClassifier(classifier(), n_estimators=2).fit(X, IDS)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_wrappers_of_several_estimators(model, tool):
    message = (
        r"estimator.* must be a fitted SparseMLPClassifier, or a pipeline, a search .*; got .*, "
        "which holds several estimators. Pass one of them"
    )
    with pytest.raises(ValueError, match=message):
        tool(model)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression().fit(X, IDS),
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        StandardScaler().fit(X),
        Pipeline([]),
        SparseMLPClassifier,
        "a name",
        None,
    ],
    ids=lambda model: type(model).__name__,
)
def test_what_is_no_such_estimator(model, tool):
    with pytest.raises(ValueError, match=r"estimator.* must be a fitted SparseMLP.*; got "):
        tool(model)


def test_a_search_that_kept_no_estimator(tool):
    search = GridSearchCV(classifier(), {"alpha": [0.0]}, cv=2, refit=False).fit(X, IDS)
    with pytest.raises(ValueError, match=r"estimator.* must hold .*refit=False.*refit=True"):
        tool(search)


@pytest.mark.parametrize("models", [classifier(), make_pipeline(classifier()), None, 3])
def test_cost_wants_a_list(models):
    with pytest.raises(ValueError, match=r"estimators must be a list of fitted estimators; got"):
        CostDisplay.from_estimators(models)


def test_cost_says_which_estimator_is_wrong():
    models = [classifier().fit(X, IDS), make_pipeline("passthrough")]
    with pytest.raises(ValueError, match=r"estimators\[1\] must end with an estimator; got"):
        CostDisplay.from_estimators(models)
