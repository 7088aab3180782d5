from typing import Any

from slide._base.arrays import Floats, Ids
from slide._base.rows import InputRows
from slide._engine.model import Model

def hidden(model: Model, x: InputRows, first: int, last: int, n_threads: int) -> Any: ...
def scores(model: Model, x: InputRows, first: int, last: int, n_threads: int) -> Floats: ...
def topk(
    model: Model, x: InputRows, k: int, n_threads: int, apart: bool = False
) -> tuple[Ids, Floats]: ...
