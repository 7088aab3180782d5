"""Growth of a network whose X has columns that did not occur before."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from slide._base import limits
from slide._engine.optimizer import SOLVERS
from slide._network.draws import draw_columns, draw_new_inputs
from slide._network.layer import Layer
from slide._network.rehash import rebuild_layer
from slide._network.start import make_retrieval

if TYPE_CHECKING:
    from slide._base.arrays import Matrix
    from slide._data.columns import Columns
    from slide._data.rows import TrainingRows
    from slide._network.network import Network


def meet(network: Network, data: TrainingRows, n_threads: int) -> Network:
    """A Network that can learn from all columns of `data`; the same one if it already could.

    Another Network shares the weights that are there. The old one stays whole: another thread may
    be predicting with it.
    """
    if data.columns is not network.columns:
        if data.columns is None:
            network = _widened(network, data.x, n_threads)
        else:
            network = _grown(network, data.columns)
    draw_new_inputs(network, data.x, n_threads)
    return network


def _grown(network: Network, columns: Columns) -> Network:
    """A Network with an input for each of `columns`, which are those of `network` and others."""
    n, first = len(columns), network.layers[0]
    _check_memory(n, first)
    grown = network.twin()
    grown.columns, grown.n_features = columns, n
    grown.layers = [first.grown(columns.ids), *network.layers[1:]]
    mean, length = network.input_stats[0]
    grown.input_stats[0] = np.pad(mean, (0, n - len(mean))), length
    if network.x_mean is not None:
        grown.x_mean = np.pad(network.x_mean, (0, n - len(mean)))
    if network.prototypes is not None:
        grown.prototypes = network.prototypes.padded(n)
    return grown


def _widened(network: Network, x: Matrix, n_threads: int) -> Network:
    """A Network with an input for each column of X, from one with a sparse first layer.

    Its hash functions are of the number of inputs, so new ones are drawn.
    """
    assert network.columns is not None
    n, ids, first = network.n_announced, network.columns.ids, network.layers[0]
    _check_memory(n, first)
    wide = network.twin()
    wide.columns, wide.n_features = None, n
    layer = Layer.zeros(n, first.n_out, False, first.n_active, first.w.dtype)
    wide.layers = [layer, *network.layers[1:]]
    draw_columns(wide, n_threads)
    layer.w[:, ids], layer.w_m[:, ids] = first.w, first.w_m
    for name in ("b", "b_m", "b_v", "steps", "w_v"):
        getattr(layer, name)[...] = getattr(first, name)
    layer.rate, layer.bias_rate = first.rate, first.bias_rate
    if SOLVERS[network.settings.solver].normalizes:
        # Second moments are means over the inputs, and the rate makes up for their number.
        share = len(ids) / n
        layer.w_v *= np.float32(share)
        layer.rate *= math.sqrt(share)
        chosen = replace(network.settings.layers[0], rate=layer.rate)
        layers = (chosen, *network.settings.layers[1:])
        wide.settings = replace(network.settings, layers=layers)
    mean = np.zeros(n, np.float32)
    mean[ids], length = network.input_stats[0]
    wide.input_stats[0] = mean, length
    if network.x_mean is not None:
        wide.x_mean = np.zeros(n, np.float32)
        wide.x_mean[ids] = network.x_mean
    if network.prototypes is not None:
        wide.prototypes = network.prototypes.widened(network.columns)
    layer.retrieval = make_retrieval(wide, 0, x[:1])
    wide.tally.multiply_adds += rebuild_layer(wide, 0, n_threads)
    return wide


def _check_memory(n: int, first: Layer) -> None:
    """Refuse a first layer with n inputs that does not fit into memory."""
    size = n * first.n_out * first.w.itemsize
    needs = {"weights": size, "moments": size}
    if sum(needs.values()) < limits.LARGE:
        return
    for limit in (limits.address_limit(), limits.memory_limit()):
        limits.check_needs(
            f"a first layer for the {n} columns that have occurred", needs, limit,
            "use fewer neurons, or hash the features to fewer columns",
        )  # fmt: skip
