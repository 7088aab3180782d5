"""The twin of the engine against finite differences."""

import numpy as np
import pytest
from helpers.training import (
    N_CLASSES,
    N_FEATURES,
    make_layers,
    make_problem,
)
from twins import engine as reference
from twins.random import SplitMix64


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "logistic"])
@pytest.mark.parametrize("case", ["all", "active", "dropout", "blocks"])
def test_the_twins_gradients_are_its_losses_differences(loss, activation, case):
    rng = np.random.default_rng(8)
    problem = make_problem(n=8)
    widths = (24, 17) if case == "blocks" else (9, 7)
    layers = reference.copy_layers(make_layers([N_FEATURES, *widths, N_CLASSES], seed=3))
    active, n_exact, masks = np.arange(N_CLASSES), N_CLASSES, None
    if case == "active":
        random = SplitMix64(4)
        active, n_exact = reference.choose_active(problem.labels, [], 20, N_CLASSES, random)
        assert len(active) == n_exact + 20
    if case == "dropout":
        random = SplitMix64(4)
        masks = [reference.dropout_mask((8, width), 0.4, random) for width in widths]
    if case == "blocks":
        masks = [
            reference.block_mask((8, width), 1, reference.kept_neurons(width, 1, SplitMix64(4)))
            for width in widths
        ]

    def compute():
        return reference.loss_and_gradients(
            layers, problem.x, problem.labels, problem.weight, activation, loss, active,
            n_exact, dropout=masks,
        )  # fmt: skip

    _, gradients = compute()
    h = 1e-6
    for layer, (*_, dw, db) in zip(layers, gradients, strict=True):
        for array, gradient in ((layer.w, dw), (layer.b, db)):
            for i in rng.choice(array.size, min(25, array.size), replace=False):
                middle = array.flat[i]
                losses = []
                for value in (middle + h, middle - h):
                    array.flat[i] = value
                    losses.append(compute()[0] / len(problem.x))
                array.flat[i] = middle
                difference = (losses[0] - losses[1]) / (2 * h)
                assert difference == pytest.approx(gradient.flat[i], rel=1e-6, abs=1e-8)
