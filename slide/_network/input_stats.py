"""Mean and length of the vectors that enter a layer.

Retrievals center their queries with them, and so do the short lists of the output layer. The
length is the root mean square of the vectors' distance to their mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy.sparse import issparse

from slide._base.arrays import Array, Floats, Matrix
from slide._base.products import dot
from slide._base.rows import InputRows
from slide._engine import predict

if TYPE_CHECKING:
    from slide._network.network import Network

InputStats: TypeAlias = tuple[Floats, float]

_NOTED = 256  # rows from which `note_inputs` estimates the mean input of the output layer


def sums(h: Matrix) -> tuple[Array, float]:
    """Sum of the rows of h, float64 (width,), and sum of their squared lengths; dense or CSR."""
    if issparse(h):
        total = np.asarray(h.sum(axis=0, dtype=np.float64)).ravel()
        return total, float(np.square(h.data, dtype=np.float64).sum())
    return h.sum(axis=0, dtype=np.float64), float(np.einsum("ij,ij->", h, h, dtype=np.float64))


def stats_of(total: Array, squares: float, n: int) -> InputStats:
    """Mean and length of n vectors, from their sum and the sum of their squared lengths."""
    mean = total / n
    square = dot(mean, mean)
    # For equal vectors the difference is only float32 rounding, which must not count as length.
    rounding = 1e-6 * square + 1e-12
    length = float(np.sqrt(max(squares / n - square, rounding)))
    return mean.astype(np.float32), length


def _blend(old: Any, new: Any, share: float) -> Any:
    return old + share * (new - old)


def note_inputs(network: Network, x: Matrix, n_threads: int, share: float = 1.0) -> None:
    """Estimate the mean input of the output layer from at most 256 of the rows x.

    Its standard error is 1/16 of the inputs' spread. Short lists (`slide._prediction.shortlist`)
    center their queries with it. `share` < 1 blends the estimate into the previous one, for small
    batches. The statistics stay as they are if the output layer has a retrieval, whose rebuilds set
    them, or sparse inputs.
    """
    network.changed()
    i = len(network.layers) - 1
    if network.layers[i].retrieval is not None or network.layers[i - 1].n_active:
        return
    n = min(x.shape[0], _NOTED)
    rows = InputRows(x[np.linspace(0, x.shape[0] - 1, n).astype(np.int64)])
    mean, length = stats_of(*sums(predict.hidden(network.model(), rows, 0, n, n_threads)), n)
    if share < 1:
        old_mean, old_length = network.input_stats[i]
        square = _blend(old_length**2 + dot(old_mean, old_mean), length**2 + dot(mean, mean), share)
        mean, length = stats_of(_blend(old_mean.astype(np.float64), mean, share), square, 1)
    network.input_stats[i] = mean, length
