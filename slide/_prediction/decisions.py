"""From scores to probabilities and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_expit

from slide._base.arrays import Floats
from slide._data.labels import LabelRows
from slide._engine import predict
from slide._prediction import lookup

if TYPE_CHECKING:
    from slide._base.rows import InputRows
    from slide._network.network import Network

_LOG_TINY = np.log(np.finfo(np.float32).tiny)
_SCORES_AT_ONCE = 1 << 22  # scores that a block of rows aims at


@np.errstate(under="ignore")  # a probability that is none, for who lets NumPy raise
def log_probabilities(scores: Floats, loss: str, multilabel: bool) -> Floats:
    """Logarithms of the probabilities of all classes, (n, n_classes), in place of the scores.

    A row sums to 1, but for the independent labels of a multilabel target under the sigmoid loss.
    No probability is 0, which float32 would make of a small one.
    """
    if loss == "sigmoid":
        log_expit(scores, out=scores)
    if loss == "softmax" or not multilabel:
        scores -= scores.max(axis=1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return np.maximum(scores, _LOG_TINY, out=scores)


def predict_label_rows(
    network: Network, x: InputRows, labels_per_row: float, n_threads: int, mode: str = "exact"
) -> LabelRows:
    """The labels that every row of a multilabel target gets, as LabelRows.

    Under the sigmoid loss those with a score above 0. Under the softmax loss the labels share one
    probability; a label is taken when it has more than it would have as one of
    1 + labels_per_row equals. The scores are computed for some rows at a time. With mode "lsh" and
    the sigmoid loss only those of a short list are.
    """
    model, loss, n_classes = network.model(), network.settings.loss, network.n_classes
    if mode == "lsh" and loss == "sigmoid" and lookup.pays(network, n := lookup.candidates_for(1)):
        return _shortlist_label_rows(network, x, n, n_threads)
    counts, indices = [np.zeros(1, np.int64)], [np.zeros(0, np.int32)]
    block = max(64 * n_threads, _SCORES_AT_ONCE // n_classes)
    for first in range(0, x.n_rows, block):
        last = min(first + block, x.n_rows)
        with network.guard.reading():
            scores, threshold = predict.scores(model, x, first, last, n_threads), 0.0
        if loss == "softmax":
            log_probabilities(scores, loss, multilabel=True)
            threshold = -np.log1p(labels_per_row)
        chosen = scores > threshold
        counts.append(np.count_nonzero(chosen, axis=1))
        indices.append(np.nonzero(chosen)[1].astype(np.int32))
    return LabelRows(np.cumsum(np.concatenate(counts)), np.concatenate(indices), n_classes)


def _shortlist_label_rows(
    network: Network, x: InputRows, n_candidates: int, n_threads: int
) -> LabelRows:
    """The labels of a score above 0 among the n_candidates most promising ones of every row."""
    model, n_classes = network.model(), network.n_classes
    short = lookup.shortlist(network, n_threads)
    counts, indices = [np.zeros(1, np.int64)], [np.zeros(0, np.int32)]
    block = _SCORES_AT_ONCE // n_candidates
    for first in range(0, x.n_rows, block):
        last = min(first + block, x.n_rows)
        ids, scores = short.topk(model, x, first, last, n_candidates, n_candidates, n_threads)
        chosen = scores > 0
        counts.append(np.count_nonzero(chosen, axis=1))
        ids[~chosen] = n_classes  # beyond all others, which shall rise within a row
        ids.sort(axis=1)
        indices.append(ids[ids < n_classes])
    return LabelRows(np.cumsum(np.concatenate(counts)), np.concatenate(indices), n_classes)
