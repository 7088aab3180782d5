import numpy as np

from slide._base.arrays import Array, Floats, Ids, Matrix, NamedArrays, Words
from slide._hashing.hasher import Hasher

class HashTables:
    @property
    def hasher(self) -> Hasher: ...
    @property
    def transform(self) -> bool: ...
    @property
    def offsets(self) -> Ids: ...
    @property
    def ids(self) -> Ids: ...
    @property
    def mean(self) -> Floats: ...
    def __init__(
        self,
        n_neurons: int,
        n_in: int,
        n_tables: int,
        n_bits: int,
        random_state: np.random.RandomState,
        family: str = "simhash",
        transform: bool = True,
    ) -> None: ...
    def named_arrays(self) -> NamedArrays: ...
    def set_named_arrays(self, arrays: NamedArrays) -> None: ...
    @property
    def query_bias(self) -> float: ...
    def rebuild(
        self, weights: Array, biases: Floats, mean: Floats, query_length: float, n_threads: int
    ) -> int: ...
    def sort(self, words: Words, n_threads: int) -> None: ...
    def collect(
        self,
        x: Matrix,
        n_keep: int,
        bucket_limit: int = 128,
        seed: int = 0,
        min_collisions: int = 0,
    ) -> list[Ids]: ...
