from typing import Any

from scipy.sparse import csr_array

from slide._base.arrays import Floats, Ids

class Postings:
    def __init__(self, prototypes: Any) -> None: ...
    def scores(self, x: csr_array, labels: Ids) -> Floats: ...
