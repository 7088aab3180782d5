"""Compiled loops refuse arrays that do not fit each other, before they read any."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.training import (
    N_CLASSES,
    N_FEATURES,
    RETRIEVAL,
    make_layers,
    make_retrieval,
    of_a_step,
)
from scipy.sparse import csr_array

from slide._base.guard import Guard
from slide._base.rows import InputRows
from slide._data.labels import LabelRows
from slide._engine import centroids, predict
from slide._engine.entry_points import OutputRows
from slide._engine.model import Model
from slide._hashing.tables import HashTables
from slide._network.layer import Layer
from slide._prototypes.index import Postings
from slide._prototypes.means import LabelMeans
from slide._prototypes.prototypes import make_prototypes

ROWS = np.ones((4, N_FEATURES), np.float32)
Y = np.arange(5, dtype=np.int64), np.array([0, 1, 2, 1], np.int32)


def model(layers, prototypes=None):
    return Model(layers, "relu", "sigmoid", prototypes)


@pytest.fixture
def layers():
    return make_layers([N_FEATURES, 19, N_CLASSES])


@pytest.fixture
def prototypes():
    labels = LabelRows(*Y, 3)
    return make_prototypes(csr_array(ROWS), labels, None, 1).of_weight(1.0)


def test_layers_that_do_not_follow_each_other(layers):
    with pytest.raises(ValueError, match=r"w of layer 1 must have shape \(70, 19\)"):
        model([layers[0], Layer.zeros(18, N_CLASSES, by_feature=False)])
    with pytest.raises(ValueError, match="layer 1 must take the 19 outputs"):
        model([layers[0], Layer.zeros(19, N_CLASSES, by_feature=True)])
    with pytest.raises(ValueError, match=r"b of layer 0 must have shape \(19,\)"):
        model([replace(layers[0], b=np.zeros(18, np.float32)), layers[1]])
    with pytest.raises(ValueError, match="must be fields of arrays of PROGRESS"):
        model([replace(layers[0], w_v=np.zeros(N_FEATURES, np.float32)), layers[1]])
    layers[1].retrieval = make_retrieval(Layer.zeros(18, N_CLASSES, by_feature=False), RETRIEVAL)
    with pytest.raises(ValueError, match="the retrieval of layer 1 must be of shape"):
        model(layers)


def test_prototypes_of_other_classes(layers, prototypes):
    with pytest.raises(ValueError, match="prototypes must have shape"):
        model(layers, prototypes)
    few = make_layers([N_FEATURES, 19, 3])
    with pytest.raises(ValueError, match="rows must be sparse where there are prototypes"):
        predict.topk(model(few, prototypes), InputRows(ROWS), 2, 1)


def test_a_number_of_best_classes_out_of_range(layers):
    for k in (0, N_CLASSES + 1):
        with pytest.raises(ValueError, match="k must lie between 1 and the number of classes"):
            predict.topk(model(layers), InputRows(ROWS), k, 1)


def test_postings(prototypes):
    short = replace(prototypes, feature_weights=prototypes.feature_weights[:-1])
    with pytest.raises(ValueError, match="must have as many weights"):
        Postings(short)
    postings, x = Postings(prototypes), csr_array(ROWS)
    with pytest.raises(ValueError, match="x must have 3 sparse rows"):
        postings.scores(x, np.zeros((3, 1), np.int32))
    with pytest.raises(ValueError, match="labels must be below 3"):
        postings.scores(x, np.full((4, 1), 3, np.int32))


def test_outputs(layers, base):
    output = OutputRows(model(layers), 4, of_a_step(base))
    ids, delta, x = np.array([1, 2], np.int32), np.ones((4, 2), np.float32), ROWS[:, :19].copy()
    for bad in (np.array([1, N_CLASSES], np.int32), np.array([1], np.int32)):
        with pytest.raises(ValueError, match="must fit each other and the output layer"):
            output.update(bad, delta, x, x.copy(), 0.01)
    x = np.ones((5, 19), np.float32)
    with pytest.raises(ValueError, match="x has 5 samples; at most 4"):
        output.update(ids, np.ones((5, 2), np.float32), x, x.copy(), 0.01)


def test_sums_of_labels():
    sums, h = np.zeros((3, 19), np.float32), np.ones((4, 19), np.float32)
    for first, total in ((1, sums), (0, sums[:, :18].copy())):
        with pytest.raises(ValueError, match="labels and sums must fit the rows"):
            centroids.add_label_sums(h, *Y, first, total)
    with pytest.raises(ValueError, match="labels must be below the 2 sums"):
        centroids.add_label_sums(h, *Y, 0, sums[:2].copy())
    with pytest.raises(ValueError, match="sums, counts and mean must fit each other"):
        centroids.center_and_scale(sums, np.ones(2, np.int64), np.zeros(19, np.float32), 1.0)


def test_means_of_labels():
    x, rooms = InputRows(csr_array(ROWS)), np.ones(2, np.int64)
    weights = np.ones(N_FEATURES, np.float32)
    indptr, rows = np.array([0, 1, 2], np.int64), np.array([0, 4], np.int32)
    bounds = np.array([0, 2], np.int64)
    with pytest.raises(ValueError, match="weights must be of the rows and features"):
        LabelMeans(x, None, weights[1:], indptr, rows, 0.1, bounds, rooms, 1)
    with pytest.raises(ValueError, match="must lie within the 4 rows of x"):
        LabelMeans(x, None, weights, indptr, rows, 0.1, bounds, rooms, 1)


def test_retrieval(layers):
    found, output = make_retrieval(layers[1], RETRIEVAL), layers[1]
    with pytest.raises(ValueError, match="mean must have 19 values"):
        found.rebuild(output.w, output.b, np.zeros(18, np.float32), 1.0, 1)
    for w, b in ((output.w[:, 1:].copy(), output.b), (output.w, output.b[1:].copy())):
        with pytest.raises(ValueError, match="weights, biases and steps must be of 70 neurons"):
            found.rebuild(w, b, np.zeros(19, np.float32), 1.0, 1)
    with pytest.raises(ValueError, match="x must have 19 columns"):
        found.retrieve(ROWS)


@pytest.mark.parametrize(("n_tables", "n_bits"), [(0, 4), (256, 4), (3, 0), (3, 17)])
def test_tables(n_tables, n_bits):
    with pytest.raises(ValueError, match=r"n_tables must be in 1\.\.255 and n_bits in 1\.\.16"):
        HashTables(70, 19, n_tables, n_bits, np.random.RandomState(0))


def test_a_turn_that_is_taken_twice():
    turn = Guard().reading()
    with turn, pytest.raises(RuntimeError, match="a turn can be used once at a time"):
        turn.__enter__()
