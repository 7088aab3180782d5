"""Counts of samples, neurons and multiply-adds over a whole training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Tally:
    """Counts over the whole training, from the engine's own counters."""

    loss: float = 0.0
    weight: float = 0.0
    n_samples: int = 0
    n_micro_batches: int = 0
    active_neurons: int = 0
    multiply_adds: int = 0
    dense_multiply_adds: int = 0
    n_rebuilds: int = 0

    def add(self, counts: dict[str, Any]) -> None:
        for name in vars(self):
            setattr(self, name, getattr(self, name) + counts.get(name, 0))

    def since(self, before: Tally) -> Tally:
        """The counts since `before`, an earlier copy of this one."""
        return Tally(**{name: value - getattr(before, name) for name, value in vars(self).items()})
