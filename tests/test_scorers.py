"""The scorers on estimators of every kind: wrapped ones, baselines, and those that cannot rank."""

import numpy as np
import pytest
from helpers.wrappers import FREEZERS, WRAPPERS, FirstRows, sampling, shifted
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifierCV
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    TunedThresholdClassifierCV,
    cross_val_score,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from slide import SparseMLPClassifier
from slide.metrics import (
    ndcg_at_k_scorer,
    precision_at_k,
    precision_at_k_scorer,
    psp_at_k_scorer,
    recall_at_k_scorer,
)

RNG = np.random.default_rng(0)
CLASSES = np.array(["ant", "bee", "cat", "dog"])
IDS = np.arange(120) % 4
X = RNG.standard_normal((120, 8)) + 2 * np.eye(4, 8)[IDS]
y = CLASSES[IDS]
INDICATOR = np.eye(4, dtype=int)[IDS]


def classifier(**params):
    return SparseMLPClassifier(
        **{"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0, **params}
    )


# ---------------------------------------------------------------- wrappers --


@pytest.mark.filterwarnings("ignore:y contains no unlabeled samples")
@pytest.mark.parametrize("name", WRAPPERS)
def test_precision_of_the_best_is_the_accuracy_of_the_wrapper(name):
    model = WRAPPERS[name](classifier()).fit(X, IDS)
    assert precision_at_k_scorer()(model, X, IDS) == np.mean(model.predict(X) == IDS) > 0.4
    assert recall_at_k_scorer(4)(model, X, IDS) == 1


@pytest.mark.parametrize("freeze", FREEZERS.values(), ids=FREEZERS)
@pytest.mark.parametrize("name", ["bare", "pipeline", "grid search", "sampling"])
def test_frozen_estimators_rank_as_they_did(freeze, name):
    model = WRAPPERS[name](classifier()).fit(X, y)
    frozen = freeze(model).fit(X[:3], y[:3])
    assert ndcg_at_k_scorer(2)(frozen, X, y) == ndcg_at_k_scorer(2)(model, X, y)


def test_thresholds_do_not_change_the_ranking():
    rows = IDS < 2
    model = make_pipeline(shifted(), classifier())
    alone = clone(model).fit(X[rows], y[rows])
    scorer = precision_at_k_scorer()
    for threshold in (
        FixedThresholdClassifier(model, threshold=0.9, pos_label="bee").fit(X[rows], y[rows]),
        FixedThresholdClassifier(alone, threshold=0.9, pos_label="bee"),
    ):
        assert scorer(threshold, X[rows], y[rows]) == scorer(alone, X[rows], y[rows])
    tuned = TunedThresholdClassifierCV(model, cv=2).fit(X[rows], IDS[rows])
    inner = scorer(tuned.estimator_, X[rows], IDS[rows])
    assert scorer(tuned, X[rows], IDS[rows]) == inner


def test_nested_cross_validation():
    search = GridSearchCV(
        Pipeline([("a", shifted()), ("b", classifier())]), {"b__dropout": [0.0, 0.1]}, cv=2,
        scoring=precision_at_k_scorer(2),
    )  # fmt: skip
    for target in (y, INDICATOR):
        scores = cross_val_score(
            search, X, target, cv=2, scoring=precision_at_k_scorer(2), error_score="raise"
        )
        assert 0.25 < scores.min() <= scores.max() <= 0.5


def test_a_pipeline_of_imbalanced_learn():
    over_sampling = pytest.importorskip("imblearn.over_sampling")
    pipeline = pytest.importorskip("imblearn.pipeline")
    rows = np.r_[0:120, 0:120:4]
    sampler = over_sampling.RandomOverSampler(random_state=0)
    model = pipeline.make_pipeline(StandardScaler(), sampler, classifier()).fit(X[rows], y[rows])
    assert precision_at_k_scorer()(model, X, y) == model.score(X, y) > 0.4
    search = GridSearchCV(model, {"sparsemlpclassifier__dropout": [0.0]}, cv=2).fit(X, y)
    assert precision_at_k_scorer()(search, X, y) == search.score(X, y)


def test_samplers_see_no_row_of_a_prediction():
    model = sampling(classifier(), n=60).fit(X, y)
    assert precision_at_k_scorer(4)(model, X, y) == 0.25  # 60 rows would not match y


# --------------------------------------------------------------- baselines --


@pytest.mark.parametrize(
    "baseline",
    [
        LogisticRegression(),
        make_pipeline(shifted(), LogisticRegression()),
        RidgeClassifierCV(),
        GaussianNB(),
        RandomForestClassifier(n_estimators=5, random_state=0),
        SVC(),
        OneVsRestClassifier(LogisticRegression()),
        CalibratedClassifierCV(GaussianNB(), cv=2),
        BaggingClassifier(GaussianNB(), n_estimators=2, random_state=0),
    ],
    ids=lambda baseline: type(baseline).__name__,
)
@pytest.mark.parametrize("n_classes", [2, 4])
def test_estimators_without_predict_topk_rank_by_scores(baseline, n_classes):
    rows = IDS < n_classes
    model = baseline.fit(X[rows], y[rows])
    assert precision_at_k_scorer()(model, X[rows], y[rows]) == model.score(X[rows], y[rows])
    assert recall_at_k_scorer(n_classes)(model, X[rows], y[rows]) == 1


def test_a_baseline_of_several_labels_ranks_columns():
    Y = np.maximum(INDICATOR, np.roll(INDICATOR, 1, axis=1))
    model = OneVsRestClassifier(LogisticRegression()).fit(X, Y)
    best = np.argsort(-model.decision_function(X), axis=1)
    assert precision_at_k_scorer(2)(model, X, Y) == precision_at_k(Y, best, 2) > 0.6
    assert psp_at_k_scorer(np.full(4, 0.5), 2)(model, X, Y) == precision_at_k(Y, best, 2)


def test_one_search_compares_the_estimator_with_a_baseline():
    pipeline = Pipeline([("scale", StandardScaler()), ("model", classifier())])
    search = GridSearchCV(
        pipeline, {"model": [classifier(), LogisticRegression()]}, cv=2,
        scoring=precision_at_k_scorer(), error_score="raise",
    ).fit(X, y)  # fmt: skip
    assert (search.cv_results_["mean_test_score"] > 0.3).all()


# ------------------------------------------------------------------ capped --


def test_k_beyond_the_classes_means_all_of_them():
    model = classifier().fit(X, y)
    for estimator in (model, make_pipeline(shifted(), model), LogisticRegression().fit(X, y)):
        assert precision_at_k_scorer(5)(estimator, X, y) == 0.25
        assert recall_at_k_scorer(100)(estimator, X, y) == 1
        assert ndcg_at_k_scorer(9)(estimator, X, y) == ndcg_at_k_scorer(4)(estimator, X, y)


def test_a_fold_that_lacks_classes():
    # Each half of the rows has two of the four classes.
    order = np.argsort(IDS, kind="stable")
    halves = [(order[:60], order[:60]), (order[60:], order[60:])]
    scores = cross_val_score(
        classifier(), X, y, cv=halves, scoring=recall_at_k_scorer(3), error_score="raise"
    )
    assert scores.tolist() == [1, 1]


@pytest.mark.parametrize("k", [0, -1, 1.0, True, "1", None])
def test_bad_k(k):
    for make in (precision_at_k_scorer, recall_at_k_scorer, ndcg_at_k_scorer):
        with pytest.raises(ValueError, match="k must be an int >= 1; got"):
            make(k)
    with pytest.raises(ValueError, match="k must be an int >= 1; got"):
        psp_at_k_scorer([1.0], k)


# ----------------------------------------------------------------- refused --


@pytest.mark.parametrize(
    "unfitted",
    [
        classifier(),
        make_pipeline(shifted(), classifier()),
        make_pipeline(StandardScaler(), classifier()),
        GridSearchCV(classifier(), {"dropout": [0.0]}),
        GridSearchCV(LogisticRegression(), {"C": [1.0]}),
        TunedThresholdClassifierCV(classifier()),
        FixedThresholdClassifier(classifier()),
        WRAPPERS["feature elimination"](classifier()),
        WRAPPERS["self-training"](classifier()),
        LogisticRegression(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_unfitted_estimators(unfitted):
    with pytest.raises(NotFittedError):
        precision_at_k_scorer()(unfitted, X, y)


def test_a_search_that_kept_no_estimator():
    search = GridSearchCV(classifier(), {"dropout": [0.0]}, cv=2, refit=False).fit(X, y)
    for model in (search, make_pipeline("passthrough", search)):
        with pytest.raises(ValueError, match=r"got a GridSearchCV with refit=False.*refit=True"):
            precision_at_k_scorer()(model, X, y)


@pytest.mark.parametrize("last", [None, "passthrough"])
def test_a_pipeline_that_ends_without_an_estimator(last):
    model = Pipeline([("a", StandardScaler()), ("b", last)]).fit(X)
    with pytest.raises(ValueError, match=f"must end with an estimator; got .* in {last!r}"):
        precision_at_k_scorer()(model, X, y)


@pytest.mark.parametrize(
    "model",
    [
        Ridge().fit(X, IDS),
        MultiOutputClassifier(GaussianNB()).fit(X, INDICATOR),
        MultiOutputClassifier(GaussianNB()).fit(X, np.c_[IDS, IDS % 2]),
        VotingClassifier([("a", GaussianNB())], voting="hard").fit(X, y),
        SVC(decision_function_shape="ovo").fit(X, y),
        StandardScaler().fit(X),
        FirstRows(),
        Pipeline([]),
        "a name",
        None,
    ],
    ids=lambda model: type(model).__name__,
)
def test_what_cannot_rank(model):
    with pytest.raises(ValueError, match=r"estimator must have predict_topk, or .*; got"):
        precision_at_k_scorer()(model, X, y)


def test_a_class_in_place_of_an_estimator():
    with pytest.raises(ValueError, match="got the class SparseMLPClassifier"):
        precision_at_k_scorer()(SparseMLPClassifier, X, y)
