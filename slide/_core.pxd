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

    cdef Workspace *_workspaces(self) noexcept
    cdef dict _totals(self)
