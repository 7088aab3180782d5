/* Products of bfloat16 by AVX-512 BF16. One instruction takes pairs of numbers in 32 bits, the
 * first number in the lower half, and adds both products of two pairs to a sum in float32.
 * Contracts stand in simd.h. */

#define TARGET_PAIRS                                                                             \
    __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,avx2,fma,popcnt")))

#define PAIR(c, r, acc) _mm512_dpbf16_ps(acc, (__m512bh)(c), (__m512bh)(r))

/* A tile of `mr` rows against `nx` vectors; both are literals at every call. */
static ALWAYS_INLINE TARGET_PAIRS void pair_dots_tile(const int mr, const int nx,
                                                      const uint16_t *const *r, const float *bias,
                                                      const uint16_t *x, int64_t ldx, int64_t d,
                                                      float *out, int64_t ldo)
{
    __m512 acc[4][4];
    for (int i = 0; i < mr; i++)
        for (int b = 0; b < nx; b++)
            acc[i][b] = _mm512_setzero_ps();
    for (int64_t k = 0; k < d; k += 32) {
        const __mmask32 m = d - k < 32 ? (__mmask32)((1u << (d - k)) - 1u) : (__mmask32)-1;
        __m512i xv[4];
        for (int b = 0; b < nx; b++)
            xv[b] = _mm512_maskz_loadu_epi16(m, x + b * ldx + k);
        for (int i = 0; i < mr; i++) {
            const __m512i rv = _mm512_maskz_loadu_epi16(m, r[i] + k);
            for (int b = 0; b < nx; b++)
                acc[i][b] = PAIR(rv, xv[b], acc[i][b]);
        }
    }
    for (int b = 0; b < nx; b++) {
        if (mr == 4)
            _mm_storeu_ps(out + b * ldo,
                          _mm_add_ps(sum4_avx512(acc[0][b], acc[1 % mr][b], acc[2 % mr][b],
                                                 acc[3 % mr][b]),
                                     _mm_loadu_ps(bias)));
        else
            out[b * ldo] =
                _mm_cvtss_f32(sum4_avx512(acc[0][b], acc[0][b], acc[0][b], acc[0][b])) + bias[0];
    }
}

static TARGET_PAIRS void pair_dots(const uint16_t *rows, int64_t ldr, const int32_t *ids,
                                   const float *bias, int64_t n_rows, const uint16_t *x,
                                   int64_t ldx, int64_t n_x, int64_t d, float *out, int64_t ldo)
{
    for (int64_t i = 0; i < n_rows; i += 4) {
        const uint16_t *r[4];
        float c[4];
        const int mr = n_rows - i < 4 ? (int)(n_rows - i) : 4;
        for (int j = 0; j < mr; j++) {
            const int64_t id = ids ? ids[i + j] : i + j;
            r[j] = rows + id * ldr;
            c[j] = bias[id];
        }
        if (ids)
            for (int64_t j = i + 8; j < i + 12 && j < n_rows; j++)
                for (int64_t k = 0; k < d && k < 1024; k += 32)
                    PREFETCH(rows + (int64_t)ids[j] * ldr + k);
        if (mr == 4) {
            int64_t b = 0;
            for (; b + 4 <= n_x; b += 4)
                pair_dots_tile(4, 4, r, c, x + b * ldx, ldx, d, out + b * ldo + i, ldo);
            for (; b < n_x; b++)
                pair_dots_tile(4, 1, r, c, x + b * ldx, ldx, d, out + b * ldo + i, ldo);
        } else {
            for (int j = 0; j < mr; j++)
                for (int64_t b = 0; b < n_x; b++)
                    pair_dots_tile(1, 1, r + j, c + j, x + b * ldx, ldx, d,
                                   out + b * ldo + i + j, ldo);
        }
    }
}

/* A tile of `ni` output rows by `nv` vectors of 16 floats, or by one vector of `left` floats. */
static ALWAYS_INLINE TARGET_PAIRS void pair_accumulate_tile(const int ni, const int nv,
                                                            const int left, const uint32_t *coef,
                                                            int64_t si, int64_t sk,
                                                            const uint32_t *pairs, int64_t ldp,
                                                            int64_t n_pairs, float *out,
                                                            int64_t ldo)
{
    const __mmask16 m = (__mmask16)((1u << left) - 1u);
    __m512 acc[4][4];
    for (int i = 0; i < ni; i++)
        for (int j = 0; j < nv; j++)
            acc[i][j] = _mm512_maskz_loadu_ps(m, out + i * ldo + 16 * j);
    for (int64_t k = 0; k < n_pairs; k++) {
        __m512i rv[4];
        for (int j = 0; j < nv; j++)
            rv[j] = _mm512_maskz_loadu_epi32(m, pairs + k * ldp + 16 * j);
        for (int i = 0; i < ni; i++) {
            const __m512i c = _mm512_set1_epi32((int)coef[i * si + k * sk]);
            for (int j = 0; j < nv; j++)
                acc[i][j] = PAIR(c, rv[j], acc[i][j]);
        }
    }
    for (int i = 0; i < ni; i++)
        for (int j = 0; j < nv; j++)
            _mm512_mask_storeu_ps(out + i * ldo + 16 * j, m, acc[i][j]);
}

static TARGET_PAIRS void pair_accumulate(const uint32_t *coef, int64_t si, int64_t sk,
                                         const uint32_t *pairs, int64_t ldp, int64_t n_pairs,
                                         float *out, int64_t ldo, int64_t n_out, int64_t d)
{
    for (int64_t i = 0; i < n_out; i += 4) {
        const uint32_t *c = coef + i * si;
        float *o = out + i * ldo;
        int64_t k = 0;
        if (n_out - i >= 4) {
            for (; k + 64 <= d; k += 64)
                pair_accumulate_tile(4, 4, 16, c, si, sk, pairs + k, ldp, n_pairs, o + k, ldo);
            for (; k < d; k += 16)
                pair_accumulate_tile(4, 1, d - k < 16 ? (int)(d - k) : 16, c, si, sk, pairs + k,
                                     ldp, n_pairs, o + k, ldo);
            continue;
        }
        for (int64_t j = 0; j < n_out - i; j++)
            for (k = 0; k < d; k += 16)
                pair_accumulate_tile(1, 1, d - k < 16 ? (int)(d - k) : 16, c + j * si, 0, sk,
                                     pairs + k, ldp, n_pairs, o + j * ldo + k, ldo);
    }
}

static TARGET_PAIRS void halves(const float *x, int64_t ldx, int64_t n, int64_t d, uint16_t *out)
{
    const int64_t ldo = d + (d & 1);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < ldo; k += 16) {
            const int left = ldo - k < 16 ? (int)(ldo - k) : 16;
            const int given = d - k < 16 ? (int)(d - k) : 16;
            _mm256_mask_storeu_epi16(
                out + i * ldo + k, (__mmask16)((1u << left) - 1u),
                (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(
                    (__mmask16)((1u << given) - 1u), x + i * ldx + k)));
        }
}

static TARGET_PAIRS void pair_rows(const float *x, int64_t ldx, int64_t n, int64_t d,
                                   uint32_t *out)
{
    for (int64_t q = 0; 2 * q < n; q++)
        for (int64_t k = 0; k < d; k += 16) {
            const int left = d - k < 16 ? (int)(d - k) : 16;
            const __mmask16 m = (__mmask16)((1u << left) - 1u);
            const __mmask16 second = 2 * q + 1 < n ? m : 0;
            const float *row = x + 2 * q * ldx + k;
            const __m512i a = _mm512_cvtepu16_epi32(
                (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(m, row)));
            const __m512i b = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(
                _mm512_maskz_loadu_ps(second, second ? row + ldx : row)));
            _mm512_mask_storeu_epi32(out + q * d + k, m,
                                     _mm512_or_si512(a, _mm512_slli_epi32(b, 16)));
        }
}

static TARGET_PAIRS void pair_halves(const uint16_t *rows, int64_t ldr, const int32_t *ids,
                                     int64_t n_rows, int64_t d, uint32_t *out)
{
    for (int64_t q = 0; 2 * q < n_rows; q++) {
        const int two = 2 * q + 1 < n_rows;
        const uint16_t *a = rows + (ids ? (int64_t)ids[2 * q] : 2 * q) * ldr;
        const uint16_t *b = two ? rows + (ids ? (int64_t)ids[2 * q + 1] : 2 * q + 1) * ldr : a;
        for (int64_t k = 0; k < d; k += 16) {
            const int left = d - k < 16 ? (int)(d - k) : 16;
            const __mmask16 m = (__mmask16)((1u << left) - 1u);
            const __m512i av = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, a + k));
            const __m512i bv =
                _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(two ? m : 0, b + k));
            _mm512_mask_storeu_epi32(out + q * d + k, m,
                                     _mm512_or_si512(av, _mm512_slli_epi32(bv, 16)));
        }
    }
}

static TARGET_PAIRS void take_halves(const uint16_t *rows, int64_t ldr, const int32_t *ids,
                                     int64_t n_rows, const int32_t *starts, int64_t d,
                                     uint16_t *out)
{
    for (int64_t i = 0; i < n_rows; i++) {
        const uint16_t *row = rows + (ids ? (int64_t)ids[i] : i) * ldr;
        uint16_t *o = out + i * d;
        int64_t b = 0;
        for (; (b + 1) * SLIDE_BLOCK <= d; b++)
            memcpy(o + b * SLIDE_BLOCK, row + starts[b], SLIDE_BLOCK * sizeof(*o));
        if (b * SLIDE_BLOCK < d)
            memcpy(o + b * SLIDE_BLOCK, row + starts[b],
                   (size_t)(d - b * SLIDE_BLOCK) * sizeof(*o));
    }
}

static const slide_pairs pair_kernels = {pair_dots, pair_accumulate, halves, pair_rows,
                                         take_halves, pair_halves};
