from slide._base.typedefs cimport int64_t
from slide._engine.model cimport Model
from slide._engine.workspace cimport TrainView, Workspace

cdef class Trainer:
    cdef Model model
    cdef TrainView train
    cdef readonly int64_t micro_batch
    cdef readonly object hard
    cdef int n_threads
    cdef object _keep_alive
    cdef object _workspace_memory

    cdef Workspace *_workspace(self, int64_t thread) noexcept
    cdef int _allocate(self, Workspace *ws, bint is_dense, max_labels, max_pairs) except -1
