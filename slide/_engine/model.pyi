from typing import Any

import numpy as np

from slide._hashing.retrieval import Retrieval

PROGRESS: np.dtype[Any]

class Model:
    @property
    def retrievals(self) -> list[Retrieval | None]: ...
    def __init__(
        self, layers: list[Any], activation: str, loss: str, prototypes: Any = None
    ) -> None: ...
