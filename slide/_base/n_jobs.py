"""The number of threads that `n_jobs` stands for."""

import os
import re
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from joblib import cpu_count

from slide._base.threads import end_threads, max_threads
from slide._base.values import as_int, shown

_T = TypeVar("_T")
_R = TypeVar("_R")
_TASKS = "/proc/self/task"  # a folder per thread, on Linux
_STACK = 64 * 1024  # least stack of a thread, in bytes; 24 KiB were enough
_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class _Process:
    """Whether this process may use several threads of OpenMP.

    fork copies libgomp's bookkeeping but not its threads; the child's next multi-threaded region
    would wait forever. libgomp does not say whether another library has started threads with it.
    So they are ended before a fork, and their number tells whether there were any.
    """

    several = False  # whether this process may have started threads
    leaves_some = False  # whether it, or another library in it, has threads at the fork
    orphaned = False  # whether its parent had, before the fork
    id = os.getpid()
    warned = False

    @classmethod
    def before_fork(cls) -> None:
        cls.leaves_some = cls.several or cls.is_orphaned()
        if not cls.leaves_some:
            before = _n_tasks()
            ended = before == 1 or end_threads()
            cls.leaves_some = not ended or _n_tasks() < before

    @classmethod
    def after_fork(cls) -> None:
        cls.orphaned, cls.id = cls.leaves_some, os.getpid()

    @classmethod
    def is_orphaned(cls) -> bool:
        # A fork that Python does not know of, by an application server in C, has another id.
        return cls.orphaned or cls.id != os.getpid()


def _n_tasks() -> int:
    """Threads of this process; 0 where the system does not tell."""
    try:
        return len(os.listdir(_TASKS))
    except OSError:
        return 0


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(before=_Process.before_fork, after_in_child=_Process.after_fork)


def _stack_of_threads() -> int | None:
    """Bytes of stack that OpenMP gives a thread by an environment variable; None: enough."""
    for name in ("OMP_STACKSIZE", "GOMP_STACKSIZE"):
        found = re.fullmatch(r"\s*(\d+)\s*([bkmg]?)\s*", os.environ.get(name, "").lower())
        if found:
            return int(found[1]) * _UNITS[found[2] or "k"]
    return None


# OpenMP reads the variable once, when it is loaded.
_SMALL_STACK = (_stack_of_threads() or _STACK) < _STACK


def resolve_n_jobs(n_jobs: Any) -> int:
    """The number of threads that `n_jobs` stands for, as in joblib.

    None is 1, -1 is every processor that this process may use, -2 all but one, and so on. It is
    never more than OpenMP would start (``OMP_NUM_THREADS``, threadpoolctl, a joblib worker's
    share). In a process forked from one in which OpenMP had threads it is 1, with a warning.

    Raises
    ------
    ValueError
        If `n_jobs` is 0, or neither None nor an int.
    """
    n_threads = _threads_of(n_jobs)
    if n_threads > 1 and (why := _why_one_thread()):
        if not _Process.warned:
            _Process.warned = True
            warnings.warn(
                f"n_jobs={n_jobs!r} is one thread here: {why}", RuntimeWarning, stacklevel=2
            )
        return 1
    _Process.several = _Process.several or n_threads > 1
    return n_threads


def _why_one_thread() -> str | None:
    """Why this process must not start threads; None if it may."""
    if _Process.is_orphaned():
        return (
            "this process was forked off one in which slide, or another library, had used several "
            "with OpenMP, and GNU OpenMP's threads do not survive a fork. Start processes with "
            'joblib\'s "loky", or with multiprocessing\'s "spawn" or "forkserver", or with '
            "n_jobs=1 before the fork"
        )
    if _SMALL_STACK:
        return (
            "OMP_STACKSIZE gives a thread less than the 64 KiB of stack that it needs. Set it to "
            "at least 64k before Python starts, or leave it unset"
        )
    return None


def is_parallel(n_jobs: Any) -> bool:
    """Whether `n_jobs` is valid and more than one thread."""
    try:
        return _threads_of(n_jobs) > 1 and _why_one_thread() is None
    except ValueError:
        return False


def in_threads(task: Callable[[_T], _R], items: Iterable[_T], n_threads: int) -> list[_R]:
    """The results of a task for each item, in order: for loops of NumPy, which holds no lock."""
    if n_threads == 1:
        return [task(item) for item in items]
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(task, items))


def _threads_of(n_jobs: Any) -> int:
    if n_jobs is None:
        return 1
    count = as_int(n_jobs)
    if not count:
        raise ValueError(f"n_jobs must be None or an int other than 0; got {shown(n_jobs)}")
    limit = max_threads()
    if count < 0:
        count = max(1, min(cpu_count(), limit) + 1 + count)
    return min(count, limit)
