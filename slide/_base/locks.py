"""Locks between Python threads that use one estimator at the same time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary, WeakSet

F = TypeVar("F", bound=Callable[..., Any])

# Estimator -> lock. As attributes, locks would prevent estimators from being pickled or cloned.
_locks: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
_guards: WeakSet[Guard] = WeakSet()


def one_at_a_time(method: F) -> F:
    """Decorator: only one of the decorated methods of an estimator runs at a time."""

    @wraps(method)
    def alone(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _locks.setdefault(self, threading.RLock()):
            return method(self, *args, **kwargs)

    return cast(F, alone)


class Guard:
    """Writer-preferring read-write lock for the codes and tables of sparse layers.

    It is not re-entrant for readers. `one_at_a_time` guarantees a single writer.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._n_readers = self._n_writers = 0
        _guards.add(self)

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._n_writers == 0)
            self._n_readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._n_readers -= 1
                self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._changed:
            self._n_writers += 1
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._n_readers == 0)
            yield
        finally:
            with self._changed:
                self._n_writers -= 1
                self._changed.notify_all()


def _free_all() -> None:
    """Make all locks free in a forked process, which lacks the threads that held them."""
    _locks.clear()
    for guard in list(_guards):
        guard.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_all)
