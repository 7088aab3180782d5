"""The arrays of one layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ml_dtypes import bfloat16

from slide._base.arrays import Floats, Ids
from slide._base.memory import aligned_zeros, copy_blocks
from slide._engine.model import PROGRESS
from slide._hashing.retrieval import Retrieval

_UNPACKED_AT_ONCE = 1 << 22  # weights of a block


@dataclass
class Room:
    """Weights and first moments with unused rows at the end, for inputs that come later."""

    w: np.ndarray
    w_m: np.ndarray
    n_used: int


@dataclass
class Layer:
    """Arrays of one layer; create them with `zeros`.

    A dense first layer has a row for each input feature, all others have a row for each neuron.
    `steps` counts the updates of each row; its last entry counts those of a shared bias. Weights w
    and first moments w_m are float32 or bfloat16; the other arrays are float32. w_v, steps, b_m and
    b_v are fields of one record array, so that an update touches a single cache line besides the
    weights.
    """

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
    retrieval: Retrieval | None = None  # finds the active neurons
    ids: np.ndarray | None = None  # the column of X of every row, int32; None: the row's number
    room: Room | None = None  # what w and w_m of a layer that has grown are the start of

    @property
    def coefs(self) -> Floats:
        """Weights (n_in, n_out), float32: a view, or a copy of bfloat16 ones."""
        w = self.w.astype(np.float32) if self.w.dtype == bfloat16 else self.w
        return w if self.by_feature else w.T

    def blocks(self, n_rows: int | None = None) -> Iterator[slice]:
        """Slices of the first n_rows rows (None: all), of some 4 million weights each.

        A loop over them converts few weights to float32 at a time, and hears Ctrl-C.
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

    def grown(self, ids: Ids) -> Layer:
        """A dense first layer with inputs for more columns `ids`; the weights of new ones are zero.

        It shares the other weights. Where it gets new arrays, they have room for half as many
        inputs again, which takes no memory before it is used. So the cost of many growths is that
        of the last one.
        """
        n, n_in, room = self.n_in, len(ids), self.room
        # Rows that another layer has grown into are not free.
        if room is None or room.n_used != n or n_in > len(room.w):
            room = self._with_room(n_in + n_in // 2)
        room.n_used = n_in
        progress = _progress(n_in, self.n_out, True)
        progress["w_v"][:n] = self.w_v
        progress["steps"][:n], progress["steps"][n_in] = self.steps[:n], self.steps[n]
        progress.update(b_m=self.b_m, b_v=self.b_v)
        return replace(
            self, n_in=n_in, w=room.w[:n_in], w_m=room.w_m[:n_in], ids=ids, room=room, **progress
        )

    def _with_room(self, n_rows: int) -> Room:
        """A copy of the weights and moments, with zeros up to n_rows rows."""
        w, w_m = (aligned_zeros((n_rows, self.n_out), self.w.dtype) for _ in range(2))
        copy_blocks(self.w, w[: self.n_in])
        copy_blocks(self.w_m, w_m[: self.n_in])
        return Room(w, w_m, self.n_in)


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
