from slide._base.typedefs cimport int64_t, uint64_t
from slide._engine.bag cimport Share
from slide._engine.workspace cimport TrainView, Workspace

cdef void train_together(const TrainView *train, Workspace *workspaces, int64_t n_rows,
                         int64_t micro_batch, uint64_t counter, Share thread,
                         int *stop) noexcept nogil
