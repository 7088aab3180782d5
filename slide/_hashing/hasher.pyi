from typing import Any, ClassVar, Self

import numpy as np

from slide._base.arrays import Floats, Halves, Matrix, NamedArrays

class Hasher:
    family: ClassVar[str]
    @property
    def parameters(self) -> dict[str, Any]: ...
    @property
    def scratch_size(self) -> int: ...
    @property
    def rows_scratch_size(self) -> int: ...
    def __init__(
        self, n_in: int, n_tables: int, n_bits: int, parameters: dict[str, Any]
    ) -> None: ...
    @classmethod
    def draw(
        cls,
        n_in: int,
        n_tables: int,
        n_bits: int,
        random_state: np.random.RandomState,
        extras: bool = True,
    ) -> Self: ...
    def fold(self, mean: Floats) -> Floats: ...
    def named_arrays(self) -> NamedArrays: ...
    def set_named_arrays(self, arrays: NamedArrays) -> None: ...
    def parameters_from(self, arrays: NamedArrays) -> dict[str, Any]: ...
    @property
    def n_words(self) -> int: ...
    @property
    def multiply_adds(self) -> int: ...
    def codes(
        self,
        x: Matrix,
        mean: Floats | None = None,
        extra_0: Floats | None = None,
        extra_1: Floats | None = None,
    ) -> Halves: ...
