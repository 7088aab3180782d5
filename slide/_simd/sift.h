/* Sifting of neurons by products of bytes, with AVX-512 VNNI. The contract stands in simd.h. */

#define TARGET_VNNI                                                                              \
    __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx512vnni,avx2,fma,popcnt")))

/* 64 neurons from `i` on, `left` of which exist, against nx vectors; nx is a literal. */
static ALWAYS_INLINE TARGET_VNNI void sift_tile(const int nx, const slide_bytes *rows, int64_t i,
                                                int64_t left, const slide_sifter *x,
                                                int64_t first)
{
    const int8_t *codes = rows->codes + i * 4 * rows->n_fours;
    const __m512i absolute = _mm512_set1_epi32(0x7fffffff);
    const __m512 rounding = _mm512_set1_ps(4e-6f);
    __m512i acc[4][4];
    for (int v = 0; v < 4; v++)
        for (int b = 0; b < nx; b++)
            acc[v][b] = _mm512_setzero_si512();
    for (int64_t k = 0; k < rows->n_fours; k++, codes += 256) {
        __m512i xv[4];
        for (int b = 0; b < nx; b++) {
            int32_t four;
            memcpy(&four, x[b].codes + 4 * k, 4);
            xv[b] = _mm512_set1_epi32(four);
        }
        for (int v = 0; v < 4; v++) {
            const __m512i w = _mm512_loadu_si512(codes + 64 * v);
            for (int b = 0; b < nx; b++)
                acc[v][b] = _mm512_dpbusd_epi32(acc[v][b], xv[b], w);
        }
    }
    for (int v = 0; v < 4 && 16 * v < left; v++, i += 16) {
        const __mmask16 there = left - 16 * v < 16 ? MASK16(left - 16 * v) : (__mmask16)-1;
        const __m512 scale = _mm512_loadu_ps(rows->scale + i);
        const __m512 sum = _mm512_loadu_ps(rows->sum + i);
        const __m512 bias = _mm512_loadu_ps(rows->bias + i);
        const __m512 error = _mm512_loadu_ps(rows->error + i);
        const __m512 length = _mm512_loadu_ps(rows->length + i);
        for (int b = 0; b < nx; b++) {
            __m512 z = _mm512_fmadd_ps(sum, _mm512_set1_ps(x[b].low), bias);
            __m512 size = _mm512_castsi512_ps(
                _mm512_and_si512(_mm512_castps_si512(bias), absolute));
            if (x[b].more) {
                const __m512 p = _mm512_maskz_loadu_ps(there, x[b].more + (i - first));
                z = _mm512_add_ps(z, p);
                size = _mm512_add_ps(size, _mm512_castsi512_ps(_mm512_and_si512(
                                               _mm512_castps_si512(p), absolute)));
            }
            z = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[v][b]),
                                _mm512_mul_ps(scale, _mm512_set1_ps(x[b].scale)), z);
            __m512 bound = _mm512_mul_ps(size, rounding);
            bound = _mm512_fmadd_ps(error, _mm512_set1_ps(x[b].length), bound);
            bound = _mm512_fmadd_ps(length, _mm512_set1_ps(x[b].error), bound);
            const __m512 most = _mm512_add_ps(z, bound);
            /* Not below: NaN is listed, too. */
            const __mmask16 listed = _mm512_mask_cmp_ps_mask(
                there, most, _mm512_set1_ps(x[b].threshold), _CMP_NLT_UQ);
            if (!listed)
                continue;
            const int64_t n = *x[b].n;
            const __m512i ids = _mm512_add_epi32(
                _mm512_set1_epi32((int32_t)i),
                _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
            _mm512_mask_compressstoreu_epi32(x[b].ids + n, listed, ids);
            _mm512_mask_compressstoreu_ps(x[b].most + n, listed, most);
            /* NaN would spoil a heap of the lower bounds. */
            __m512 least = _mm512_sub_ps(z, bound);
            least = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY),
                                       _mm512_cmp_ps_mask(least, least, _CMP_ORD_Q), least);
            _mm512_mask_compressstoreu_ps(x[b].least + n, listed, least);
            *x[b].n = n + POPCOUNT(listed);
        }
    }
}

static TARGET_VNNI void sift_vnni(const slide_bytes *rows, int64_t first, int64_t n,
                                  const slide_sifter *x, int64_t n_x)
{
    for (int64_t i = first; i < first + n; i += 64) {
        int64_t b = 0;
        for (; b + 4 <= n_x; b += 4)
            sift_tile(4, rows, i, first + n - i, x + b, first);
        for (; b < n_x; b++)
            sift_tile(1, rows, i, first + n - i, x + b, first);
    }
}
