"""PyTorch on sparse rows: one hidden ReLU layer, softmax over all labels or over a sample of them.

The target of a row is spread evenly over its labels. With ``"sampled": true`` a step scores the
rows' labels and `N_NEGATIVES` labels drawn uniformly, which the rows of a batch share; a row's
softmax is over its own labels and the drawn ones. The gradients of both weight matrices are then
sparse and updated by SparseAdam; dense training uses the fused Adam. X is never dense: it is read
through an `EmbeddingBag`. Weights start as those of `torch.nn.Linear`. ``"bf16": true`` is training
under autocast. With ``"linear": true`` the learning rate falls to a hundredth, as ours does.

The settings that are returned have ``step_s``, the median seconds of a step. With ``"steps": N``
only N steps are timed, and nothing is predicted.
"""

import math
import statistics
from itertools import islice
from time import perf_counter

import torch
from common.child import TOP, pad, params, run
from torch import nn

from peers.child_torch import warm_up

N_NEGATIVES = 4096
WARM_UP = 2  # steps that are not timed; they allocate
DEFAULTS = {
    "sampled": False,
    "bf16": False,
    "linear": False,
    "hidden_layer_sizes": [256],
    "batch_size": 256,
    "rate": 1e-3,
    "max_iter": 5,
    "steps": None,
    "random_state": 0,
}


class Network(nn.Module):
    def __init__(self, n_features, n_hidden, n_labels, sparse):
        super().__init__()
        self.hidden = nn.EmbeddingBag(n_features, n_hidden, mode="sum", sparse=sparse)
        self.hidden_bias = nn.Parameter(torch.zeros(n_hidden))
        self.output = nn.Embedding(n_labels, n_hidden, sparse=sparse)
        self.output_bias = nn.Embedding(n_labels, 1, sparse=sparse)
        for weight, n_in in (
            (self.hidden.weight, n_features),
            (self.hidden_bias, n_features),
            (self.output.weight, n_hidden),
            (self.output_bias.weight, n_hidden),
        ):
            nn.init.uniform_(weight, -(n_in**-0.5), n_in**-0.5)

    def forward(self, X, labels=None):
        """Scores of CSR rows for some labels, or for all: (n_rows, n_labels)."""
        indices, offsets = (torch.from_numpy(part).long() for part in (X.indices, X.indptr[:-1]))
        values = torch.from_numpy(X.data)
        hidden = self.hidden(indices, offsets, per_sample_weights=values) + self.hidden_bias
        if labels is None:
            weight, bias = self.output.weight, self.output_bias.weight
        else:
            weight, bias = self.output(labels), self.output_bias(labels)
        return nn.functional.linear(torch.relu(hidden), weight, bias[:, 0])


def train(X, Y, threads):
    settings = {**DEFAULTS, **params()}
    (n_hidden,) = settings["hidden_layer_sizes"]
    batch, steps = settings["batch_size"], settings["steps"]
    torch.set_num_threads(threads)
    torch.manual_seed(settings["random_state"])
    model = Network(X.shape[1], n_hidden, Y.shape[1], settings["sampled"])
    adams = optimizers(model, settings["sampled"], settings["rate"])
    loss = sampled_loss if settings["sampled"] else full_loss
    orders = (torch.randperm(X.shape[0]) for _ in range(settings["max_iter"]))
    batches = (rows.numpy() for order in orders for rows in order.split(batch))
    n_steps = settings["max_iter"] * math.ceil(X.shape[0] / batch)
    step_s = []
    for step, rows in enumerate(islice(batches, steps and steps + WARM_UP)):
        start = perf_counter()
        for adam in adams:
            if settings["linear"]:
                adam.param_groups[0]["lr"] = settings["rate"] * max(1 - step / n_steps, 0.01)
            adam.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=settings["bf16"]):
            value = loss(model, X[rows], Y[rows])
        value.backward()
        for adam in adams:
            adam.step()
        step_s.append(perf_counter() - start)
    return model, {**settings, "step_s": statistics.median(step_s[WARM_UP:])}


def optimizers(model, sampled, rate):
    if not sampled:
        return [torch.optim.Adam(model.parameters(), lr=rate, fused=True)]
    tables = [model.hidden.weight, model.output.weight, model.output_bias.weight]
    return [
        torch.optim.SparseAdam(tables, lr=rate),
        torch.optim.Adam([model.hidden_bias], lr=rate),
    ]


def full_loss(model, X, Y):
    owners, labels, shares = targets(Y)
    return cross_entropy(model(X), owners, labels, shares)


def sampled_loss(model, X, Y):
    owners, labels, shares = targets(Y)
    negatives = torch.randint(Y.shape[1], (N_NEGATIVES,))
    candidates = torch.unique(torch.cat([labels, negatives]))  # sorted
    places = torch.searchsorted(candidates, labels)
    # Another row's label is a negative of a row only if it was drawn as well.
    competes = torch.isin(candidates, negatives).repeat(X.shape[0], 1)
    competes[owners, places] = True
    scores = model(X, candidates).masked_fill(~competes, -torch.inf)
    return cross_entropy(scores, owners, places, shares)


def targets(Y):
    """For every entry of CSR rows of labels: its row, its label, its share of the row's target."""
    counts = torch.from_numpy(Y.indptr).diff().long()
    owners = torch.repeat_interleave(torch.arange(Y.shape[0]), counts)
    return owners, torch.from_numpy(Y.indices).long(), 1 / counts[owners]


def cross_entropy(scores, owners, places, shares):
    """Mean cross-entropy of the rows; a row without labels adds nothing."""
    log_probabilities = torch.log_softmax(scores, 1)[owners, places]
    return -(shares * log_probabilities).sum() / len(scores)


def predict(model, X, threads):
    if params().get("steps"):
        return pad([])
    top, chunk = [], max(1, min(1024, 2**28 // len(model.output.weight)))
    with torch.no_grad():
        for start in range(0, X.shape[0], chunk):
            scores = model(X[start : start + chunk])
            top += scores.topk(min(TOP, scores.shape[1])).indices.tolist()
    return pad(top)


def log_shares(model, X):
    with torch.no_grad():
        return model(X).numpy()


def size(model):
    return sum(weight.nbytes for weight in model.parameters())


if __name__ == "__main__":
    warm_up()
    run(train, predict, {"torch": torch.__version__}, size=size, log_shares=log_shares)
