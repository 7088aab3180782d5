"""A new network's initial weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slide._base.arrays import Array, Floats, Params
from slide._network.losses import LOSSES
from slide._network.network import Network

if TYPE_CHECKING:
    from slide._data.rows import TrainingRows
    from slide._settings.auto import Settings


def start_network(
    params: Params,
    settings: Settings,
    data: TrainingRows,
    rows: Array | None,
    x_mean: Floats | None,
    rng: np.random.RandomState,
    n_threads: int,
) -> Network:
    """A new Network for `data`, TrainingRows less `x_mean`, with its initial weights.

    These know no labels but those of `rows`, an int array, rising; None: all.
    """
    network = Network(
        n_features=data.x.shape[1],
        n_classes=data.labels.n_classes,
        hidden_layer_sizes=params["hidden_layer_sizes"],
        settings=settings,
        seed=int(rng.randint(2**31 - 1)),
        x_mean=x_mean,
    )
    labels, some = data.labels, None
    if rows is None:
        rows = np.arange(len(data))
    else:
        # Not x[rows], which would take as much memory as X.
        labels = labels.only(rows)
    counts = np.bincount(labels.indices, minlength=labels.n_classes)
    prior = LOSSES[settings.loss].log_prior(counts, len(rows))
    # Centroids of few classes need few rows; to forward them all would cost a third of an epoch.
    n_rows = 4096 + 64 * labels.n_classes
    if n_rows < len(rows):
        rows = np.random.default_rng(network.seed).choice(rows, n_rows, replace=False)
        some = np.sort(rows)  # not x[rows], as above
        labels = labels.take(some)
    network.start(data.x, labels, prior, n_threads, some)
    return network
