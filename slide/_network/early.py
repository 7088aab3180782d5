"""The early rows of `partial_fit`: a network follows what they say about the scale of X.

The first batch decides the mean row that is subtracted, and the first layer's weights and learning
rate. It may be small, or on another scale than all later ones. So while few rows have come, every
batch corrects these. A correction is a change of units: the network becomes what it would be if all
rows so far had been given in the new units. Only large errors are corrected, so that representative
batches change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import issparse

from slide._base.arrays import Array, Floats, Matrix
from slide._base.products import dot
from slide._data.centering import centered, is_sparse
from slide._engine.optimizer import SOLVERS
from slide._network.layer import Layer
from slide._network.rehash import rebuild_layer

if TYPE_CHECKING:
    from slide._network.network import Network

_FEW = 4096  # rows after which nothing is corrected any more
_SCALE = float(np.log(4.0))  # error of the squared scale, as a logarithm, that is corrected
_OFFSET = 0.25  # squared length of the mean row, as a share of the squared scale, that is corrected
_OUTLIER = 10.0  # a longer row, in usual lengths, counts for the mean as if it had this length
_TAIL = float(np.log(16.0))  # most by which outliers may raise the scale of the first batch
_ENOUGH = 8  # rows from which outliers among them are found by their distance to the median
_MEMORY = 256  # rows that new rows are weighed against; older ones count less and less
_MOST = float(np.finfo(np.float32).max) / 4  # second moment


@dataclass(frozen=True)
class Early:
    """What the early rows say, less the mean row. Rows of length zero do not count.

    Parameters
    ----------
    n_rows : int
        Rows that count.
    log_square : float
        Mean logarithm of their squared lengths, which a few outliers hardly move.
    log_scaled : float
        The value of `log_square` that the first layer is scaled for.
    undecided : bool
        Whether all rows so far were equal. The first batch with other rows gets a new network.
    """

    n_rows: int = 0
    log_square: float = 0.0
    log_scaled: float = 0.0
    undecided: bool = False

    def share(self, n_rows: int) -> float:
        """The weight of n_rows new rows in a mean."""
        return n_rows / (min(self.n_rows, _MEMORY) + n_rows)

    def counting(self, squares: Array) -> Early:
        """The same with new rows, of these squared lengths above zero."""
        square = float(np.log(squares).mean())
        if self.n_rows:
            log_square = self.log_square + self.share(len(squares)) * (square - self.log_square)
            return replace(self, n_rows=self.n_rows + len(squares), log_square=log_square)
        # `log_scaled` came from the mean square, which is larger: the more so, the longer the tail.
        scaled = min(max(square, self.log_scaled - _TAIL), self.log_scaled)
        return Early(len(squares), square, scaled)


def begin_early(network: Network, x: Matrix, equal: bool) -> None:
    """Follow the rows that come from now on.

    `network` is new and made for the rows x, less its mean. `equal`: whether these are equal.
    """
    if equal:
        network.input_stats[0] = first_row(x), network.input_stats[0][1]
        network.early = Early(undecided=True)
    elif x.shape[0] < _FEW:
        network.early = Early(log_scaled=-2 * float(np.log(network.settings.layers[0].scale)))


def first_row(x: Matrix) -> Floats:
    """A copy of the first row of x, CSR or dense, as a dense vector."""
    return np.asarray(x[:1].toarray()[0] if issparse(x) else x[0].copy())


def needs_new_network(network: Network, x: Matrix) -> bool:
    """Whether rows x need a new network: they are the first that differ from others."""
    if network.early is None or not network.early.undecided:
        return False
    if network.columns is not None:
        if network.columns.joined(x) is not network.columns:
            return True
        x = network.columns.select(x)
    return not (rows_are_equal(x) and (first_row(x) == network.input_stats[0][0]).all())


def rows_are_equal(x: Matrix) -> bool:
    """Whether all rows of x, CSR or dense, are equal: then they say nothing about its scale."""
    if not issparse(x):
        return bool((x[0] == x[-1]).all() and (x == x[0]).all())
    n_rows, (size, rest) = x.shape[0], divmod(x.nnz, x.shape[0])
    if rest or (np.diff(x.indptr) != size).any():
        return False
    parts = [part.reshape(n_rows, size) for part in (x.indices, x.data)]
    return all(bool((part[-1] == part[0]).all() and (part == part[0]).all()) for part in parts)


def follow(network: Network, x: Matrix, n_threads: int) -> tuple[Network, Matrix]:
    """Correct a network by new rows x, CSR or dense, from which its mean was subtracted.

    Returns a Network and the rows less its mean. What is corrected is copied first, and `network`
    stays whole.
    """
    if network.early is None or network.early.undecided:
        return network, x
    moved, few = network.twin(), x
    if x.shape[0] > _FEW:
        few = x[np.linspace(0, x.shape[0] - 1, _FEW).astype(np.int64)]
    offset = _offset(moved, few)
    if offset is not None:
        _move_mean(moved, offset)
        x, few = centered(x, offset), centered(few, offset)
    squares = _squares(few)
    if squares.any():
        early = network.early.counting(squares[squares > 0])
        error = early.log_square - early.log_scaled
        if abs(error) > _SCALE:
            _rescale(moved, float(np.exp(error / 2)), few)
            early = replace(early, log_scaled=early.log_square)
        moved.early = early if early.n_rows < _FEW else None
    if moved.layers[0] is not network.layers[0] and moved.layers[0].retrieval is not None:
        moved.tally.multiply_adds += rebuild_layer(moved, 0, n_threads)
    return moved, x


def _squares(x: Matrix) -> Array:
    """Squared length of every row."""
    if issparse(x):
        return np.asarray(x.multiply(x).sum(axis=1, dtype=np.float64)).ravel()
    return np.asarray(np.einsum("ij,ij->i", x, x, dtype=np.float64))


def _mean(x: Matrix, early: Early) -> Floats:
    """The mean of the rows x, in which outliers count less: float32 (n_features,)."""
    x = x.toarray() if issparse(x) else x
    middle = np.zeros(x.shape[1], np.float32)
    if len(x) >= _ENOUGH:
        middle, early = np.median(x, axis=0), Early()
        x = x - middle
    squares = _squares(x)
    counted = squares[squares > 0]
    if not len(counted):
        return middle
    usual = early if early.n_rows else early.counting(counted)
    most = _OUTLIER * np.exp(usual.log_square / 2)
    weights = np.minimum(1.0, most / np.sqrt(np.maximum(squares, counted.min()))) / len(squares)
    return np.asarray(middle + np.einsum("i,ij->j", weights, x, dtype=np.float64), np.float32)


def _offset(network: Network, x: Matrix) -> Floats | None:
    """What the mean must be moved by, None: nothing; x : new rows less the present mean.

    The mean of all early rows, less the present mean, is kept in the input statistics.
    """
    early = network.early
    assert early is not None
    if network.x_mean is None:
        # Dense rows, as many as came before, show that X is not sparse after all.
        return (
            None
            if is_sparse(x, network.n_announced) or x.shape[0] < early.n_rows
            else _mean(x, early)
        )
    if not early.n_rows and x.shape[0] < _ENOUGH:
        return None  # the present mean is that of these rows
    before, length = network.input_stats[0]
    offset = before + np.float32(early.share(x.shape[0])) * (_mean(x, early) - before)
    network.input_stats[0] = offset, length
    squares = _squares(x)
    if not early.n_rows and squares.any():
        early = early.counting(squares[squares > 0])
    return offset if dot(offset, offset) > _OFFSET * np.exp(early.log_square) else None


def _move_mean(network: Network, offset: Floats) -> None:
    """Add `offset` to the mean that is subtracted."""
    network.x_mean = offset if network.x_mean is None else network.x_mean + offset
    network.input_stats[0] = np.zeros_like(offset), network.input_stats[0][1]


def _rescale(network: Network, factor: float, x: Matrix) -> None:
    """Scale the first layer for inputs, of which x are some, that are `factor` times as long."""
    settings, old = network.settings, network.layers[0]
    first = settings.layers[0]
    rate = first.rate / (factor if SOLVERS[settings.solver].normalizes else factor**2)
    first = replace(first, scale=first.scale / factor, rate=rate)
    network.settings = replace(settings, layers=(first, *settings.layers[1:]))
    layer = Layer.zeros(old.n_in, old.n_out, old.by_feature, old.n_active, old.w.dtype)
    layer.rate, layer.bias_rate, layer.retrieval = rate, old.bias_rate, old.retrieval
    layer.ids = old.ids
    for rows in old.blocks():
        layer.w[rows] = old.w[rows].astype(np.float32, copy=False) / np.float32(factor)
        layer.w_m[rows] = old.w_m[rows].astype(np.float32, copy=False) * np.float32(factor)
    layer.w_v[...] = np.minimum(old.w_v * np.float64(factor**2), _MOST)
    for name in ("b", "b_m", "b_v", "steps"):
        getattr(layer, name)[...] = getattr(old, name)
    network.layers = [layer, *network.layers[1:]]
    mean, length = network.input_stats[0]
    if network.x_mean is None and layer.n_active:
        assert network.early is not None
        mean = _mean(x, network.early)
    network.input_stats[0] = mean, length * factor
