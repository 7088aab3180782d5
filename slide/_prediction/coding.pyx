"""One-bit codes of output neurons, as the short list scans them."""
from libc.math cimport fabsf

from slide._base.rows cimport dense_vector, Vector
from slide._base.signals cimport interrupted
from slide._base.typedefs cimport float32_t, float64_t, int32_t, int64_t, uint64_t, uint8_t
from slide._hashing.simhash cimport project
from slide._simd.dispatch cimport chosen
from slide._simd.weights cimport row_of


cdef void code_block(const Coding *coding, int64_t block, float32_t *row, float32_t *projections,
                     uint64_t *words) noexcept nogil:
    """Code, scale and bias of the BLOCK neurons of a block; the last block may have fewer.

    OUT coding.codes, scales and biases of the block. Scratch: row (n_in,), projections (size,) and
    words (size / 64,) of the thread. Cost: a transform and n_in per neuron. Thread-safe: threads
    take different blocks.
    """
    cdef int64_t i, j, d = coding.hasher.n_in, size = coding.hasher.size, place, entry
    cdef int64_t first = block * BLOCK, n = min(<int64_t>BLOCK, coding.n_neurons - first)
    cdef int entry_bits = coding.entry_bits
    cdef uint8_t *codes = coding.codes + first * coding.n_bytes
    cdef float64_t length2, total
    cdef const float32_t *w
    cdef int32_t neuron
    cdef Vector vector
    if interrupted(coding.watch):
        return
    for i in range(n):
        neuron = coding.neurons[first + i]
        w = row_of(coding.weights, neuron, row)
        vector = dense_vector(w, d)
        project(coding.hasher, 0, &vector, coding.folded_mean, projections)
        chosen().sign_bits(projections, size, words)
        length2, total = 0, 0
        for j in range(size):
            total += fabsf(projections[j])
            length2 += <float64_t>projections[j] * projections[j]
        for j in range(size):
            # An entry of six bits is a byte, an entry of four bits half a byte.
            entry, place = j // entry_bits, j % entry_bits
            if entry_bits == 4:
                entry, place = entry // 2, place + 4 * (entry & 1)
            codes[entry * BLOCK + i] |= <uint8_t>((words[j >> 6] >> (j & 63) & 1) << place)
        coding.scales[first + i] = <float32_t>(length2 / total) if total > 0 else 0
        chosen().dots(w, d, NULL, coding.weight_biases + neuron, 1, coding.query_mean, d, 1, d,
                      coding.biases + first + i, 1)
        coding.biases[first + i] -= coding.offset
