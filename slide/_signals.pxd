# Ctrl-C during a parallel loop. Python's signal handlers run in its main thread and with the GIL
# only: the thread that entered the loop, number 0 of its team, lets them now and then. When one
# raises, every thread leaves out what is left of the loop.
from slide._clock cimport seconds
from slide._openmp cimport omp_get_thread_num
from slide._typedefs cimport float64_t

cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept

cdef extern from *:
    const int __ATOMIC_RELAXED
    int __atomic_load_n(const int *ptr, int order) noexcept nogil
    void __atomic_store_n(int *ptr, int value, int order) noexcept nogil

# One a loop, shared by its threads.
cdef struct Watch:
    float64_t due              # when thread 0 looks at signals again, in seconds
    int stop                   # a handler has raised


cdef inline void start_watch(Watch *watch) noexcept nogil:
    # Before the loop. What is over in a tenth of a second never waits for the GIL.
    watch.stop = 0
    watch.due = seconds() + 0.1


cdef inline void _run_handlers(Watch *watch) noexcept with gil:
    if PyErr_CheckSignals() != 0:
        __atomic_store_n(&watch.stop, 1, __ATOMIC_RELAXED)
    watch.due = seconds() + 0.1


cdef inline bint interrupted(Watch *watch) noexcept nogil:
    # Whether to leave out the rest. Costs a look at the clock, in thread 0 only.
    if omp_get_thread_num() == 0 and watch.stop == 0 and seconds() >= watch.due:
        _run_handlers(watch)
    return __atomic_load_n(&watch.stop, __ATOMIC_RELAXED) != 0


cdef inline int end_watch(const Watch *watch) except -1:
    # After the loop: raises what a handler raised in it.
    return -1 if watch.stop else 0
