"""The start of a new network: random hidden layers, output rows from the labels' centroids."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import issparse

from slide._base.arrays import Array, Bools, Floats, Matrix, Params
from slide._base.memory import aligned_zeros
from slide._base.products import rows_dot
from slide._base.rows import InputRows
from slide._base.values import MAX_INT
from slide._engine import centroids, predict
from slide._hashing.retrieval import Retrieval
from slide._network.directions import main_directions
from slide._network.draws import draw_layer
from slide._network.input_stats import stats_of, sums
from slide._network.losses import LOSSES
from slide._network.network import Network
from slide._network.rehash import begin_schedule, rebuild_layer

if TYPE_CHECKING:
    from slide._data.labels import LabelRows
    from slide._data.rows import TrainingRows
    from slide._settings.settings import Settings

# Rows that input statistics of sparse layers come from; also the most rows forwarded at a time.
_ROWS_AT_ONCE = 4096
_ROWS_OF_DIRECTIONS = 2048


def start_network(
    params: Params,
    settings: Settings,
    data: TrainingRows,
    rows: Array | None,
    x_mean: Floats | None,
    rng: np.random.RandomState,
    n_threads: int,
) -> Network:
    """Make a Network for `data`, TrainingRows minus `x_mean`, with its initial weights.

    The weights depend only on the labels of `rows`, a rising int array; None: on all labels.
    """
    network = Network(
        n_features=data.x.shape[1],
        n_classes=data.labels.n_classes,
        hidden_layer_sizes=params["hidden_layer_sizes"],
        settings=settings,
        seed=int(rng.randint(MAX_INT)),
        columns=data.columns,
        x_mean=x_mean,
    )
    labels, some = data.labels, None
    network.started = _unless_all(np.bincount(labels.indices, minlength=labels.n_classes) > 0)
    if rows is None:
        rows = np.arange(len(data))
    else:
        # Not x[rows], which would take as much memory as X.
        labels = labels.only(rows)
    counts = np.bincount(labels.indices, minlength=labels.n_classes)
    prior = LOSSES[settings.loss].log_prior(counts, len(rows))
    # Centroids of few classes need few rows; forwarding all rows would cost a third of an epoch.
    n_rows = 4096 + 64 * labels.n_classes
    if n_rows < len(rows):
        rows = np.random.default_rng(network.seed).choice(rows, n_rows, replace=False)
        some = np.sort(rows)  # not x[rows], as above
        labels = labels.take(some)
    set_weights(network, data.x, labels, prior, n_threads, some)
    return network


def set_weights(
    network: Network,
    x: Matrix,
    y: LabelRows,
    prior: Array,
    n_threads: int,
    rows: Array | None = None,
) -> None:
    """Set all weights of a new network, and build its retrievals.

    Memory beyond the layers: one block of rows.

    Parameters
    ----------
    network : slide._network.network.Network
    x : CSR or dense rows
    y : slide._data.labels.LabelRows
        The labels of `rows`.
    prior : float64 (n_classes,)
        Biases of the output, see `Loss.log_prior`.
    n_threads : int
    rows : int array or None
        The rows of x to use; None: all.
    """
    begin_schedule(network)
    inputs = InputRows(x, rows)
    sample = x[:_ROWS_AT_ONCE] if rows is None else x[rows[:_ROWS_AT_ONCE]]
    for i, (layer, chosen) in enumerate(zip(network.layers, network.settings.layers, strict=True)):
        if layer is network.layers[-1]:
            _start_output(network, inputs, y, prior, n_threads)
        else:
            draw_layer(network, i, x, n_threads)
            if layer.n_active:
                _start_sparse(network, i, sample, inputs, n_threads)
        if chosen.retrieval is not None:
            layer.retrieval = make_retrieval(network, i, sample)
            network.tally.multiply_adds += rebuild_layer(network, i, n_threads)


def make_retrieval(network: Network, i: int, sample: Matrix) -> Retrieval:
    """Make the retrieval of layer i, not yet built; for layer 0 it may need dense rows `sample`."""
    chosen, layer, directions = network.settings.layers[i].retrieval, network.layers[i], None
    assert chosen is not None
    if chosen.n_directions and chosen.transform:
        mean, length = network.input_stats[i]
        some = sample[:_ROWS_OF_DIRECTIONS]
        rows = (some.toarray() if issparse(some) else some) - mean
        rows /= np.float32(length)
        n = min(chosen.n_directions, *rows.shape)
        directions = main_directions(rows, n, network.seed)
    seed = np.random.SeedSequence([network.seed, i]).generate_state(1)[0]
    functions = np.random.RandomState(seed)
    return Retrieval(layer.n_out, layer.n_in, asdict(chosen), functions, directions)


def _start_sparse(
    network: Network, i: int, sample: Matrix, rows: InputRows, n_threads: int
) -> None:
    """Set a sparse layer's input statistics, and biases that give all neurons the same chance."""
    layer, n, h = network.layers[i], sample.shape[0], sample
    if i > 0:
        h = predict.hidden(network.model(i + 1), rows, 0, n, n_threads)
    network.input_stats[i] = mean, _ = stats_of(*sums(h), n)
    for block in layer.blocks():
        w = layer.w[block].astype(np.float32, copy=False)
        layer.b[block] = -rows_dot(w, mean)


def _start_output(
    network: Network, x: InputRows, y: LabelRows, prior: Array, n_threads: int
) -> None:
    """Set the output's weights to the labels' centroids, and its biases to meet the prior."""
    output, model = network.layers[-1], network.model()
    # Summed in place; for bfloat16 in another array, which is freed before moments are written.
    rows = output.w if output.w.dtype == np.float32 else aligned_zeros(output.w.shape)
    total, squares = np.zeros(output.n_in), 0.0
    # A block of dense hidden vectors takes at most 64 MB.
    chunk = max(256, min(_ROWS_AT_ONCE, (1 << 24) // output.n_in))
    for start in range(0, x.n_rows, chunk):
        h = predict.hidden(model, x, start, min(start + chunk, x.n_rows), n_threads)
        more, more_squares = sums(h)
        total += more
        squares += more_squares
        add = centroids.add_sparse_label_sums if issparse(h) else centroids.add_label_sums
        add(h, y.indptr, y.indices, start, rows, n_threads)
    network.input_stats[-1] = mean, length = stats_of(total, squares, x.n_rows)
    # Length of an output row: a sample at the typical distance then gets `centroid_logit`.
    length = network.settings.centroid_logit / length
    used = np.bincount(y.indices, minlength=network.n_classes).astype(np.int64)
    for block in output.blocks():
        centroids.center_and_scale(rows[block], used[block], mean, length, n_threads)
        if rows is not output.w:
            output.w[block] = rows[block]
        # The scores of the mean input are exactly the prior.
        w = output.w[block].astype(np.float32, copy=False)
        output.b[block] = prior[block] - rows_dot(w, mean)


def start_late_labels(network: Network, data: TrainingRows, n_threads: int) -> None:
    """Set the output's weights to the centroids of labels that never came before, as at the start.

    Without it such a label would begin at zero, or where it was pushed as a wrong answer.
    """
    started, y = network.started, data.labels
    if started is None or started[y.indices].all():
        return
    late = np.unique(y.indices[~started[y.indices]])
    own = y.among(late)
    rows = np.flatnonzero(np.diff(own.indptr))
    own = own.take(rows)
    output, model, x = network.layers[-1], network.model(), InputRows(data.x, rows)
    sums = aligned_zeros((len(late), output.n_in))
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        h = predict.hidden(model, x, start, min(start + _ROWS_AT_ONCE, len(rows)), n_threads)
        add = centroids.add_sparse_label_sums if issparse(h) else centroids.add_label_sums
        add(h, own.indptr, own.indices, start, sums)
    mean, length = network.input_stats[-1]
    sums /= np.bincount(own.indices, minlength=len(late)).astype(np.float32)[:, np.newaxis]
    sums -= mean
    distances2 = np.einsum("ij,ij->i", sums, sums)
    # The rows so far may have been so few, or so alike, that these lie far outside of them.
    length = max(length, float(np.sqrt(distances2.mean())))
    scale = network.settings.centroid_logit / length
    sums *= (scale / np.sqrt(np.maximum(distances2, 1e-30)))[:, np.newaxis]
    counts = np.bincount(y.indices, minlength=network.n_classes)
    n_rows = network.tally.n_samples + len(data)
    prior = LOSSES[network.settings.loss].log_prior(counts, n_rows)
    output.w[late] = sums
    output.b[late] = prior[late] - rows_dot(sums, mean)
    for moments in (output.w_m, output.w_v, output.b_m, output.b_v, output.steps):
        moments[late] = 0
    started = started.copy()
    started[late] = True
    network.started = _unless_all(started)


def _unless_all(started: Bools) -> Bools | None:
    return None if started.all() else started
