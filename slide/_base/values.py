"""Single values from users: conversion to Python's types, display in messages, refusal."""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np

from slide._base.handlers import raise_from_handler

MAX_INT = 2**31 - 1  # ids, row numbers and sizes are int32 in the engine
_LONGEST = 200  # characters of a value in a message


class WithinItself(RuntimeError):
    """A method was called from within itself, which would damage what it works on."""


def as_int(value: Any) -> int | None:
    """Convert an int of any type to Python's int, which cannot overflow; None for anything else."""
    is_int = isinstance(value, Integral) and not isinstance(value, bool | np.bool_)
    return int(value) if is_int else None


def as_float(value: Any) -> float | None:
    """Convert a real number of any type to a float; None for other values and for huge ints."""
    if not isinstance(value, Real) or isinstance(value, bool | np.bool_):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def shown(value: Any) -> str:
    """The `repr` of a value, cut if it is long; its type if `repr` fails."""
    try:
        text = repr(value)
    except Exception as error:  # a foreign class, or an int of too many digits
        raise_from_handler(error)
        return f"a {type(value).__name__} that cannot be shown"
    return cut(text)


def described(error: Exception) -> str:
    """The type of an error and its text, which a foreign class may fail to give."""
    try:
        text = str(error)
    except Exception as failure:
        raise_from_handler(failure)
        text = ""
    return cut(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def cut(text: str) -> str:
    """Shorten a long text to its start."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


@contextmanager
def refusing(name: str) -> Iterator[None]:
    """Turn unexpected exceptions of foreign objects into a ValueError that names the argument.

    A broken `__array__` may raise anything.
    """
    try:
        yield
    except (ValueError, TypeError, MemoryError, Warning, WithinItself):
        raise
    except Exception as error:  # such as the OverflowError of an int that no float can hold
        raise_from_handler(error)
        raise ValueError(
            f"{name} cannot be made an array of numbers or labels: {described(error)}"
        ) from error


@contextmanager
def trusting_nothing(problem: str) -> Iterator[None]:
    """Turn any error from the content of an untrusted file into a ValueError.

    `problem` is the start of its message.
    """
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise_from_handler(error)
        raise ValueError(f"{problem}: {cut(str(error))}") from error
