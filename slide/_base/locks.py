"""Turns of the Python threads that use one estimator at the same time."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from slide._base.guard import Guard
from slide._base.values import WithinItself

F = TypeVar("F", bound=Callable[..., Any])

# Estimator -> lock. As attributes, locks would prevent estimators from being pickled or cloned.
_guards: WeakKeyDictionary[Any, Guard] = WeakKeyDictionary()


def guard_of(estimator: Any) -> Guard:
    """The lock that the decorated methods of an estimator hold while they run."""
    return _guards.setdefault(estimator, Guard())


def one_at_a_time(method: F) -> F:
    """Decorator: only one of the decorated methods of an estimator runs at a time.

    Another thread waits. A call from within such a method, by a callback for example, raises a
    RuntimeError: it would train the network that is being trained.
    """

    @wraps(method)
    def alone(self: Any, *args: Any, **kwargs: Any) -> Any:
        guard = guard_of(self)
        if guard.is_held_here:
            name = type(self).__name__
            raise WithinItself(
                f"{method.__name__} was called while this {name} is being fitted or saved, by a "
                "callback, a signal handler or an object that was passed as data. Fit a clone "
                "(sklearn.base.clone), or wait until the call is over"
            )
        with guard.writing():
            return method(self, *args, **kwargs)

    return cast(F, alone)


def between_two(method: F) -> F:
    """Decorator: the method waits until no other thread is in a `one_at_a_time` method.

    Within such a method of its own thread, in a callback, it runs at once.
    """

    @wraps(method)
    def waiting(self: Any, *args: Any, **kwargs: Any) -> Any:
        guard = guard_of(self)
        if guard.is_held_here:
            return method(self, *args, **kwargs)
        with guard.writing():
            return method(self, *args, **kwargs)

    return cast(F, waiting)
