# Ctrl-C during a parallel loop. Python's signal handlers run in its main thread and with the GIL
# only: the thread that entered the loop, number 0 of its team, lets them now and then. When one
# raises, every thread leaves out what is left of the loop.
from slide._base.clock cimport seconds
from slide._base.openmp cimport omp_get_thread_num
from slide._base.typedefs cimport float64_t

cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept

cdef extern from *:
    """
    #if defined(_MSC_VER) && !defined(__clang__)
    /* Its loads and stores of an aligned int are whole, and volatile ones stay where they are. */
    #define slide_load(ptr) (*(const volatile int *)(ptr))
    #define slide_store(ptr, value) ((void)(*(volatile int *)(ptr) = (value)))
    #else
    #define slide_load(ptr) __atomic_load_n(ptr, __ATOMIC_RELAXED)
    #define slide_store(ptr, value) __atomic_store_n(ptr, value, __ATOMIC_RELAXED)
    #endif
    """
    int slide_load(const int *ptr) noexcept nogil
    void slide_store(int *ptr, int value) noexcept nogil

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
        slide_store(&watch.stop, 1)
    watch.due = seconds() + 0.1


cdef inline bint interrupted(Watch *watch) noexcept nogil:
    # Whether to leave out the rest. Costs a look at the clock, in thread 0 only.
    if omp_get_thread_num() == 0 and watch.stop == 0 and seconds() >= watch.due:
        _run_handlers(watch)
    return slide_load(&watch.stop) != 0


cdef inline int end_watch(const Watch *watch) except -1:
    # After the loop: raises what a handler raised in it.
    return -1 if watch.stop else 0
