"""Python entry points to kernels of the engine, for benchmarks and tests."""
import numpy as np

from slide._base.scratch cimport scratch_array
from slide._base.signals cimport end_watch, start_watch, Watch
from slide._base.typedefs cimport float32_t, float64_t, int32_t, int64_t, uint32_t
from slide._engine.dense cimport (
    allocate_halves,
    HalfScratch,
    multiplies_halves,
    ROW_BLOCK,
    rows_backward,
)
from slide._engine.layer cimport LayerView
from slide._engine.model cimport Model
from slide._engine.optimizer cimport set_solver, SolverView
from slide._engine.pruning cimport note_squares, prune_all, pruning


def pruned_gradients(float32_t[:, ::1] delta, float factor, uint32_t seed, int64_t layer):
    """Prune the gradients of a sparse layer: `slide._engine.pruning`.

    Parameters
    ----------
    delta : float32 (n, n_active), INOUT
    factor : float
    seed, layer : int
        They decide the random numbers.
    """
    cdef int64_t n = delta.shape[0], k = delta.shape[1]
    cdef float64_t[:, ::1] squares = np.empty((n, 2))
    if n * k > 0:
        note_squares(&delta[0, 0], n, k, &squares[0, 0])
        prune_all(&delta[0, 0], n * k, pruning(&squares[0, 0], n, factor, seed, layer))


cdef class OutputRows:
    """Rows of a model's output layer, for dense inputs, in one thread.

    Parameters
    ----------
    model : Model
    n_samples : int
        The most samples that one call may pass.
    settings : dict
        The settings of the solver, as `slide._core.Trainer` takes them.
    """
    cdef Model model
    cdef SolverView solver
    cdef HalfScratch halves
    cdef float32_t *gradient
    cdef float32_t *unpacked
    cdef int64_t n_samples
    cdef list _keep_alive

    def __init__(self, Model model, int64_t n_samples, dict settings):
        width = model.view.layers[model.view.n_layers - 1].w.width
        self.model = model
        self.n_samples = n_samples
        self._keep_alive = []
        set_solver(&self.solver, settings, self._keep_alive)
        allocate_halves(&self.halves, n_samples, width, self._keep_alive)
        self.gradient = <float32_t *>scratch_array(ROW_BLOCK * width, np.float32, self._keep_alive)
        self.unpacked = <float32_t *>scratch_array(ROW_BLOCK * width, np.float32, self._keep_alive)

    def update(self, const int32_t[::1] ids, const float32_t[:, ::1] delta,
               const float32_t[:, ::1] x, float32_t[:, ::1] x_delta, float learning_rate):
        """Back-propagate through some neurons and update them: `rows_backward`.

        Parameters
        ----------
        ids : int32 (n_rows,), IN
        delta : float32 (n, n_rows), IN
            Gradients of the neurons' pre-activations.
        x : float32 (n, width), IN
            Inputs of the layer.
        x_delta : float32 (n, width), INOUT
        learning_rate : float
        """
        cdef LayerView *layer = &self.model.view.layers[self.model.view.n_layers - 1]
        cdef HalfScratch *halves = &self.halves if multiplies_halves(layer) else NULL
        cdef Watch watch
        if not (delta.shape[0] == x.shape[0] == x_delta.shape[0]
                and x.shape[1] == x_delta.shape[1] == layer.w.width
                and 0 < ids.shape[0] == delta.shape[1]
                and 0 <= np.min(ids) <= np.max(ids) < layer.n_out):
            raise ValueError("ids, delta, x and x_delta must fit each other and the output layer")
        if x.shape[0] > self.n_samples:
            raise ValueError(f"x has {x.shape[0]} samples; at most {self.n_samples} were announced")
        self.solver.learning_rate, self.solver.seed = learning_rate, <uint32_t>ids[0]
        self.solver.watch = &watch
        start_watch(&watch)
        with nogil:
            rows_backward(layer, &self.solver, &ids[0], ids.shape[0], &delta[0, 0], delta.shape[1],
                          &x[0, 0], x.shape[0], &x_delta[0, 0], self.gradient, self.unpacked,
                          halves)
        end_watch(&watch)
