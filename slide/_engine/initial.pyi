from typing import Any

from slide._base.arrays import Floats, Ids

def draw_rows(
    seed: int, layer: int, ids: Ids, scale: float, rows: Ids, out: Any, n_threads: int
) -> None: ...
def uniform_rows(
    seed: int, layer: int, ids: Ids, width: int, scale: float, n_threads: int
) -> Floats: ...
