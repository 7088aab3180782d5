"""Growth of a network whose X has columns that did not occur before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slide._base import limits
from slide._network.draws import draw_new_inputs

if TYPE_CHECKING:
    from slide._data.columns import Columns
    from slide._data.rows import TrainingRows
    from slide._network.network import Network


def meet(network: Network, data: TrainingRows, n_threads: int) -> Network:
    """A Network that can learn from all columns of `data`; the same one if it already could.

    Another Network shares the weights that are there. The old one stays whole: another thread may
    be predicting with it.
    """
    if data.columns is not None and data.columns is not network.columns:
        network = _grown(network, data.columns)
    draw_new_inputs(network, data.x, n_threads)
    return network


def _grown(network: Network, columns: Columns) -> Network:
    """A Network with an input for each of `columns`, which are those of `network` and others."""
    n, first = len(columns), network.layers[0]
    _check_memory(n, first.w[0].nbytes)
    grown = network.twin()
    grown.columns, grown.n_features = columns, n
    grown.layers = [first.grown(columns.ids), *network.layers[1:]]
    grown.input_stats[0] = np.zeros(n, np.float32), network.input_stats[0][1]
    if network.prototypes is not None:
        grown.prototypes = network.prototypes.padded(n)
    return grown


def _check_memory(n: int, row_bytes: int) -> None:
    """Refuse first layers of n rows that do not fit into memory."""
    needs = {"weights": n * row_bytes, "moments": n * row_bytes}
    if sum(needs.values()) < limits.LARGE:
        return
    for limit in (limits.address_limit(), limits.memory_limit()):
        limits.check_needs(
            f"a first layer for the {n} columns that have occurred", needs, limit,
            "use fewer neurons, or hash the features to fewer columns",
        )  # fmt: skip
