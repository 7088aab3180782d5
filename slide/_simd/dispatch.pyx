"""Choice of the instruction set, and Python entry points to every kernel for the tests.

The environment variable ``SLIDE_SIMD`` (``scalar``, ``avx2`` or ``avx512``) forces
one instruction set; without it the widest one that the processor has is used.
"""
import os

from libc.stdlib cimport free, malloc
from libc.string cimport memset

from slide._base.typedefs cimport (
    float32_t,
    int16_t,
    int32_t,
    int64_t,
    uint16_t,
    uint32_t,
    uint64_t,
    uint8_t,
)

_NAMES = ("avx512", "avx2", "scalar")

cdef const slide_simd *_chosen = NULL


cdef const slide_simd *chosen() noexcept nogil:
    return _chosen


cdef const slide_simd *_table(str name) except NULL:
    cdef const slide_simd *table = NULL
    if name in _NAMES:
        table = slide_simd_table(name.encode())
    if table == NULL:
        raise ValueError(
            f"SLIDE_SIMD={name!r} is not an instruction set of this machine; "
            f"it has {', '.join(available())}."
        )
    return table


def available():
    """Names of the instruction sets that this machine can run, widest first."""
    return tuple(n for n in _NAMES if slide_simd_table(n.encode()) != NULL)


def instruction_set():
    """Name of the instruction set in use."""
    return _chosen.name.decode()


_chosen = _table(os.environ.get("SLIDE_SIMD") or available()[0])


# ------------------------------------------ Python entry points for tests --
# Each function runs one kernel of one table; the caller checks the shapes.

cdef const float32_t *_in(const float32_t[::1] a) noexcept:
    return &a[0] if a.shape[0] else NULL


cdef float32_t *_out(float32_t[::1] a) noexcept:
    return &a[0] if a.shape[0] else NULL


def dots(str name, const float32_t[::1] rows, int64_t ldr, const int32_t[::1] ids, bias,
         int64_t n_rows, const float32_t[::1] x, int64_t ldx, int64_t n_x, int64_t d,
         float32_t[::1] out, int64_t ldo):
    cdef const float32_t[::1] b
    cdef const float32_t *bias_ptr = NULL
    if bias is not None:
        b = bias
        bias_ptr = _in(b)
    _table(name).dots(_in(rows), ldr, &ids[0] if ids is not None and ids.shape[0] else NULL,
                      bias_ptr, n_rows, _in(x), ldx, n_x, d, _out(out), ldo)


def accumulate(str name, const float32_t[::1] coef, int64_t si, int64_t sk,
               const float32_t[::1] rows, int64_t ldr, const int32_t[::1] ids, int64_t n_rows,
               float32_t[::1] out, int64_t ldo, int64_t n_out, int64_t d):
    _table(name).accumulate(_in(coef), si, sk, _in(rows), ldr,
                            &ids[0] if ids is not None and ids.shape[0] else NULL,
                            n_rows, _out(out), ldo, n_out, d)


def spread(str name, const float32_t[::1] row, const float32_t[::1] coef,
           const int32_t[::1] ids, float32_t[::1] out, int64_t ldo):
    _table(name).spread(_in(row), _in(coef), &ids[0] if ids.shape[0] else NULL, ids.shape[0],
                        _out(out), ldo, row.shape[0])


def gather_sum(str name, const float32_t[::1] coef, const float32_t[::1] rows, int64_t ldr,
               const int32_t[::1] ids, float32_t[::1] out):
    _table(name).gather_sum(_in(coef), _in(rows), ldr, &ids[0] if ids.shape[0] else NULL,
                            ids.shape[0], _out(out), out.shape[0])


def square_sum(str name, const float32_t[::1] x):
    return _table(name).square_sum(_in(x), x.shape[0])


def momentum(str name, float32_t[::1] w, float32_t[::1] m, const float32_t[::1] g, float step,
             float b1):
    _table(name).momentum(_out(w), _out(m), _in(g), w.shape[0], step, b1)


def momentum_some(str name, float32_t[::1] w, float32_t[::1] m, const float32_t[::1] g,
                  float step, float b1):
    return _table(name).momentum_some(_out(w), _out(m), _in(g), w.shape[0], step, b1)


def take(str name, const float32_t[::1] rows, int64_t ldr, const int32_t[::1] ids, int64_t n_rows,
         const int32_t[::1] starts, int64_t d, float32_t[::1] out):
    _table(name).take(_in(rows), ldr, &ids[0] if ids is not None else NULL, n_rows, &starts[0], d,
                      _out(out))


def spread_blocks(str name, const float32_t[::1] row, const int32_t[::1] starts,
                  const float32_t[::1] coef, const int32_t[::1] ids, float32_t[::1] out,
                  int64_t ldo, int64_t d):
    _table(name).spread_blocks(_in(row), &starts[0], _in(coef), &ids[0] if ids.shape[0] else NULL,
                               ids.shape[0], _out(out), ldo, d)


def momentum_blocks(str name, float32_t[::1] w, float32_t[::1] m, const int32_t[::1] starts,
                    const float32_t[::1] g, float step, float b1):
    _table(name).momentum_blocks(_out(w), _out(m), &starts[0], _in(g), g.shape[0], step, b1)


def unpack(str name, const uint16_t[::1] rows, int64_t ldr, const int32_t[::1] ids,
           int64_t n_rows, int64_t d, float32_t[::1] out):
    _table(name).unpack(&rows[0] if rows.shape[0] else NULL, ldr,
                        &ids[0] if ids is not None and ids.shape[0] else NULL, n_rows, d,
                        _out(out))


def momentum_half(str name, uint16_t[::1] w, uint16_t[::1] m, const float32_t[::1] g, float step,
                  float b1, uint32_t seed):
    if w.shape[0]:
        _table(name).momentum_half(&w[0], &m[0], _in(g), w.shape[0], step, b1, seed)


def take_half(str name, const uint16_t[::1] rows, int64_t ldr, const int32_t[::1] ids,
              int64_t n_rows, const int32_t[::1] starts, int64_t d, float32_t[::1] out):
    _table(name).take_half(&rows[0], ldr, &ids[0] if ids is not None else NULL, n_rows, &starts[0],
                           d, _out(out))


def momentum_half_blocks(str name, uint16_t[::1] w, uint16_t[::1] m, const int32_t[::1] starts,
                         const float32_t[::1] g, float step, float b1, uint32_t seed):
    _table(name).momentum_half_blocks(&w[0], &m[0], &starts[0], _in(g), g.shape[0], step, b1, seed)


def rising_keys(str name, const float32_t[::1] x, int32_t[::1] keys):
    _table(name).rising_keys(_in(x), x.shape[0], &keys[0] if keys.shape[0] else NULL)


def reaching(str name, const int32_t[::1] keys, int32_t least):
    return _table(name).reaching(&keys[0] if keys.shape[0] else NULL, keys.shape[0], least)


def half_to_float(uint16_t half):
    return slide_half_to_float(half)


def float_to_half(float x, uint32_t noise):
    return slide_float_to_half(x, noise)


def noise(uint32_t place):
    return slide_noise(place)


cdef const slide_pairs *_pairs(str name) except NULL:
    if _table(name).pairs == NULL:
        raise ValueError(f"{name} does not multiply bfloat16 on this machine")
    return _table(name).pairs


def multiplies_bfloat16(str name):
    return _table(name).pairs != NULL


def pair_dots(str name, const uint16_t[::1] rows, int64_t ldr, const int32_t[::1] ids,
              const float32_t[::1] bias, int64_t n_rows, const uint16_t[::1] x, int64_t ldx,
              int64_t n_x, int64_t d, float32_t[::1] out, int64_t ldo):
    _pairs(name).dots(&rows[0], ldr, &ids[0] if ids is not None and ids.shape[0] else NULL,
                      _in(bias), n_rows, &x[0], ldx, n_x, d, _out(out), ldo)


def pair_accumulate(str name, const uint32_t[::1] coef, int64_t si, int64_t sk,
                    const uint32_t[:, ::1] pairs, float32_t[::1] out, int64_t ldo, int64_t n_out,
                    int64_t d):
    _pairs(name).accumulate(&coef[0], si, sk, &pairs[0, 0], pairs.shape[1], pairs.shape[0],
                            _out(out), ldo, n_out, d)


def to_halves(str name, const float32_t[:, ::1] x, int64_t d, uint16_t[:, ::1] out):
    _pairs(name).halves(&x[0, 0], x.shape[1], x.shape[0], d, &out[0, 0])


def pair_rows(str name, const float32_t[:, ::1] x, int64_t d, uint32_t[:, ::1] out):
    _pairs(name).pair_rows(&x[0, 0], x.shape[1], x.shape[0], d, &out[0, 0])


def pair_halves(str name, const uint16_t[:, ::1] rows, const int32_t[::1] ids, int64_t n_rows,
                int64_t d, uint32_t[:, ::1] out):
    _pairs(name).pair_halves(&rows[0, 0], rows.shape[1],
                             &ids[0] if ids is not None else NULL, n_rows, d, &out[0, 0])


def take_halves(str name, const uint16_t[::1] rows, int64_t ldr, const int32_t[::1] ids,
                int64_t n_rows, const int32_t[::1] starts, int64_t d, uint16_t[::1] out):
    _pairs(name).take(&rows[0], ldr, &ids[0] if ids is not None else NULL, n_rows, &starts[0], d,
                      &out[0])


def hadamard(str name, float32_t[::1] x):
    _table(name).hadamard(_out(x), x.shape[0])


def sign_bits(str name, const float32_t[::1] x, uint64_t[::1] out):
    if x.shape[0]:
        _table(name).sign_bits(&x[0], x.shape[0], &out[0])


def simhash(str name, dict parameters, int64_t n_in, int32_t n_tables, int32_t n_bits,
            const float32_t[::1] rows, int64_t ldr, const int32_t[::1] ids, int64_t n_rows,
            extra_0, extra_1, float32_t[::1] scratch, uint16_t[:, ::1] codes):
    """Run the kernel `simhash`; parameters: those of a `slide._hashing.simhash.SimHash`."""
    cdef const float32_t[:, ::1] signs = parameters["signs"]
    cdef const float32_t[:, :, ::1] later_signs = parameters["later_signs"]
    cdef const float32_t[:, ::1] extra = parameters["extra"]
    cdef const float32_t[::1] a, b
    cdef const float32_t *a_ptr = NULL
    cdef const float32_t *b_ptr = NULL
    cdef slide_simhash functions
    if extra_0 is not None:
        a, b = extra_0, extra_1
        a_ptr, b_ptr = _in(a), _in(b)
    functions.n_in, functions.n_tables, functions.n_bits = n_in, n_tables, n_bits
    functions.n_blocks, functions.n_padded = signs.shape[0], signs.shape[1]
    functions.n_rounds, functions.size = later_signs.shape[1] + 1, later_signs.shape[2]
    functions.last_size = extra.shape[1] - (functions.n_blocks - 1) * functions.size
    functions.signs, functions.later_signs = &signs[0, 0], &later_signs[0, 0, 0]
    functions.extra = &extra[0, 0]
    _table(name).simhash(&functions, _in(rows), ldr,
                         &ids[0] if ids is not None and ids.shape[0] else NULL, n_rows, a_ptr,
                         b_ptr, &scratch[0], &codes[0, 0], codes.shape[1])


def statistics(str name, const float32_t[::1] rows, int64_t ldr, const float32_t[::1] bias,
               int64_t n_rows, const float32_t[::1] mean, float32_t[::1] along,
               float32_t[::1] norm2):
    _table(name).statistics(_in(rows), ldr, _in(bias), n_rows, _in(mean), mean.shape[0],
                            _out(along), _out(norm2))


def exp_sum(str name, float32_t[::1] z, float shift):
    return _table(name).exp_sum(_out(z), z.shape[0], shift)


def vector_max(str name, const float32_t[::1] z):
    return _table(name).max(_in(z), z.shape[0])


def sigmoid(str name, float32_t[::1] z):
    return _table(name).sigmoid(_out(z), z.shape[0])


def gather_dot(str name, const float32_t[::1] row, const int32_t[::1] ids,
               const float32_t[::1] values):
    return _table(name).gather_dot(_in(row), &ids[0] if ids.shape[0] else NULL, _in(values),
                                   ids.shape[0])


def code_scores(str name, const uint64_t[::1] codes, int64_t n_words, const int32_t[::1] ids,
                const uint64_t[::1] query, const float32_t[::1] curve,
                const float32_t[::1] norm, const float32_t[::1] bias, float32_t[::1] out):
    _table(name).code_scores(&codes[0] if codes.shape[0] else NULL, n_words,
                             &ids[0] if ids is not None and ids.shape[0] else NULL, out.shape[0],
                             &query[0] if query.shape[0] else NULL, _in(curve), _in(norm),
                             _in(bias), _out(out))


def entry_bits(str name):
    return _table(name).entry_bits


def shortlist(str name, const uint8_t[:, :, ::1] codes, const float32_t[::1] scale,
              const float32_t[::1] bias, coarse, units, int64_t first, int64_t n,
              const uint8_t[::1] lut, float step, float low, float threshold, int32_t[::1] ids,
              float32_t[::1] z):
    cdef const int16_t[:, :, ::1] coarse_view
    cdef slide_codes index
    memset(&index, 0, sizeof(index))
    index.codes, index.n_bytes = &codes[0, 0, 0], codes.shape[1]
    index.scale, index.bias = _in(scale), _in(bias)
    if coarse is not None:
        coarse_view = coarse
        index.coarse = &coarse_view[0, 0, 0]
        index.scale_unit, index.bias_unit, index.bias_mid = units
    return _table(name).shortlist(&index, first, n, &lut[0], step, low, threshold, &ids[0],
                                  _out(z))


def multiplies_bytes(str name):
    return _table(name).sift != NULL


def sift(str name, dict rows, int64_t first, int64_t n, dict x, int32_t[:, ::1] ids,
         float32_t[:, ::1] most, float32_t[:, ::1] least, int64_t[::1] counts):
    """Run the kernel `sift`; rows and x: arrays by the names of slide_bytes and slide_sifter."""
    cdef const int8_t[:, :, :, ::1] codes = rows["codes"]
    cdef const float32_t[::1] scale = rows["scale"], total = rows["sum"], bias = rows["bias"]
    cdef const float32_t[::1] error = rows["error"], length = rows["length"]
    cdef const uint8_t[:, ::1] x_codes = x["codes"]
    cdef const float32_t[:, ::1] more = x["more"]
    cdef slide_bytes view
    cdef slide_sifter sifter
    cdef int64_t i
    if _table(name).sift == NULL:
        raise ValueError(f"{name} does not multiply bytes on this machine")
    view.codes, view.n_fours = &codes[0, 0, 0, 0], codes.shape[1]
    view.scale, view.sum, view.bias = &scale[0], &total[0], &bias[0]
    view.error, view.length = &error[0], &length[0]
    cdef slide_sifter *sifters = <slide_sifter *>malloc(counts.shape[0] * sizeof(slide_sifter))
    for i in range(counts.shape[0]):
        sifter.codes, sifter.scale, sifter.low = &x_codes[i, 0], x["scale"][i], x["low"][i]
        sifter.length, sifter.error = x["length"][i], x["error"][i]
        sifter.threshold, sifter.more = x["threshold"][i], NULL
        if more is not None:
            sifter.more = &more[i, 0]
        sifter.ids, sifter.most, sifter.least = &ids[i, 0], &most[i, 0], &least[i, 0]
        sifter.n = &counts[i]
        sifters[i] = sifter
    _table(name).sift(&view, first, n, sifters, counts.shape[0])
    free(sifters)
