/* Kernels that read or move one row of weights: the whole row, or some of its columns in blocks.
 * They are written once over the macros of tables.c, as in kernels.h. Contracts stand in simd.h. */

/* ---------------------------------------------------------- whole rows -- */

FN void NAME(spread)(const float *row, const float *coef, const int32_t *ids, int64_t n,
                     float *out, int64_t ldo, int64_t d)
{
    for (int64_t k = 0; k < n; k++) {
        float *o = out + (int64_t)ids[k] * ldo;
        const V c = V_SET1(coef[k]);
        int64_t i = 0;
        for (; i + VW <= d; i += VW)
            V_STORE(o + i, V_FMA(c, V_LOAD(row + i), V_LOAD(o + i)));
        if (i < d)
            V_STOREN(o + i, (int)(d - i),
                     V_FMA(c, V_LOADN(row + i, (int)(d - i)), V_LOADN(o + i, (int)(d - i))));
    }
}

FN_INLINE void NAME(momentum_step)(float *w, float *m, const float *g, const int n,
                                   V step, V b1, V c1)
{
    const V mv = V_FMA(b1, V_LOADN(m, n), V_MUL(c1, V_LOADN(g, n)));
    V_STOREN(m, n, mv);
    V_STOREN(w, n, V_SUB(V_LOADN(w, n), V_MUL(step, mv)));
}

FN void NAME(momentum)(float *w, float *m, const float *g, int64_t n, float step,
                       float b1)
{
    const V s = V_SET1(step), u1 = V_SET1(b1), c1 = V_SET1(1.0f - b1);
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        NAME(momentum_step)(w + i, m + i, g + i, VW, s, u1, c1);
    if (i < n)
        NAME(momentum_step)(w + i, m + i, g + i, (int)(n - i), s, u1, c1);
}

/* Where g is zero, w and m keep their bits. The square of a g that is no number is not small. */
FN_INLINE int NAME(momentum_some_step)(float *w, float *m, const float *g, const int n,
                                       V step, V b1, V c1)
{
    const V gv = V_LOADN(g, n), w0 = V_LOADN(w, n), m0 = V_LOADN(m, n);
    const V zero = V_SUB(V_SET1(1e-37f), V_MUL(gv, gv));
    const V m1 = V_FMA(b1, m0, V_MUL(c1, gv));
    V_STOREN(m, n, V_SELECT_POSITIVE(zero, m0, m1));
    V_STOREN(w, n, V_SELECT_POSITIVE(zero, w0, V_SUB(w0, V_MUL(step, m1))));
    return n - (int)POPCOUNT((uint64_t)V_POSITIVE(zero) & ((1ULL << n) - 1));
}

FN int64_t NAME(momentum_some)(float *w, float *m, const float *g, int64_t n, float step,
                               float b1)
{
    const V s = V_SET1(step), u1 = V_SET1(b1), c1 = V_SET1(1.0f - b1);
    int64_t i = 0, moved = 0;
    for (; i + VW <= n; i += VW)
        moved += NAME(momentum_some_step)(w + i, m + i, g + i, VW, s, u1, c1);
    if (i < n)
        moved += NAME(momentum_some_step)(w + i, m + i, g + i, (int)(n - i), s, u1, c1);
    return moved;
}

/* -------------------------------------------------------------- blocks -- */

FN void NAME(take)(const float *rows, int64_t ldr, const int32_t *ids, int64_t n_rows,
                   const int32_t *starts, int64_t d, float *out)
{
    for (int64_t i = 0; i < n_rows; i++) {
        const float *row = rows + (ids ? (int64_t)ids[i] : i) * ldr;
        float *o = out + i * d;
        int64_t b = 0;
        for (; (b + 1) * SLIDE_BLOCK <= d; b++)
            for (int k = 0; k < SLIDE_BLOCK; k += VW)
                V_STORE(o + b * SLIDE_BLOCK + k, V_LOAD(row + starts[b] + k));
        for (int64_t k = b * SLIDE_BLOCK; k < d; k++)
            o[k] = row[starts[b] + k - b * SLIDE_BLOCK];
    }
}

/* nb whole blocks of the row, from block b on. */
FN_INLINE void NAME(spread_tile)(const int nb, const float *row, const int32_t *starts,
                                 const float *coef, const int32_t *ids, int64_t n, float *out,
                                 int64_t ldo)
{
    V v[4 * SLIDE_BLOCK / VW];
    for (int b = 0; b < nb; b++)
        for (int k = 0; k < SLIDE_BLOCK / VW; k++)
            v[b * (SLIDE_BLOCK / VW) + k] = V_LOAD(row + starts[b] + k * VW);
    for (int64_t i = 0; i < n; i++) {
        float *o = out + (int64_t)ids[i] * ldo;
        const V c = V_SET1(coef[i]);
        for (int k = 0; k < nb * SLIDE_BLOCK / VW; k++)
            V_STORE(o + k * VW, V_FMA(c, v[k], V_LOAD(o + k * VW)));
    }
}

FN void NAME(spread_blocks)(const float *row, const int32_t *starts, const float *coef,
                            const int32_t *ids, int64_t n, float *out, int64_t ldo, int64_t d)
{
    const int64_t whole = d / SLIDE_BLOCK;
    int64_t b = 0;
    for (; b + 4 <= whole; b += 4)
        NAME(spread_tile)(4, row, starts + b, coef, ids, n, out + b * SLIDE_BLOCK, ldo);
    for (; b < whole; b++)
        NAME(spread_tile)(1, row, starts + b, coef, ids, n, out + b * SLIDE_BLOCK, ldo);
    if (b * SLIDE_BLOCK < d)
        NAME(spread)(row + starts[b], coef, ids, n, out + b * SLIDE_BLOCK, ldo,
                     d - b * SLIDE_BLOCK);
}

FN void NAME(momentum_blocks)(float *w, float *m, const int32_t *starts, const float *g,
                              int64_t d, float step, float b1)
{
    const V s = V_SET1(step), u1 = V_SET1(b1), c1 = V_SET1(1.0f - b1);
    int64_t b = 0;
    for (; (b + 1) * SLIDE_BLOCK <= d; b++)
        for (int k = 0; k < SLIDE_BLOCK; k += VW)
            NAME(momentum_step)(w + starts[b] + k, m + starts[b] + k, g + b * SLIDE_BLOCK + k,
                                VW, s, u1, c1);
    if (b * SLIDE_BLOCK < d)
        NAME(momentum)(w + starts[b], m + starts[b], g + b * SLIDE_BLOCK, d - b * SLIDE_BLOCK,
                       step, b1);
}
