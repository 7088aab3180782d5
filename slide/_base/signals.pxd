# Ctrl-C during a parallel loop. Python runs signal handlers only in its main thread, with the GIL.
# So thread 0 of the loop, which is the thread that entered it, lets them run now and then. When a
# handler raises an exception, every thread skips the rest of the loop.
from slide._base.clock cimport seconds
from slide._base.openmp cimport omp_get_thread_num
from slide._base.typedefs cimport float64_t

cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept

cdef extern from *:
    """
    #if defined(_MSC_VER) && !defined(__clang__)
    /* MSVC loads and stores an aligned int in one piece, and does not move volatile accesses. */
    #define slide_load(ptr) (*(const volatile int *)(ptr))
    #define slide_store(ptr, value) ((void)(*(volatile int *)(ptr) = (value)))
    #else
    #define slide_load(ptr) __atomic_load_n(ptr, __ATOMIC_RELAXED)
    #define slide_store(ptr, value) __atomic_store_n(ptr, value, __ATOMIC_RELAXED)
    #endif
    """
    int slide_load(const int *ptr) noexcept nogil
    void slide_store(int *ptr, int value) noexcept nogil

# One for each loop, shared by the threads of the loop.
cdef struct Watch:
    float64_t due              # when thread 0 looks at signals again, in seconds
    int stop                   # a handler has raised


cdef inline void start_watch(Watch *watch) noexcept nogil:
    # Call it before the loop. A loop that ends within a tenth of a second never waits for the GIL.
    watch.stop = 0
    watch.due = seconds() + 0.1


cdef inline void _run_handlers(Watch *watch) noexcept with gil:
    if PyErr_CheckSignals() != 0:
        slide_store(&watch.stop, 1)
    watch.due = seconds() + 0.1


cdef inline bint interrupted(Watch *watch) noexcept nogil:
    # Whether to skip the rest of the loop. Cost: reading the clock, in thread 0 only.
    if omp_get_thread_num() == 0 and watch.stop == 0 and seconds() >= watch.due:
        _run_handlers(watch)
    return slide_load(&watch.stop) != 0


cdef inline int end_watch(const Watch *watch) except -1:
    # Call it after the loop: it raises the exception that a handler raised during the loop.
    return -1 if watch.stop else 0
