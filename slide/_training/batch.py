"""One batch of `partial_fit`: a single pass over its rows."""

from __future__ import annotations

import time
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from slide._base.arrays import Array, Floats, Params
from slide._base.rows import InputRows
from slide._network.fitted import Fitted
from slide._network.growth import meet
from slide._network.input_stats import note_inputs
from slide._network.start import start_network
from slide._settings import auto
from slide._settings.budget import check_network
from slide._settings.settings import CourseSettings
from slide._training.course import history_of, train_rows
from slide._training.divergence import check_weights

if TYPE_CHECKING:
    from slide._data.labels import LabelCoder
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
    feature_names: Array | None = None,
) -> Fitted:
    """Train on the rows of a batch once, at a constant learning rate.

    The rows are inputs and `x_mean` has been subtracted (`slide._training.task.as_inputs`). The
    first batch, for which `before` is None, decides the initial weights and what "auto" becomes.
    Later ones need the network of `adapted`.
    """
    if before is None:
        shape = data.shape(coder.multilabel)
        settings = auto.resolve(params, shape)
        check_network(params, settings, data, shape, n_threads, 1)
        network = start_network(params, settings, data, None, x_mean, rng, n_threads)
    else:
        network = before.network
    epoch = 1 if before is None else before.n_iter + 1
    history = _run_pass(network, data, rng, CourseSettings.of(params), epoch, n_threads)
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

    def learning_rate(share: float) -> float:
        return settings.learning_rate_init

    rows = np.arange(len(data))
    done = train_rows(network, trainer, rows, rng, settings, learning_rate, epoch, n_threads)
    # A batch may be small compared with the network: check only the output rows of its labels.
    check_weights(network, settings, epoch, np.unique(data.labels.indices))
    share = 1.0 if epoch == 1 else min(1.0, len(data) / _ROWS_OF_A_MEAN)
    note_inputs(network, data.x, n_threads, share)
    return history_of(network, counted, done, time.perf_counter() - began)
