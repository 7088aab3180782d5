"""Hostile input for the fuzz tests: values, arrays and labels that a user might pass, and worse."""

import faulthandler
import os
import tempfile
import warnings
from collections import UserDict
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from functools import wraps
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.exceptions import DataConversionWarning

# The errors that any call may raise; training may also raise FloatingPointError.
REFUSALS = (ValueError, TypeError, MemoryError)

_HANG = 300  # seconds; no example takes so long, even on a busy processor
_MEMORY = 1 << 30  # bytes that an example may add to those of the process


# ------------------------------------------------------------------ harness --


def fuzz(quick, slow, **strategies):
    """Run a test with `quick` fixed examples; in the slow run with `slow` random ones.

    Memory and time of an example are limited. An example that hangs or crashes ends the process
    with a traceback, and its arguments are in the file `slide-example-<process id>` of the
    temporary folder. An example that fails prints a `reproduce_failure`; paste it below `fuzz`.
    """

    def decorate(check):
        @wraps(check)
        def example(**arguments):
            note = Path(tempfile.gettempdir()) / f"slide-example-{os.getpid()}"
            note.write_text(f"{check.__name__}\n{_shown(arguments)}\n", errors="backslashreplace")
            faulthandler.dump_traceback_later(_HANG, exit=True)
            try:
                with memory_limit(_MEMORY), warnings.catch_warnings():
                    warnings.simplefilter("error")
                    warnings.simplefilter("ignore", DataConversionWarning)
                    warnings.filterwarnings("ignore", ".*feature names", UserWarning)
                    check(**arguments)
            finally:
                faulthandler.cancel_dump_traceback_later()
                note.unlink()

        efforts = [pytest.param(quick, id="quick")]
        efforts += [pytest.param(slow, id="slow", marks=pytest.mark.slow)]

        @pytest.mark.parametrize("n_examples", efforts)
        def test(n_examples):
            run = settings(
                max_examples=n_examples,
                derandomize=n_examples == quick,
                print_blob=True,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            )
            run(given(**strategies)(example))()

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return decorate


def _shown(value):
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


@contextmanager
def memory_limit(n_bytes):
    """Raise MemoryError if the process would take so many more bytes; on Linux only."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + n_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


# ------------------------------------------------------------------- values --


class NoComparison(float):
    """A number that cannot be compared."""

    def _fail(self, *other):
        raise RuntimeError("no comparison")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = _fail
    __hash__ = float.__hash__


class NoComparisonInt(int):
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = NoComparison._fail
    __hash__ = int.__hash__


class NoComparisonText(str):
    __eq__ = __ne__ = __lt__ = __hash__ = NoComparison._fail


class NoRepr:
    def __repr__(self):
        raise RuntimeError("no repr")

    def _repr_pretty_(self, printer, cycle):  # for Hypothesis, which prints failing examples
        printer.text("NoRepr()")


class NoArray:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("no array")


class Float(float):
    pass


class Text(str):
    pass


NUMBERS = [
    0, 1, -1, 2, 3, 127, 255, 256, 65536, 2**31 - 1, 2**31, 2**32, 2**63, 2**64, -(2**63), 10**400,
    10**5000, 0.0, -0.0, 0.5, 1.0, 1.5, 1 - 1e-9, 1e-45, 1e-38, 1e-300, 1e38, 1e39, 1e300, np.nan,
    np.inf, -np.inf, True, False, 1j, Fraction(1, 3), Fraction(10**400, 3), Decimal("0.5"),
    Float(0.5), np.bool_(True), np.int8(1), np.int8(100), np.uint8(255), np.uint64(2**64 - 1),
    np.int64(3), np.float16(0.5), np.float32(0.001), np.float64(0.5), np.longdouble("0.5"),
    np.longdouble("1e4000"), np.complex64(1), np.array(2), np.array(0.5), np.array([1]),
]  # fmt: skip
FOREIGN = [
    None, "", "auto", b"auto", Text("auto"), "AUTO", "relu", "\ud800", "x" * 5000, [], (), {},
    set(), [None], [[1, 2], [3]], [1, 2], (8, 4), (0.5, 0.5), (1.0, 0.5), [True], range(3),
    object(), object, print, UserDict(), np.array([]), np.array([1, 2]), np.array([0.5, 0.5]),
    np.array(["auto"]), np.array([None]), np.ma.masked, np.datetime64("2020-01-01"),
    np.timedelta64(3), pd.NA, pd.NaT, np.random, np.random.default_rng(0),
    np.random.RandomState(0), sparse.csr_array([[1.0]]), pd.Series([1.0]),
    NoComparison(0.5), NoComparisonInt(3), NoComparisonText("adam"), NoRepr(), NoArray(),
    [NoComparison(0.5)] * 2, (NoComparisonInt(3),),
]  # fmt: skip


def item_of(items):
    """One of the items, which need not be hashable or comparable."""
    return st.integers(0, len(items) - 1).map(lambda i: items[i])


values = item_of(NUMBERS) | item_of(FOREIGN)

# Valid values of every parameter, for networks that train in milliseconds.
RIGHT = {
    "hidden_layer_sizes": [(4,), 3, (1,), (6, 5), [8], np.array([4, 3]), (np.int8(100),), (130,),
                           (3, 2, 2), (200, 3), np.int16(5)],
    "activation": ["identity", "logistic", "tanh", "relu", Text("relu"), np.str_("tanh")],
    "loss": ["auto", "softmax", "sigmoid"],
    "active_fraction": ["auto", 1.0, 0.5, 0.01, (1.0, 0.5), (0.5, 1.0), (0.5, 0.5), 1e-300,
                        (0.3, 0.3, 0.3), [1.0, 1.0, 0.1], np.float32(0.25), Fraction(1, 3), 1],
    "hash_family": ["auto", "simhash", "wta", "dwta", "minhash"],
    "n_tables": ["auto", 1, 2, 7, np.int8(100), 255],
    "n_hash_bits": ["auto", 1, 3, np.int8(16), 8],
    "retrieval": ["auto", "estimate", "scan", "vanilla", "topk", "threshold", "rerank", "exact",
                  "none", "lists"],
    "tail_size": ["auto", 0, 1, 3, np.int8(100), 2**31 - 1],
    "rehash_every": ["auto", 1, 5, np.int8(100), 2**31 - 1],
    "solver": ["adam", "sgd", "adagrad"],
    "alpha": [0.0, 0, 1e-6, 1e-300, 0.1, 1e3, 1e38, np.float32(1e-4)],
    "dropout": ["auto", 0.0, 0, 0.5, 0.999, np.float16(0.25)],
    "batch_size": ["auto", 1, 2, 64, np.int8(100), np.uint8(255), 2**31 - 1],
    "learning_rate": ["constant", "linear"],
    "learning_rate_init": [0.001, 1e-38, 1e-3, 0.1, 1.0, np.float32(0.001), Fraction(1, 100)],
    "momentum": [0.9, 0, 0.0, 0.999],
    "beta_1": [0.9, 0.0, 0.999, np.float16(0.5)],
    "beta_2": [0.999, 0.0, 0.9],
    "epsilon": [1e-8, 1e-30, 1.0, 1e38],
    "max_iter": [1, 2, 5, np.int8(3), "auto"],
    "prototypes": ["auto", False, True, np.bool_(True)],
    "shuffle": [True, False, np.bool_(False)],
    "tol": [1e-4, 0, 1e30, np.float16(0.5)],
    "n_iter_no_change": [10, 1, 2**31 - 1, np.int8(1)],
    "early_stopping": [False, True, np.bool_(True)],
    "validation_fraction": [0.1, 0.5, 1e-300, 0.99, Fraction(1, 3), np.float16(0.25)],
    "warm_start": [False, True, np.bool_(True)],
    "random_state": [0, None, 1, 2**32 - 1, np.int64(5), True],
    "weight_dtype": ["float32", "bfloat16"],
    "predict_mode": ["exact", "lsh"],
    "verbose": [False],
    "n_jobs": [None, 1, 2, -1, np.int8(1)],
}  # fmt: skip


@st.composite
def right_params(draw, most=8, without=()):
    """Parameters, each of them valid by itself; always with a `random_state`."""
    names = draw(st.lists(st.sampled_from(sorted(RIGHT.keys() - set(without))), max_size=most))
    params = {name: draw(item_of(RIGHT[name])) for name in names}
    return {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0, **params}


@st.composite
def any_params(draw):
    """Valid parameters, of which one or two may get any other value."""
    params = draw(right_params(4))
    names = draw(st.lists(st.sampled_from(sorted(RIGHT)), min_size=1, max_size=2))
    return {**params, **{name: draw(values) for name in names}}
