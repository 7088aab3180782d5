from slide._base.arrays import Floats, Ids, Ints
from slide._base.rows import InputRows

class Svms:
    biases: Floats
    lengths: Ids
    scale: float
    def __init__(
        self,
        x: InputRows,
        feature_weights: Floats,
        sample_weights: Floats | None,
        right: tuple[Ints, Ids],
        wrong: tuple[Ints, Ids],
        c: float,
        tolerance: float,
        n_sweeps: int,
        least: float,
        n_threads: int,
    ) -> None: ...
    def train(self, bounds: Ints, rooms: Ints) -> tuple[Ids, Floats]: ...
