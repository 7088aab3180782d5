"""The rules of "auto" for the width, dropout, tail, lists and epochs, by the shape of the data."""

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

from slide import SparseMLPClassifier
from slide._settings import auto


@pytest.mark.parametrize(
    ("n_classes", "rows_per_class", "width"),
    [
        (3, 10, 1024),
        (2048, 300, 1024),
        (2049, 1, 512),
        (131_072, 5, 512),
        (131_073, 5, 256),
        (10_000_000, 2, 256),
        (100, 1200, 416),
        (10, 6000, 320),
        (10, 1e9, 256),
    ],
)
def test_width(n_classes, rows_per_class, width):
    assert auto.auto_width(n_classes, rows_per_class) == width


@pytest.mark.parametrize("n_classes", [10, 5_000, 1_000_000])
@pytest.mark.parametrize("rows_per_class", [1, 300, 500, 2000, 1e6])
def test_a_micro_batch_computes_about_256_neurons(n_classes, rows_per_class):
    width = auto.auto_width(n_classes, rows_per_class)
    computed = width * (1 - auto.auto_dropout(width, 1, rows_per_class))
    # Up to a step of 32 neurons; the narrowest layer has a dropout of its own, up to .3.
    assert 256 * 0.69 <= computed <= 256 + 32


@pytest.mark.parametrize(
    ("width", "depth", "rate"),
    [(64, 1, 0.15), (128, 1, 0.3), (256, 1, 0.3), (300, 3, 0.1), (512, 1, 0.5), (4096, 1, 0.75)],
)
def test_dropout(width, depth, rate):
    assert auto.auto_dropout(width, depth, 10) == rate
    assert auto.auto_dropout(width, depth, 30_000) <= rate / 4


def test_the_tail_grows_with_the_classes_and_the_labels_of_a_row():
    sizes = [auto.auto_tail_size(n, 1.0) for n in (10, 10_000, 100_000, 100_000_000)]
    assert sizes == [128, 200, 356, 1024]
    sizes = [auto.auto_tail_size(4000, labels) for labels in (1.0, 1.4, 4.0, 9.0)]
    assert sizes == [159, 159, 600, 900]
    assert auto.auto_tail_size(100_000_000, 4.0) == 1024


def test_epochs_grow_with_the_rows_of_a_class():
    for with_svms, expected in ((False, [9, 9, 19, 19]), (True, [7, 7, 14, 14])):
        epochs = [auto.auto_max_iter(45_000, 64, r, with_svms) for r in (1, 15, 60, 1000)]
        assert epochs == expected
    assert auto.auto_max_iter(10_000_000, 64, 1, True) == 5
    assert auto.auto_max_iter(20, 8, 1, True) == 200


@pytest.mark.parametrize(
    ("labels", "n_values", "listed"),
    [
        ([1] * 200, 30, True),
        ([0, 2] * 100, 3, False),
        ([1, 3] * 100, 30, False),
        ([1, 3] * 100, 3, True),
    ],
    ids=["one label", "one on average", "several", "several, few values"],
)
def test_lists(labels, n_values, listed):
    rng = np.random.default_rng(0)
    X = csr_array(random_array((200, 300), density=n_values / 300, rng=rng))
    rows = [rng.choice(1000, n, replace=False) for n in labels]
    indptr = np.concatenate([[0], np.cumsum(labels)])
    Y = csr_array((np.ones(indptr[-1], np.int8), np.concatenate(rows), indptr), (200, 1000))
    clf = SparseMLPClassifier(max_iter=1, tail_size=50, random_state=0).fit(X, Y)
    assert clf.hash_params_["retrieval"] == ["none", "lists" if listed else "none"]


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.standard_normal((60, 5)), np.arange(60) % 3


def test_training_goes_on_with_the_width_of_the_network(rows, tmp_path):
    X, y = rows
    clf = SparseMLPClassifier(max_iter=2, warm_start=True, random_state=0).fit(X, y)
    shapes = [w.shape for w in clf.coefs_]
    assert shapes == [(5, 1024), (1024, 3)]
    clf.save(tmp_path / "model")
    for model in (clf, SparseMLPClassifier.load(tmp_path / "model")):
        assert model.hidden_layer_sizes == "auto"
        # Of these rows alone, a new network would be narrower.
        model.fit(np.tile(X, (40, 1)), np.tile(y, 40)).partial_fit(X, y)
        assert [w.shape for w in model.coefs_] == shapes
        model.set_params(hidden_layer_sizes=(1024,)).partial_fit(X, y)
        with pytest.raises(ValueError, match=r"hidden_layer_sizes must stay \(1024,\)"):
            model.set_params(hidden_layer_sizes=(512,)).partial_fit(X, y)
        model.set_params(hidden_layer_sizes="auto")
    narrow = SparseMLPClassifier(max_iter=1, random_state=0)
    narrow.fit(np.tile(X, (40, 1)), np.tile(y, 40))
    assert narrow.coefs_[1].shape[0] < 1024


def test_one_hidden_layer_whose_width_is_open_may_have_a_share(rows):
    clf = SparseMLPClassifier(max_iter=1, active_fraction=(0.5, 1.0), random_state=0).fit(*rows)
    assert clf.hash_params_["n_active"] == [512, None]
    with pytest.raises(ValueError, match="2 numbers for hidden_layer_sizes='auto'"):
        clf.set_params(active_fraction=(0.5, 0.5, 1.0)).fit(*rows)
