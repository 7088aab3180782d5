"""Directions of a layer's inputs along which pre-activations are computed exactly.

Inputs vary far more along a few directions than along all others: 4 of the 784 directions of
Fashion-MNIST hold half of the variance. So vectors are split along orthonormal directions v_j:

    w.x = sum_j (v_j.w) (v_j.x) + w'.x'

The sum is computed exactly. Only the angle between the rests w' and x' is estimated from hash
codes, with an error proportional to |w'| |x'|. The mean of the inputs is subtracted in the same
way. Hashing is linear until it takes signs. So the code of a rest is computed by hashing the whole
vector with another mean.
"""
import numpy as np

from libc.math cimport sqrtf
from libc.string cimport memcpy, memset

from slide._base.rows cimport Vector
from slide._base.typedefs cimport float32_t, int64_t
from slide._hashing.hasher cimport Hasher
from slide._simd.dispatch cimport chosen

from slide._base.memory import aligned_copy, aligned_zeros
from slide._base.named_arrays import fill
from slide._base.products import rows_dot


cdef float32_t split_query(const DirectionsView *view, const Vector *x, float32_t length,
                           const float32_t *folded_mean, float32_t *coordinates,
                           float32_t *own_folded_mean) noexcept nogil:
    """Split x - mean into coordinates along the directions and a rest; returns the rest's length.

    IN x, length = |x - mean|, folded_mean (size,); OUT coordinates (n,) and own_folded_mean
    (size,), the mean with which hashing x gives the code of the rest. Cost: n (x.size + size).
    """
    cdef int64_t j
    cdef float32_t rest = length * length
    if x.ids == NULL:
        chosen().dots(view.vectors, view.n_in, NULL, NULL, view.n, x.values, view.n_in, 1,
                      view.n_in, coordinates, view.n)
    for j in range(view.n):
        if x.ids != NULL:
            coordinates[j] = chosen().gather_dot(view.vectors + j * view.n_in, x.ids, x.values,
                                                 x.size)
        coordinates[j] -= view.at_mean[j]
        rest -= coordinates[j] * coordinates[j]
    memcpy(own_folded_mean, folded_mean, view.size * sizeof(float32_t))
    chosen().accumulate(coordinates, 0, 1, view.folded, view.size, NULL, view.n, own_folded_mean,
                        view.size, 1, view.size)
    return sqrtf(rest) if rest > 0 else 0


cdef void add_directions(const DirectionsView *view, const float32_t *coordinates,
                         const float32_t *biases, float32_t *offsets) noexcept nogil:
    """Add up the exact part of every pre-activation.

    IN coordinates (n,) of the query, biases (n_neurons,) = w.mean + b; OUT offsets (n_neurons,).
    Cost: n n_neurons.
    """
    memcpy(offsets, biases, view.n_neurons * sizeof(float32_t))
    chosen().accumulate(coordinates, 0, 1, view.neurons, view.n_neurons, NULL, view.n, offsets,
                        view.n_neurons, 1, view.n_neurons)


cdef void split_neuron(const DirectionsView *view, const float32_t *w, int64_t neuron,
                       float32_t *coordinates, float32_t *own_folded_mean,
                       float32_t *norm2) noexcept nogil:
    """Split the weights w (n_in,) of one neuron, and keep its coordinates in the view.

    OUT coordinates (n,) and own_folded_mean (size,), the mean with which hashing w gives the code
    of the rest; INOUT norm2: |w|^2 on entry, the squared length of the rest on return. Cost: n
    (n_in + size). Threads take different neurons.
    """
    cdef int64_t j
    chosen().dots(view.vectors, view.n_in, NULL, NULL, view.n, w, view.n_in, 1, view.n_in,
                  coordinates, view.n)
    memset(own_folded_mean, 0, view.size * sizeof(float32_t))
    chosen().accumulate(coordinates, 0, 1, view.folded, view.size, NULL, view.n, own_folded_mean,
                        view.size, 1, view.size)
    for j in range(view.n):
        view.neurons[j * view.n_neurons + neuron] = coordinates[j]
        norm2[0] -= coordinates[j] * coordinates[j]
    norm2[0] = max(norm2[0], <float32_t>0)


cdef class Directions:
    """Directions of a layer's inputs.

    Parameters
    ----------
    vectors : float32 (n, n_in)
        Orthonormal rows, at least one.
    n_neurons : int
    """

    def __init__(self, vectors, int64_t n_neurons):
        self.vectors = aligned_copy(vectors)
        self.neurons = aligned_zeros((len(vectors), n_neurons))

    cdef set_hasher(self, Hasher hasher):
        """Fit the directions to new hash functions; the caller must then call `set_mean`."""
        cdef const float32_t[:, ::1] vectors = self.vectors
        cdef const float32_t[:, ::1] folded = aligned_copy(
            np.stack([hasher.fold(vector) for vector in self.vectors]))
        cdef float32_t[:, ::1] neurons = self.neurons
        self._folded = np.asarray(folded)
        self.view.n, self.view.n_in = vectors.shape[0], vectors.shape[1]
        self.view.n_neurons, self.view.size = neurons.shape[1], folded.shape[1]
        self.view.vectors, self.view.folded = &vectors[0, 0], &folded[0, 0]
        self.view.neurons = &neurons[0, 0]

    cdef set_mean(self, mean):
        """Fit the directions to a new mean of the queries."""
        cdef const float32_t[::1] at_mean = rows_dot(self.vectors, mean)
        self._at_mean = np.asarray(at_mean)
        self.view.at_mean = &at_mean[0]

    def named_arrays(self):
        """The directions and the coordinates of the neurons: arrays by name."""
        return {"vectors": self.vectors, "neurons": self.neurons}

    def set_named_arrays(self, arrays):
        """Take over arrays of the same shapes; the caller must then call `set_hasher`."""
        fill(self.named_arrays(), arrays)
