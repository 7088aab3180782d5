"""Type aliases for signatures: arrays by dtype, rows of features, parameters."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Bools: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float32]
Ids: TypeAlias = npt.NDArray[np.int32]
Ints: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Halves: TypeAlias = npt.NDArray[np.uint16]
Words32: TypeAlias = npt.NDArray[np.uint32]
Words: TypeAlias = npt.NDArray[np.uint64]
Matrix: TypeAlias = Any  # rows of features: Floats, or a csr_array, for which SciPy has no types
Params: TypeAlias = dict[str, Any]  # parameters of an estimator, and other dicts of mixed values
NamedArrays: TypeAlias = dict[str, Array]
Forms: TypeAlias = dict[str, tuple[str, tuple[int, ...]]]  # dtypes and shapes of named arrays
