"""Losses of one sample over its active output neurons, and their gradients.

Every function works in one thread, on arrays that belong to it. `slide._network.losses` has the
other half of a loss: prior, probabilities, threshold, calibration.
"""
from libc.math cimport logf
from libc.string cimport memset

from slide._base.typedefs cimport float32_t, float64_t, int32_t, int64_t
from slide._simd.dispatch cimport chosen

cdef enum:
    SOFTMAX
    SIGMOID

# Names of the losses, and the kernels' numbers for them.
LOSSES = {"softmax": SOFTMAX, "sigmoid": SIGMOID}


cdef float64_t loss_gradient(int loss, float32_t *z, int64_t n, int64_t n_exact,
                             float32_t tail_weight, const int32_t *labels, int64_t n_labels,
                             float32_t scale) noexcept nogil:
    """Compute the loss of one sample over its active neurons; z becomes scale * dL/dz.

    INOUT z (n,), on entry the pre-activations of the active neurons; IN labels (n_labels,), places
    of the sample's labels in z. Each of the first n_exact neurons stands for itself alone. The
    other neurons are the sampled tail: each of them stands for tail_weight neurons. Cost: O(n).
    """
    if loss == SOFTMAX:
        return _softmax_gradient(z, n, n_exact, tail_weight, labels, n_labels, scale)
    return _sigmoid_gradient(z, n, n_exact, tail_weight, labels, n_labels, scale)


cdef float64_t _softmax_gradient(float32_t *z, int64_t n, int64_t n_exact,
                                 float32_t tail_weight, const int32_t *labels,
                                 int64_t n_labels, float32_t scale) noexcept nogil:
    """Cross-entropy of the softmax over one sample's active neurons.

    p = softmax(z + log weight), where the first n_exact neurons have weight 1 and the neurons of
    the tail have weight tail_weight (Mussmann et al., UAI 2017, section 3.2). The targets are 1 /
    n_labels at the places `labels`. A sample without labels has no loss and no gradient.
    """
    cdef int64_t i
    cdef float32_t shift, share, log_weight
    cdef float64_t total, loss = 0
    if n_labels == 0:
        memset(z, 0, n * sizeof(float32_t))
        return 0
    if n > n_exact:
        log_weight = logf(tail_weight)
        for i in range(n_exact, n):
            z[i] += log_weight
    share = 1.0 / <float32_t>n_labels
    for i in range(n_labels):
        loss -= share * z[labels[i]]
    shift = -chosen().max(z, n)
    total = chosen().exp_sum(z, n, shift)
    loss += logf(<float32_t>total) - shift
    for i in range(n):
        z[i] *= <float32_t>(scale / total)
    for i in range(n_labels):
        z[labels[i]] -= share * scale
    return loss


cdef float64_t _sigmoid_gradient(float32_t *z, int64_t n, int64_t n_exact,
                                 float32_t tail_weight, const int32_t *labels,
                                 int64_t n_labels, float32_t scale) noexcept nogil:
    """Sum of the binary cross-entropies of one sample's active neurons.

    log(tail_weight) is added to the pre-activation of a neuron of the tail, as in the softmax.
    While the probability p of the neuron is small, this has the effect of multiplying the gradient
    by tail_weight. But the gradient never exceeds 1. With a plain importance weight, one unlucky
    draw would push tail_weight times as hard as a label.
    """
    cdef int64_t i
    cdef float64_t loss = 0
    cdef float32_t log_weight = logf(tail_weight)
    for i in range(n_exact, n):
        z[i] += log_weight
    for i in range(n_labels):
        loss -= z[labels[i]]
    loss += chosen().sigmoid(z, n)
    for i in range(n):
        z[i] *= scale
    for i in range(n_labels):
        z[labels[i]] -= scale
    return loss
