"""Objects as dicts of named arrays, for files and pickles; names of a part are "part.name"."""

from typing import Any, TypeVar

from slide._base.arrays import Forms, NamedArrays

_Item = TypeVar("_Item")


def flat(arrays: NamedArrays, **parts: Any) -> NamedArrays:
    """Merge `arrays` and the named arrays of the parts, under "part.name"; skip None parts."""
    found = dict(arrays)
    for prefix, part in parts.items():
        if part is not None:
            found.update(prefixed(prefix, part.named_arrays()))
    return found


def prefixed(prefix: str, named: dict[str, _Item]) -> dict[str, _Item]:
    """The same items under "prefix.name"."""
    return {f"{prefix}.{name}": item for name, item in named.items()}


def part_of(source: dict[str, _Item], prefix: str) -> dict[str, _Item]:
    """The named arrays of the part `prefix`, without the prefix that `flat` added."""
    start = f"{prefix}."
    return {name[len(start) :]: item for name, item in source.items() if name.startswith(start)}


def forms_of(arrays: NamedArrays) -> Forms:
    """Dtypes and shapes of named arrays."""
    return {name: (array.dtype.name, array.shape) for name, array in arrays.items()}


def fill(arrays: NamedArrays, source: NamedArrays) -> None:
    """Copy into each of `arrays` the array of that name in `source`."""
    for name, array in arrays.items():
        array[...] = source[name]
