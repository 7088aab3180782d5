from typing import Any

from slide._model import InputRows, Model
from slide._typing import Floats, Ids

def hidden(model: Model, x: InputRows, first: int, last: int, n_threads: int) -> Any: ...
def scores(model: Model, x: InputRows, first: int, last: int, n_threads: int) -> Floats: ...
def topk(
    model: Model, x: InputRows, k: int, n_threads: int, apart: bool = False
) -> tuple[Ids, Floats]: ...
