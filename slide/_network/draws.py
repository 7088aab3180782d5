"""Random initial weights of hidden layers.

A weight depends only on the seed, its layer, its neuron and its input, which for the first layer is
a column of X. So a column that occurs for the first time in a late batch gets the weights that it
would have had from the start. Until then its weights are zero: it says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slide._base.arrays import Ids, Matrix
from slide._data.columns import occurring
from slide._engine.initial import draw_rows, uniform_rows

if TYPE_CHECKING:
    from slide._network.network import Network

_DRAWN_AT_ONCE = 1 << 22  # weights


def draw_layer(network: Network, i: int, x: Matrix, n_threads: int) -> None:
    """Draw the weights of hidden layer i; of a dense first layer those for inputs that x has."""
    layer = network.layers[i]
    if layer.by_feature:
        draw_new_inputs(network, x, n_threads)
    elif i == 0:
        draw_columns(network, n_threads)
    else:
        neurons = np.arange(layer.n_out, dtype=np.int32)
        _draw_rows(network, i, neurons, neurons, n_threads)


def draw_new_inputs(network: Network, x: Matrix, n_threads: int) -> None:
    """Draw the weights of all inputs in rows x that a dense first layer has not learnt from yet.

    Nothing changes for inputs that have been drawn before.
    """
    layer = network.layers[0]
    if not layer.by_feature:
        return
    inputs = occurring(x)
    inputs = inputs[layer.steps[inputs] == 0]
    ids = inputs if layer.ids is None else layer.ids[inputs]
    _draw_rows(network, 0, inputs, ids, n_threads)


def draw_columns(network: Network, n_threads: int) -> None:
    """Draw all weights of a sparse first layer, which has a column of weights for each input."""
    layer, scale = network.layers[0], network.settings.layers[0].scale
    ids = np.arange(layer.n_in, dtype=np.int32)
    if network.columns is not None:
        ids = network.columns.ids
    size = max(1, _DRAWN_AT_ONCE // layer.n_out)
    for start in range(0, layer.n_in, size):
        part = slice(start, start + size)
        drawn = uniform_rows(network.seed, 0, ids[part], layer.n_out, scale, n_threads)
        layer.w[:, part] = drawn.T


def _draw_rows(network: Network, i: int, rows: Ids, ids: Ids, n_threads: int) -> None:
    """Draw rows of layer i, those of the columns or neurons `ids`."""
    layer, scale = network.layers[i], network.settings.layers[i].scale
    rows = rows.astype(np.int32, copy=False)
    for part in layer.blocks(len(rows)):
        draw_rows(network.seed, i, ids[part], scale, rows[part], layer.w, n_threads)
