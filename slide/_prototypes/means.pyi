from slide._base.arrays import Array, Floats, Ids, Ints
from slide._base.rows import InputRows

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

def check_shapes(
    x: InputRows, weights: Floats | None, feature_weights: Floats, indptr: Ints, rows: Ids
) -> None: ...
