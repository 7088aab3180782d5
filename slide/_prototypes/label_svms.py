"""A linear SVM for every label, trained against the labels that the network confuses it with.

Its margin is added to the score of the label, as a prototype's cosine is. Prototypes say what the
rows of a label have in common; the machines learn what tells a label from its hard neurons, on
features that the hidden layers lose.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from slide._base.arrays import Array, Floats, Ids, Matrix
from slide._base.n_jobs import in_threads
from slide._base.rows import InputRows
from slide._prototypes.svms import Svms

if TYPE_CHECKING:
    from slide._data.labels import LabelRows

# Least weight of a feature of a row of length 1. EURLEX57K: P@5 .702 with a least weight of .1 and
# 530 weights a label, .701 with .2 and 190.
_LEAST = 0.2
_C = 1.0  # cost of a row inside the margin, in squared lengths of w
_SWEEPS = 6  # EURLEX57K: P@5 .700 after 5, .702 after 10
_TOLERANCE = 0.1
_FEWEST = 50  # negatives of a label, but ...
_PER_ROW = 10  # ... no more for each of its rows
_DRAWN = 1 << 20  # random negatives that are drawn at a time
_TINY = np.float32(1e-20)  # below all feature weights that are not 0
_ROOM = 1 << 22  # most weights that one call of the compiled loop makes room for
_PARTS = 4  # parts per thread


@dataclass(frozen=True)
class LabelSvms:
    """Weights and biases of the machines of all labels.

    Parameters
    ----------
    by_label : csr_array (n_classes, n_features), float32
        Its product with a row, which has length 1 once its features are weighted as for
        prototypes, is the margin without the bias.
    biases : float32 (n_classes,)
    """

    by_label: csr_array
    biases: np.ndarray


def rows_of_labels(indptr: Array, ids: Ids, n_classes: int) -> tuple[Array, Ids]:
    """The rows that have each label, rising: int64 (n_classes + 1,) and int32.

    indptr, ids : the labels of every row, in CSR.
    """
    ones = np.ones(len(ids), np.int8)
    of_label = csr_array((ones, ids, indptr), (len(indptr) - 1, n_classes)).tocsc()
    return of_label.indptr.astype(np.int64), of_label.indices.astype(np.int32, copy=False)


def train_svms(
    x: Matrix,
    labels: LabelRows,
    hard: Ids,
    sample_weights: Floats | None,
    feature_weights: Floats,
    n_threads: int,
) -> LabelSvms:
    """Train the machines; `n_threads` does not change the result.

    Parameters
    ----------
    x : float32 (n, n_features), canonical CSR
    labels : slide._data.labels.LabelRows
        Rows without labels are left out.
    hard : int32 (n, n_hard)
        Wrong labels of every row, the negatives; -1: none.
    sample_weights : float32 (n,) or None
    feature_weights : float32 (n_features,)
        Those of the prototypes. A feature of weight 0 is left out.
    n_threads : int
    """
    n_classes = labels.n_classes
    there = (hard >= 0) & (np.diff(labels.indptr) > 0)[:, np.newaxis]
    indptr = np.concatenate(([0], np.cumsum(there.sum(axis=1))))
    right = rows_of_labels(labels.indptr, labels.indices, n_classes)
    wrong = rows_of_labels(indptr, hard[there], n_classes)
    wrong = _topped_up(wrong, right, labels, n_threads)
    x = _without(x, feature_weights == 0)
    svms = Svms(
        InputRows(x), feature_weights, sample_weights, right, wrong,
        _C, _TOLERANCE, _SWEEPS, _LEAST, n_threads,
    )  # fmt: skip
    sizes = np.diff(x.indptr)
    work = np.zeros(n_classes + 1, np.int64)
    for starts, rows in (right, wrong):
        work += np.concatenate(([0], np.cumsum(sizes[rows], dtype=np.int64)))[starts]
    # A label has as many weights as its rows have features.
    rooms = np.concatenate(([0], np.cumsum(np.minimum(np.diff(work), x.shape[1]))))
    found = [
        svms.train(bounds, np.diff(rooms[bounds]))
        for bounds in _turns(work, rooms, _PARTS * n_threads)
    ]
    features, weights = (np.concatenate(parts) for parts in zip(*found, strict=True))
    del found
    starts = np.concatenate(([0], np.cumsum(svms.lengths, dtype=np.int64)))
    # Features that are left out have weights 0.
    weights *= np.float32(svms.scale) / np.maximum(feature_weights[features], _TINY)
    by_label = csr_array((weights, features, starts), shape=(n_classes, x.shape[1]))
    by_label.sort_indices()
    return LabelSvms(by_label, svms.biases)


def _topped_up(
    wrong: tuple[Array, Ids], right: tuple[Array, Ids], labels: LabelRows, n_threads: int
) -> tuple[Array, Ids]:
    """Rows where each label is wrong, with random ones for the labels that have few.

    A label that is almost never a hard neuron would else not learn what most rows lack, and its
    margin would be large on any of them. A row that is drawn twice counts twice.
    """
    rows = np.flatnonzero(np.diff(labels.indptr)).astype(np.int32)
    counts, n_right = np.diff(wrong[0]), np.diff(right[0])
    wanted = np.maximum(n_right, np.minimum(_FEWEST, _PER_ROW * n_right))
    lacking = np.maximum(wanted - counts, 0)
    if not len(rows) or not lacking.any():
        return wrong
    ends = np.cumsum(lacking)

    def draw(first: int) -> tuple[Ids, Ids]:
        places = np.arange(first, min(first + _DRAWN, int(ends[-1])))
        ids = np.searchsorted(ends, places, side="right").astype(np.int32)
        random = np.random.RandomState(first // _DRAWN)
        drawn = rows[random.randint(len(rows), size=len(ids))]
        fits = ~labels.take(drawn).contain(ids[:, np.newaxis])[:, 0]
        return ids[fits], drawn[fits]

    found = in_threads(draw, range(0, int(ends[-1]), _DRAWN), n_threads)
    ids, drawn = (np.concatenate(parts) for parts in zip(*found, strict=True))
    known = np.repeat(np.arange(labels.n_classes, dtype=np.int32), counts)
    ids, drawn = np.concatenate((known, ids)), np.concatenate((wrong[1], drawn))
    indptr = np.concatenate(([0], np.cumsum(np.bincount(ids, minlength=labels.n_classes))))
    return indptr, drawn[np.argsort(ids, kind="stable")]


def _without(x: csr_array, unused: Array) -> csr_array:
    """X with zeros in the unused features."""
    if not unused.any():
        return x
    values = np.where(unused[x.indices], np.float32(0), x.data)
    return csr_array((values, x.indices, x.indptr), shape=x.shape)


def _turns(work: Array, rooms: Array, n_parts: int) -> list[Array]:
    """Split the labels into turns, and each turn into n_parts parts of about equal work.

    work, rooms : (n_classes + 1,) values of the rows of the labels before each, and the most
    weights of these labels. A turn has at most about _ROOM weights. Returns the bounds of the parts
    of every turn.
    """
    n_turns = int(rooms[-1]) // _ROOM + 1
    ends = np.searchsorted(rooms, np.linspace(0, rooms[-1], n_turns + 1)[1:-1])
    ends = np.unique(np.concatenate(([0], ends, [len(work) - 1])))
    turns = []
    for first, last in pairwise(ends):
        aims = np.linspace(work[first], work[last], n_parts + 1)[1:-1]
        bounds = np.clip(np.searchsorted(work, aims), first, last)
        turns.append(np.concatenate(([first], bounds, [last])).astype(np.int64))
    return turns
