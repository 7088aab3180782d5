from typing import Any

from slide._base.arrays import Floats, Ids
from slide._engine.model import Model

def pruned_gradients(delta: Floats, factor: float, seed: int, layer: int) -> None: ...

class OutputRows:
    def __init__(self, model: Model, n_samples: int, settings: dict[str, Any]) -> None: ...
    def update(
        self, ids: Ids, delta: Floats, x: Floats, x_delta: Floats, learning_rate: float
    ) -> None: ...
