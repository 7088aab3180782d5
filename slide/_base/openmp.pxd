# OpenMP where the compiler has it, else one thread.
cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define SLIDE_OPENMP 1
    #else
    #define SLIDE_OPENMP 0
    static int omp_get_thread_num(void) { return 0; }
    static int omp_get_max_threads(void) { return 1; }
    #endif
    #if defined(_OPENMP) && _OPENMP >= 201811 || defined(__GNUC__) && !defined(__clang__) && \
        defined(_OPENMP) && __GNUC__ >= 9
    /* OpenMP 5: ends the threads that this thread has started; they must not be in use. */
    static int slide_end_threads(void) { return omp_pause_resource_all(omp_pause_soft); }
    #else
    static int slide_end_threads(void) { return 0; }
    #endif
    """
    const bint SLIDE_OPENMP
    int omp_get_thread_num() noexcept nogil
    int omp_get_max_threads() noexcept nogil
    int slide_end_threads() noexcept nogil
