"""Probabilities and labels from scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slide._base.arrays import Array, Floats
from slide._data.labels import LabelRows
from slide._engine import predict
from slide._network.confidence import log_odds
from slide._network.losses import LOSSES
from slide._prediction import lookup

if TYPE_CHECKING:
    from slide._base.rows import InputRows
    from slide._network.network import Network

_LOG_TINY = np.log(np.finfo(np.float32).tiny)
_ROUNDING = np.float32(5e-7)  # above the difference of logarithms whose exponentials round alike
_SCORES_AT_ONCE = 1 << 22  # about so many scores in a block of rows
_MOST_SCORES = 1 << 28  # never more than this, 1 GiB, unless a row has more


@np.errstate(under="ignore")  # a probability may round to 0, even if the user lets NumPy raise
def log_probabilities(scores: Floats, network: Network, multilabel: bool) -> Floats:
    """Logarithms of the probabilities of all classes, (n, n_classes), in place of the scores.

    A row's probabilities sum to 1, unless the labels of a multilabel target are independent under
    the loss. No probability is below the smallest normal number of float32, so none rounds to 0.
    With one label a row, the class of the best score has the highest probability.
    """
    loss = LOSSES[network.settings.loss]
    best = None if multilabel else scores.argmax(axis=1)
    scores = loss.log_probabilities(scores, multilabel, network.confidence)
    if best is not None:
        _lift(scores, best)
    return np.maximum(scores, _LOG_TINY, out=scores)


def _lift(logs: Floats, best: Array) -> None:
    """Raise the best class of a row where others have the same probability but for rounding.

    Sigmoids of high scores are equal in float32, though the scores are not.
    """
    rows = np.arange(len(logs))
    top = logs.max(axis=1)
    first = (logs > top[:, np.newaxis] - _ROUNDING).argmax(axis=1)
    rows = rows[(first < best) | (logs[rows, best] < top)]  # `argmax` takes the first of equals
    logs[rows, best[rows]] = top[rows] + 2 * _ROUNDING


def predict_label_rows(
    network: Network, x: InputRows, labels_per_row: float, n_threads: int, mode: str = "exact"
) -> LabelRows:
    """The labels that every row of a multilabel target gets, as LabelRows.

    `slide._network.losses.Loss.score_threshold` decides. Scores are computed for some rows at a
    time. With mode "lsh" only the labels of a short list are scored, if the loss has a threshold
    and short lists pay.
    """
    model, n_classes = network.model(), network.n_classes
    score_threshold = LOSSES[network.settings.loss].score_threshold
    if mode == "lsh" and score_threshold is not None:
        n_candidates = lookup.candidates_for(1)
        if lookup.pays(network, n_candidates):
            return _shortlist_label_rows(network, x, score_threshold, n_candidates, n_threads)
    counts, indices = [np.zeros(1, np.int64)], [np.zeros(0, np.int32)]
    block = max(64 * n_threads, _SCORES_AT_ONCE // n_classes)
    block = max(1, min(block, _MOST_SCORES // n_classes))
    for first in range(0, x.n_rows, block):
        last = min(first + block, x.n_rows)
        with network.guard.reading():
            scores = predict.scores(model, x, first, last, n_threads)
        if score_threshold is None:
            chosen = log_probabilities(scores, network, multilabel=True) > -np.log1p(labels_per_row)
        else:
            chosen = log_odds(scores, network.confidence) > score_threshold
        counts.append(np.count_nonzero(chosen, axis=1))
        indices.append(np.nonzero(chosen)[1].astype(np.int32))
    return LabelRows(np.cumsum(np.concatenate(counts)), np.concatenate(indices), n_classes)


def _shortlist_label_rows(
    network: Network, x: InputRows, score_threshold: float, n_candidates: int, n_threads: int
) -> LabelRows:
    """Labels with log odds above the threshold, among n_candidates of every row's short list."""
    model, n_classes = network.model(), network.n_classes
    short = lookup.shortlist(network, n_threads)
    counts, indices = [np.zeros(1, np.int64)], [np.zeros(0, np.int32)]
    block = _SCORES_AT_ONCE // n_candidates
    for first in range(0, x.n_rows, block):
        last = min(first + block, x.n_rows)
        ids, scores = short.topk(model, x, first, last, n_candidates, n_candidates, n_threads)
        chosen = log_odds(scores, network.confidence) > score_threshold
        counts.append(np.count_nonzero(chosen, axis=1))
        ids[~chosen] = n_classes  # sorts behind all labels of the row
        ids.sort(axis=1)
        indices.append(ids[ids < n_classes])
    return LabelRows(np.cumsum(np.concatenate(counts)), np.concatenate(indices), n_classes)
