"""Tests of the plots of a training: their numbers, and that they are not blank."""

import sys

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from slide import SparseMLPClassifier
from slide.inspection import (
    CostDisplay,
    HashTablesDisplay,
    TimeSpentDisplay,
    TrainingCurveDisplay,
    retrieval_recall,
)

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    pyplot.close("all")


def assert_has_ink(figure):
    """Check that a drawing is neither blank nor cut off at the edges."""
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    ink = (pixels != pixels[0, 0]).any(axis=2)
    assert 0.01 < ink.mean() < 0.9
    assert not (ink[0].any() or ink[-1].any() or ink[:, 0].any() or ink[:, -1].any())


# ------------------------------------------------------------------- curves --


def test_curve_over_time_and_work(classifier, planted):
    clf = classifier(max_iter=4).fit(*planted)
    for against in ("seconds", "multiply_adds"):
        display = TrainingCurveDisplay.from_estimator(clf, against=against)
        assert_allclose(display.x, np.cumsum([epoch[against] for epoch in clf.history_]))
        assert_array_equal(display.y, clf.loss_curve_)
        assert_array_equal(display.line_.get_xydata(), np.c_[display.x, display.y])
        assert display.ax_.get_ylabel() == "training loss"
        assert_has_ink(display.figure_)


def test_a_longer_curve_beside_another():
    first = TrainingCurveDisplay([1, 2], [3, 2], against="seconds", of="loss").plot()
    TrainingCurveDisplay([1, 9], [3, 1], against="seconds", of="loss").plot(first.ax_)
    low, high = first.ax_.get_xlim()
    assert low == 0
    assert high > 9


def test_scores_and_several_curves(classifier, planted):
    one = classifier(early_stopping=True, max_iter=3).fit(*planted)
    two = classifier(early_stopping=True, max_iter=3, hidden_layer_sizes=(8,)).fit(*planted)
    kw = {"of": "validation_score", "against": "epochs"}
    first = TrainingCurveDisplay.from_estimator(one, name="one", **kw)
    second = TrainingCurveDisplay.from_estimator(two, name="two", ax=first.ax_, color="red", **kw)
    assert second.ax_ is first.ax_
    assert_array_equal(second.x, [1, 2, 3])
    assert_array_equal(second.y, two.validation_scores_)
    assert [text.get_text() for text in first.ax_.get_legend().get_texts()] == ["one", "two"]
    assert second.line_.get_color() == "red"
    assert_has_ink(first.figure_)


@pytest.mark.parametrize("display", [TimeSpentDisplay, TrainingCurveDisplay])
@pytest.mark.parametrize("ax", ["axes", 1, [None]])
def test_what_is_no_axes_is_refused_by_name(classifier, planted, display, ax):
    with pytest.raises(ValueError, match="ax must be None or Axes of matplotlib; got"):
        display.from_estimator(classifier(max_iter=1).fit(*planted), ax=ax)


def test_curve_refuses(classifier, planted, tmp_path):
    clf = classifier()
    with pytest.raises(NotFittedError):
        TrainingCurveDisplay.from_estimator(clf)
    clf.fit(*planted)
    with pytest.raises(ValueError, match=r"against must be 'seconds' or .*; got 'hours'"):
        TrainingCurveDisplay.from_estimator(clf, against="hours")
    with pytest.raises(ValueError, match="of must be 'loss' or 'validation_score'; got 3"):
        TrainingCurveDisplay.from_estimator(clf, of=3)
    with pytest.raises(ValueError, match="early_stopping was off; got 'validation_score'"):
        TrainingCurveDisplay.from_estimator(clf, of="validation_score")
    clf.save(tmp_path / "model")
    with pytest.raises(ValueError, match="must have a history_"):
        TrainingCurveDisplay.from_estimator(SparseMLPClassifier.load(tmp_path / "model"))


def test_curve_of_a_loaded_estimator(classifier, planted, tmp_path):
    clf = classifier(early_stopping=True, max_iter=3).fit(*planted)
    clf.save(tmp_path / "model")
    clf = SparseMLPClassifier.load(tmp_path / "model")
    display = TrainingCurveDisplay.from_estimator(clf, against="epochs")
    assert_array_equal(display.x, [1, 2, 3])
    assert_array_equal(display.y, clf.loss_curve_)
    clf.set_params(warm_start=True, max_iter=2).fit(*planted)
    for of, y in (("loss", clf.loss_curve_), ("validation_score", clf.validation_scores_)):
        display = TrainingCurveDisplay.from_estimator(clf, of=of, against="epochs")
        assert_array_equal(display.y, y)
        display = TrainingCurveDisplay.from_estimator(clf, of=of, against="multiply_adds")
        assert_array_equal(display.y, y[3:])
        assert_array_equal(display.x, np.cumsum([e["multiply_adds"] for e in clf.history_]))


# --------------------------------------------------------------------- time --


def test_time_adds_up(classifier, planted, network):
    clf = classifier(**network).fit(*planted)
    display = TimeSpentDisplay.from_estimator(clf)
    assert_allclose(sum(display.seconds.values()), [epoch["seconds"] for epoch in clf.history_])
    heights = [[bar.get_height() for bar in bars] for bars in display.bars_]
    assert_allclose(heights, list(display.seconds.values()))
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert len(labels) == 5 and labels[0].startswith("find neurons")
    assert_has_ink(display.figure_)


# ------------------------------------------------------------------- tables --


def test_health_of_tables(classifier, planted):
    X, y = planted
    clf = classifier(
        hidden_layer_sizes=(200,), active_fraction=(0.2, 0.5), retrieval="rerank", n_tables=7,
        n_hash_bits=4,
    ).fit(X, y)  # fmt: skip
    display = HashTablesDisplay.from_estimator(clf, X)
    assert display.sizes[0].shape == (7, 200) and display.sizes[1].shape == (7, 39)
    for i, tables in enumerate(layer.retrieval.tables for layer in clf._fitted.network.layers):
        # The mean size of the non-empty buckets, computed from both sides.
        for t in range(7):
            counts = np.diff(tables.offsets[t])
            assert (display.sizes[i][t] ** -1.0).sum() == pytest.approx((counts > 0).sum())
    assert display.n_buckets == {0: 16, 1: 16}
    assert display.recall == retrieval_recall(clf, X)
    assert len(display.axes_) == 2 and "recall" in display.axes_[0].get_title()
    assert_has_ink(display.figure_)


def test_tables_are_needed(classifier, planted):
    clf = classifier().fit(*planted)
    with pytest.raises(ValueError, match="must have hash tables; its layers use"):
        HashTablesDisplay.from_estimator(clf)


# --------------------------------------------------------------------- cost --


def test_cost_against_width(classifier, planted):
    X, y = planted
    estimators = [
        classifier(hidden_layer_sizes=(width,), active_fraction=(32 / width, 1.0), max_iter=1)
        for width in (1024, 128, 512)
    ]
    for clf in estimators:
        clf.fit(X, y)
    display = CostDisplay.from_estimators(estimators)
    assert_array_equal(display.widths, [128, 512, 1024])
    shares = [clf.compute_fraction_ for clf in (estimators[1], estimators[2], estimators[0])]
    assert_allclose(display.cost / display.dense_cost, shares)
    assert_has_ink(display.figure_)
    with pytest.raises(ValueError, match="at least one fitted estimator"):
        CostDisplay.from_estimators([])


def test_without_matplotlib(classifier, planted, monkeypatch):
    clf = classifier().fit(*planted)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        TrainingCurveDisplay.from_estimator(clf)
