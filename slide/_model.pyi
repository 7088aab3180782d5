from typing import Any

import numpy as np

from slide._retrieval import Retrieval
from slide._typing import Array, Ints, Matrix

PROGRESS: np.dtype[Any]

class InputRows:
    @property
    def is_dense(self) -> bool: ...
    @property
    def n_rows(self) -> int: ...
    @property
    def indptr(self) -> Ints | None: ...
    def __init__(self, x: Matrix, order: Array | None = None) -> None: ...

class Model:
    @property
    def retrievals(self) -> list[Retrieval | None]: ...
    def __init__(
        self, layers: list[Any], activation: str, loss: str, prototypes: Any = None
    ) -> None: ...
