from slide._base.arrays import Floats, Ids

def uniform_rows(
    seed: int, layer: int, ids: Ids, width: int, scale: float, n_threads: int
) -> Floats: ...
