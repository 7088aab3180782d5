"""The number of threads that `n_jobs` stands for."""

import os
import warnings
from typing import Any

from joblib import cpu_count

from slide._base.threads import max_threads
from slide._base.values import as_int, shown


class _Process:
    """Whether this process may use several threads of OpenMP.

    fork copies libgomp's bookkeeping but not its threads; the child's next multi-threaded region
    would wait forever.
    """

    several = False  # whether this process may have started threads
    orphaned = False  # whether its parent may have, before the fork
    warned = False

    @classmethod
    def after_fork(cls) -> None:
        cls.orphaned = cls.orphaned or cls.several


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_Process.after_fork)


def resolve_n_jobs(n_jobs: Any) -> int:
    """The number of threads that `n_jobs` stands for, as in joblib.

    None is 1, -1 is every processor that this process may use, -2 all but one, and so on. It is
    never more than OpenMP would start (``OMP_NUM_THREADS``, threadpoolctl, a joblib worker's
    share). In a process forked from one that had used several threads it is 1, with a warning.

    Raises
    ------
    ValueError
        If `n_jobs` is 0, or neither None nor an int.
    """
    n_threads = _threads_of(n_jobs)
    if n_threads > 1 and _Process.orphaned:
        if not _Process.warned:
            _Process.warned = True
            warnings.warn(
                f"n_jobs={n_jobs!r} is one thread here: this process was forked off one in which "
                "slide had used several, and GNU OpenMP's threads do not survive a fork. Start "
                'processes with joblib\'s "loky", or with multiprocessing\'s "spawn" or '
                '"forkserver", or with n_jobs=1 before the fork',
                RuntimeWarning,
                stacklevel=2,
            )
        return 1
    _Process.several = _Process.several or n_threads > 1
    return n_threads


def is_parallel(n_jobs: Any) -> bool:
    """Whether `n_jobs` is valid and more than one thread."""
    try:
        return _threads_of(n_jobs) > 1 and not _Process.orphaned
    except ValueError:
        return False


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
