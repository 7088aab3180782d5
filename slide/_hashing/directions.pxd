from slide._base.rows cimport Vector
from slide._base.typedefs cimport float32_t, int64_t
from slide._hashing.hasher cimport Hasher

# Orthonormal directions of a layer's inputs, and the coordinates of its neurons along them.
cdef struct DirectionsView:
    int64_t n                  # directions
    int64_t n_in
    int64_t n_neurons
    int64_t size               # of a folded vector
    const float32_t *vectors   # (n, n_in)
    const float32_t *folded    # (n, size) the vectors as `Hasher.fold` folds them
    const float32_t *at_mean   # (n,) coordinates of the queries' mean
    float32_t *neurons         # (n, n_neurons) coordinates of the neurons

cdef float32_t split_query(const DirectionsView *view, const Vector *x, float32_t length,
                           const float32_t *folded_mean, float32_t *coordinates,
                           float32_t *own_folded_mean) noexcept nogil

cdef void add_directions(const DirectionsView *view, const float32_t *coordinates,
                         const float32_t *biases, float32_t *offsets) noexcept nogil

cdef void split_neuron(const DirectionsView *view, const float32_t *w, int64_t neuron,
                       float32_t *coordinates, float32_t *own_folded_mean,
                       float32_t *norm2) noexcept nogil

cdef class Directions:
    cdef DirectionsView view
    cdef readonly object vectors, neurons
    cdef object _folded, _at_mean
    cdef set_hasher(self, Hasher hasher)
    cdef set_mean(self, mean)
