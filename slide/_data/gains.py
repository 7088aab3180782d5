"""nDCG of ranked labels, given which of them are right."""

import numpy as np

from slide._base.arrays import Array, Bools


def ndcg_of_rows(hits: Bools, n_true: Array) -> Array:
    """Normalised discounted cumulative gain of every row: float64 (n,).

    Parameters
    ----------
    hits : bool (n, k)
        Which of a row's ranked labels are right, best first.
    n_true : int (n,)
        How many labels each row has.
    """
    k = hits.shape[1]
    discounts = 1 / np.log2(np.arange(2, k + 2))
    # Summed in the same order as `best`, so that a perfect ranking gives exactly 1.
    gains = np.cumsum(hits * discounts, axis=1)[:, -1]
    best = np.cumsum(discounts)[np.clip(n_true, 1, k) - 1]
    return np.asarray(gains / best)
