from typing import Any

import numpy as np

from slide._base.arrays import Array, Floats, Ids, NamedArrays
from slide._hashing.tables import HashTables

MOVED: int

class Finder:
    @property
    def tables(self) -> HashTables | None: ...
    def __init__(
        self,
        n_neurons: int,
        n_in: int,
        settings: dict[str, Any],
        random_state: np.random.RandomState,
        directions: Array | None = None,
    ) -> None: ...
    def parts(self) -> dict[str, Any]: ...
    def named_arrays(self) -> NamedArrays: ...
    def set_named_arrays(self, arrays: NamedArrays) -> None: ...
    def rebuild(
        self,
        weights: Array,
        biases: Floats,
        mean: Floats,
        query_length: float,
        n_threads: int,
        steps: Array | None = None,
    ) -> int: ...
    def follow(self, weights: Array, biases: Floats, steps: Array, n_threads: int) -> int: ...

class Everything(Finder): ...

def take_moved(looked_at: Array, steps: Array) -> Ids: ...
