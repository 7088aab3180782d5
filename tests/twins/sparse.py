"""Twins of sparse layers, of `_engine.optimizer` and `_hashing.estimates`: slow, obvious.

Only the tests use them. A micro-batch runs through dense and sparse hidden layers on *given*
active sets; all is float64 in dense arrays, where a neuron that is not active is zero. `layers`
are those of `slide._network.network`, in float64 (`twins.engine.copy_layers`); only the functions
that update change what they are given, the layers.
"""

import numpy as np

from twins import engine as reference

# ----------------------------------------------------------------- _simd --


def gather_dot(row, ids, values):
    """Dot product of a dense row and the sparse vector (ids, values)."""
    return np.float64(row)[ids] @ np.float64(values)


def hamming(codes, query):
    """In how many bits each row of integers (., n) differs from the query (n,)."""
    return np.array([sum(int(word).bit_count() for word in row ^ query) for row in codes], int)


def code_scores(codes, ids, query, curve, norm, bias):
    """norm * curve[distance] + bias of the neurons `ids`."""
    distance = hamming(codes[ids], query)
    return np.float64(norm)[ids] * np.float64(curve)[distance] + np.float64(bias)[ids]


# ------------------------------------------------------------ _retrieval --


def largest(scores, k):
    """Places of the k largest, rising; on ties the lower place."""
    ranked = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    return np.array(sorted(ranked[: max(k, 0)]), int)


def estimates(hasher, code_bits, w, b, x, mean=None, directions=None, n_tables=None):
    """Pre-activations for one vector that the codes of code_bits promise: (n_neurons,).

    |w| |x - mean| cos(pi * distance / code_bits) + w.mean + b. Without a mean neurons are found by
    the angle alone: |x| cos(pi * distance / code_bits). With directions (n, n_in), orthonormal,
    w and x - mean are split: what lies along these is exact. n_tables: of the codes only those of
    the first tables, code_bits in all.
    """
    if directions is not None:
        along_w, along_x = w @ directions.T, (x - mean) @ directions.T
        w_rest = w - along_w @ directions
        x_rest = x - mean - along_x @ directions
        zero = np.zeros_like(mean)
        rest = estimates(hasher, code_bits, w_rest, 0, x_rest, zero, n_tables=n_tables)
        return np.float64(along_w) @ along_x + rest + np.float64(w) @ mean + b
    query = hasher.codes(x[None], mean)[:n_tables, 0]
    distance = hamming(hasher.codes(w)[:n_tables].T, query)
    cosine = np.cos(np.pi * distance / code_bits)
    w, x = np.float64(w), np.float64(x)
    if mean is None:
        return np.linalg.norm(x) * cosine
    mean = np.float64(mean)
    return np.linalg.norm(w, axis=1) * np.linalg.norm(x - mean) * cosine + w @ mean + b


# --------------------------------------------------------------- forward --


def forward(layers, x, activation, active):
    """Activations of every hidden layer, zero where a neuron is not active.

    active : for every hidden layer None (dense), an int array (n, n_active) of ids, or "exact":
    the layer's own choice of its n_active largest pre-activations.
    Returns (activations, masks), lists of (n, n_out) arrays; a mask is 1 where active, else 0.
    """
    activations, masks = [], []
    a = np.float64(x)
    for layer, ids in zip(layers[:-1], active, strict=True):
        z = a @ layer.coefs + layer.b
        mask = np.zeros_like(z)
        if ids is None:
            mask[:] = 1
        else:
            for i, row in enumerate(z):
                mask[i, largest(row, layer.n_active) if isinstance(ids, str) else ids[i]] = 1
        a = reference.activate(activation, z) * mask
        activations.append(a)
        masks.append(mask)
    return activations, masks


def loss_and_gradients(layers, x, labels, activation, loss, active, output, n_exact):
    """Summed loss of a micro-batch, and what its mean's gradient is made of.

    output : ids of the output neurons that take part, the first n_exact of them for themselves
    alone; the others stand for all the rest, so their logits get the log of how many.
    Returns the loss and for every layer (input, delta, dw, db): its input (n, n_in), the gradient
    of its pre-activations (n, n_out), of its weights (as `layer.w`) and of its biases.
    """
    n, top = len(x), layers[-1]
    activations, masks = forward(layers, x, activation, active)
    inputs = [np.float64(x), *activations]
    z = inputs[-1] @ top.coefs[:, output] + top.b[output]
    if len(output) > n_exact:
        z[:, n_exact:] += np.log((top.n_out - n_exact) / (len(output) - n_exact))
    place = {neuron: i for i, neuron in enumerate(output)}
    total, delta = 0.0, np.zeros((n, top.n_out))
    for i in range(n):
        value, gradient = reference.LOSSES[loss](z[i], [place[label] for label in labels[i]])
        total += value
        delta[i, output] = gradient / n
    parts = []
    for i in range(len(layers) - 1, -1, -1):
        dw = inputs[i].T @ delta if layers[i].by_feature else delta.T @ inputs[i]
        parts.append((inputs[i], delta, dw, delta.sum(axis=0)))
        if i > 0:
            slope = reference.activation_slope(activation, activations[i - 1])
            delta = delta @ layers[i].coefs.T * slope * masks[i - 1]
    return total, parts[::-1]


# ---------------------------------------------------------------- update --


def step_size(solver, factor, steps, v, square):
    """Step along the first moment, and the new second moment."""
    rate, epsilon = solver["learning_rate"] * factor, solver["epsilon"] / factor
    if solver["solver"] == "sgd":
        return rate / (1 - solver["beta_1"]), v
    if solver["solver"] == "adagrad":
        v = v + square
        return rate / (np.sqrt(v) + epsilon), v
    v = solver["beta_2"] * v + (1 - solver["beta_2"]) * square
    corrected = np.sqrt(v / (1 - solver["beta_2"] ** steps))
    return rate / (1 - solver["beta_1"] ** steps) / (corrected + epsilon), v


def update_row(layer, solver, row, columns, gradient):
    """One step on the given columns of a row of weights; the mean square is the whole row's."""
    c, b1 = columns, solver["beta_1"]
    layer.steps[row] += 1
    g = gradient[c] + solver["decay"] * layer.w[row, c]
    square = (g**2).sum() / layer.w.shape[1]
    step, layer.w_v[row] = step_size(solver, layer.rate, layer.steps[row], layer.w_v[row], square)
    layer.w_m[row, c] = b1 * layer.w_m[row, c] + (1 - b1) * g
    layer.w[row, c] -= step * layer.w_m[row, c]


def update_bias(layer, solver, neuron, steps, g):
    """One step on one bias, which has no penalty."""
    b1 = solver["beta_1"]
    step, layer.b_v[neuron] = step_size(solver, layer.bias_rate, steps, layer.b_v[neuron], g**2)
    layer.b_m[neuron] = b1 * layer.b_m[neuron] + (1 - b1) * g
    layer.b[neuron] -= step * layer.b_m[neuron]


def update_layer(layer, solver, rows, sparse_input, is_sparse, part):
    """Update a layer whose rows are neurons.

    A dense layer of dense inputs updates all of `rows`. Otherwise a neuron without any gradient
    is left alone; and of sparse inputs only the columns that fired where there was a gradient.
    """
    x, delta, dw, db = part
    for row in rows:
        used = delta[:, row] != 0
        if (sparse_input or is_sparse) and not used.any():
            continue
        columns = np.flatnonzero((x[used] != 0).any(axis=0)) if sparse_input else slice(None)
        update_row(layer, solver, row, columns, dw[row])
        update_bias(layer, solver, row, layer.steps[row], db[row])


def update_input_layer(layer, solver, features, part):
    """Update a dense first layer: the rows of the features that occur, and every bias."""
    *_, dw, db = part
    for feature in features:
        update_row(layer, solver, feature, slice(None), dw[feature])
    layer.steps[-1] += 1
    for neuron in range(layer.n_out):
        update_bias(layer, solver, neuron, layer.steps[-1], db[neuron])


def train_micro_batch(
    layers, x, features, labels, settings, counter, learning_rate, active, sparse_x
):
    """One micro-batch of `slide._core.Trainer.run` without dropout, in place.

    x : (n, n_features), dense; features : those that occur in it; labels : a list of ids a row;
    settings : Trainer's, with "activation" and "loss"; active : as in `forward`; sparse_x :
    whether the engine sees x as CSR. The tail comes from the same random stream as the engine's
    where no layer's search draws random numbers. Returns the summed loss.
    """
    n, top = len(x), layers[-1]
    output, n_exact = np.arange(top.n_out), top.n_out
    if not settings["all_neurons"]:
        random = reference.SplitMix64(reference.seed_stream(settings["seed"], counter))
        output, n_exact = reference.choose_active(
            labels, [], settings["tail_size"], top.n_out, random
        )
    total, parts = loss_and_gradients(
        layers, x, labels, settings["activation"], settings["loss"], active, output, n_exact
    )
    # The engine's constants are float32; 1 - 0.999 differs in the fifth digit.
    beta_1 = {"adam": settings["beta_1"], "sgd": settings["momentum"], "adagrad": 0.0}
    constants = {
        "learning_rate": learning_rate,
        "beta_1": beta_1[settings["solver"]],
        "beta_2": settings["beta_2"],
        "epsilon": settings["epsilon"],
        "decay": settings["alpha"] / n,
    }
    solver = {name: float(np.float32(value)) for name, value in constants.items()}
    solver["solver"] = settings["solver"]
    sparse_input = sparse_x
    for layer, part in zip(layers, parts, strict=True):
        if layer.by_feature:
            update_input_layer(layer, solver, features, part)
        else:
            rows = output if layer is top else np.arange(layer.n_out)
            update_layer(layer, solver, rows, sparse_input, layer.n_active > 0, part)
        sparse_input = layer.n_active > 0
    return total
