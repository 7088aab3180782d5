"""Objects as dicts of named arrays, for files and pickles; names of a part are "part.name"."""

from typing import Any

from slide._base.arrays import NamedArrays


def flat(arrays: NamedArrays, **parts: Any) -> NamedArrays:
    """Merge `arrays` and the named arrays of the parts, under "part.name"; skip None parts."""
    found = dict(arrays)
    for prefix, part in parts.items():
        if part is not None:
            found.update({f"{prefix}.{name}": array for name, array in part.named_arrays().items()})
    return found


def part_of(source: NamedArrays, prefix: str) -> NamedArrays:
    """The named arrays of the part `prefix`, without the prefix that `flat` added."""
    start = f"{prefix}."
    return {name[len(start) :]: array for name, array in source.items() if name.startswith(start)}


def fill(arrays: NamedArrays, source: NamedArrays) -> None:
    """Copy into each of `arrays` the array of that name in `source`."""
    for name, array in arrays.items():
        array[...] = source[name]
