"""The course of a training: its start, epochs, the fall of the learning rate, when to stop."""

import numpy as np
from sklearn.model_selection import train_test_split

from slide import _mining, _predict
from slide._memory import copy_blocks
from slide._model import InputRows
from slide._network import Network, log_prior


def start_network(params, settings, data, rows, center, rng, n_threads):
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


def hold_out(data, multilabel, fraction, rng):
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


def run_epochs(network, data, held_out, stacking, rng, params, max_iter, n_threads):
    """Train until nothing improves or `max_iter` epochs are over.

    Parameters
    ----------
    network : slide._network.Network
    data, held_out : slide._validation.TrainingRows
        Rows to train on; rows to judge by, or None to judge by the training loss. With them the
        network ends with the weights of its best epoch.
    stacking : slide._stacking.Stacking or None
        What gives the trained network its prototypes; it may want rows to come late.
    rng : numpy.random.RandomState
        Draws the order of the rows.
    params : dict
        Of the estimator.
    max_iter, n_threads : int

    Returns
    -------
    losses, scores : list of float
        Training loss and validation score of every epoch; no scores without `held_out`.

    Raises
    ------
    FloatingPointError
        When training diverges.
    """
    trainer = network.trainer(InputRows(data.x), data.labels, data.weights, n_threads)
    k = max(1, round(len(data.labels.indices) / len(data)))  # one label a row: precision at 1
    losses, scores = [], []
    best, best_weights, n_stale = -np.inf, None, 0
    rows = np.arange(len(data)) if stacking is None else stacking.rows
    for epoch in range(max_iter):
        if stacking is not None and stacking.is_due(epoch, max_iter):
            stacking.weigh(network, n_threads)
            rows = np.arange(len(data))
        if network.settings.n_listed and _mining.is_due(epoch, max_iter):
            cost = _mining.list_hard_neurons(network, trainer, data, n_threads)
            network.tally.multiply_adds += cost

        def learning_rate(share, done=epoch):
            return _learning_rate(params, (done + share) / max_iter)

        loss = _run_epoch(network, trainer, rows, rng, params, learning_rate, epoch + 1, n_threads)
        losses.append(loss)
        _report(params, f"Iteration {epoch + 1}, loss = {loss:.8f}")
        merit = -loss
        if held_out is not None:
            merit = validation_score(network, held_out, k, n_threads)
            scores.append(merit)
            _report(params, f"Validation score: {merit:.6f}")
        n_stale = n_stale + 1 if merit < best + params["tol"] else 0
        if merit > best:
            best = merit
            if held_out is not None:
                best_weights = _keep_weights(network, best_weights)
        if n_stale > params["n_iter_no_change"]:
            what = "Training loss" if held_out is None else "Validation score"
            _report(
                params,
                f"{what} did not improve more than tol={params['tol']:f} for "
                f"{params['n_iter_no_change']} consecutive epochs. Stopping.",
            )
            break
    if best_weights is not None:
        for layer, (w, b) in zip(network.layers, best_weights, strict=True):
            copy_blocks(w, layer.w)
            layer.b[...] = b
        network.refresh(n_threads)
    _check_finite(network, params, len(losses))
    if stacking is not None:
        stacking.apply(network, n_threads)
    network.note_inputs(data.x, n_threads)
    return losses, scores


def run_pass(network, data, rng, params, epoch, n_threads):
    """Train one epoch, number `epoch`, at a constant learning rate; returns the training loss."""
    trainer = network.trainer(InputRows(data.x), data.labels, data.weights, n_threads)

    def learning_rate(share):
        return params["learning_rate_init"]

    rows = np.arange(len(data))
    loss = _run_epoch(network, trainer, rows, rng, params, learning_rate, epoch, n_threads)
    # A batch may be small beside the network: look where it trained.
    _check_finite(network, params, epoch, np.unique(data.labels.indices))
    # Of very few rows the mean before is the better part.
    network.note_inputs(data.x, n_threads, 1.0 if epoch == 1 else min(1.0, len(data) / 32))
    return loss


def validation_score(network, data, k, n_threads):
    """`slide.metrics.ndcg_at_k` of the rows' k best classes, a mean by weight."""
    ids, _ = _predict.topk(network.model(), network.rows(data.x), k, n_threads)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    gains = data.labels.contain(ids) @ discounts
    best = np.cumsum(discounts)[np.clip(np.diff(data.labels.indptr), 1, k) - 1]
    return float(np.average(gains / best, weights=data.weights))


def _run_epoch(network, trainer, rows, rng, params, learning_rate, epoch, n_threads):
    """One pass over the rows `rows`; returns the mean loss per unit of sample weight."""
    order = (rng.permutation(rows) if params["shuffle"] else rows).astype(np.int32)
    try:
        with np.errstate(all="ignore"):  # what overflows is no longer finite, and found
            tally = network.train(trainer, order, learning_rate, n_threads)
    except FloatingPointError as error:
        raise _diverged(network, params, epoch) from error
    return float(tally.loss / tally.weight)


def _check_finite(network, params, epoch, output_rows=None):
    """Refuse a network whose weights are no numbers, or so large that scores would be none.

    Of the output layer's weights only `output_rows` are looked at, if given.
    """
    first, *middle, output = network.layers
    arrays = [layer.w[rows] for layer in middle for rows in layer.blocks()]
    arrays += [layer.b for layer in network.layers]
    blocks = output.blocks()
    if output_rows is not None:
        blocks = (output_rows[part] for part in output.blocks(len(output_rows)))
    with np.errstate(all="ignore"):
        # The first layer's scale is that of X; the others' squares stay far from overflow.
        sums = [first.w[rows].astype(np.float32, copy=False).sum() for rows in first.blocks()]
        sums += [_square(array.astype(np.float32, copy=False)) for array in arrays]
        sums += [_square(output.w[rows].astype(np.float32, copy=False)) for rows in blocks]
    if not np.isfinite(sums).all():
        raise _diverged(network, params, epoch)


def _square(array):
    return np.vdot(array, array)


def _diverged(network, params, epoch):
    return FloatingPointError(
        f"training diverged in epoch {epoch}, by step {network.counter}: loss or weights are no "
        f"longer finite. Either learning_rate_init={params['learning_rate_init']!r} is too large, "
        "or the values of X are too large or too small: scale X, for example with MaxAbsScaler"
    )


def _learning_rate(params, progress):
    """Adam's step size after the share `progress` of all epochs."""
    if params["learning_rate"] == "constant":
        return params["learning_rate_init"]
    return params["learning_rate_init"] * max(1 - progress, 0.01)


def _keep_weights(network, kept):
    """Copy weights and biases, over the copies kept before if there are any."""
    if kept is None:
        kept = [(None, None)] * len(network.layers)
    return [
        (copy_blocks(layer.w, w), copy_blocks(layer.b, b))
        for layer, (w, b) in zip(network.layers, kept, strict=True)
    ]


def _report(params, line):
    if params["verbose"]:
        print(line)
