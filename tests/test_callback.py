"""scikit-learn's callbacks on `fit`: their arguments, and that they can stop it."""

from importlib.util import find_spec

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

from slide.metrics import precision_at_k, precision_at_k_scorer

if find_spec("sklearn.callback"):
    from sklearn.callback import ProgressBar, ScoringMonitor
else:
    pytestmark = pytest.mark.skip(reason="callbacks need scikit-learn 1.9")


class Recorder:
    """Record every hook; end the training after `stop_after` epochs, or raise there."""

    def __init__(self, stop_after=None, error=None):
        self.seen, self.estimators, self.data = [], [], []
        self.stop_after, self.error = stop_after, error

    def setup(self, estimator, context):
        self.seen.append(("setup", context.max_subtasks))

    def teardown(self, estimator, context):
        self.seen.append(("teardown", context.task_name))

    def on_fit_task_begin(self, estimator, context):
        self.seen.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        self.seen.append(("end", context.task_name, context.task_id))
        self.data.append((X, y, metadata))
        if fitted_estimator is not None:
            self.estimators.append((fitted_estimator, fitted_estimator.decision_function(X[:5])))
        if context.task_name == "epoch" and context.task_id + 1 == self.stop_after:
            if self.error is not None:
                raise self.error
            return True
        return False


def test_hooks_in_order(classifier, planted):
    X, y = planted
    recorder = Recorder()
    weights = np.ones(len(y))
    classifier(max_iter=2).set_callbacks(recorder).fit(X, y, weights)
    assert recorder.seen == [
        ("setup", 2),
        ("begin", "fit", 0),
        ("begin", "epoch", 0),
        ("end", "epoch", 0),
        ("begin", "epoch", 1),
        ("end", "epoch", 1),
        ("end", "fit", 0),
        ("teardown", "fit"),
    ]
    for data in recorder.data:
        assert data[0] is X and data[1] is y and data[2]["sample_weight"] is weights


def test_callbacks_change_nothing(classifier, planted, network, assert_same_weights):
    watched = classifier(**network).set_callbacks(Recorder()).fit(*planted)
    assert_same_weights(watched, classifier(**network).fit(*planted))


def test_estimators_as_if_fit_had_stopped(classifier, planted):
    X, y = planted
    recorder = Recorder()
    clf = classifier(max_iter=3).set_callbacks(recorder).fit(X, y)
    assert [len(twin.loss_curve_) for twin, _ in recorder.estimators] == [1, 2, 3, 3]
    for n, (twin, scores) in enumerate(recorder.estimators[:3], start=1):
        stopped = classifier(max_iter=3).set_callbacks(Recorder(stop_after=n)).fit(X, y)
        assert twin.loss_curve_ == stopped.loss_curve_
        assert_array_equal(scores, stopped.decision_function(X[:5]))
    assert_array_equal(recorder.estimators[-1][1], clf.decision_function(X[:5]))


def test_a_callback_stops_the_training(classifier, planted):
    clf = classifier(max_iter=5).set_callbacks(Recorder(stop_after=2)).fit(*planted)
    assert clf.n_iter_ == 2
    assert len(clf.loss_curve_) == 2


def test_an_error_in_a_callback_leaves_nothing(classifier, planted):
    recorder = Recorder(stop_after=1, error=RuntimeError("no more"))
    clf = classifier().fit(*planted).set_callbacks(recorder)
    with pytest.raises(RuntimeError, match="no more"):
        clf.fit(*planted)
    assert recorder.seen[-1] == ("teardown", "fit")
    with pytest.raises(NotFittedError):
        clf.predict(planted[0])


def test_wrong_input_tears_down_what_was_set_up_only(classifier, planted):
    recorder = Recorder()
    with pytest.raises(ValueError, match="tol must be"):
        classifier(tol=-1).set_callbacks(recorder).fit(*planted)
    assert recorder.seen == []


def test_scores_in_a_pipeline(classifier, planted):
    X, y = planted
    monitor = ScoringMonitor(scoring="accuracy")
    clf = classifier(max_iter=4).set_callbacks(monitor)
    pipeline = make_pipeline(MaxAbsScaler(), clf).fit(X, y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert [row["task_id"] for row in rows] == [0, 1, 2, 3]
    assert rows[-1]["accuracy"] == pipeline.score(X, y) >= rows[0]["accuracy"] > 0.5


def test_scores_in_a_grid_search(classifier, planted):
    monitor = ScoringMonitor(scoring="accuracy")
    clf = classifier().set_callbacks(monitor)
    GridSearchCV(clf, {"max_iter": [1, 2]}, cv=2).fit(*planted)
    rows = monitor.get_logs().data
    # Two candidates on two folds, of 1 + 2 epochs each, and the best one on all rows, 2 epochs.
    assert sum(row["task_name"] == "epoch" for row in rows) == 2 * (1 + 2) + 2


@pytest.fixture
def progress(monkeypatch, capsys):
    """Call a function; returns what its progress bars show at the end on a wide screen."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(fit):
        fit()
        return capsys.readouterr().out

    return run


def test_progress_in_a_pipeline(classifier, planted, progress):
    clf = classifier(max_iter=4)
    pipeline = make_pipeline(StandardScaler(with_mean=False), clf).set_callbacks(ProgressBar())
    shown = progress(lambda: pipeline.fit(*planted))
    assert "Pipeline - fit" in shown and "SparseMLPClassifier - fit" in shown
    assert "100%" in shown


def test_progress_in_a_grid_search(classifier, planted, progress):
    search = GridSearchCV(classifier(), {"max_iter": [1, 2]}, cv=2, scoring="accuracy")
    search.set_callbacks(ProgressBar(max_propagation_depth=None))
    shown = progress(lambda: search.fit(*planted))
    assert "GridSearchCV - fit" in shown
    assert shown.count("SparseMLPClassifier - fit") >= 2 * 2 + 1
    assert search.best_estimator_.n_iter_ == search.best_params_["max_iter"]


def test_progress_in_processes(classifier, planted, progress):
    search = GridSearchCV(classifier(), {"max_iter": [1, 2]}, cv=2, n_jobs=2)
    search.set_callbacks(ProgressBar())
    shown = progress(lambda: search.fit(*planted))
    assert "GridSearchCV - fit" in shown and "100%" in shown


def test_precision_at_k_as_a_monitor(classifier, multilabel):
    X, y = multilabel
    scorers = {f"P@{k}": precision_at_k_scorer(k=k) for k in (1, 3)}
    monitor = ScoringMonitor(scoring=scorers)
    clf = classifier(max_iter=3).set_callbacks(monitor).fit(X, y)
    last = monitor.get_logs().data[-1]
    for k in (1, 3):
        assert last[f"P@{k}"] == precision_at_k(y, clf.predict_topk(X, k=k)[0], k=k)
