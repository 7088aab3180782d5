from typing import NamedTuple

class Solver(NamedTuple):
    kind: int
    first_decay: str | None
    normalizes: bool
    update_cost: int
    rate_factor: float

SOLVERS: dict[str, Solver]
