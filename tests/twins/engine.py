"""Twin of the engine: forward, backward and update of a micro-batch, prediction, centroids.

One network serves for dense and for sparse hidden layers: every layer has its active neurons for
each sample, and in a dense layer all are active. Everything is float64 in dense arrays, where a
neuron that is not active is zero. `layers` are those of `slide._network.layer` as `copy_layers`
gives them. Only `train_micro_batch` and the update functions that it calls change their arguments,
the layers.
"""

from dataclasses import fields, replace
from typing import NamedTuple

import numpy as np

from twins.hashing import retrieve
from twins.random import MASK, SplitMix64, mix64, seed_stream
from twins.simd import dots, float64, momentum, sigmoid


def copy_layers(layers):
    """The layers in float64; steps stay integers."""
    return [
        replace(
            layer,
            **{
                f.name: value.astype(np.float64 if value.dtype == np.float32 else value.dtype)
                for f in fields(layer)
                if isinstance(value := getattr(layer, f.name), np.ndarray)
            },
        )
        for layer in layers
    ]


# ---------------------------------------------------------- activations --


def activate(name, z):
    if name == "relu":
        return np.where(z < 0, 0, z)
    if name == "tanh":
        return np.tanh(z)
    if name == "logistic":
        return sigmoid(z)[0]
    return z


def activation_slope(name, y):
    """f'(z), from y = f(z)."""
    if name == "relu":
        return (y > 0).astype(float)
    if name == "tanh":
        return 1 - y**2
    if name == "logistic":
        return y * (1 - y)
    return np.ones_like(y)


def dropout_mask(shape, rate, random):
    """0 with probability `rate`, else 1 / (1 - rate); 16 random bits per entry."""
    threshold = int(np.float32(rate) * 65536)
    mask = np.zeros(shape)
    word = 0
    for i in range(mask.size):
        word = word >> 16 if i % 4 else random.next64()
        if word & 0xFFFF >= threshold:
            mask.flat[i] = 1 / (1 - rate)
    return mask


BLOCK, FEWEST_BLOCKS = 16, 8


def n_blocks_kept(layers, i, rate):
    """Blocks that hidden layer i keeps; None where every row draws its own neurons."""
    below, layer, above = layers[i - 1] if i else None, layers[i], layers[i + 1]
    n_blocks = -(-layer.n_out // BLOCK)
    n_kept = max(1, int((1 - rate) * n_blocks + 0.5))
    sparse = layer.n_active or above.n_active or (below is not None and below.n_active)
    hashed = above.retrieval is not None
    wide = n_blocks >= FEWEST_BLOCKS and n_kept < n_blocks
    return n_kept if wide and not (sparse or hashed) else None


def kept_neurons(n_out, n_kept, random):
    """The neurons of n_kept blocks, drawn without repetition, each with the same probability."""
    n_blocks, drawn = -(-n_out // BLOCK), []
    for b in range(n_blocks):
        if random.below(n_blocks - b) < n_kept - len(drawn):
            drawn.append(b)
    return np.array([j for j in range(n_out) if j // BLOCK in drawn])


def block_mask(shape, n_kept, kept):
    """0 for neurons that are not kept; for the others 1 / the share of blocks that are kept."""
    mask = np.zeros(shape)
    mask[:, kept] = -(-shape[1] // BLOCK) / n_kept
    return mask


def forward(layers, x, activation, active=None, dropout=None):
    """Activations of every hidden layer, and the masks that they were multiplied by.

    active : for every hidden layer the ids (n, n_active) of each sample's neurons, or None for the
    layer's own choice: all of a dense layer, the n_active largest pre-activations of a sparse one.
    dropout : for every hidden layer its dropout mask; None where nothing is dropped.
    Returns two lists of arrays (n, n_out). A mask is 0 where a neuron is not active.
    """
    activations, masks, below = [], [], float64(x)
    for i, layer in enumerate(layers[:-1]):
        z = below @ layer.coefs + layer.b
        mask = active_mask(z, layer.n_active, None if active is None else active[i])
        if dropout is not None:
            mask = mask * dropout[i]
        below = activate(activation, z) * mask
        activations.append(below)
        masks.append(mask)
    return activations, masks


def active_mask(z, n_active, ids=None):
    """1 for active neurons: `ids`, or without ids the n_active largest of each row (0: all)."""
    if ids is None:
        if n_active == 0:
            return np.ones_like(z)
        ids, _ = topk(z, n_active)
    mask = np.zeros_like(z)
    np.put_along_axis(mask, ids, 1, axis=1)
    return mask


# --------------------------------------------------------------- losses --


def softmax_loss(z, labels):
    """Cross-entropy with targets 1 / n_labels, and its gradient; nothing without labels."""
    if len(labels) == 0:
        return 0.0, np.zeros_like(z)
    target = np.bincount(labels, minlength=len(z)) / len(labels)
    log_total = np.logaddexp.reduce(z)
    return log_total - target @ z, np.exp(z - log_total) - target


def sigmoid_loss(z, labels):
    """Sum of binary cross-entropies, and its gradient."""
    target = np.bincount(np.asarray(labels, int), minlength=len(z))
    p, softplus = sigmoid(z)
    return softplus - target @ z, p - target


LOSSES = {"softmax": softmax_loss, "sigmoid": sigmoid_loss}


class Gradients(NamedTuple):
    """Gradients of a mean loss for one layer, and the factors they are made of."""

    x: np.ndarray  # the layer's input (n, n_in)
    delta: np.ndarray  # by its pre-activations (n, n_out)
    dw: np.ndarray  # by its weights, in the shape of `layer.w`
    db: np.ndarray  # by its biases (n_out,)


def pruned(delta, mask, factor, seed, layer):
    """Gradients of a sparse layer after pruning: small ones are raised to `least`, or 0.

    mask : not 0 where a neuron is active. Active neurons are numbered from one row to the next.
    """
    squares, out = delta[delta != 0] ** 2, delta.copy()
    least = np.float32(factor * np.sqrt(squares.mean())) if len(squares) else 0
    for place, at in enumerate(zip(*np.nonzero(mask), strict=True)):
        size = abs(delta[at])
        if 0 < size < least:
            stream = seed_stream(seed, layer) + (place + 1) * 0x9E3779B97F4A7C15
            chance = (mix64(stream & MASK) >> 40) / 2**24
            out[at] = np.sign(delta[at]) * least if chance * least < size else 0
    return out


def loss_and_gradients(
    layers,
    x,
    labels,
    weight,
    activation,
    loss,
    output,
    n_exact,
    active=None,
    dropout=None,
    prune=None,
):
    """Sum of weight * loss over the samples, and for every layer the `Gradients` of the mean loss.

    output : ids of the output neurons that take part. The first n_exact stand for themselves; the
    others together stand for all other neurons of the layer, so each one's logit gets the log of
    how many neurons it stands for.
    active, dropout : as in `forward`; prune : factor and seed of `pruned`, for sparse layers.
    """
    n, top = len(x), layers[-1]
    activations, masks = forward(layers, x, activation, active, dropout)
    inputs = [float64(x), *activations]
    z = dots(top.w, inputs[-1], output, top.b)
    if len(output) > n_exact:
        z[:, n_exact:] += np.log((top.n_out - n_exact) / (len(output) - n_exact))
    place = {neuron: i for i, neuron in enumerate(output)}
    total, delta = 0.0, np.zeros((n, top.n_out))
    for i in range(n):
        value, gradient = LOSSES[loss](z[i], [place[label] for label in labels[i]])
        total += weight[i] * value
        delta[i, output] = weight[i] / n * gradient

    gradients = []
    for i in reversed(range(len(layers))):
        dw = inputs[i].T @ delta if layers[i].by_feature else delta.T @ inputs[i]
        gradients.append(Gradients(inputs[i], delta, dw, delta.sum(axis=0)))
        if i > 0:
            # A kept activation is y * mask; a dropped one passes nothing back.
            mask = masks[i - 1]
            y = np.divide(inputs[i], mask, out=np.zeros_like(mask), where=mask > 0)
            delta = delta @ layers[i].coefs.T * activation_slope(activation, y) * mask
            if prune is not None and layers[i - 1].n_active:
                delta = pruned(delta, mask, *prune, i - 1)
    return total, gradients[::-1]


# -------------------------------------------------------------- updates --


class Solver:
    """The constants of one step, rounded to float32 as in the engine (1 - 0.999 differs in the
    fifth digit). settings : Trainer's; n : rows of the micro-batch."""

    def __init__(self, settings, learning_rate, n):
        self.kind = settings["solver"]
        beta_1 = {"adam": settings["beta_1"], "sgd": settings["momentum"], "adagrad": 0.0}
        self.learning_rate, self.beta_1, self.beta_2, self.epsilon, self.decay = (
            float(np.float32(value))
            for value in (
                learning_rate,
                beta_1[self.kind],
                settings["beta_2"],
                settings["epsilon"],
                settings["alpha"] / n,
            )
        )

    def step_size(self, factor, steps, v, square):
        """The step along the first moment, and the new v. square : the gradient's mean square."""
        rate, epsilon = self.learning_rate * factor, self.epsilon / factor
        if self.kind == "sgd":
            return rate / (1 - self.beta_1), v
        if self.kind == "adagrad":
            v = v + square
            return rate / (np.sqrt(v) + epsilon), v
        v = self.beta_2 * v + (1 - self.beta_2) * square
        unbiased = v / (1 - self.beta_2**steps)
        return rate / (1 - self.beta_1**steps) / (np.sqrt(unbiased) + epsilon), v


def update_row(layer, row, dw, solver, columns=slice(None)):
    """One lazy step on a row of weights, which has one second moment and one step count.

    Only the given columns move; elsewhere the gradient is zero. The mean square of the gradient is
    that of the whole row.
    """
    layer.steps[row] += 1
    w, m = layer.w[row], layer.w_m[row]
    g = dw[columns] + solver.decay * w[columns]
    step, layer.w_v[row] = solver.step_size(
        layer.rate, layer.steps[row], layer.w_v[row], (g**2).sum() / len(w)
    )
    w[columns], m[columns] = momentum(w[columns], m[columns], g, step, solver.beta_1)


def update_rows(layer, rows, dw, solver, columns=slice(None)):
    """`update_row` on some rows."""
    for row in rows:
        update_row(layer, row, dw[row], solver, columns)


def update_biases(layer, rows, steps, db, solver):
    """One step on some biases; each has its own second moment, and there is no penalty."""
    step, layer.b_v[rows] = solver.step_size(layer.bias_rate, steps, layer.b_v[rows], db[rows] ** 2)
    layer.b[rows], layer.b_m[rows] = momentum(
        layer.b[rows], layer.b_m[rows], db[rows], step, solver.beta_1
    )


def update_input_layer(layer, gradients, kept, solver):
    """Update a dense first layer: the rows of the features that occur, and the biases."""
    features = np.flatnonzero((gradients.x != 0).any(axis=0))
    update_rows(layer, features, gradients.dw, solver, kept)
    layer.steps[-1] += 1
    update_biases(layer, kept, layer.steps[-1], gradients.db, solver)


def update_layer(layer, gradients, neurons, inputs, sparse_input, solver):
    """Update some neurons of a layer whose rows are neurons, in the columns of some inputs.

    If the layer and its input are dense, all these neurons are updated. Otherwise a neuron without
    any gradient stays as it is; if the input is sparse, a row only moves in columns that were
    non-zero in a sample with a gradient.
    """
    for neuron in neurons:
        used = gradients.delta[:, neuron] != 0
        if (sparse_input or layer.n_active) and not used.any():
            continue
        columns = inputs
        if sparse_input:
            columns = np.flatnonzero((gradients.x[used] != 0).any(axis=0))
        update_row(layer, neuron, gradients.dw[neuron], solver, columns)
        update_biases(layer, neuron, layer.steps[neuron], gradients.db, solver)


# ---------------------------------------------------------- micro-batch --


def hardest(output, h, labels, settings, random):
    """The wrong neurons of largest pre-activation among those that retrieval returns for h."""
    found = retrieve(output.retrieval, settings["retrieval"], h, random)
    wrong = [neuron for neuron in found if neuron not in labels]
    z = output.w @ h + output.b
    return sorted(wrong, key=lambda neuron: -z[neuron])[: settings["n_hard"]]


def choose_active(labels, hard, tail_size, n_classes, random):
    """Union of labels, hard neurons and a uniform tail, and how many come before the tail.

    labels and hard hold a list for each sample.
    """
    active = dict.fromkeys(neuron for row in [*labels, *hard] for neuron in row)
    n_exact = len(active)
    for _ in range(64 + 8 * tail_size):
        if len(active) >= min(n_exact + tail_size, n_classes):
            break
        active[random.below(n_classes)] = None
    return np.array(list(active), int), n_exact


def train_micro_batch(
    layers, x, labels, settings, counter, learning_rate, weight=None, active=None, sparse_x=False
):
    """One micro-batch of `slide._core.Trainer.run`, in place.

    x : (n, n_features), dense; labels : a list of ids for each row; settings : Trainer's, with
    "activation", "loss" and, where the output has a retrieval, its settings as "retrieval";
    active : as in `forward`; sparse_x : whether the engine sees x as CSR.
    The random numbers equal the engine's, unless a sparse layer draws some for its dropout or to
    find its neurons. Returns the loss summed over the samples, and the active output neurons.
    """
    random = SplitMix64(seed_stream(settings["seed"], counter))
    n, top, n_classes = len(x), layers[-1], layers[-1].n_out
    weight = np.ones(n) if weight is None else weight
    activation, dropout = settings["activation"], []
    rates = settings.get("dropout", [0.0] * (len(layers) - 1))
    n_kept = [n_blocks_kept(layers, i, rate) for i, rate in enumerate(rates)]
    kept = [
        np.arange(layer.n_out) if count is None else kept_neurons(layer.n_out, count, random)
        for layer, count in zip(layers, n_kept, strict=False)
    ]
    for layer, rate, count, own in zip(layers, rates, n_kept, kept, strict=False):
        shape = n, layer.n_out
        if count is not None:
            dropout.append(block_mask(shape, count, own))
        else:
            dropout.append(dropout_mask(shape, rate, random) if rate else np.ones(shape))
    if settings["all_neurons"]:
        output, n_exact = np.arange(n_classes), n_classes
    else:
        hard = []
        if top.retrieval is not None and settings["n_hard"]:
            h = forward(layers, x, activation, active, dropout)[0][-1]
            for vector, row in zip(h, labels, strict=True):
                hard.append(hardest(top, vector, row, settings, random))
        output, n_exact = choose_active(labels, hard, settings["tail_size"], n_classes, random)
    prune = (settings["prune"], random.next64() & 0xFFFFFFFF) if settings["prune"] else None
    total, gradients = loss_and_gradients(
        layers, x, labels, weight, activation, settings["loss"], output, n_exact, active, dropout,
        prune,
    )  # fmt: skip
    solver, sparse_input = Solver(settings, learning_rate, n), sparse_x
    for i, (layer, parts) in enumerate(zip(layers, gradients, strict=True)):
        if layer.by_feature:
            update_input_layer(layer, parts, kept[0], solver)
        else:
            inputs = slice(None) if i == 0 else kept[i - 1]
            neurons = output if layer is top else kept[i]
            update_layer(layer, parts, neurons, inputs, sparse_input, solver)
        sparse_input = layer.n_active > 0
    return total, output


# ----------------------------------------------------------- prediction --


def hidden(layers, x, activation):
    """Activations of the last hidden layer."""
    return forward(layers, x, activation)[0][-1]


def scores(layers, x, activation):
    """Pre-activations of all output neurons."""
    return dots(layers[-1].w, hidden(layers, x, activation), bias=layers[-1].b)


def topk(scores, k):
    """Ids and scores of each row's k best, best first, the lower id on ties."""
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return ids, np.take_along_axis(scores, ids, axis=1)


# ------------------------------------------------------------ centroids --


def label_sums(h, labels, n_classes):
    """Sum of the vectors h[i] over the rows of each label."""
    sums = np.zeros((n_classes, h.shape[1]))
    for vector, row in zip(float64(h), labels, strict=True):
        for label in row:
            sums[label] += vector
    return sums


def center_and_scale(sums, counts, mean, length):
    """length * unit(sums / counts - mean); zero for a label never seen or at the mean."""
    out = np.zeros(sums.shape)
    for i, count in enumerate(counts):
        if count:
            centered = float64(sums[i]) / count - float64(mean)
            norm = np.linalg.norm(centered)
            out[i] = length * centered / norm if norm else 0
    return out
