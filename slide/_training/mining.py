"""Hard neurons of every training row, found by hash codes once and then kept as lists.

To look for the wrong neurons of the largest score at every step costs more than the step. They
change slowly, though: classes that are easily confused stay so. So a row's are found once, early
in the training, and are active whenever the row comes (Dahiya et al., DeepXML, WSDM 2021; Xiong et
al., ANCE, ICLR 2021).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from slide._network.input_stats import note_inputs
from slide._prediction import lookup

if TYPE_CHECKING:
    from slide._core import Trainer
    from slide._data.rows import TrainingRows
    from slide._network.network import Network

_ROWS_AT_ONCE = 4096  # rows between two looks at Python's signals
_CANDIDATES = 64  # that a row scores: of the best 5, .94 are among them (see docs/how-it-works.md)


def mines_before(epoch: int, max_iter: int) -> bool:
    """Whether lists are made before this epoch: a quarter of the way, when scores mean something.

    On planted siblings (20,000 classes, 8 epochs, P@1 .51 without): .62 then, .58 from the middle
    on, .55 before the last two; twice is no better than once.
    """
    return epoch == max(1, max_iter // 4)


def mine_hard_neurons(
    network: Network, trainer: Trainer, data: TrainingRows, n_threads: int
) -> int:
    """Write every row's hardest wrong neurons into `trainer.hard`; returns the multiply-adds."""
    n_hard_kept: int = trainer.hard.shape[1]
    n_classes = network.n_classes
    # So many that the labels of a usual row can be left out.
    k = min(n_classes, n_hard_kept + math.ceil(len(data.labels.indices) / len(data)))
    n_candidates = max(k, _CANDIDATES)
    note_inputs(network, data.x, n_threads)
    width, n = network.layers[-1].n_in, len(data)
    for start in range(0, n, _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, n))
        x = network.rows(data.x[rows[0] : rows[-1] + 1])
        ids, _ = lookup.topk(network, x, k, n_threads, "lsh", n_candidates)
        right = data.labels.take(rows).contain(ids)
        order = np.argsort(right, axis=1, kind="stable")[:, :n_hard_kept]
        hard = np.take_along_axis(ids, order, axis=1)
        hard[np.take_along_axis(right, order, axis=1)] = -1
        trainer.hard[rows, : hard.shape[1]] = hard
    if not lookup.pays(network, n_candidates):
        return n * n_classes * width
    # A bit of a code counts as a sixty-fourth, as in a population count; codes cost a transform.
    scan = n_classes * width // 64 + n_candidates * width
    return n * scan + n_classes * width * math.ceil(math.log2(width + 1)) * 3
