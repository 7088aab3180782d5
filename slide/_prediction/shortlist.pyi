import numpy as np

from slide._base.arrays import Array, Bytes, Floats, Ids
from slide._base.rows import InputRows
from slide._engine.model import Model
from slide._hashing.simhash import SimHash

MAX_WIDTH: int

class Shortlist:
    @property
    def hasher(self) -> SimHash: ...
    @property
    def codes(self) -> Bytes: ...
    @property
    def scales(self) -> Floats: ...
    @property
    def biases(self) -> Floats: ...
    @property
    def neuron_at(self) -> Ids: ...
    @property
    def limits(self) -> Floats: ...
    @property
    def coarse(self) -> Array | None: ...
    @property
    def n_neurons(self) -> int: ...
    @property
    def n_bytes(self) -> int: ...
    @property
    def n_strong(self) -> int: ...
    def __init__(
        self,
        weights: Array,
        biases: Floats,
        query_mean: Floats,
        query_length: float,
        random_state: np.random.RandomState,
        n_threads: int,
    ) -> None: ...
    @property
    def nbytes(self) -> int: ...
    def estimates(self, h: Floats) -> Floats: ...
    def topk(
        self,
        model: Model,
        x: InputRows,
        first: int,
        last: int,
        k: int,
        n_candidates: int,
        n_threads: int,
        apart: bool = False,
    ) -> tuple[Ids, Floats]: ...

def coarse(
    scales: Floats, biases: Floats, n: int
) -> tuple[Array | None, tuple[np.float32, ...]]: ...
