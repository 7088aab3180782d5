"""Hard neurons: the wrong classes of the largest scores, found once for every training row.

Finding them at every step would cost more than the step. They change slowly, though: classes that
are easily confused stay so. So mining finds them once, early in the training, and they are active
whenever the row comes (Dahiya et al., DeepXML, WSDM 2021; Xiong et al., ANCE, ICLR 2021). They are
also the negatives of the labels' SVMs, which are trained last, from lists that are mined again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from slide._base.arrays import Ids
from slide._network.input_stats import note_inputs
from slide._prediction import lookup

if TYPE_CHECKING:
    from slide._data.rows import TrainingRows
    from slide._network.network import Network

_ROWS_AT_ONCE = 4096  # rows between two checks of Python's signals
# Classes that are scored for a row. They contain .94 of the best 5 (see docs/how-it-works.md).
_CANDIDATES = 64


def mines_before(epoch: int, max_iter: int) -> bool:
    """Whether to mine before this epoch: a quarter of the way, when scores are meaningful.

    P@1 on planted siblings (20,000 classes, 8 epochs; .51 without mining): .62 after a quarter, .58
    from the middle on, .55 before the last two epochs. Mining twice is no better than once.
    """
    return epoch == max(1, max_iter // 4)


def hard_neurons(
    network: Network, data: TrainingRows, n_kept: int, n_threads: int
) -> tuple[Ids, int]:
    """The hard neurons of every row, hardest first: int32 (n, n_kept), and the multiply-adds.

    Rows with more labels than most may have fewer; their other places hold -1.
    """
    n_classes, n = network.n_classes, len(data)
    # So many that n_kept are left after an average row leaves out its own labels.
    k = min(n_classes, n_kept + math.ceil(len(data.labels.indices) / max(n, 1)))
    n_candidates = max(k, _CANDIDATES)
    note_inputs(network, data.x, n_threads)
    width, found = network.layers[-1].n_in, np.full((n, n_kept), -1, np.int32)
    for start in range(0, n, _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, n))
        x = network.rows(data.x[rows[0] : rows[-1] + 1])
        ids, _ = lookup.topk(network, x, k, n_threads, "lsh", n_candidates)
        right = data.labels.take(rows).contain(ids)
        order = np.argsort(right, axis=1, kind="stable")[:, :n_kept]
        hard = np.take_along_axis(ids, order, axis=1)
        hard[np.take_along_axis(right, order, axis=1)] = -1
        found[rows, : hard.shape[1]] = hard
    if not lookup.pays(network, n_candidates):
        return found, n * n_classes * width
    # A bit of a code counts 1/64, as in a population count; making the codes costs a transform.
    scan = n_classes * width // 64 + n_candidates * width
    return found, n * scan + n_classes * width * math.ceil(math.log2(width + 1)) * 3
