from typing import Self

import numpy as np

from slide._hashing.hasher import Hasher

class SimHash(Hasher):
    @classmethod
    def draw(
        cls,
        n_in: int,
        n_tables: int,
        n_bits: int,
        random_state: np.random.RandomState,
        extras: bool = True,
        n_rounds: int = 3,
    ) -> Self: ...
