"""Rebuilds of the retrievals' codes and tables from the current weights, at growing gaps.

Between two rebuilds the neurons of sparse layers that moved much are hashed again. Every function
that hashes returns the multiply-adds that it took.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slide._network.network import Network

_BACK_OFF = 1.5  # growth of the gap between two rebuilds


def begin_schedule(network: Network) -> None:
    """Let the first rebuild come after `rehash_every` samples."""
    network.rebuild_gap = float(network.settings.rehash_every)
    network.samples_to_rebuild = int(network.rebuild_gap)


def rebuild(network: Network, n_threads: int) -> int:
    """Rebuild all retrievals, and lengthen the next gap.

    The hash functions stay: the network learns with the neurons that they find, and loses .5 to 8
    points when others are drawn (Fashion-MNIST, 5 epochs, every eighth rebuild).
    """
    cost = refresh(network, n_threads)
    network.samples_to_rebuild = int(network.rebuild_gap)
    longest = float(network.settings.rehash_at_last)
    network.rebuild_gap = min(network.rebuild_gap * _BACK_OFF, longest)
    return cost


def refresh(network: Network, n_threads: int) -> int:
    """Rebuild all retrievals, and leave the schedule as it is."""
    hashed = [i for i, layer in enumerate(network.layers) if layer.retrieval is not None]
    return sum(rebuild_layer(network, i, n_threads) for i in hashed)


def rebuild_layer(network: Network, i: int, n_threads: int) -> int:
    """Rebuild the retrieval of layer i."""
    layer, (mean, length) = network.layers[i], network.input_stats[i]
    assert layer.retrieval is not None
    steps = layer.steps[: layer.n_out]
    with network.guard.writing():
        return layer.retrieval.rebuild(layer.w, layer.b, mean, length, n_threads, steps)


def follow(network: Network, n_threads: int) -> int:
    """Hash the neurons of sparse layers that moved much since they were last hashed."""
    sparse = [layer for layer in network.layers if layer.n_active]
    if not sparse:
        return 0
    with network.guard.writing():
        return sum(
            layer.retrieval.follow(layer.w, layer.b, layer.steps[: layer.n_out], n_threads)
            for layer in sparse
            if layer.retrieval is not None
        )
