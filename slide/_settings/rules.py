"""Rules for parameters: the values that each one takes, as a test and in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from slide._base.arrays import Params
from slide._base.handlers import raise_from_handler
from slide._base.values import MAX_INT, as_float, as_int, shown
from slide._engine.activations import ACTIVATIONS
from slide._engine.losses import LOSSES
from slide._engine.optimizer import SOLVERS
from slide._hashing.hash_families import FAMILIES
from slide._hashing.retrieval import LOOKUPS

_MAX_FLOAT = float(np.finfo(np.float32).max)
MAX_TABLES = 255  # collisions are counted in a byte
_MAX_SCORES = 1 << 33  # bytes of a table of scores, rows by classes


@dataclass(frozen=True)
class Rule:
    """The values that a parameter takes, as a test and in words."""

    test: Callable[[Any], object]
    takes: str

    def accepts(self, value: Any) -> bool:
        try:
            return bool(self.test(value))
        except Exception as error:  # foreign classes may raise anything, even when compared
            raise_from_handler(error)
            return False

    def __or__(self, other: Rule) -> Rule:
        return Rule(
            lambda value: self.accepts(value) or other.accepts(value),
            f"{self.takes} or {other.takes}",
        )


def _is_int(value: Any, low: int = 1, high: int = MAX_INT) -> bool:
    value = as_int(value)
    return value is not None and low <= value <= high


def integer(low: int, high: int = MAX_INT) -> Rule:
    """The rule for an int in [low, high]."""
    return Rule(lambda value: _is_int(value, low, high), f"an int in [{low}, {high}]")


def _real(test: Callable[[Any], object], interval: str) -> Rule:
    # Compared as a float: NumPy's narrow types cannot even hold the limits.
    return Rule(
        lambda value: as_float(value) is not None and test(as_float(value)),
        f"a number in {interval}",
    )


def one_of(*names: str) -> Rule:
    """The rule for one of some strings."""
    return Rule(
        lambda value: isinstance(value, str) and value in names, " or ".join(map(repr, names))
    )


def _items(value: Any) -> tuple[Any, ...]:
    """The items of a sequence of numbers; () for anything else."""
    is_sequence = isinstance(value, list | tuple | np.ndarray) and np.ndim(value) == 1
    return tuple(value) if is_sequence else ()


def _is_seed(value: Any) -> bool:
    try:
        check_random_state(value)
    except ValueError:
        return False
    return True


def _is_finite(value: Any) -> bool:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and bool(np.isfinite(value))


NUMBER = Rule(_is_finite, "a finite number")
ABOVE_0 = Rule(lambda value: _is_finite(value) and value > 0, "a finite number above 0")
NOT_BELOW_0 = Rule(lambda value: _is_finite(value) and value >= 0, "[0, inf)")
_AUTO = one_of("auto")
_SHARE = _real(lambda value: 0 < value <= 1, "(0, 1]")
BOOL = Rule(lambda value: isinstance(value, bool | np.bool_), "True or False")
BELOW_1 = _real(lambda value: 0 <= value < 1 and np.float32(value) < 1, "[0, 1), as float32")
_POSITIVE = _real(
    lambda value: 0 < value < _MAX_FLOAT and np.float32(value) > 0, "(0, inf), as float32"
)

RULES = {
    "hidden_layer_sizes": _AUTO
    | Rule(
        lambda value: _is_int(value) or (_items(value) and all(map(_is_int, _items(value)))),
        f"an int or a sequence of at least one int, each in [1, {MAX_INT}]",
    ),
    "activation": one_of(*ACTIVATIONS),
    "loss": one_of("auto", *LOSSES),
    "active_fraction": _AUTO
    | _SHARE
    | Rule(
        lambda value: _items(value) and all(map(_SHARE.accepts, _items(value))),
        "a sequence of them",
    ),
    "hash_family": one_of("auto", *FAMILIES),
    "n_tables": _AUTO | integer(1, MAX_TABLES),
    "n_hash_bits": _AUTO | integer(1, 16),
    "retrieval": one_of("auto", *LOOKUPS, "exact", "none", "lists"),
    "tail_size": _AUTO | integer(0),
    "rehash_every": _AUTO | integer(1),
    "solver": one_of(*SOLVERS),
    "alpha": _real(lambda value: 0 <= value < _MAX_FLOAT, "[0, inf), as float32"),
    "dropout": _AUTO | BELOW_1,
    "batch_size": _AUTO | integer(1),
    "learning_rate": one_of("constant", "linear"),
    "learning_rate_init": _POSITIVE,
    "momentum": BELOW_1,
    "beta_1": BELOW_1,
    "beta_2": BELOW_1,
    "epsilon": _POSITIVE,
    "max_iter": _AUTO | integer(1),
    "prototypes": _AUTO | BOOL,
    "shuffle": BOOL,
    "tol": _real(lambda value: 0 <= value < _MAX_FLOAT, "[0, inf)"),
    "n_iter_no_change": integer(1),
    "early_stopping": BOOL,
    "validation_fraction": _real(lambda value: 0 < value < 1, "(0, 1)"),
    "warm_start": BOOL,
    "random_state": Rule(_is_seed, "None, an int in [0, 4294967295] or a RandomState"),
    "weight_dtype": one_of("float32", "bfloat16"),
    "predict_mode": one_of("exact", "lsh"),
    "verbose": BOOL | integer(0),
}

# Parameters that must stay the same when a network is trained further; the others may change.
_OF_THE_NETWORK = (
    "hidden_layer_sizes",
    "activation",
    "loss",
    "active_fraction",
    "hash_family",
    "n_tables",
    "n_hash_bits",
    "retrieval",
    "tail_size",
    "rehash_every",
    "solver",
    "alpha",
    "dropout",
    "batch_size",
    "weight_dtype",
    "prototypes",
    "momentum",
    "beta_1",
    "beta_2",
    "epsilon",
)


def check_params(params: Params) -> Params:
    """Check all parameters; returns them in Python's own types, sequences as tuples.

    It does not check `n_jobs`: `slide._base.n_jobs` does.
    """
    for name, rule in RULES.items():
        if not rule.accepts(params[name]):
            raise ValueError(f"{name} must be {rule.takes}; got {shown(params[name])}")
    sizes, share = params["hidden_layer_sizes"], params["active_fraction"]
    if not isinstance(sizes, str):
        sizes = tuple(int(size) for size in _items(sizes) or (sizes,))
    if _items(share):
        share = tuple(float(item) for item in _items(share))
        n_hidden = 1 if isinstance(sizes, str) else len(sizes)
        if len(share) != n_hidden + 1:
            raise ValueError(
                f"active_fraction must have one number a layer, the output last: {n_hidden + 1} "
                f"numbers for hidden_layer_sizes={sizes!r}; got {share}"
            )
    elif not isinstance(share, str):
        share = float(share)
    family, policy = params["hash_family"], params["retrieval"]
    if policy == "estimate" and family not in ("auto", "simhash"):
        raise ValueError(
            "hash_family must be 'auto' or 'simhash' with retrieval='estimate', whose estimates "
            f"are made of SimHash codes; got {family!r}"
        )
    values = {name: _python_value(params[name]) for name in RULES if name != "random_state"}
    return {**params, **values, "hidden_layer_sizes": sizes, "active_fraction": share}


def _python_value(value: Any) -> Any:
    """Convert a bool, number or string to Python's own type."""
    kinds: Any = ((bool | np.bool_, bool), (Integral, int), (Real, float), (str, str))
    for kind, convert in kinds:
        if isinstance(value, kind):
            return convert(value)
    return value


def is_true(flag: Any) -> bool:
    """Whether a parameter that was not checked yet is True."""
    return BOOL.accepts(flag) and bool(flag)


def check_positive(name: str, value: Any) -> None:
    """Refuse a value that is not a positive number."""
    if not _POSITIVE.accepts(value):
        raise ValueError(f"{name} must be {_POSITIVE.takes}; got {shown(value)}")


def check_k(k: Any, n_classes: int) -> int:
    """Check `k`, a number of best classes, and return it as an int."""
    if not _is_int(k, 1, n_classes):
        raise ValueError(
            f"k must be an int in [1, {n_classes}], the number of classes; got {shown(k)}"
        )
    return int(k)


def capped_k(k: Any, n_classes: int) -> int:
    """Check `k`, a number of best classes, and return the smaller of it and `n_classes`."""
    number = as_int(k)
    if number is None or number < 1:
        raise ValueError(f"k must be an int >= 1; got {shown(k)}")
    return min(number, n_classes)


def check_n_candidates(n_candidates: Any, k: int) -> Any:
    """Check that `n_candidates` is "auto" or at least k; returns it in Python's own types."""
    rule = _AUTO | integer(k)
    if not rule.accepts(n_candidates):
        raise ValueError(f"n_candidates must be {rule.takes}; got {shown(n_candidates)}")
    return _python_value(n_candidates)


def check_predict_mode(mode: str) -> str:
    """Check and return `mode`, which may have been set after `fit`."""
    rule = RULES["predict_mode"]
    if not rule.accepts(mode):
        raise ValueError(f"predict_mode must be {rule.takes}; got {shown(mode)}")
    return mode


def check_scores_fit(n_rows: int, n_classes: int) -> None:
    """Refuse a table of scores beyond the budget, before it is made."""
    n_bytes = 4 * n_rows * n_classes
    if n_bytes > _MAX_SCORES:
        raise ValueError(
            f"X must have at most {_MAX_SCORES // (4 * n_classes)} rows, so that its scores for "
            f"{n_classes} classes take no more than {_MAX_SCORES / 2**30:g} GiB; got {n_rows} rows "
            f"({n_bytes / 2**30:.1f} GiB). Use predict_topk, or pass the rows in parts"
        )


def check_same_network(before: Params, now: Params) -> Params:
    """Refuse a parameter of the network that changed since training began.

    Returns `now` with the widths of the network, where it leaves them open.
    """
    if now["hidden_layer_sizes"] == "auto":
        now = {**now, "hidden_layer_sizes": before["hidden_layer_sizes"]}
    for name in _OF_THE_NETWORK:
        if before[name] != now[name]:
            raise ValueError(
                f"{name} must stay {before[name]!r} while the same network is trained further "
                f"(partial_fit, warm_start=True); got {now[name]!r}"
            )
    return now
