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
    """
    const bint SLIDE_OPENMP
    int omp_get_thread_num() noexcept nogil
    int omp_get_max_threads() noexcept nogil
