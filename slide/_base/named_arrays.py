"""What an object is made of as arrays by name, "part.name" of a part: for files and pickles."""

from typing import Any

from slide._base.arrays import NamedArrays


def flat(arrays: NamedArrays, **parts: Any) -> NamedArrays:
    """`arrays`, and those of the parts under the parts' names; a part may be None."""
    found = dict(arrays)
    for prefix, part in parts.items():
        if part is not None:
            found.update({f"{prefix}.{name}": array for name, array in part.named_arrays().items()})
    return found


def part_of(source: NamedArrays, prefix: str) -> NamedArrays:
    """What `flat` took from the part `prefix`."""
    start = f"{prefix}."
    return {name[len(start) :]: array for name, array in source.items() if name.startswith(start)}


def fill(arrays: NamedArrays, source: NamedArrays) -> None:
    """Write into every one of `arrays` what `source` has under its name."""
    for name, array in arrays.items():
        array[...] = source[name]
