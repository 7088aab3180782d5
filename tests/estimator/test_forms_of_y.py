"""One reading of y: all methods and metrics take the same forms of y and mean the same."""

import numpy as np
import pytest
from helpers.label_forms import INDICATOR, SEVERAL, SINGLE, of_arrow, of_polars
from numpy.testing import assert_array_equal
from scipy import sparse

from slide import SparseMLPClassifier
from slide.metrics import (
    label_propensities,
    ndcg_at_k,
    precision_at_k,
    precision_at_k_scorer,
    psp_at_k,
    recall_at_k,
    recall_at_k_scorer,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:A column-vector:sklearn.exceptions.DataConversionWarning"
)
X = np.random.RandomState(0).standard_normal((60, 4)).astype(np.float32)


def classifier(**params):
    defaults = {"max_iter": 8, "learning_rate_init": 0.05, "random_state": 0}
    return SparseMLPClassifier((16,), **{**defaults, **params})


def dense(y):
    return y.toarray() if sparse.issparse(y) else np.asarray(y)


def assert_one_label_a_row(y, classes):
    clf = classifier().fit(X, y)
    assert clf.classes_.tolist() == classes
    ids = np.searchsorted(clf.classes_, clf.predict(X))
    truth = np.searchsorted(clf.classes_, clf.classes_[clf._fitted.coder.encode(read(y)).indices])
    score = clf.score(X, y)
    assert score == np.mean(ids == truth) and 1 / len(classes) < score <= 1
    assert clf.score(X, clf.predict(X)) == 1
    # Metrics and scorers.
    labels, _ = clf.predict_topk(X, k=2)
    assert labels.dtype == clf.predict(X).dtype == clf.classes_.dtype
    assert precision_at_k(y, labels, k=1) == pytest.approx(score)
    assert precision_at_k_scorer(k=1)(clf, X, y) == pytest.approx(score)
    assert recall_at_k_scorer(k=2)(clf, X, y) == recall_at_k(y, labels, k=2) >= score
    assert 0 < ndcg_at_k(y, labels.tolist(), k=2) <= 1
    # Batches, with labels in this form and as predict returns them.
    clf = classifier().partial_fit(X, y, classes=clf.classes_)
    twin = classifier().partial_fit(X, clf.classes_[truth], classes=clf.classes_.tolist())
    for one, other in ((y, clf.classes_[truth]), (clf.classes_[truth], y)):
        clf.partial_fit(X, one), twin.partial_fit(X, other)
    assert_array_equal(clf.decision_function(X), twin.decision_function(X))
    assert clf.score(X, y) == twin.score(X, y)


def read(y):
    from slide._data.target import read_target

    return read_target(y)


def assert_several_labels(y):
    clf, twin = classifier().fit(X, y), classifier().fit(X, INDICATOR)
    assert_array_equal(clf.decision_function(X), twin.decision_function(X))
    predicted = clf.predict(X)
    assert sparse.issparse(predicted) == (sparse.issparse(y) or hasattr(y, "sparse"))
    assert clf.score(X, y) == np.mean((dense(predicted) == INDICATOR).all(axis=1)) > 0
    labels, _ = clf.predict_topk(X, k=3)
    propensities = label_propensities(y)
    assert_array_equal(propensities, label_propensities(INDICATOR))
    for metric in (precision_at_k, recall_at_k, ndcg_at_k):
        assert metric(y, labels, k=3) == metric(INDICATOR, labels, k=3)
    assert psp_at_k(y, labels, propensities, 3) == psp_at_k(INDICATOR, labels, propensities, 3)
    assert precision_at_k_scorer(k=3)(clf, X, y) == precision_at_k(INDICATOR, labels, k=3)
    for one, other in ((y, INDICATOR), (INDICATOR, y), (predicted, predicted)):
        clf.partial_fit(X, one), twin.partial_fit(X, other)
    assert_array_equal(clf.decision_function(X), twin.decision_function(X))


@pytest.mark.parametrize("form", SINGLE)
def test_one_label_a_row(form):
    assert_one_label_a_row(*SINGLE[form])


@pytest.mark.parametrize("form", SEVERAL)
def test_several_labels_a_row(form):
    assert_several_labels(SEVERAL[form])


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
def test_other_libraries(library):
    pytest.importorskip(library)
    for y, classes in (of_arrow if library == "pyarrow" else of_polars)().values():
        if classes is None:
            assert_several_labels(y)
        else:
            assert_one_label_a_row(y, classes)


def test_one_sparse_column_is_an_indicator_everywhere():
    y = sparse.csc_array(INDICATOR[:, :1])
    clf = classifier().fit(X, y)
    assert clf.score(X, y) == 1
    assert precision_at_k(y, clf.predict_topk(X, k=1)[0], k=1) == INDICATOR[:, 0].mean()


@pytest.mark.parametrize("y", [INDICATOR, sparse.csr_array(INDICATOR)], ids=["dense", "sparse"])
def test_score_of_another_number_of_columns(y):
    clf = classifier(max_iter=1).fit(X, y)
    with pytest.raises(ValueError, match=r"y must be a label indicator of 5 columns.*got 4"):
        clf.score(X, y[:, :4])
    with pytest.raises(ValueError, match=r"y must be a label indicator of 5.*got one label a row"):
        clf.score(X, INDICATOR[:, 0])


def test_score_of_labels_that_fit_has_not_seen():
    """They are wrong, not refused, as test rows may have classes that the training rows lack."""
    clf = classifier().fit(X, np.arange(60) % 3)
    y = clf.predict(X)
    y[:15] = 7
    assert clf.score(X, y) == 0.75
    weights = np.r_[np.zeros(15), np.ones(45)]
    assert clf.score(X, y, weights) == 1
    assert clf.score(X, y, 1 - weights) == 0
    with pytest.raises(ValueError, match="y must hold labels of the type of classes_, numbers"):
        clf.score(X, ["ant"] * 60)
    with pytest.raises(ValueError, match=r"y must have one label a row.*got 5 columns"):
        clf.score(X, INDICATOR)
    with pytest.raises(ValueError, match="inconsistent numbers of samples: 60 and 59"):
        clf.score(X, y[:59])


@pytest.mark.parametrize("weights", [np.ones(59), -np.ones(60), np.zeros(60), ["a"] * 60], ids=str)
def test_score_with_wrong_weights(weights):
    clf = classifier(max_iter=1).fit(X, np.arange(60) % 3)
    with pytest.raises(ValueError, match="sample_weight must"):
        clf.score(X, np.arange(60) % 3, weights)


@pytest.mark.parametrize("form", ["Int64", "categorical", "dates", "list of bytes"])
def test_validation_reads_the_same(form):
    y, _ = SINGLE[form]
    clf = classifier(early_stopping=True, validation_fraction=0.5, max_iter=3).fit(X, y)
    twin = classifier(early_stopping=True, validation_fraction=0.5, max_iter=3)
    twin.fit(X, np.arange(60) % 3)
    assert clf.validation_scores_ == twin.validation_scores_


@pytest.mark.parametrize(
    "to",
    [set, frozenset, lambda c: dict.fromkeys(c).keys(), tuple, np.asarray],
    ids=["set", "frozenset", "keys", "tuple", "array"],
)
def test_collections_of_classes(to):
    clf, y = classifier(), np.arange(60) % 3
    clf.partial_fit(X, y, classes=to([2, 0, 1])).partial_fit(X, y, classes=to([0, 1, 2]))
    assert_array_equal(clf.classes_, [0, 1, 2])
    with pytest.raises(ValueError, match="classes must be the same in every call"):
        clf.partial_fit(X, y, classes=to([0, 1, 3]))


def test_a_dict_of_classes():
    with pytest.raises(ValueError, match=r"classes must be a sequence.*pass list\(classes\)"):
        classifier().partial_fit(X, np.arange(60) % 3, classes=dict.fromkeys(range(3)))


def test_columns_of_classes():
    import pandas as pd

    y, classes = SINGLE["Int64"]
    for given in (pd.Index(classes), pd.Series(classes, dtype="Int64"), range(2**60 + 1, 2**60 + 4),
                  pd.Categorical(classes).categories, {*classes}):  # fmt: skip
        clf = classifier().partial_fit(X, y, classes=given)
        assert clf.classes_.tolist() == classes and clf.classes_.dtype == np.int64
        with pytest.raises(ValueError, match="classes must be the same in every call"):
            clf.partial_fit(X, y, classes=[2**60, *classes[1:]])


def test_large_labels_do_not_meet():
    """Labels that are one number in float64 stay two, also from batch to batch."""
    clf = classifier().partial_fit(X, [2**63 + 1, 5] * 30, classes=[5, 2**63 + 1])
    for label in (2**63, float(2**62), 2**63 + 2):
        with pytest.raises(ValueError, match="y must hold known classes only"):
            clf.partial_fit(X, [label] * 60)
        assert clf.score(X, [label] * 60) == 0
    labels = clf.predict_topk(X, k=2)[0]
    assert precision_at_k([2**63] * 60, labels, k=2) == 0
    assert precision_at_k([2**63 + 1] * 60, labels, k=2) == 0.5


@pytest.mark.parametrize("form", ["dates", "decimals", "bytes", "ints of 70 bits"])
def test_labels_that_a_file_cannot_hold(form, tmp_path):
    clf = classifier(max_iter=1).fit(X, SINGLE[form][0])
    with pytest.raises(ValueError, match="a model can be saved if its labels are ints, bools"):
        clf.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_weights_of_nullable_columns():
    import pandas as pd

    y, weights = np.arange(60) % 3, np.arange(60) % 4
    plain = classifier().fit(X, y, weights)
    for dtype in ("Int64", "Float64", "object"):
        clf = classifier().fit(X, y, pd.Series(weights, dtype=dtype))
        assert_array_equal(clf.coefs_[0], plain.coefs_[0])
        assert clf.score(X, y, pd.Series(weights, dtype=dtype)) == plain.score(X, y, weights)
    gap = pd.Series([None, *weights[1:]], dtype="Int64")
    with pytest.raises(ValueError, match="sample_weight contains NaN or another missing value in "):
        clf.fit(X, y, gap)
