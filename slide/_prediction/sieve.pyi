from slide._base.arrays import Array, Floats, Ids
from slide._base.rows import InputRows
from slide._engine.model import Model

MAX_K: int
MAX_WIDTH: int

def pays() -> bool: ...

class Sieve:
    codes: Array
    scale: Floats
    sum: Floats
    bias: Floats
    error: Floats
    length: Floats
    n_neurons: int
    n_in: int
    def __init__(self, weights: Array, biases: Floats, n_threads: int) -> None: ...
    @property
    def nbytes(self) -> int: ...
    def topk(self, model: Model, x: InputRows, k: int, n_threads: int) -> tuple[Ids, Floats]: ...
