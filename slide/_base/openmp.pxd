# OpenMP where the compiler has it, else one thread.
cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define SLIDE_OPENMP 1
    #else
    #define SLIDE_OPENMP 0
    static int omp_get_thread_num(void) { return 0; }
    static int omp_get_num_threads(void) { return 1; }
    static int omp_get_max_threads(void) { return 1; }
    #endif
    #if defined(_OPENMP) && _OPENMP >= 201811 || defined(__GNUC__) && !defined(__clang__) && \
        defined(_OPENMP) && __GNUC__ >= 9
    /* OpenMP 5: ends the threads that this thread has started; they must not be in use. */
    static int slide_end_threads(void) { return omp_pause_resource_all(omp_pause_soft); }
    #else
    static int slide_end_threads(void) { return 0; }
    #endif
    /* Waits for all threads of the parallel region, each of which must call it. */
    #if defined(_OPENMP) && !(defined(_MSC_VER) && !defined(__clang__))
    #define slide_barrier() do { _Pragma("omp barrier") } while (0)
    #elif defined(_OPENMP)
    #define slide_barrier() do { __pragma(omp barrier) } while (0)
    #else
    #define slide_barrier() ((void)0)
    #endif
    """
    const bint SLIDE_OPENMP
    int omp_get_thread_num() noexcept nogil
    int omp_get_num_threads() noexcept nogil
    int omp_get_max_threads() noexcept nogil
    int slide_end_threads() noexcept nogil
    void slide_barrier() noexcept nogil
