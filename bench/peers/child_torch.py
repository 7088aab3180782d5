"""PyTorch, dense: ReLU layers, Adam, softmax cross-entropy, the learning rate falling like ours.

In its favour: all rows are in memory as one tensor, without a DataLoader; Adam is the fused one,
PyTorch's fastest on a CPU; what its first step would load is loaded before timing. Weights start
as `torch.nn.Linear` starts them (He, uniform).
"""

from contextlib import nullcontext
from itertools import pairwise

import torch
from common.child import params, run
from torch import nn

USED = ("hidden_layer_sizes", "learning_rate_init", "batch_size", "max_iter", "random_state")
# The products of autocast are bfloat16, its weights and Adam's moments float32.
DTYPES = {"float32": nullcontext, "bfloat16": lambda: torch.autocast("cpu", torch.bfloat16)}


def train(X, y, threads):
    settings = {name: params()[name] for name in USED}
    torch.set_num_threads(threads)
    torch.manual_seed(settings["random_state"])
    X, y = torch.from_numpy(X), torch.from_numpy(y).long()
    center = X.mean(0) if params().get("center") else None
    if center is not None:
        X = X - center
    model = network([X.shape[1], *settings["hidden_layer_sizes"], int(y.max()) + 1])
    rate, batch = settings["learning_rate_init"], settings["batch_size"]
    epochs = settings["max_iter"]
    adam = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    loss, products = nn.CrossEntropyLoss(), DTYPES[params().get("dtype", "float32")]
    for epoch in range(epochs):
        for step, rows in enumerate(torch.randperm(len(X)).split(batch)):
            progress = (epoch + step * batch / len(X)) / epochs
            adam.param_groups[0]["lr"] = rate * max(1 - progress, 0.01)
            adam.zero_grad()
            with products():
                error = loss(model(X[rows]), y[rows])
            error.backward()
            adam.step()
    if center is not None:
        model[0].bias.data -= model[0].weight.data @ center
    return model, {**settings, "solver": "adam, fused", "n_iter_": epochs}


def network(widths):
    layers = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def warm_up():
    """Make PyTorch load now what its first step would load, which takes about a second."""
    model = network([1, 1])
    adam = torch.optim.Adam(model.parameters(), fused=True)
    model(torch.ones(1, 1)).sum().backward()
    adam.step()


def predict(model, X, threads):
    with torch.no_grad():
        best = [model(rows).argmax(1) for rows in torch.from_numpy(X).split(1024)]
    return torch.cat(best)[:, None].numpy()


if __name__ == "__main__":
    warm_up()
    run(train, predict, {"torch": torch.__version__})
