/* Kernels that hash many rows side by side, over the vector macros of tables.c. A lane is a row, so
 * that transforms, signs and the cutting of codes work on whole vectors without a shuffle.
 * V_TRANSPOSE turns VW vectors of one row each into vectors of one coordinate each. VI is a vector
 * of VW integers; VI_TAKE sets `bit` where v is positive. Contracts stand in simd.h.
 *
 * Additions and products come in the same order as in `slide._hashing.simhash`, and each of them is
 * rounded (setup.py forbids contraction). So a row and an equal query get the same codes. */

#if VW == 16
#define FUSED 16 /* vectors that one pass of a transform holds in registers */
#else
#define FUSED 8
#endif

FN_INLINE void NAME(stage)(const int r, const int s, V *v)
{
#pragma GCC unroll 16
    for (int k = 0; k < r; k++)
        if (!(k & s) && s < r) {
            const V a = v[k], b = v[k + s];
            v[k] = V_ADD(a, b);
            v[k + s] = V_SUB(a, b);
        }
}

/* Do log2(r) stages of the Hadamard transform, the first of them over a distance of h. `in` is read
 * and x (n, VW) is written; both may be the same. Where signs (n,) are not NULL, they multiply the
 * values of `in`. */
FN_INLINE void NAME(stages)(const int r, const float *in, const float *signs, float *x,
                            int64_t h, int64_t n)
{
    for (int64_t i = 0; i < n; i += r * h)
        for (int64_t j = i; j < i + h; j++) {
            V v[FUSED];
#pragma GCC unroll 16
            for (int k = 0; k < r; k++) {
                v[k] = V_LOAD(in + (j + k * h) * VW);
                if (signs)
                    v[k] = V_MUL(v[k], V_SET1(signs[j + k * h]));
            }
            NAME(stage)(r, 1, v);
            NAME(stage)(r, 2, v);
            NAME(stage)(r, 4, v);
            NAME(stage)(r, 8, v);
#pragma GCC unroll 16
            for (int k = 0; k < r; k++)
                V_STORE(x + (j + k * h) * VW, v[k]);
        }
}

/* Do the last log2(n / h) stages, where n / h is less than FUSED. */
FN_INLINE void NAME(finish)(float *x, int64_t h, int64_t n)
{
    if (n / h == 2)
        NAME(stages)(2, x, NULL, x, h, n);
    if (n / h == 4)
        NAME(stages)(4, x, NULL, x, h, n);
    if (n / h == 8 && FUSED > 8)
        NAME(stages)(8, x, NULL, x, h, n);
}

/* Compute x = H (signs * in), for n >= FUSED values per lane. `in` may be x, and signs may be NULL.
 * The distances of the first passes are literals: for other distances, compilers keep the addresses
 * in memory. */
FN void NAME(transform)(const float *in, const float *signs, float *x, int64_t n)
{
    int64_t h = FUSED * FUSED;
    if (signs)
        NAME(stages)(FUSED, in, signs, x, 1, n);
    else
        NAME(stages)(FUSED, in, NULL, x, 1, n);
    if (n < h) {
        NAME(finish)(x, FUSED, n);
        return;
    }
    NAME(stages)(FUSED, x, NULL, x, FUSED, n);
    for (; n / h >= FUSED; h *= FUSED)
        NAME(stages)(FUSED, x, NULL, x, h, n);
    NAME(finish)(x, h, n);
}

/* x[i] += signs[i] in[i] for n values per lane, or x[i] = signs[i] in[i] where `first` is set. `in`
 * may be x. */
FN_INLINE void NAME(add_signed)(const float *in, const float *signs, float *x, int64_t n,
                                const int first)
{
    for (int64_t i = 0; i < n; i++) {
        const V v = V_MUL(V_LOAD(in + i * VW), V_SET1(signs[i]));
        V_STORE(x + i * VW, first ? v : V_ADD(V_LOAD(x + i * VW), v));
    }
}

/* Load coordinates c..c + n of the VW rows r, at most `size`, into out (size, VW); zeros follow. */
FN void NAME(load_lanes)(const float *const *r, int64_t c, int64_t n, float *out,
                         int64_t size)
{
    for (int64_t i = 0; i < size; i += VW) {
        V t[VW];
        if (i + VW <= n) {
            for (int k = 0; k < VW; k++)
                t[k] = V_LOAD(r[k] + c + i);
            V_TRANSPOSE(t);
        } else if (i < n) {
            for (int k = 0; k < VW; k++)
                t[k] = V_LOADN(r[k] + c + i, (int)(n - i));
            V_TRANSPOSE(t);
        } else
            for (int k = 0; k < VW; k++)
                t[k] = V_ZERO();
        for (int k = 0; k < VW; k++)
            V_STORE(out + (i + k) * VW, t[k]);
    }
}

/* Where the codes of VW rows are written to, and how many bits and tables are left. */
typedef struct {
    VI code, bit;
    int32_t n_left; /* bits that this code still needs */
    int32_t n_tables; /* still to come, this one included */
    int n;          /* rows */
    uint16_t *codes;
    int64_t ldc;
} NAME(cut_t);

/* Add the sign bits of m more projections x (m, VW) + a e0 + b e1 to the codes. */
FN void NAME(cut)(NAME(cut_t) *cut, const slide_simhash *hash, const float *x, V a, V b,
                  const float *e0, const float *e1, int64_t m)
{
    VI code = cut->code, bit = cut->bit;
    for (int64_t p = 0; p < m && cut->n_tables > 0;) {
        const int64_t n = m - p < cut->n_left ? m - p : cut->n_left;
        for (const int64_t end = p + n; p < end; p++) {
            const V extras = V_ADD(V_MUL(a, V_SET1(e0[p])), V_MUL(b, V_SET1(e1[p])));
            code = VI_TAKE(code, V_ADD(V_LOAD(x + p * VW), extras), bit);
            bit = VI_DOUBLE(bit);
        }
        cut->n_left -= (int32_t)n;
        if (cut->n_left == 0) {
            uint16_t part[VW];
            VI_STORE16(part, code);
            if (cut->n == VW)
                VI_STORE16(cut->codes, code);
            else
                for (int k = 0; k < cut->n; k++)
                    cut->codes[k] = part[k];
            cut->codes += cut->ldc;
            cut->n_tables--;
            cut->n_left = hash->n_bits;
            code = VI_SET1(0);
            bit = VI_SET1(1);
        }
    }
    cut->code = code;
    cut->bit = bit;
}

FN void NAME(simhash)(const slide_simhash *hash, const float *rows, int64_t ldr,
                      const int32_t *ids, int64_t n_rows, const float *extra_0,
                      const float *extra_1, float *scratch, uint16_t *codes, int64_t ldc)
{
    const int64_t size = hash->size, n_in = hash->n_in;
    const int64_t n_projections = (hash->n_blocks - 1) * size + hash->last_size;
    float *lanes = scratch, *x = scratch + size * VW;
    for (int64_t i = 0; i < n_rows; i += VW) {
        const int n = n_rows - i < VW ? (int)(n_rows - i) : VW;
        const float *r[VW];
        float part_0[VW], part_1[VW];
        for (int k = 0; k < VW; k++) { /* the last row is repeated */
            const int64_t row = i + (k < n ? k : n - 1);
            r[k] = rows + (ids ? ids[row] : row) * ldr;
            part_0[k] = extra_0 ? extra_0[row] : 0.0f;
            part_1[k] = extra_1 ? extra_1[row] : 0.0f;
        }
        const V a = V_LOAD(part_0), b = V_LOAD(part_1);
        NAME(cut_t) cut = {VI_SET1(0), VI_SET1(1), hash->n_bits, hash->n_tables, n,
                           codes + i, ldc};
        for (int64_t block = 0; block < hash->n_blocks; block++) {
            const int last = block == hash->n_blocks - 1;
            const float *signs = hash->signs + block * hash->n_padded, *in = lanes;
            const float *later = hash->later_signs + block * (hash->n_rounds - 1) * size;
            if (n_in > size) {
                for (int64_t c = 0; c < n_in; c += size) {
                    NAME(load_lanes)(r, c, n_in - c, lanes, size);
                    if (c == 0)
                        NAME(add_signed)(lanes, signs, x, size, 1);
                    else
                        NAME(add_signed)(lanes, signs + c, x, size, 0);
                }
                in = x;
                signs = NULL;
            } else if (block == 0)
                NAME(load_lanes)(r, 0, n_in, lanes, size);
            for (int64_t round = 1; round < hash->n_rounds; round++) {
                NAME(transform)(in, signs, x, size);
                in = x;
                signs = later + (round - 1) * size;
            }
            const int64_t m = last ? hash->last_size : size;
            if (m < size) {
                NAME(add_signed)(x, signs, x, m, 1);
                for (int64_t c = m; c < size; c += m)
                    NAME(add_signed)(x + c * VW, signs + c, x, m, 0);
                signs = NULL;
            }
            NAME(transform)(x, signs, x, m);
            NAME(cut)(&cut, hash, x, a, b, hash->extra + block * size,
                      hash->extra + n_projections + block * size, m);
        }
    }
}

/* ---------------------------------------------------------- statistics -- */

/* Every sum has one accumulator and the same order of summation as in `dots`. */
FN_INLINE void NAME(statistics_tile)(const int mr, const float *rows, int64_t ldr,
                                     const float *bias, const float *mean, int64_t d,
                                     float *out, float *norm2)
{
    const float none[MR] = {0.0f};
    V along[MR], square[MR];
    int64_t k = 0;
    for (int i = 0; i < mr; i++)
        along[i] = square[i] = V_ZERO();
    for (; k < d; k += VW) {
        const int left = d - k < VW ? (int)(d - k) : VW;
        const V m = left == VW ? V_LOAD(mean + k) : V_LOADN(mean + k, left);
        for (int i = 0; i < mr; i++) {
            const float *r = rows + i * ldr + k;
            const V rv = left == VW ? V_LOAD(r) : V_LOADN(r, left);
            along[i] = V_FMA(rv, m, along[i]);
            square[i] = V_FMA(rv, rv, square[i]);
        }
    }
    if (mr == MR) {
        V_SUM4_STORE(out, along[0], along[1 % mr], along[2 % mr], along[3 % mr], bias);
        V_SUM4_STORE(norm2, square[0], square[1 % mr], square[2 % mr], square[3 % mr], none);
    } else {
        out[0] = V_SUM(along[0]) + bias[0];
        norm2[0] = V_SUM(square[0]);
    }
}

FN void NAME(statistics)(const float *rows, int64_t ldr, const float *bias, int64_t n_rows,
                         const float *mean, int64_t d, float *out, float *norm2)
{
    int64_t i = 0;
    for (; i + MR <= n_rows; i += MR)
        NAME(statistics_tile)(MR, rows + i * ldr, ldr, bias + i, mean, d, out + i, norm2 + i);
    for (; i < n_rows; i++)
        NAME(statistics_tile)(1, rows + i * ldr, ldr, bias + i, mean, d, out + i, norm2 + i);
}

#undef FUSED
#undef V_TRANSPOSE
#undef VI_DOUBLE
#undef VI_TAKE
#undef VI_STORE16
