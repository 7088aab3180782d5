/* The vector kernels, written once over the macros that tables.c defines for
 * each instruction set: V (vector type), VW (its width in floats), MR x NX
 * (rows x vectors of a `dots` tile; MR is 4), NV (vectors of an `accumulate` tile),
 * NV1 (the same for a single output row) and the V_* operations.
 * Contracts stand in simd.h. */

/* ---------------------------------------------------------------- dots -- */

/* A tile of `mr` rows (4 or 1) against `nx` vectors; both are literals at every call,
 * so that the compiler unrolls the loops and keeps acc in registers. Each
 * (row, vector) pair has one accumulator and the same order of summation in every
 * tile, so a result never depends on its neighbours. */
FN_INLINE void NAME(dots_tile)(const int mr, const int nx, const float *const *r,
                               const float *bias, const float *x, int64_t ldx,
                               int64_t d, float *out, int64_t ldo)
{
    V acc[MR][NX];
    int64_t k = 0;
    for (int i = 0; i < mr; i++)
        for (int b = 0; b < nx; b++)
            acc[i][b] = V_ZERO();
    for (; k + VW <= d; k += VW) {
        V xv[NX];
        for (int b = 0; b < nx; b++)
            xv[b] = V_LOAD(x + b * ldx + k);
        for (int i = 0; i < mr; i++) {
            V rv = V_LOAD(r[i] + k);
            for (int b = 0; b < nx; b++)
                acc[i][b] = V_FMA(rv, xv[b], acc[i][b]);
        }
    }
    if (k < d) {
        const int left = (int)(d - k);
        for (int i = 0; i < mr; i++) {
            V rv = V_LOADN(r[i] + k, left);
            for (int b = 0; b < nx; b++)
                acc[i][b] = V_FMA(rv, V_LOADN(x + b * ldx + k, left), acc[i][b]);
        }
    }
    for (int b = 0; b < nx; b++) {
        if (mr == MR)
            V_SUM4_STORE(out + b * ldo, acc[0][b], acc[1 % mr][b], acc[2 % mr][b],
                         acc[3 % mr][b], bias);
        else
            out[b * ldo] = V_SUM(acc[0][b]) + bias[0];
    }
}

FN void NAME(dots)(const float *rows, int64_t ldr, const int32_t *ids,
                   const float *bias, int64_t n_rows, const float *x, int64_t ldx,
                   int64_t n_x, int64_t d, float *out, int64_t ldo)
{
    for (int64_t i = 0; i < n_rows; i += MR) {
        const float *r[MR];
        float c[MR];
        const int mr = n_rows - i < MR ? (int)(n_rows - i) : MR;
        for (int j = 0; j < mr; j++) {
            const int64_t id = ids ? ids[i + j] : i + j;
            r[j] = rows + id * ldr;
            c[j] = bias ? bias[id] : 0.0f;
        }
        if (ids)
            for (int64_t j = i + MR; j < i + 2 * MR && j < n_rows; j++)
                for (int64_t k = 0; k < d && k < 512; k += 16)
                    PREFETCH(rows + (int64_t)ids[j] * ldr + k);
        if (mr == MR) {
            int64_t b = 0;
            for (; b + NX <= n_x; b += NX)
                NAME(dots_tile)(MR, NX, r, c, x + b * ldx, ldx, d,
                                out + b * ldo + i, ldo);
            for (; b < n_x; b++)
                NAME(dots_tile)(MR, 1, r, c, x + b * ldx, ldx, d,
                                out + b * ldo + i, ldo);
        } else {
            for (int j = 0; j < mr; j++)
                for (int64_t b = 0; b < n_x; b++)
                    NAME(dots_tile)(1, 1, r + j, c + j, x + b * ldx, ldx, d,
                                    out + b * ldo + i + j, ldo);
        }
    }
}

/* ---------------------------------------------------------- accumulate -- */

/* A tile of `ni` output rows by `nv` whole vectors, or by one part of `left` floats. */
FN_INLINE void NAME(accumulate_tile)(const int ni, const int nv, const int left,
                                     const float *coef, int64_t si, int64_t sk,
                                     const float *rows, int64_t ldr,
                                     const int32_t *ids, int64_t k0, int64_t k1,
                                     float *out, int64_t ldo)
{
    V acc[4][NV1];
    for (int i = 0; i < ni; i++)
        for (int j = 0; j < nv; j++)
            acc[i][j] = left ? V_LOADN(out + i * ldo, left)
                             : V_LOAD(out + i * ldo + j * VW);
    for (int64_t k = k0; k < k1; k++) {
        const float *r = rows + (ids ? (int64_t)ids[k] : k) * ldr;
        V rv[NV1];
        for (int j = 0; j < nv; j++)
            rv[j] = left ? V_LOADN(r, left) : V_LOAD(r + j * VW);
        for (int i = 0; i < ni; i++) {
            const V c = V_SET1(coef[i * si + k * sk]);
            for (int j = 0; j < nv; j++)
                acc[i][j] = V_FMA(c, rv[j], acc[i][j]);
        }
    }
    for (int i = 0; i < ni; i++)
        for (int j = 0; j < nv; j++) {
            if (left)
                V_STOREN(out + i * ldo, left, acc[i][j]);
            else
                V_STORE(out + i * ldo + j * VW, acc[i][j]);
        }
}

/* All columns of `ni` output rows: nv vectors at a time, then nv / 2, then one, then a part. */
FN_INLINE void NAME(accumulate_rows)(const int ni, const int nv, const float *coef,
                                     int64_t si, int64_t sk, const float *rows,
                                     int64_t ldr, const int32_t *ids, int64_t k0,
                                     int64_t k1, float *out, int64_t ldo, int64_t d)
{
    int64_t c = 0;
    for (; c + nv * VW <= d; c += nv * VW)
        NAME(accumulate_tile)(ni, nv, 0, coef, si, sk, rows + c, ldr, ids, k0, k1,
                              out + c, ldo);
    for (; c + nv / 2 * VW <= d && nv > 1; c += nv / 2 * VW)
        NAME(accumulate_tile)(ni, nv / 2, 0, coef, si, sk, rows + c, ldr, ids, k0, k1,
                              out + c, ldo);
    for (; c + VW <= d; c += VW)
        NAME(accumulate_tile)(ni, 1, 0, coef, si, sk, rows + c, ldr, ids, k0, k1,
                              out + c, ldo);
    if (c < d)
        NAME(accumulate_tile)(ni, 1, (int)(d - c), coef, si, sk, rows + c, ldr, ids,
                              k0, k1, out + c, ldo);
}

FN void NAME(accumulate)(const float *coef, int64_t si, int64_t sk,
                         const float *rows, int64_t ldr, const int32_t *ids,
                         int64_t n_rows, float *out, int64_t ldo, int64_t n_out,
                         int64_t d)
{
    /* Blocks of 32 rows stay in the first-level cache while the outputs pass. */
    for (int64_t k0 = 0; k0 < n_rows; k0 += 32) {
        const int64_t k1 = k0 + 32 < n_rows ? k0 + 32 : n_rows;
        int64_t i = 0;
        if (ids)
            for (int64_t k = k1; k < k1 + 32 && k < n_rows; k++)
                for (int64_t c = 0; c < d && c < 512; c += 16)
                    PREFETCH(rows + (int64_t)ids[k] * ldr + c);
        for (; i + 4 <= n_out; i += 4)
            NAME(accumulate_rows)(4, NV, coef + i * si, si, sk, rows, ldr, ids, k0,
                                  k1, out + i * ldo, ldo, d);
        for (; i < n_out; i++)
            NAME(accumulate_rows)(1, NV1, coef + i * si, si, sk, rows, ldr, ids, k0,
                                  k1, out + i * ldo, ldo, d);
    }
}

/* nv whole vectors of a sum of rows, or one part of `left` floats. */
FN_INLINE void NAME(gather_sum_tile)(const int nv, const int left, const float *coef,
                                     const float *rows, int64_t ldr, const int32_t *ids,
                                     int64_t n, float *out)
{
    V acc[NV1];
    for (int j = 0; j < nv; j++)
        acc[j] = V_ZERO();
    for (int64_t k = 0; k < n; k++) {
        const float *r = rows + (int64_t)ids[k] * ldr;
        const V c = V_SET1(coef[k]);
        for (int j = 0; j < nv; j++)
            acc[j] = V_FMA(c, left ? V_LOADN(r, left) : V_LOAD(r + j * VW), acc[j]);
    }
    for (int j = 0; j < nv; j++) {
        if (left)
            V_STOREN(out, left, acc[j]);
        else
            V_STORE(out + j * VW, acc[j]);
    }
}

FN void NAME(gather_sum)(const float *coef, const float *rows, int64_t ldr,
                         const int32_t *ids, int64_t n, float *out, int64_t d)
{
    int64_t c = 0;
    for (; c + 8 * VW <= d; c += 8 * VW)
        NAME(gather_sum_tile)(8, 0, coef, rows + c, ldr, ids, n, out + c);
    for (; c + VW <= d; c += VW)
        NAME(gather_sum_tile)(1, 0, coef, rows + c, ldr, ids, n, out + c);
    if (c < d)
        NAME(gather_sum_tile)(1, (int)(d - c), coef, rows + c, ldr, ids, n, out + c);
}

FN float NAME(square_sum)(const float *x, int64_t n)
{
    V a = V_ZERO(), b = V_ZERO(), c = V_ZERO(), e = V_ZERO();
    int64_t i = 0;
    for (; i + 4 * VW <= n; i += 4 * VW) {
        const V v0 = V_LOAD(x + i), v1 = V_LOAD(x + i + VW);
        const V v2 = V_LOAD(x + i + 2 * VW), v3 = V_LOAD(x + i + 3 * VW);
        a = V_FMA(v0, v0, a);
        b = V_FMA(v1, v1, b);
        c = V_FMA(v2, v2, c);
        e = V_FMA(v3, v3, e);
    }
    for (; i < n; i += VW) {
        const V v = V_LOADN(x + i, n - i < VW ? (int)(n - i) : VW);
        a = V_FMA(v, v, a);
    }
    return V_SUM(V_ADD(V_ADD(a, b), V_ADD(c, e)));
}

/* ------------------------------------------------------------ hadamard -- */

FN void NAME(hadamard)(float *x, int64_t n)
{
    int64_t h = 1;
    if (n >= VW) {
        /* Stages with distances below VW are done inside registers. */
        for (int64_t i = 0; i < n; i += VW)
            V_STORE(x + i, V_HADAMARD(V_LOAD(x + i)));
        h = VW;
    }
    for (; h < n; h *= 2)
        for (int64_t i = 0; i < n; i += 2 * h) {
            int64_t j = i;
            for (; j + VW <= i + h; j += VW) {
                const V a = V_LOAD(x + j), b = V_LOAD(x + j + h);
                V_STORE(x + j, V_ADD(a, b));
                V_STORE(x + j + h, V_SUB(a, b));
            }
            for (; j < i + h; j++) {
                const float a = x[j], b = x[j + h];
                x[j] = a + b;
                x[j + h] = a - b;
            }
        }
}

FN void NAME(sign_bits)(const float *x, int64_t n, uint64_t *out)
{
    for (int64_t i = 0; i < n; i += 64) {
        const int64_t end = i + 64 < n ? i + 64 : n;
        uint64_t word = 0;
        int64_t j = i;
        for (; j + VW <= end; j += VW)
            word |= (uint64_t)V_POSITIVE(V_LOAD(x + j)) << (j - i);
        for (; j < end; j++)
            word |= (uint64_t)(x[j] > 0.0f) << (j - i);
        out[i / 64] = word;
    }
}

/* ----------------------------------------------------- exp and sigmoid -- */

/* exp(x) = 2^n exp(r), |r| <= log(2)/2, exp(r) by a polynomial of degree 6
 * (Cephes expf). MIN and MAX keep the argument where 2^n is a normal number;
 * their operand order lets NaN through. */
FN_INLINE V NAME(exp_v)(V x)
{
    x = V_MIN(V_SET1(88.0f), x);
    x = V_MAX(V_SET1(-87.0f), x);
    const V n = V_ROUND(V_MUL(x, V_SET1(1.44269504088896341f)));
    V r = V_FMA(n, V_SET1(-0.693359375f), x);
    r = V_FMA(n, V_SET1(2.12194440e-4f), r);
    V p = V_SET1(1.9875691500e-4f);
    p = V_FMA(p, r, V_SET1(1.3981999507e-3f));
    p = V_FMA(p, r, V_SET1(8.3334519073e-3f));
    p = V_FMA(p, r, V_SET1(4.1665795894e-2f));
    p = V_FMA(p, r, V_SET1(1.6666665459e-1f));
    p = V_FMA(p, r, V_SET1(5.0000001201e-1f));
    p = V_FMA(p, V_MUL(r, r), V_ADD(r, V_SET1(1.0f)));
    return V_MUL(p, V_POW2(n));
}

FN double NAME(exp_sum)(float *z, int64_t n, float shift)
{
    const V s = V_SET1(shift);
    double total = 0.0;
    V acc = V_ZERO();
    int64_t i = 0;
    for (; i + VW <= n; i += VW) {
        const V e = NAME(exp_v)(V_ADD(V_LOAD(z + i), s));
        V_STORE(z + i, e);
        acc = V_ADD(acc, e);
    }
    if (i < n) {
        const int left = (int)(n - i);
        V_STOREN(z + i, left, NAME(exp_v)(V_ADD(V_LOADN(z + i, left), s)));
        for (; i < n; i++)
            total += z[i];
    }
    return total + (double)V_SUM(acc);
}

FN float NAME(max)(const float *z, int64_t n)
{
    float best = -INFINITY;
    int64_t i = 0;
    if (n >= VW) {
        float part[VW];
        V acc = V_LOAD(z);
        for (i = VW; i + VW <= n; i += VW)
            acc = V_MAX(acc, V_LOAD(z + i));
        V_STORE(part, acc);
        for (int j = 0; j < VW; j++)
            best = part[j] > best ? part[j] : best;
    }
    for (; i < n; i++)
        best = z[i] > best ? z[i] : best;
    return best;
}

/* log(1 + exp(z)) = max(z, 0) + log(1 + exp(-|z|)). The arguments of the
 * second logarithm lie in [1, 2], so up to 64 of them are multiplied, and one logarithm is taken
 * of their product. */
FN double NAME(sigmoid)(float *z, int64_t n)
{
    const V one = V_SET1(1.0f), zero = V_ZERO();
    double total = 0.0;
    for (int64_t i0 = 0; i0 < n; i0 += 64 * VW) {
        const int64_t end = i0 + 64 * VW < n ? i0 + 64 * VW : n;
        float part[VW];
        V prod = one, hinge = zero;
        for (int64_t i = i0; i < end; i += VW) {
            const int left = end - i < VW ? (int)(end - i) : VW;
            const V x = V_LOADN(z + i, left);
            const V neg = V_MIN(x, V_SUB(zero, x));
            const V e = NAME(exp_v)(neg);
            const V f = V_ADD(one, e);
            const V small = V_DIV(e, f);
            V_STOREN(z + i, left, V_SELECT_POSITIVE(x, V_SUB(one, small), small));
            if (left == VW) {
                prod = V_MUL(prod, f);
                hinge = V_ADD(hinge, V_MAX(x, zero));
            } else {
                V_STORE(part, f);
                for (int j = 0; j < left; j++)
                    total += log((double)part[j]);
                V_STORE(part, V_MAX(x, zero));
                for (int j = 0; j < left; j++)
                    total += (double)part[j];
            }
        }
        V_STORE(part, prod);
        for (int j = 0; j < VW; j++)
            total += log((double)part[j]);
        total += (double)V_SUM(hinge);
    }
    return total;
}

/* -------------------------------------------------------------- sparse -- */

/* Not vectorised: a vector of ids would only be split up again. */
FN NO_SLP float NAME(gather_dot)(const float *row, const int32_t *ids, const float *values,
                          int64_t n)
{
    float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
    int64_t j = 0;
    for (; j + 4 <= n; j += 4) {
        a += row[ids[j]] * values[j];
        b += row[ids[j + 1]] * values[j + 1];
        c += row[ids[j + 2]] * values[j + 2];
        d += row[ids[j + 3]] * values[j + 3];
    }
    for (; j < n; j++)
        a += row[ids[j]] * values[j];
    return (a + b) + (c + d);
}

FN void NAME(code_scores)(const uint64_t *codes, int64_t n_words, const int32_t *ids,
                          int64_t n, const uint64_t *query, const float *curve,
                          const float *norm, const float *bias, float *out)
{
    for (int64_t i = 0; i < n; i++) {
        const int64_t id = ids ? ids[i] : i;
        const uint64_t *code = codes + id * n_words;
        int distance = 0;
        for (int64_t k = 0; k < n_words; k++)
            distance += POPCOUNT(code[k] ^ query[k]);
        out[i] = norm[id] * curve[distance] + bias[id];
    }
}

/* -------------------------------------------------------------- top k -- */

/* The compiler vectorises these loops for each instruction set. */
FN void NAME(rising_keys)(const float *x, int64_t n, int32_t *keys)
{
    for (int64_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, x + i, sizeof(bits));
        keys[i] = bits ^ ((bits >> 31) & 0x7FFFFFFF);
    }
}

FN int64_t NAME(reaching)(const int32_t *keys, int64_t n, int32_t least)
{
    int64_t total = 0;
    for (int64_t start = 0; start < n; start += 1 << 16) {
        const int length = n - start < 1 << 16 ? (int)(n - start) : 1 << 16;
        int32_t part = 0;
        for (int i = 0; i < length; i++)
            part += keys[start + i] >= least;
        total += part;
    }
    return total;
}

static const slide_simd NAME(table) = {
    SIMD_NAME,
    NAME(dots),
    NAME(accumulate),
    NAME(spread),
    NAME(gather_sum),
    NAME(square_sum),
    NAME(momentum),
    NAME(momentum_some),
    NAME(take),
    NAME(spread_blocks),
    NAME(momentum_blocks),
    NAME(unpack),
    NAME(momentum_half),
    NAME(take_half),
    NAME(momentum_half_blocks),
    NAME(hadamard),
    NAME(sign_bits),
    NAME(simhash),
    NAME(statistics),
    NAME(exp_sum),
    NAME(max),
    NAME(sigmoid),
    NAME(gather_dot),
    NAME(code_scores),
    NAME(rising_keys),
    NAME(reaching),
    SHORTLIST,
};

#undef SIMD_NAME
#undef NAME
#undef FN
#undef FN_INLINE
#undef V
#undef VW
#undef MR
#undef NX
#undef NV
#undef NV1
#undef V_ZERO
#undef V_SET1
#undef V_LOAD
#undef V_STORE
#undef V_LOADN
#undef V_STOREN
#undef V_ADD
#undef V_SUB
#undef V_MUL
#undef V_DIV
#undef V_FMA
#undef V_MIN
#undef V_MAX
#undef V_SUM
#undef V_SUM4_STORE
#undef V_ROUND
#undef V_POW2
#undef V_POSITIVE
#undef V_SELECT_POSITIVE
#undef V_HADAMARD
#undef SHORTLIST
