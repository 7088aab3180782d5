"""How a training starts: the rows that are held out, and a new network's initial weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import train_test_split

from slide._network import Network, log_prior
from slide._typing import Array, Floats, Params

if TYPE_CHECKING:
    from slide._auto import Settings
    from slide._validation import TrainingRows


def start_network(
    params: Params,
    settings: Settings,
    data: TrainingRows,
    rows: Array | None,
    center: Floats | None,
    rng: np.random.RandomState,
    n_threads: int,
) -> Network:
    """A new Network for `data`, TrainingRows less `center`, with its initial weights.

    These know no labels but those of `rows`, an int array, rising; None: all.
    """
    network = Network(
        n_features=data.x.shape[1],
        n_classes=data.labels.n_classes,
        hidden_layer_sizes=params["hidden_layer_sizes"],
        settings=settings,
        seed=int(rng.randint(2**31 - 1)),
        center=center,
    )
    labels, order = data.labels, None
    if rows is None:
        rows = np.arange(len(data))
    else:
        # Not x[rows], which would take as much memory as X.
        labels = labels.only(rows)
    counts = np.bincount(labels.indices, minlength=labels.n_classes)
    prior = log_prior(counts, len(rows), settings.loss)
    # Centroids of few classes need few rows; to forward them all would cost a third of an epoch.
    n_rows = 4096 + 64 * labels.n_classes
    if n_rows < len(rows):
        rows = np.random.default_rng(network.seed).choice(rows, n_rows, replace=False)
        order = np.sort(rows)  # not x[rows], as above
        labels = labels.take(order)
    network.start(data.x, labels, prior, n_threads, order)
    return network


def hold_out(
    data: TrainingRows, multilabel: bool, fraction: float, rng: np.random.RandomState
) -> tuple[TrainingRows, TrainingRows]:
    """Split TrainingRows into those to train on and the share `fraction` to judge by."""
    n = len(data)
    n_held_out = int(np.ceil(fraction * n))
    if n_held_out >= n:
        raise ValueError(
            f"validation_fraction={fraction!r} of {n} rows leaves none to train on; "
            "early_stopping needs more rows or a smaller share"
        )
    stratify = None
    if not multilabel:
        counts = np.bincount(data.labels.indices)
        if counts[counts > 0].min() > 1 and min(n_held_out, n - n_held_out) >= len(counts):
            stratify = data.labels.indices
    rows, held_out = train_test_split(
        np.arange(n), test_size=n_held_out, random_state=rng, stratify=stratify
    )
    return data.take(np.sort(rows)), data.take(np.sort(held_out))
