"""How far a pass over the training rows is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from slide._base.arrays import Array

# Phases of a micro-batch in `history_`, and the engine's clocks of them.
_PHASES = {
    "search": "retrieval_seconds",
    "forward": "forward_seconds",
    "backward": "backward_seconds",
}


@dataclass
class Pass:
    """How far a pass over the rows is, between two chunks of them.

    Parameters
    ----------
    n_rows : int
        Rows that are done.
    loss, weight : float
        Sums over them.
    queries : list of None or (float64 (n_in,), float)
        For every layer whose inputs are hashed their sum since the last rebuild, and that of their
        squared lengths.
    n_queries : int
        Rows that these are of.
    seconds : dict of str to float
        Where the time went: "search", "forward", "backward" with the updates, "rebuild".
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
        """Add what the engine says of some rows, and the time that they took."""
        self.n_rows += n_rows
        self.loss += counts["loss"]
        self.weight += counts["weight"]
        # Its clocks are of all threads together.
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
