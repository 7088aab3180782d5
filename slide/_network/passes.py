"""One pass over the training rows, in chunks; observers are called between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from slide._base.arrays import Array, Ids
from slide._network.input_stats import stats_of
from slide._network.rehash import follow, rebuild, refresh

if TYPE_CHECKING:
    from slide._core import Trainer
    from slide._network.network import Network

# Rows between two checks of the rebuild schedule (and of Python's signals). HOGWILD threads wait
# for each other at its end, so there it grows with their number, up to this share of an epoch.
_CHUNK = 4096
_SHARE = 1 / 32
# Phase of a micro-batch in `history_` -> the engine's clock for it.
_PHASES = {
    "search": "retrieval_seconds",
    "forward": "forward_seconds",
    "backward": "backward_seconds",
}


@dataclass
class Pass:
    """Progress of a pass over the rows, between two chunks of them.

    Parameters
    ----------
    n_rows : int
        Rows that are done.
    loss, weight : float
        Sums over these rows.
    queries : list of None or (float64 (n_in,), float)
        For every layer whose inputs are hashed: sum of the inputs since the last rebuild, and sum
        of their squared lengths. None for other layers.
    n_queries : int
        Rows in these sums.
    seconds : dict of str to float
        Seconds by phase: "search", "forward", "backward" with the updates, "rebuild".
    """

    n_rows: int
    loss: float
    weight: float
    queries: list[tuple[Array, float] | None]
    n_queries: int
    seconds: dict[str, float]

    @classmethod
    def begin(cls, n_layers: int) -> Pass:
        return cls(0, 0.0, 0.0, [None] * n_layers, 0, dict.fromkeys((*_PHASES, "rebuild"), 0.0))

    @property
    def mean_loss(self) -> float:
        return float(self.loss / self.weight)

    def add_counts(self, counts: dict[str, Any], n_rows: int, seconds: float) -> None:
        """Add the engine's counts of some rows, and the time that they took."""
        self.n_rows += n_rows
        self.loss += counts["loss"]
        self.weight += counts["weight"]
        # The engine's clocks add up over all threads.
        parts = [counts[clock] for clock in _PHASES.values()]
        for phase, part in zip(_PHASES, parts, strict=True):
            self.seconds[phase] += seconds * part / max(sum(parts), 1e-9)

    def add_queries(self, queries: list[Any], n_rows: int) -> None:
        self.n_queries += n_rows
        for i, new in enumerate(queries):
            if new is not None:
                old = self.queries[i] or (0.0, 0.0)
                self.queries[i] = old[0] + new[0].astype(np.float64), old[1] + new[1]

    def forget_queries(self) -> None:
        self.queries, self.n_queries = [None] * len(self.queries), 0


def train(
    network: Network,
    trainer: Trainer,
    rows: Ids,
    learning_rate: Callable[[float], float],
    n_threads: int,
    so_far: Pass | None = None,
    after_chunk: Callable[[Pass], None] | None = None,
) -> Pass:
    """Make one pass over the rows `rows`, or the rest of a pass; returns its Pass.

    Parameters
    ----------
    network : slide._network.network.Network
    trainer : slide._core.Trainer
        Made by `network.trainer`.
    rows : int32 (n,)
    learning_rate : callable
        Maps the share of this pass that is done, 0 to 1, to the learning rate.
    n_threads : int
    so_far : Pass or None
        A pass over the same rows that was stopped after a chunk.
    after_chunk : callable or None
        Called with the Pass between any two chunks of rows.

    Raises
    ------
    FloatingPointError
        When the loss is no longer a finite number.
    """
    done = so_far or Pass.begin(len(network.layers))
    warm_up = network.settings.warm_up
    hashed = any(layer.retrieval is not None for layer in network.layers)
    sparse = any(layer.n_active for layer in network.layers)
    longest = _CHUNK
    if not (network.settings.all_neurons or hashed):
        longest = max(_CHUNK, min(_CHUNK * n_threads, int(_SHARE * len(rows))))
    chunk = min(_CHUNK, network.settings.rehash_every) if sparse else longest
    while done.n_rows < len(rows):
        rate = learning_rate(done.n_rows / len(rows))
        n_samples = min(chunk, max(1, network.samples_to_rebuild)) if hashed else longest
        n_micro_batches = max(1, n_samples // trainer.micro_batch)
        if network.counter < warm_up:
            # The rate rises in 16 stages, which is smooth enough.
            rate *= (network.counter + 1) / warm_up
            n_micro_batches = max(1, warm_up // 16)
        part = rows[done.n_rows : done.n_rows + n_micro_batches * trainer.micro_batch]
        network.changed()
        began = perf_counter()
        counts = trainer.run(part, network.counter, rate)
        network.counter += counts["n_micro_batches"]
        network.tally.add(counts)
        done.add_counts(counts, len(part), perf_counter() - began)
        if not np.isfinite(counts["loss"]):
            raise FloatingPointError(f"step {network.counter}")
        if hashed:
            _keep_up(network, done, counts["queries"], len(part), n_threads)
        if after_chunk is not None and done.n_rows < len(rows):
            after_chunk(done)
    if sparse:
        # Predictions find neurons by codes, which must match the final weights of this pass.
        began = perf_counter()
        network.tally.multiply_adds += refresh(network, n_threads)
        done.seconds["rebuild"] += perf_counter() - began
    return done


def _keep_up(network: Network, done: Pass, queries: list[Any], n_rows: int, n_threads: int) -> None:
    """Rebuild the retrievals when that is due; else hash the neurons that moved much."""
    began = perf_counter()
    done.add_queries(queries, n_rows)
    left = network.samples_to_rebuild - n_rows
    # A rebuild that Ctrl-C cuts short is due again after the next micro-batch.
    network.samples_to_rebuild = max(1, left)
    if left > 0:
        network.tally.multiply_adds += follow(network, n_threads)
    else:
        for i, query_sums in enumerate(done.queries):
            if query_sums is not None:
                network.input_stats[i] = stats_of(*query_sums, done.n_queries)
        network.tally.multiply_adds += rebuild(network, n_threads)
        network.tally.n_rebuilds += 1
        done.forget_queries()
    done.seconds["rebuild"] += perf_counter() - began
