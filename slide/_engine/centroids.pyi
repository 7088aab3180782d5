from scipy.sparse import csr_array

from slide._base.arrays import Floats, Ids, Ints

def add_label_sums(
    h: Floats, y_indptr: Ints, y_indices: Ids, first: int, sums: Floats, n_threads: int = 1
) -> None: ...
def add_sparse_label_sums(
    h: csr_array, y_indptr: Ints, y_indices: Ids, first: int, sums: Floats, n_threads: int = 1
) -> None: ...
def center_and_scale(
    sums: Floats, counts: Ints, mean: Floats, length: float, n_threads: int = 1
) -> None: ...
