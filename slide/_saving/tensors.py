"""Arrays by name in a file of safetensors format, or in memory.

A file is written in one go and read one array at a time. Arrays are compared with checksums, which
the format itself lacks.
"""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from slide._base.arrays import Array, Forms, NamedArrays
from slide._base.named_arrays import forms_of

_NAMES = {
    "BOOL": "bool", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64", "U8": "uint8",
    "U16": "uint16", "U32": "uint32", "U64": "uint64", "F16": "float16", "F32": "float32",
    "F64": "float64", "BF16": "bfloat16",
}  # fmt: skip


def write_tensors(path: str, arrays: NamedArrays, metadata: dict[str, str]) -> None:
    """Write arrays and texts, both by name, over the file `path`, which keeps its permissions.

    Parameters
    ----------
    path : str
    arrays : dict of str to ndarray
        Contiguous, and of native byte order.
    metadata : dict of str to str

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    rights = os.stat(path).st_mode
    with _raising(OSError):
        save_file(arrays, path, metadata)
    os.chmod(path, rights)  # `save_file` has put a new file there


@contextmanager
def _raising(kind: type[Exception]) -> Iterator[None]:
    """Turn the library's own error into one of Python's, and leave all other exceptions alone."""
    try:
        yield
    except SafetensorError as error:
        raise kind(str(error)) from error


def checksum(name: str, array: Array) -> str:
    """CRC-32 of an array with its name, dtype and shape, as text.

    It finds damage (any single wrong byte for certain), but not forgery. On 1.7 GB CRC-32 took
    0.24 s, SHA-256 0.8 s and BLAKE2b 1.2 s (Zen 5, one thread).
    """
    form = f"{name} {array.dtype.name} {list(array.shape)}".encode()
    return f"{zlib.crc32(array.reshape(-1).view(np.uint8).data, zlib.crc32(form)):08x}"


class TensorFile:
    """Context manager for the named arrays of a file; ValueError if the file is none.

    Parameters
    ----------
    path : str

    Attributes
    ----------
    names : set of str
        Names of the arrays not yet taken.
    metadata : dict of str to str
    checksums : dict of str to str, or None
        Expected checksum of every array; the caller sets it, `read` checks it.
    size : int
        Bytes of the file.
    """

    def __init__(self, path: str) -> None:
        self.checksums: dict[str, str] | None = None
        self.size = os.stat(path).st_size
        with _raising(ValueError):
            self._file: Any = safe_open(path, framework="numpy")

    def __enter__(self) -> Self:
        self._handle = self._file.__enter__()
        self.names = set(self._handle.keys())
        self.metadata = self._handle.metadata() or {}
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._file.__exit__(*error)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._slice(name).get_shape())

    def check(self, forms: Forms) -> None:
        """Refuse a file whose arrays have other names, shapes or dtypes than `forms`."""
        missing, foreign = forms.keys() - self.names, self.names - forms.keys()
        if missing or foreign:
            problem, name = ("no", min(missing)) if missing else ("an unknown", min(foreign))
            raise ValueError(f"it has {problem} array {name!r}")
        for name, (wanted_dtype, wanted_shape) in forms.items():
            dtype, shape = self._slice(name).get_dtype(), self.shape(name)
            if shape != wanted_shape or _NAMES.get(dtype) != wanted_dtype:
                raise ValueError(
                    f"{name} must be {wanted_dtype} of shape {wanted_shape}; "
                    f"got {dtype} of shape {shape}"
                )

    def read(self, name: str) -> Array:
        """Read the array of that name, and compare it with its checksum."""
        if _NAMES.get(self._slice(name).get_dtype()) is None:
            raise ValueError(f"{name} has a dtype that no array here has")
        with _raising(ValueError):
            array = np.asarray(self._handle.get_tensor(name))
        if self.checksums is not None:
            found = checksum(name, array)
            if self.checksums.get(name) != found:
                raise ValueError(
                    f"the array {name!r} is damaged: its checksum is {found}, "
                    f"not {self.checksums.get(name)}"
                )
        return array

    def take(self, name: str) -> Array:
        """Like `read`; the name then counts as taken."""
        array = self.read(name)
        self.names.discard(name)
        return array

    def _slice(self, name: str) -> Any:
        if name not in self.names:
            raise ValueError(f"it has no array {name!r}")
        with _raising(ValueError):
            return self._handle.get_slice(name)


class ArraysInMemory:
    """Arrays by name that are in memory already, with the methods of a TensorFile."""

    def __init__(self, arrays: NamedArrays) -> None:
        self._arrays = arrays
        self.size = sum(array.nbytes for array in arrays.values())

    def shape(self, name: str) -> tuple[int, ...]:
        return self._arrays[name].shape

    def check(self, forms: Forms) -> None:
        """Refuse arrays of other names, shapes or dtypes than `forms`."""
        if forms_of(self._arrays) != forms:
            raise ValueError("its arrays have other names, shapes or dtypes than the network's")

    def read(self, name: str) -> Array:
        """The array of that name itself."""
        return self._arrays[name]
