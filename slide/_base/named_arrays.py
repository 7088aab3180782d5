"""State as arrays by name, "part.name" where a part has it: for pickles and for files."""

from typing import Any

from slide._base.arrays import State


def flat(arrays: State, **parts: Any) -> State:
    """`arrays` and those of the parts' `state()`, under the parts' names; a part may be None."""
    found = dict(arrays)
    for prefix, part in parts.items():
        if part is not None:
            found.update({f"{prefix}.{name}": array for name, array in part.state().items()})
    return found


def part_of(state: State, prefix: str) -> State:
    """What `flat` took from the part `prefix`."""
    start = f"{prefix}."
    return {name[len(start) :]: array for name, array in state.items() if name.startswith(start)}


def fill(arrays: State, state: State) -> None:
    """Write into every one of `arrays` what `state` has under its name."""
    for name, array in arrays.items():
        array[...] = state[name]
