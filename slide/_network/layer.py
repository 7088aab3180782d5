"""The arrays of one layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ml_dtypes import bfloat16

from slide._base.arrays import Floats
from slide._base.memory import aligned_copy, aligned_zeros
from slide._engine.model import PROGRESS
from slide._hashing.retrieval import Retrieval

_UNPACKED_AT_ONCE = 1 << 22  # weights that are held as float32 at a time


@dataclass
class Layer:
    """Arrays of one layer. A dense first layer has a row for each input feature, the others for
    each neuron; `steps` counts a row's updates, its last entry those of a shared bias. Weights and
    first moments, w and w_m, are float32 or bfloat16, all else is float32. What an update changes
    beside them lies side by side in memory: w_v, steps, b_m and b_v are made by `zeros`."""

    n_in: int
    n_out: int
    w: np.ndarray
    b: np.ndarray
    w_m: np.ndarray
    w_v: np.ndarray
    b_m: np.ndarray
    b_v: np.ndarray
    steps: np.ndarray
    rate: float = 1.0
    bias_rate: float = 1.0
    by_feature: bool = False
    n_active: int = 0  # neurons computed for a sample; 0: all
    retrieval: Retrieval | None = None  # what finds them

    @property
    def coefs(self) -> Floats:
        """Weights (n_in, n_out), float32: a view, of bfloat16 a copy."""
        w = self.w.astype(np.float32) if self.w.dtype == bfloat16 else self.w
        return w if self.by_feature else w.T

    def blocks(self, n_rows: int | None = None) -> Iterator[slice]:
        """Slices of n_rows rows (None: all) that hold some 4 million weights each.

        For what wants them as float32, or takes them in turns so that Ctrl-C is heard.
        """
        size = max(1, _UNPACKED_AT_ONCE // self.w.shape[1])
        n_rows = len(self.w) if n_rows is None else n_rows
        return (slice(start, start + size) for start in range(0, n_rows, size))

    @classmethod
    def zeros(
        cls, n_in: int, n_out: int, by_feature: bool, n_active: int = 0, dtype: Any = np.float32
    ) -> Layer:
        shape = (n_in, n_out) if by_feature else (n_out, n_in)
        return cls(
            n_in,
            n_out,
            w=aligned_zeros(shape, dtype),
            w_m=aligned_zeros(shape, dtype),
            b=aligned_zeros(n_out),
            **_progress(shape[0], n_out, by_feature),
            by_feature=by_feature,
            n_active=n_active,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Pickle keeps values, not addresses: move the rows back onto cache lines, and what belongs
        # together side by side.
        progress = _progress(len(state["w_v"]), state["n_out"], state["by_feature"])
        for name, value in state.items():
            if name in progress:
                progress[name][...] = value
            elif isinstance(value, np.ndarray):
                value = aligned_copy(value)
            setattr(self, name, progress.get(name, value))


def _progress(n_rows: int, n_out: int, by_feature: bool) -> dict[str, Any]:
    """The arrays w_v, steps, b_m and b_v of a layer, by name: fields of arrays of PROGRESS."""
    rows = aligned_zeros(n_rows + 1, PROGRESS)
    biases = aligned_zeros(n_out, PROGRESS) if by_feature else rows[:n_out]
    return {
        "w_v": rows["w_v"][:n_rows],
        "steps": rows["steps"],
        "b_m": biases["b_m"],
        "b_v": biases["b_v"],
    }
