"""Divergence of a training: checks that find it, and its error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from slide._base.arrays import Array
from slide._base.products import dot
from slide._network.losses import LOSSES

if TYPE_CHECKING:
    from slide._network.network import Network
    from slide._settings.settings import CourseSettings

# Largest loss per decision, in nats. The smallest probability of float32 is exp(-104). Scores of a
# million are rounded to 1/16 in float32, which is too coarse to learn from.
_MOST = 1e6


def check_loss(network: Network, settings: CourseSettings, epoch: int, loss: float) -> None:
    """Refuse a mean loss per row that only absurdly large weights give."""
    n_decisions = LOSSES[network.settings.loss].n_decisions(network.n_classes)
    if not loss <= _MOST * n_decisions:
        raise diverged(network, settings, epoch, f"the loss of a row is {loss:.3g}")


def check_weights(
    network: Network, settings: CourseSettings, epoch: int, output_rows: Array | None = None
) -> None:
    """Refuse a network whose weights are not finite, or so large that scores overflow.

    `output_rows`, if given, are the only rows of the output layer that are checked.
    """
    first, *middle, output = network.layers
    arrays = [layer.w[rows] for layer in middle for rows in layer.blocks()]
    arrays += [layer.b for layer in network.layers]
    blocks: Iterator[Any] = output.blocks()
    if output_rows is not None:
        blocks = (output_rows[part] for part in output.blocks(len(output_rows)))
    with np.errstate(all="ignore"):
        # Weights of the first layer depend on the scale of X, so their squares might overflow.
        sums = [first.w[rows].astype(np.float32, copy=False).sum() for rows in first.blocks()]
        sums += [_square(array.astype(np.float32, copy=False)) for array in arrays]
        sums += [_square(output.w[rows].astype(np.float32, copy=False)) for rows in blocks]
    if not np.isfinite(sums).all():
        raise diverged(network, settings, epoch, "weights are no longer finite")


def diverged(
    network: Network, settings: CourseSettings, epoch: int, what: str
) -> FloatingPointError:
    """The error of a training that diverged; `what` tells how that was noticed."""
    return FloatingPointError(
        f"training diverged in epoch {epoch}, by step {network.counter}: {what}. Either "
        f"learning_rate_init={settings.learning_rate_init!r} is too large, or the values of X are "
        "too large or too small: scale X, for example with MaxAbsScaler"
    )


def _square(array: Array) -> Any:
    flat = array.reshape(-1)
    return dot(flat, flat)
