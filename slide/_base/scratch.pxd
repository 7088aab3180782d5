cdef void *scratch_array(size, dtype, list keep_alive) except NULL
