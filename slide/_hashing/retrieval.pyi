from typing import Any

import numpy as np

from slide._base.arrays import Array, Floats, Ids, Matrix, NamedArrays
from slide._hashing.buckets import BUCKETS as BUCKETS
from slide._hashing.directions import Directions
from slide._hashing.finder import Finder
from slide._hashing.simhash import SimHash
from slide._hashing.tables import HashTables

LOOKUPS: dict[str, type[Finder]]
POLICIES: dict[str, type[Finder]]

class Retrieval:
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def policy(self) -> str: ...
    @property
    def finder(self) -> Finder: ...
    @property
    def tables(self) -> HashTables | None: ...
    @property
    def hasher(self) -> SimHash | None: ...
    @property
    def directions(self) -> Directions | None: ...
    def __init__(
        self,
        n_neurons: int,
        n_in: int,
        settings: dict[str, Any],
        random_state: np.random.RandomState,
        directions: Array | None = None,
    ) -> None: ...
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
    def retrieve(self, x: Matrix, seed: int = 0) -> list[Ids]: ...
