"""From `n_jobs` to a number of threads."""

from joblib import cpu_count

from slide._plain import as_int, shown
from slide._threads import max_threads


def resolve_n_jobs(n_jobs):
    """Threads that `n_jobs` stands for, with joblib's meaning of it.

    None is 1, -1 is every processor that this process may use, -2 all but one, and so on. More
    threads than OpenMP would start (``OMP_NUM_THREADS``, threadpoolctl, a joblib worker's share)
    are never taken.

    Raises
    ------
    ValueError
        If `n_jobs` is neither None nor an int, or 0.
    """
    if n_jobs is None:
        return 1
    count = as_int(n_jobs)
    if not count:
        raise ValueError(f"n_jobs must be None or an int other than 0; got {shown(n_jobs)}")
    limit = max_threads()
    if count < 0:
        count = max(1, min(cpu_count(), limit) + 1 + count)
    return min(count, limit)


def is_parallel(n_jobs):
    """Whether `n_jobs` is valid and more than one thread."""
    try:
        return resolve_n_jobs(n_jobs) > 1
    except ValueError:
        return False
