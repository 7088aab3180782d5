/* Rows of bfloat16, a float's upper half: they are read as floats, and moved with stochastic
 * rounding. The kernels are written once over the macros of tables.c, as in kernels.h. Their
 * contracts stand in simd.h. */

FN void NAME(unpack)(const uint16_t *rows, int64_t ldr, const int32_t *ids, int64_t n_rows,
                     int64_t d, float *out)
{
    for (int64_t i = 0; i < n_rows; i++) {
        const uint16_t *r = rows + (ids ? (int64_t)ids[i] : i) * ldr;
        float *o = out + i * d;
        int64_t k = 0;
        for (; k + VW <= d; k += VW)
            V_STORE(o + k, V_LOAD_HALF(r + k));
        for (; k < d; k++)
            o[k] = slide_half_to_float(r[k]);
    }
}

/* 32 noise bits for each lane, spread evenly over a row: Knuth's multiplicative hash, with its
 * upper half folded onto its lower half. */
FN_INLINE VI NAME(noise)(VI x)
{
    x = VI_MUL(x, VI_SET1(0x9e3779b1));
    return VI_XOR(x, VI_SHIFT(x, 16));
}

/* Move VW elements from `place` on. The noise is uniform below one unit of the upper half, so that
 * the upper half of x + noise is x on average. */
FN_INLINE void NAME(momentum_half_step)(uint16_t *w, uint16_t *m, const float *g, V step, V b1,
                                        V c1, VI place)
{
    const VI bits = NAME(noise)(place);
    const V mv = V_FMA(b1, V_LOAD_HALF(m), V_MUL(c1, V_LOAD(g)));
    const V wv = V_SUB(V_LOAD_HALF(w), V_MUL(step, mv));
    V_STORE_UPPER(m, VI_ADD(V_BITS(mv), VI_SHIFT(bits, 16)));
    V_STORE_UPPER(w, VI_ADD(V_BITS(wv), VI_AND(bits, VI_SET1(0xffff))));
}

FN void NAME(momentum_half)(uint16_t *w, uint16_t *m, const float *g, int64_t n, float step,
                            float b1, uint32_t seed)
{
    const V s = V_SET1(step), u1 = V_SET1(b1), c1 = V_SET1(1.0f - b1);
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        NAME(momentum_half_step)(w + i, m + i, g + i, s, u1, c1,
                                 VI_ADD(VI_SET1(seed + (uint32_t)i), VI_LANES()));
    if (i < n) {
        uint16_t wn[VW] = {0}, mn[VW] = {0};
        float gn[VW] = {0};
        const size_t left = (size_t)(n - i);
        memcpy(wn, w + i, left * sizeof(*w));
        memcpy(mn, m + i, left * sizeof(*m));
        memcpy(gn, g + i, left * sizeof(*g));
        NAME(momentum_half_step)(wn, mn, gn, s, u1, c1,
                                 VI_ADD(VI_SET1(seed + (uint32_t)i), VI_LANES()));
        memcpy(w + i, wn, left * sizeof(*w));
        memcpy(m + i, mn, left * sizeof(*m));
    }
}

FN void NAME(take_half)(const uint16_t *rows, int64_t ldr, const int32_t *ids, int64_t n_rows,
                        const int32_t *starts, int64_t d, float *out)
{
    for (int64_t i = 0; i < n_rows; i++) {
        const uint16_t *row = rows + (ids ? (int64_t)ids[i] : i) * ldr;
        float *o = out + i * d;
        int64_t b = 0;
        for (; (b + 1) * SLIDE_BLOCK <= d; b++)
            for (int k = 0; k < SLIDE_BLOCK; k += VW)
                V_STORE(o + b * SLIDE_BLOCK + k, V_LOAD_HALF(row + starts[b] + k));
        for (int64_t k = b * SLIDE_BLOCK; k < d; k++)
            o[k] = slide_half_to_float(row[starts[b] + k - b * SLIDE_BLOCK]);
    }
}

FN void NAME(momentum_half_blocks)(uint16_t *w, uint16_t *m, const int32_t *starts, const float *g,
                                   int64_t d, float step, float b1, uint32_t seed)
{
    const V s = V_SET1(step), u1 = V_SET1(b1), c1 = V_SET1(1.0f - b1);
    int64_t b = 0;
    for (; (b + 1) * SLIDE_BLOCK <= d; b++)
        for (int k = 0; k < SLIDE_BLOCK; k += VW) {
            const int32_t c = starts[b] + k;
            NAME(momentum_half_step)(w + c, m + c, g + b * SLIDE_BLOCK + k, s, u1, c1,
                                     VI_ADD(VI_SET1(seed + (uint32_t)c), VI_LANES()));
        }
    if (b * SLIDE_BLOCK < d)
        NAME(momentum_half)(w + starts[b], m + starts[b], g + b * SLIDE_BLOCK,
                            d - b * SLIDE_BLOCK, step, b1, seed + (uint32_t)starts[b]);
}

#undef VI
#undef VI_SET1
#undef VI_LANES
#undef VI_ADD
#undef VI_XOR
#undef VI_AND
#undef VI_MUL
#undef VI_SHIFT
#undef V_BITS
#undef V_LOAD_HALF
#undef V_STORE_UPPER
