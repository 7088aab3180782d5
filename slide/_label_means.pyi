from slide._model import InputRows
from slide._typing import Array, Floats, Ids, Ints

class LabelMeans:
    def __init__(
        self,
        x: InputRows,
        weights: Floats | None,
        feature_weights: Floats,
        indptr: Ints,
        rows: Ids,
        least: float,
        bounds: Ints,
        rooms: Array,
        n_threads: int,
    ) -> None: ...
    def find(self, first: int, last: int) -> None: ...
    def index(self) -> tuple[Floats, Ids, Ints]: ...
