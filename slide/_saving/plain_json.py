"""JSON of an estimator's plain values; reading it runs no code.

Besides JSON's own types it can hold tuples, NumPy's numbers and arrays of numbers, and the state of
a `RandomState`. Each of these is a dict of one entry, whose key names the type.
"""

import json
import re
from typing import Any

import numpy as np

from slide._base.handlers import raise_from_handler
from slide._base.values import shown

# The form of `dtype.str`, without structures, whose syntax NumPy hands to Python's parser.
_DTYPE = re.compile(r"[<>=|]?[a-zA-Z]\d{0,9}(\[\d{0,9}[a-zA-Z]{1,7}\])?", re.ASCII)
_NUMBERS = "biuf"  # kinds of NumPy's types whose numbers JSON can write
# Errors from foreign classes, and from lists that contain themselves. Exceptions of signal handlers
# are none of these and come out as they are.
_OF_VALUES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_MT19937 = 624  # words of the generator's state


def encode(name: str, value: Any) -> Any:
    """Convert `value` to plain JSON values; ValueError with its `name` if that is impossible."""
    try:
        return json.loads(json.dumps(_tagged(value), allow_nan=False))
    except _OF_VALUES as error:
        raise_from_handler(error)
        raise ValueError(
            f"{name} must be None, a bool, a number, a string, a RandomState, or a list, tuple or "
            f"array of these to be saved; got {shown(value)}"
        ) from error


def decode(value: Any) -> Any:
    """Inverse of `encode`; subclasses of Python's types come back as these types."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tuple":
        return tuple(decode(content))
    if kind == "numpy":
        dtype = decode_dtype(content["dtype"])
        if dtype.kind not in _NUMBERS:
            raise ValueError(f"an array of numbers must not be of dtype {dtype}")
        return np.array(content["values"], dtype)[()]
    if kind == "random_state":
        return _random_state(**content)
    raise ValueError(f"a value must be of a type that save writes; got {kind!r}")


def decode_dtype(text: Any) -> np.dtype[Any]:
    """The dtype whose `str` is `text`; structures are refused."""
    if not (isinstance(text, str) and _DTYPE.fullmatch(text)):
        raise ValueError(f"a dtype must be one of numbers, dates or texts; got {text!r}")
    return np.dtype(text)


def _tagged(value: Any) -> Any:
    if isinstance(value, list):
        return [_tagged(item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [_tagged(item) for item in value]}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in _NUMBERS:
        return {"numpy": {"dtype": value.dtype.str, "values": value.tolist()}}
    if isinstance(value, np.random.RandomState):
        state = value.get_state(legacy=False)
        if state["bit_generator"] != "MT19937":
            raise TypeError(f"a RandomState of {state['bit_generator']}")
        gauss = {name: state[name] for name in ("has_gauss", "gauss")}
        words = {"key": state["state"]["key"].tolist(), "position": int(state["state"]["pos"])}
        return {"random_state": {**words, **gauss}}
    if isinstance(value, dict):
        raise TypeError("a dict")
    return value


def _random_state(key: Any, position: Any, has_gauss: Any, gauss: Any) -> np.random.RandomState:
    key = np.array(key, np.uint32)
    # NumPy reads the next word without a check, and a state of zeros would give only zeros.
    if key.shape != (_MT19937,) or not key.any():
        raise ValueError(f"a RandomState must have {_MT19937} words that are not all 0")
    if position not in range(_MT19937 + 1) or has_gauss not in (0, 1):
        raise ValueError(f"a RandomState must be at a word in [0, {_MT19937}]; got {position!r}")
    random_state = np.random.RandomState()
    random_state.set_state(("MT19937", key, position, has_gauss, float(gauss)))
    return random_state
