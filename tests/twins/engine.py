"""A plain NumPy twin of every kernel: slow, obvious, float64. Only the tests use it.

The twins stand in the order of the compiled modules: `_simd.dispatch`, `_base.random`,
`_hashing.tables`, `_hashing.retrieval`, `_engine.dense`, `_engine.optimizer`, `_core`,
`_engine.predict`, `_engine.centroids`; those of `_hashing.hasher` in `twins.hashing`.
A twin takes float32 arrays as they are, computes in float64 and returns new arrays; only
`train_micro_batch` and the updates that it is made of change what they are given, the layers.
"""

from dataclasses import fields, replace

import numpy as np

from twins.hashing import hash_codes, mix64

# ----------------------------------------------------------------- _simd --


def float64(a):
    return np.asarray(a, dtype=np.float64)


def dots(rows, x, ids=None, bias=None):
    """out[b, i] = rows[ids[i]] . x[b] + bias[ids[i]]."""
    if ids is None:
        ids = np.arange(len(rows))
    out = float64(x) @ float64(rows)[ids].T
    return out if bias is None else out + float64(bias)[ids]


def accumulate(coef, rows, out, ids=None):
    """out[i] + sum_k coef[i, k] rows[ids[k]]."""
    picked = float64(rows) if ids is None else float64(rows)[ids]
    return float64(out) + float64(coef) @ picked


def spread(row, coef, ids, out):
    """out with coef[k] * row added to its row ids[k], for every k."""
    out = float64(out).copy()
    np.add.at(out, ids, np.multiply.outer(float64(coef), float64(row)))
    return out


def gather_sum(coef, rows, ids):
    return float64(coef) @ float64(rows)[ids]


def square_sum(x):
    return (float64(x) ** 2).sum()


def momentum(w, m, g, step, beta_1):
    """New (w, m) after one step along the first moment."""
    m = beta_1 * float64(m) + (1 - beta_1) * float64(g)
    return float64(w) - step * m, m


def hadamard(x):
    """Unnormalised Walsh-Hadamard transform along the last axis, whose length is a power of 2."""
    x = float64(x)
    shape, h = x.shape, 1
    while h < shape[-1]:
        pairs = x.reshape(-1, 2, h)
        a, b = pairs[:, 0], pairs[:, 1]
        x = np.stack([a + b, a - b], axis=1)
        h *= 2
    return x.reshape(shape)


def sign_bits(x):
    """Words of 64 bits; bit i is set where x[i] > 0."""
    words = [0] * -(-len(x) // 64)
    for i, value in enumerate(x):
        if value > 0:
            words[i // 64] |= 1 << (i % 64)
    return np.array(words, np.uint64)


def exp_sum(z, shift):
    """exp(z + shift) and its sum. z + shift is rounded to float32, as in the kernel."""
    x = float64(np.asarray(z, np.float32) + np.float32(shift))
    e = np.exp(np.clip(x, -87, 88))
    return e, e.sum()


def vector_max(z):
    return max([-np.inf, *z])


def sigmoid(z):
    """1 / (1 + exp(-z)), and the sum of log(1 + exp(z))."""
    z = float64(z)
    return np.exp(-np.logaddexp(0, -z)), np.logaddexp(0, z).sum()


# --------------------------------------------------------------- _random --

_MASK = 2**64 - 1


def seed_stream(seed, counter):
    """State at the start of stream `counter`."""
    mixed = mix64((seed + 0x9E3779B97F4A7C15) & _MASK)
    return mix64(mixed ^ (counter * 0xD1342543DE82EF95 & _MASK))


class SplitMix64:
    """One stream: a word of state."""

    def __init__(self, state):
        self.state = state

    def next64(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & _MASK
        return mix64(self.state)

    def below(self, n):
        """An integer in 0..n-1."""
        return (self.next64() >> 32) * n >> 32


# --------------------------------------------------------------- _tables --


def neuron_extras(w, b, mean, query_length):
    """The two coordinates that a neuron gets beside its weights, so that all are equally long."""
    bias = float64(w) @ float64(mean) + float64(b)
    extra_0 = (bias - bias.mean()) / query_length
    length2 = (float64(w) ** 2).sum(axis=1) + extra_0**2
    return extra_0, np.sqrt(length2.max() - length2)


def sort_table(codes, n_buckets):
    """Offsets and ids of one table: neurons by code, rising within a bucket."""
    offsets = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=n_buckets))])
    return offsets, np.argsort(codes, kind="stable")


def collect(offsets, ids, codes, bucket_limit, random):
    """Candidates of one query in the order they are met, and each one's number of collisions."""
    counts = {}
    for table, code in enumerate(codes):
        bucket = list(ids[table, offsets[table, code] : offsets[table, code + 1]])
        if len(bucket) > bucket_limit:
            start = random.below(len(bucket))
            bucket = (bucket + bucket)[start : start + bucket_limit]
        for neuron in bucket:
            counts[neuron] = counts.get(neuron, 0) + 1
    return list(counts), counts


def keep_most_frequent(candidates, counts, n_keep):
    """The n_keep of the most collisions, the earlier on ties, in their old order."""
    ranked = sorted(range(len(candidates)), key=lambda i: (-counts[candidates[i]], i))
    return [candidates[i] for i in sorted(ranked[:n_keep])]


def keep_above(candidates, counts, min_collisions):
    """Those of at least min_collisions collisions, in their old order."""
    return [i for i in candidates if counts[i] >= min_collisions]


# ------------------------------------------------------------ _retrieval --


def collect_from_tables(tables, x, bucket_limit, random):
    """What the tables return for one vector, and each neuron's number of collisions."""
    n_tables, n_bits = len(tables.offsets), int(np.log2(tables.offsets.shape[1] - 1))
    query = (tables.mean, [tables.query_bias]) if tables.transform else ()
    codes = hash_codes(tables.hasher, n_tables, n_bits, x[None], *query)[:, 0]
    return collect(tables.offsets, tables.ids, codes, bucket_limit, random)


def retrieve(retrieval, settings, x, random):
    """Neurons for one vector. settings : the Retrieval's; "estimate" has no twin here."""
    n_neurons = settings["n_neurons"]
    n_candidates = min(settings["n_candidates"], n_neurons)
    if retrieval.policy == "exact":
        return list(range(n_neurons))
    found = []
    if retrieval.policy != "none":
        found, counts = collect_from_tables(retrieval.tables, x, settings["bucket_limit"], random)
        if retrieval.policy == "threshold":
            found = keep_above(found, counts, settings["min_collisions"])
        elif retrieval.policy != "vanilla":
            found = keep_most_frequent(found, counts, n_candidates)
    return fill(found[:n_candidates], min(settings["n_wanted"], n_neurons), n_neurons, random)


def fill(found, n_wanted, n_neurons, random):
    """The neurons found, and random ones on top where they are fewer than n_wanted."""
    if len(found) >= n_wanted:
        return found
    found = dict.fromkeys(found)
    for _ in range(64 + 8 * n_wanted):
        if len(found) == n_wanted:
            break
        found[random.below(n_neurons)] = None
    neuron = random.below(n_neurons)
    while len(found) < n_wanted:
        found[neuron] = None
        neuron = (neuron + 1) % n_neurons
    return list(found)


# --------------------------------------------------------------- _layers --


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
    """0 with probability `rate`, else 1 / (1 - rate); 16 random bits an entry."""
    threshold = int(np.float32(rate) * 65536)
    mask = np.zeros(shape)
    word = 0
    for i in range(mask.size):
        word = word >> 16 if i % 4 else random.next64()
        if word & 0xFFFF >= threshold:
            mask.flat[i] = 1 / (1 - rate)
    return mask


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


# ------------------------------------------------------------ _optimizer --


class Solver:
    """The constants of one step, rounded to float32 as in the engine (1 - 0.999 differs in the
    fifth digit). settings : Trainer's; n : rows of the micro-batch."""

    def __init__(self, settings, learning_rate, n):
        self.kind = settings["solver"]
        beta_1 = {"adam": settings["beta_1"], "sgd": settings["momentum"], "adagrad": 0.0}
        self.learning_rate, self.beta_1, self.beta_2, self.epsilon, alpha = (
            float(np.float32(value))
            for value in (
                learning_rate,
                beta_1[self.kind],
                settings["beta_2"],
                settings["epsilon"],
                settings["alpha"],
            )
        )
        self.decay = alpha / n

    def step_size(self, factor, steps, v, square):
        """The step along the first moment, and the new v, after a gradient of that square."""
        rate, epsilon = self.learning_rate * factor, self.epsilon / factor
        if self.kind == "sgd":
            return rate / (1 - self.beta_1), v
        if self.kind == "adagrad":
            v = v + square
            return rate / (np.sqrt(v) + epsilon), v
        v = self.beta_2 * v + (1 - self.beta_2) * square
        unbiased = v / (1 - self.beta_2**steps)
        return rate / (1 - self.beta_1**steps) / (np.sqrt(unbiased) + epsilon), v


def update_rows(layer, rows, dw, solver):
    """One lazy step on some rows of weights: one second moment and one step count a row."""
    for row in rows:
        layer.steps[row] += 1
        g = dw[row] + solver.decay * layer.w[row]
        step, layer.w_v[row] = solver.step_size(
            layer.rate, layer.steps[row], layer.w_v[row], (g**2).mean()
        )
        layer.w[row], layer.w_m[row] = momentum(
            layer.w[row], layer.w_m[row], g, step, solver.beta_1
        )


def update_biases(layer, rows, steps, db, solver):
    """One step on some biases, each with a second moment of its own and without penalty."""
    step, layer.b_v[rows] = solver.step_size(layer.bias_rate, steps, layer.b_v[rows], db[rows] ** 2)
    layer.b[rows], layer.b_m[rows] = momentum(
        layer.b[rows], layer.b_m[rows], db[rows], step, solver.beta_1
    )


# ----------------------------------------------------------------- _core --


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


def hardest(output, h, labels, settings, random):
    """The wrong neurons of largest pre-activation among those that retrieval returns for h."""
    found = retrieve(output.retrieval, settings["retrieval"], h, random)
    wrong = [neuron for neuron in found if neuron not in labels]
    z = output.w @ h + output.b
    return sorted(wrong, key=lambda neuron: -z[neuron])[: settings["n_hard"]]


def choose_active(labels, hard, tail_size, n_classes, random):
    """Union of labels, hard neurons and a uniform tail, and how many are not of the tail.

    labels and hard hold a list for each sample.
    """
    active = dict.fromkeys(neuron for row in [*labels, *hard] for neuron in row)
    n_exact = len(active)
    for _ in range(64 + 8 * tail_size):
        if len(active) >= min(n_exact + tail_size, n_classes):
            break
        active[random.below(n_classes)] = None
    return np.array(list(active), int), n_exact


def forward(layers, x, activation, masks=None):
    """Activations of every hidden layer, times its dropout mask.

    A sparse layer computes exactly its n_active largest pre-activations.
    """
    activations = []
    for i, layer in enumerate(layers[:-1]):
        below = activations[-1] if i else float64(x)
        z = below @ (layer.w if layer.by_feature else layer.w.T) + layer.b
        a = activate(activation, z)
        if layer.n_active:
            a = np.where(is_largest(z, layer.n_active), a, 0)
        activations.append(a if masks is None else a * masks[i])
    return activations


def is_largest(z, k):
    """Whether an entry is one of its row's k largest; on ties the earlier is."""
    ids = np.argsort(-z, axis=1, kind="stable")[:, :k]
    chosen = np.zeros(z.shape, bool)
    np.put_along_axis(chosen, ids, True, axis=1)
    return chosen


def loss_and_gradients(layers, x, labels, weight, activation, loss, active, n_exact, masks=None):
    """Sum of weight * loss over the samples, and (dw, db) of its mean for every layer.

    active : ids of the output neurons that take part, the first n_exact of them for themselves
    alone; the others stand for all the rest, so their logits get the log of how many.
    """
    n, output = len(x), layers[-1]
    activations = forward(layers, x, activation, masks)
    if masks is None:
        masks = [np.ones_like(a) for a in activations]
    z = activations[-1] @ output.w[active].T + output.b[active]
    if len(active) > n_exact:
        z[:, n_exact:] += np.log((output.n_out - n_exact) / (len(active) - n_exact))
    place = {neuron: i for i, neuron in enumerate(active)}
    total, delta = 0.0, np.zeros_like(z)
    for i in range(n):
        value, gradient = LOSSES[loss](z[i], [place[neuron] for neuron in labels[i]])
        total += weight[i] * value
        delta[i] = weight[i] / n * gradient

    gradients = []
    dw, db = np.zeros_like(output.w), np.zeros_like(output.b)
    dw[active], db[active] = delta.T @ activations[-1], delta.sum(axis=0)
    gradients.append((dw, db))
    delta = delta @ output.w[active]
    for i in range(len(layers) - 2, -1, -1):
        # An undropped activation is a / mask; a dropped one passes nothing back.
        y = np.divide(activations[i], masks[i], out=np.zeros_like(delta), where=masks[i] > 0)
        delta = delta * activation_slope(activation, y) * masks[i]
        below = float64(x) if i == 0 else activations[i - 1]
        dw = below.T @ delta if i == 0 else delta.T @ below
        gradients.append((dw, delta.sum(axis=0)))
        delta = delta @ layers[i].w if i > 0 else None
    return total, gradients[::-1]


def train_micro_batch(layers, x, features, labels, weight, settings, counter, learning_rate):
    """One micro-batch of `slide._core.Trainer.run`, on float64 layers, in place.

    x : (n, n_features), dense; features : those whose rows are updated; labels : a list of ids
    for each row; settings : Trainer's, with "activation", "loss" and, where the output has a
    retrieval, its settings as "retrieval".
    Returns the loss summed over the samples, and the active output neurons.
    """
    random = SplitMix64(seed_stream(settings["seed"], counter))
    output, n_classes = layers[-1], layers[-1].n_out
    activation = settings["activation"]
    masks = []
    for layer, rate in zip(layers[:-1], settings["dropout"], strict=True):
        shape = len(x), layer.n_out
        masks.append(dropout_mask(shape, rate, random) if rate else np.ones(shape))
    if settings["all_neurons"]:
        active, n_exact = np.arange(n_classes), n_classes
    else:
        hard = []
        if output.retrieval is not None and settings["n_hard"]:
            h = forward(layers, x, activation, masks)[-1]
            for vector, row in zip(h, labels, strict=True):
                hard.append(hardest(output, vector, row, settings, random))
        active, n_exact = choose_active(labels, hard, settings["tail_size"], n_classes, random)
    total, gradients = loss_and_gradients(
        layers, x, labels, weight, activation, settings["loss"], active, n_exact, masks
    )
    solver = Solver(settings, learning_rate, len(x))
    for i, (layer, (dw, db)) in enumerate(zip(layers, gradients, strict=True)):
        if i == 0:
            update_rows(layer, features, dw, solver)
            layer.steps[-1] += 1
            update_biases(layer, slice(None), layer.steps[-1], db, solver)
        else:
            rows = active if layer is output else np.arange(layer.n_out)
            update_rows(layer, rows, dw, solver)
            update_biases(layer, rows, layer.steps[rows], db, solver)
    return total, active


# -------------------------------------------------------------- _predict --


def hidden(layers, x, activation):
    """Activations of the last hidden layer."""
    return forward(layers, x, activation)[-1]


def scores(layers, x, activation):
    """Pre-activations of all output neurons."""
    return dots(layers[-1].w, hidden(layers, x, activation), bias=layers[-1].b)


def topk(scores, k):
    """Ids and scores of each row's k best, best first, the lower id on ties."""
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return ids, np.take_along_axis(scores, ids, axis=1)


# ------------------------------------------------------------ _centroids --


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
