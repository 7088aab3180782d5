"""One batch of `partial_fit`: a single pass over its rows."""

from __future__ import annotations

import time
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from slide._base.arrays import Array, Floats, Params
from slide._base.rows import InputRows
from slide._data.centering import is_sparse
from slide._network.early import begin_early, first_row, follow, rows_are_equal
from slide._network.fitted import Fitted
from slide._network.growth import meet
from slide._network.input_stats import note_inputs
from slide._network.start import start_late_labels, start_network
from slide._settings import auto
from slide._settings.budget import check_network
from slide._settings.settings import CourseSettings
from slide._training.course import history_of, train_rows
from slide._training.divergence import check_weights

if TYPE_CHECKING:
    from slide._data.coder import LabelCoder
    from slide._data.rows import TrainingRows
    from slide._network.network import Network

# A batch of at least so many rows replaces the mean input. A smaller one is blended into it.
_ROWS_OF_A_MEAN = 32


def train_batch(
    params: Params,
    coder: LabelCoder,
    data: TrainingRows,
    x_mean: Floats | None,
    rng: np.random.RandomState,
    n_threads: int,
    before: Fitted | None,
    is_new: bool,
    feature_names: Array | None = None,
) -> Fitted:
    """Train on the rows of a batch once, at a constant learning rate.

    The rows are inputs and `x_mean` has been subtracted (`slide._training.task.as_inputs`). With
    `is_new` they get a new network: they decide the initial weights and what "auto" becomes, and
    early batches correct them (`slide._network.early`). Other batches need the network of
    `adapted`.
    """
    if before is None or is_new:
        network, data = _begin(params, coder, data, x_mean, rng, n_threads, before)
    else:
        network = before.network
    network, data = _follow(network, data, n_threads)
    network = _with_batch_size(network, params, len(data))
    epoch = 1 if before is None else before.n_iter + 1
    try:
        history = _run_pass(network, data, rng, CourseSettings.of(params), epoch, n_threads)
    finally:
        if before is not None:
            before.network.changed()  # it may share weights
    fitted = Fitted(
        network,
        coder,
        params,
        rng,
        labels_per_row=len(data.labels.indices) / len(data),
        losses=(history["loss"],),
        history=(history,),
        feature_names=feature_names,
    )
    return fitted.after(before)


def adapted(before: Fitted, data: TrainingRows, n_threads: int) -> Fitted:
    """`before`, with a network that can learn from all columns of a batch `data`."""
    return replace(before, network=meet(before.network, data, n_threads))


def _begin(
    params: Params,
    coder: LabelCoder,
    data: TrainingRows,
    x_mean: Floats | None,
    rng: np.random.RandomState,
    n_threads: int,
    before: Fitted | None,
) -> tuple[Network, TrainingRows]:
    """A new network, which keeps the counts of `before`, and the rows less its mean."""
    if before is not None and x_mean is None and not is_sparse(data.x, data.n_announced):
        # Equal rows again: the earlier ones are as far from the middle as these.
        x_mean = (_only_row(before.network) + first_row(data.x)) / np.float32(2)
        data = data.centered(x_mean)
    shape = data.shape(coder.multilabel)
    settings = auto.resolve(params, shape)
    check_network(params, settings, data, shape, n_threads, 1)
    network = start_network(params, settings, data, None, x_mean, rng, n_threads)
    begin_early(network, data.x, before is None and rows_are_equal(data.x))
    if before is not None:
        network.tally.add(vars(before.network.tally))
    return network, data


def _only_row(network: Network) -> Floats:
    """The row that all rows of an undecided network were, over all columns of X."""
    row = network.input_stats[0][0]
    if network.columns is None:
        return row
    whole = np.zeros(network.n_announced, np.float32)
    whole[network.columns.ids] = row
    return whole


def _follow(network: Network, data: TrainingRows, n_threads: int) -> tuple[Network, TrainingRows]:
    """Correct the network by early rows; returns it, and the rows less its mean."""
    moved, x = follow(network, data.x, n_threads)
    started = network.started
    # Late labels begin relative to the mean input of the output layer, which must be of now.
    late = started is not None and not started[data.labels.indices].all()
    if late or moved.layers[0] is not network.layers[0] or moved.x_mean is not network.x_mean:
        note_inputs(moved, x, n_threads, _share(moved, len(data)))
    return moved, replace(data, x=x)


def _with_batch_size(network: Network, params: Params, n_rows: int) -> Network:
    """The network with the automatic batch size of n_rows rows, if that is larger than its own."""
    batch_size = auto.auto_batch_size(n_rows)
    if params["batch_size"] != "auto" or batch_size <= network.settings.batch_size:
        return network
    network = network.twin()
    network.settings = replace(network.settings, batch_size=batch_size)
    return network


def _share(network: Network, n_rows: int) -> float:
    """The share of n_rows new rows in the mean input of the output layer."""
    return min(1.0, n_rows / min(_ROWS_OF_A_MEAN, max(1, network.tally.n_samples)))


def _run_pass(
    network: Network,
    data: TrainingRows,
    rng: np.random.RandomState,
    settings: CourseSettings,
    epoch: int,
    n_threads: int,
) -> dict[str, Any]:
    """Train one epoch, number `epoch`; returns its history."""
    began, counted = time.perf_counter(), copy(network.tally)
    trainer = network.trainer(InputRows(data.x), data.labels, data.weights, n_threads)
    start_late_labels(network, data, n_threads)

    def learning_rate(share: float) -> float:
        return settings.learning_rate_init

    rows = np.arange(len(data))
    done = train_rows(network, trainer, rows, rng, settings, learning_rate, epoch, n_threads)
    # A batch may be small compared with the network: check only the output rows of its labels.
    check_weights(network, settings, epoch, np.unique(data.labels.indices))
    note_inputs(network, data.x, n_threads, _share(network, len(data)))
    return history_of(network, counted, done, time.perf_counter() - began)
