/* The sums s of `shortlist` (_simd.h) for `blocks` times 64 neurons, a literal at every call.
 *
 * The sum of eight entries, or eleven, is a byte. Sums of bytes are kept in 16 bits: those of the even bytes
 * with 256 times those of the odd ones on top, which are subtracted at last. */

static ALWAYS_INLINE void sums_scalar(const int blocks, const uint8_t *codes,
                                      int64_t n_bytes, const uint8_t *lut, uint16_t *sums)
{
    (void)blocks; /* 1 */
    for (int i = 0; i < 64; i++)
        sums[i] = 0;
    for (int64_t p = 0; p < n_bytes; p++, codes += 64, lut += 32)
        for (int i = 0; i < 64; i++)
            sums[i] += (uint16_t)(lut[codes[i] & 15] + lut[16 + (codes[i] >> 4)]);
}

#ifdef SLIDE_X86
#define TARGET_VBMI                                                                \
    __attribute__((target(                                                         \
        "avx512f,avx512dq,avx512bw,avx512vl,avx512vbmi,avx2,fma,popcnt")))

static ALWAYS_INLINE TARGET_AVX2 void sums_avx2(const int blocks, const uint8_t *codes,
                                                int64_t n_bytes, const uint8_t *lut,
                                                uint16_t *sums)
{
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
}

#define VBMI_ENTRIES 11 /* of 23 at most: 253 */

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

static ALWAYS_INLINE TARGET_VBMI void sums_vbmi(const int blocks, const uint8_t *codes,
                                                int64_t n_bytes, const uint8_t *lut,
                                                uint16_t *sums)
{
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
        const __m512i a = _mm512_unpacklo_epi16(even, odd[i]);
        const __m512i b = _mm512_unpackhi_epi16(even, odd[i]);
        _mm512_storeu_si512(sums + 64 * i, _mm512_permutex2var_epi64(a, first, b));
        _mm512_storeu_si512(sums + 64 * i + 32, _mm512_permutex2var_epi64(a, second, b));
    }
}
#endif
