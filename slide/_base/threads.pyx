"""OpenMP in this process: whether it is built in, and how many threads it may use."""
from slide._base.openmp cimport omp_get_max_threads, slide_end_threads, SLIDE_OPENMP


def has_openmp():
    """Whether the extension was built with OpenMP."""
    return bool(SLIDE_OPENMP)


def max_threads():
    """Threads that a parallel region may use now; obeys OMP_NUM_THREADS and threadpoolctl."""
    return omp_get_max_threads()


def end_threads():
    """End the idle threads that OpenMP has started for this thread, whichever library asked.

    The next parallel region starts new ones. Returns False if this thread is in a parallel region,
    so that they cannot end.
    """
    return slide_end_threads() == 0
