from typing import Any

from slide._base.arrays import Floats, Ids, Ints
from slide._base.rows import InputRows
from slide._engine.model import Model

class Trainer:
    @property
    def micro_batch(self) -> int: ...
    @property
    def hard(self) -> Ids: ...
    def __init__(
        self,
        model: Model,
        x: InputRows,
        y_indptr: Ints,
        y_indices: Ids,
        sample_weight: Floats | None,
        settings: dict[str, Any],
        n_threads: int,
    ) -> None: ...
    def run(self, rows: Ids, counter: int, learning_rate: float) -> dict[str, Any]: ...
