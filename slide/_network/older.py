"""What a result keeps of calls long ago: little, because endless training must not fill memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slide._base.arrays import Floats, Params


def _none() -> Floats:
    return np.zeros(0, np.float32)


@dataclass(frozen=True)
class Older:
    """Curves in 4 bytes a value, and one record of what the calls took on average.

    Parameters
    ----------
    losses, scores : float32 (n,)
    record : dict or None
        Mean of the records of `history_`.
    n_records : int
        How many records it is the mean of.
    """

    losses: np.ndarray = field(default_factory=_none)
    scores: np.ndarray = field(default_factory=_none)
    record: Params | None = None
    n_records: int = 0

    def then(
        self, losses: Sequence[float], scores: Sequence[float], records: Sequence[Params]
    ) -> Older:
        """These values and others, which came later."""
        if not (losses or scores or records):
            return self
        record, n = self.record, self.n_records
        for new in records:
            n += 1
            record = new if record is None else _moved(record, new, 1 / n)
        return Older(_joined(self.losses, losses), _joined(self.scores, scores), record, n)

    def without_scores(self) -> Older:
        return Older(self.losses, _none(), self.record, self.n_records)

    def records(self) -> list[Params]:
        """A record for every call: the mean of all."""
        return [] if self.record is None else [self.record] * self.n_records


def _joined(curve: Floats, values: Sequence[float]) -> Floats:
    return np.concatenate([curve, np.array(values, np.float32)])


def _moved(mean: Any, new: Any, share: float) -> Any:
    """Numbers moved towards others by a share of the way, in dicts and lists too."""
    if isinstance(mean, dict):
        return {name: _moved(mean[name], new[name], share) for name in mean}
    if isinstance(mean, list):
        return [_moved(a, b, share) for a, b in zip(mean, new, strict=True)]
    return mean + share * (new - mean)
