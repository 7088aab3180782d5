/* sums_scalar, sums_avx2 and sums_vbmi compute the sums s of `shortlist` (simd.h) for `blocks`
 * times 64 neurons; `blocks` is a literal at every call. They return a bit for each block in which
 * a neuron may be listed. The sums of the other blocks may be missing.
 *
 * The sum of eight entries, or of eleven, fits into a byte. These bytes are added up in numbers of
 * 16 bits: `odd` is the sum of the odd bytes, and `both` is the sum of the even bytes plus 256
 * times `odd`. At the end 256 times `odd` is subtracted from `both`. */

/* The sieve rules neurons out by an estimate in integers of 16 bits. With y = s + low / step
 *     (z - bias_mid) / unit  =  y step scale / unit + (bias - bias_mid) / unit
 *                            ~  (y << shift) coarse_scale / 2^16 + coarse_bias factor / 2^16
 * for unit = 2^(16 - shift) step scale_unit. All roundings together are less than 4 units. */
typedef struct {
    int active;
    int shift;
    int16_t low, factor, least;
} slide_sieve;

static ALWAYS_INLINE slide_sieve sieve_of(const slide_codes *index, float step, float low,
                                          float threshold)
{
    slide_sieve sieve = {0, 0, 0, 0, 0};
    if (!index->coarse)
        return sieve;
    while ((index->n_bytes * 23) << (sieve.shift + 1) < 32768)
        sieve.shift++;
    const float unit = 65536.0f / (float)(1 << sieve.shift) * step * index->scale_unit;
    const float start = low / step * (float)(1 << sieve.shift);
    const float factor = index->bias_unit / unit * 65536.0f;
    const float least = (threshold - index->bias_mid) / unit - 4.0f;
    /* Where a number does not fit into 16 bits, or is NaN, the sieve is not active. */
    if (!(unit > 0 && start > -32768.0f && start <= 0 && factor < 32767.0f &&
          least > -32767.0f && least < 32767.0f))
        return sieve;
    sieve.active = 1;
    sieve.low = (int16_t)start;
    sieve.factor = (int16_t)(factor + 0.5f);
    sieve.least = (int16_t)least;
    return sieve;
}

static ALWAYS_INLINE const int16_t *coarse_at(const slide_codes *index, int64_t i)
{
    return index->coarse ? index->coarse + 2 * i : NULL;
}

static ALWAYS_INLINE unsigned sums_scalar(const int blocks, const uint8_t *codes,
                                          int64_t n_bytes, const uint8_t *lut,
                                          const slide_sieve *sieve, const int16_t *coarse,
                                          uint16_t *sums)
{
    (void)blocks; /* 1 */
    (void)sieve;
    (void)coarse;
    for (int i = 0; i < 64; i++)
        sums[i] = 0;
    for (int64_t p = 0; p < n_bytes; p++, codes += 64, lut += 32)
        for (int i = 0; i < 64; i++)
            sums[i] += (uint16_t)(lut[codes[i] & 15] + lut[16 + (codes[i] >> 4)]);
    return 1;
}

#ifdef SLIDE_X86
#define TARGET_VBMI                                                                \
    __attribute__((target(                                                         \
        "avx512f,avx512dq,avx512bw,avx512vl,avx512vbmi,avx2,fma,popcnt")))

static ALWAYS_INLINE TARGET_AVX2 unsigned sums_avx2(const int blocks, const uint8_t *codes,
                                                    int64_t n_bytes, const uint8_t *lut,
                                                    const slide_sieve *sieve,
                                                    const int16_t *coarse, uint16_t *sums)
{
    (void)sieve;
    (void)coarse;
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i both[4], odd[4];
    for (int i = 0; i < 2 * blocks; i++)
        both[i] = odd[i] = _mm256_setzero_si256();
    for (int64_t p0 = 0; p0 < n_bytes; p0 += 4) {
        __m256i t[4];
        for (int i = 0; i < 2 * blocks; i++)
            t[i] = _mm256_setzero_si256();
        for (int64_t p = p0; p < p0 + 4; p++) {
            const __m128i *entries = (const __m128i *)(lut + 32 * p);
            const __m256i low = _mm256_broadcastsi128_si256(_mm_loadu_si128(entries));
            const __m256i high =
                _mm256_broadcastsi128_si256(_mm_loadu_si128(entries + 1));
            for (int i = 0; i < 2 * blocks; i++) {
                const uint8_t *from = codes + ((i / 2) * n_bytes + p) * 64 + (i % 2) * 32;
                const __m256i c = _mm256_loadu_si256((const __m256i *)from);
                const __m256i h = _mm256_and_si256(_mm256_srli_epi16(c, 4), nibble);
                const __m256i l = _mm256_and_si256(c, nibble);
                t[i] = _mm256_add_epi8(t[i], _mm256_shuffle_epi8(low, l));
                t[i] = _mm256_add_epi8(t[i], _mm256_shuffle_epi8(high, h));
            }
        }
        for (int i = 0; i < 2 * blocks; i++) {
            both[i] = _mm256_add_epi16(both[i], t[i]);
            odd[i] = _mm256_add_epi16(odd[i], _mm256_srli_epi16(t[i], 8));
        }
    }
    for (int i = 0; i < 2 * blocks; i++) {
        const __m256i even = _mm256_sub_epi16(both[i], _mm256_slli_epi16(odd[i], 8));
        const __m256i a = _mm256_unpacklo_epi16(even, odd[i]);
        const __m256i b = _mm256_unpackhi_epi16(even, odd[i]);
        __m256i *out = (__m256i *)(sums + 32 * i);
        _mm256_storeu_si256(out, _mm256_permute2x128_si256(a, b, 0x20));
        _mm256_storeu_si256(out + 1, _mm256_permute2x128_si256(a, b, 0x31));
    }
    return (1u << blocks) - 1u;
}


#define VBMI_ENTRIES 11 /* entries of at most 23: their sum, 253, fits into a byte */

static ALWAYS_INLINE TARGET_VBMI void add_vbmi(const int blocks, const int n,
                                               const uint8_t *codes, int64_t n_bytes,
                                               const uint8_t *lut, __m512i *t)
{
    for (int p = 0; p < n; p++) {
        const __m512i entries = _mm512_loadu_si512(lut + 64 * p);
        for (int i = 0; i < blocks; i++) {
            const __m512i c = _mm512_loadu_si512(codes + (i * n_bytes + p) * 64);
            t[i] = _mm512_add_epi8(t[i], _mm512_permutexvar_epi8(c, entries));
        }
    }
}

/* Apply the sieve to 32 sums; returns a bit for each sum that passes. */
static ALWAYS_INLINE TARGET_VBMI __mmask32 sift_vbmi(const slide_sieve *sieve, __m512i sums,
                                                     const int16_t *scale,
                                                     const int16_t *bias)
{
    const __m512i y = _mm512_add_epi16(_mm512_slli_epi16(sums, (unsigned)sieve->shift),
                                       _mm512_set1_epi16(sieve->low));
    const __m512i z = _mm512_add_epi16(
        _mm512_mulhi_epi16(y, _mm512_loadu_si512(scale)),
        _mm512_mulhi_epi16(_mm512_loadu_si512(bias), _mm512_set1_epi16(sieve->factor)));
    return _mm512_cmpgt_epi16_mask(z, _mm512_set1_epi16(sieve->least));
}

static ALWAYS_INLINE TARGET_VBMI unsigned sums_vbmi(const int blocks, const uint8_t *codes,
                                                    int64_t n_bytes, const uint8_t *lut,
                                                    const slide_sieve *sieve,
                                                    const int16_t *coarse, uint16_t *sums)
{
    unsigned passed = 0;
    __m512i both[4], odd[4];
    for (int i = 0; i < blocks; i++)
        both[i] = odd[i] = _mm512_setzero_si512();
    for (int64_t p = 0; p < n_bytes; p += VBMI_ENTRIES) {
        __m512i t[4];
        for (int i = 0; i < blocks; i++)
            t[i] = _mm512_setzero_si512();
        if (n_bytes - p >= VBMI_ENTRIES) /* a literal: unrolled */
            add_vbmi(blocks, VBMI_ENTRIES, codes + p * 64, n_bytes, lut + p * 64, t);
        else
            add_vbmi(blocks, (int)(n_bytes - p), codes + p * 64, n_bytes, lut + p * 64, t);
        for (int i = 0; i < blocks; i++) {
            both[i] = _mm512_add_epi16(both[i], t[i]);
            odd[i] = _mm512_add_epi16(odd[i], _mm512_srli_epi16(t[i], 8));
        }
    }
    const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    for (int i = 0; i < blocks; i++) {
        const __m512i even = _mm512_sub_epi16(both[i], _mm512_slli_epi16(odd[i], 8));
        if (sieve->active) {
            const int16_t *at = coarse + 128 * i;
            const __mmask32 evens = sift_vbmi(sieve, even, at, at + 64);
            const __mmask32 odds = sift_vbmi(sieve, odd[i], at + 32, at + 96);
            if (!(evens | odds))
                continue;
        }
        passed |= 1u << i;
        const __m512i a = _mm512_unpacklo_epi16(even, odd[i]);
        const __m512i b = _mm512_unpackhi_epi16(even, odd[i]);
        _mm512_storeu_si512(sums + 64 * i, _mm512_permutex2var_epi64(a, first, b));
        _mm512_storeu_si512(sums + 64 * i + 32, _mm512_permutex2var_epi64(a, second, b));
    }
    return passed;
}
#endif
