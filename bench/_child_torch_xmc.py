"""PyTorch on sparse rows: one hidden ReLU layer, softmax over all labels or over a sample of them.

The target of a row is its labels, evenly. With ``"sampled": true`` a step scores the rows' labels
and `N_NEGATIVES` labels drawn uniformly, which the rows of a batch share; a row's softmax is over
its own labels and those. Then the gradients of both weight matrices are sparse and so is their
Adam; dense training has the fused one. X is never dense: it is read through an `EmbeddingBag`.
Weights start as those of `torch.nn.Linear`.
"""

import torch
from _child import TOP, pad, params, run
from _child_torch import warm_up
from torch import nn

N_HIDDEN = 256
N_NEGATIVES = 4096
BATCH = 256
RATE = 1e-3


class Network(nn.Module):
    def __init__(self, n_features, n_labels, sparse):
        super().__init__()
        self.hidden = nn.EmbeddingBag(n_features, N_HIDDEN, mode="sum", sparse=sparse)
        self.hidden_bias = nn.Parameter(torch.zeros(N_HIDDEN))
        self.output = nn.Embedding(n_labels, N_HIDDEN, sparse=sparse)
        self.output_bias = nn.Embedding(n_labels, 1, sparse=sparse)
        for weight, n_in in (
            (self.hidden.weight, n_features),
            (self.hidden_bias, n_features),
            (self.output.weight, N_HIDDEN),
            (self.output_bias.weight, N_HIDDEN),
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
    settings = {"sampled": False, "max_iter": 5, "random_state": 0, **params()}
    torch.set_num_threads(threads)
    torch.manual_seed(settings["random_state"])
    sampled = settings["sampled"]
    model = Network(X.shape[1], Y.shape[1], sampled)
    if sampled:
        tables = [model.hidden.weight, model.output.weight, model.output_bias.weight]
        adams = [
            torch.optim.SparseAdam(tables, lr=RATE),
            torch.optim.Adam([model.hidden_bias], lr=RATE),
        ]
    else:
        adams = [torch.optim.Adam(model.parameters(), lr=RATE, fused=True)]
    loss = sampled_loss if sampled else full_loss
    for _ in range(settings["max_iter"]):
        for rows in torch.randperm(X.shape[0]).split(BATCH):
            for adam in adams:
                adam.zero_grad()
            loss(model, X[rows.numpy()], Y[rows.numpy()]).backward()
            for adam in adams:
                adam.step()
    return model, {**settings, "batch_size": BATCH, "hidden_layer_sizes": [N_HIDDEN]}


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
    """Row, label and share in the row's target of every label of the CSR rows."""
    counts = torch.from_numpy(Y.indptr).diff().long()
    owners = torch.repeat_interleave(torch.arange(Y.shape[0]), counts)
    return owners, torch.from_numpy(Y.indices).long(), 1 / counts[owners]


def cross_entropy(scores, owners, places, shares):
    """Mean over the rows; one without labels adds nothing."""
    log_probabilities = torch.log_softmax(scores, 1)[owners, places]
    return -(shares * log_probabilities).sum() / len(scores)


def predict(model, X, threads):
    top = []
    with torch.no_grad():
        for start in range(0, X.shape[0], 1024):
            scores = model(X[start : start + 1024])
            top += scores.topk(min(TOP, scores.shape[1])).indices.tolist()
    return pad(top)


def size(model):
    return sum(weight.nbytes for weight in model.parameters())


if __name__ == "__main__":
    warm_up()
    run(train, predict, {"torch": torch.__version__}, size=size)
