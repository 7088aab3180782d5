/* Tables of the kernels: this file includes the kernels' headers once per instruction set. */
#include "simd.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define PREFETCH(p) __builtin_prefetch(p)
#define POPCOUNT(x) __builtin_popcountll(x)
#define LOWEST_BIT(x) __builtin_ctz(x)
#define ALWAYS_INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define NO_SLP
#else
#define NO_SLP __attribute__((optimize("no-tree-slp-vectorize")))
#endif
/* Where clang takes the place of MSVC, the data of __builtin_cpu_supports is not linked. */
#if defined(__x86_64__) && !defined(_MSC_VER)
#define SLIDE_X86 1
#endif
#else
#define PREFETCH(p) ((void)0)
#define NO_SLP
#define POPCOUNT(x) popcount64(x)
#define LOWEST_BIT(x) popcount64(((x) & (0u - (x))) - 1u)
#define ALWAYS_INLINE inline
#endif

#if !defined(__GNUC__) && !defined(__clang__)
static inline int popcount64(uint64_t x)
{
    x -= (x >> 1) & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (int)((x * 0x0101010101010101u) >> 56);
}
#endif

#ifdef SLIDE_X86
#include <immintrin.h>
#define TARGET_AVX2 __attribute__((target("avx2,fma,popcnt")))
#endif
#include "codes.h"

/* -------------------------------------------------------------- scalar -- */

static ALWAYS_INLINE float pow2_scalar(float n)
{
    union { int32_t i; float f; } u;
    u.i = n == n ? ((int32_t)n + 127) << 23 : 0;
    return u.f;
}

static ALWAYS_INLINE uint32_t bits_scalar(float x)
{
    union { float f; uint32_t i; } u;
    u.f = x;
    return u.i;
}

#define SIMD_NAME "scalar"
#define NAME(f) f##_scalar
#define FN static
#define FN_INLINE static ALWAYS_INLINE
#define V float
#define VW 1
#define MR 4
#define NX 2
#define NV 4
#define NV1 8
#define V_ZERO() 0.0f
#define V_SET1(x) (x)
#define V_LOAD(p) (*(p))
#define V_STORE(p, v) (*(p) = (v))
#define V_LOADN(p, n) ((void)(n), *(p))
#define V_STOREN(p, n, v) ((void)(n), *(p) = (v))
#define V_ADD(a, b) ((a) + (b))
#define V_SUB(a, b) ((a) - (b))
#define V_MUL(a, b) ((a) * (b))
#define V_DIV(a, b) ((a) / (b))
#define V_FMA(a, b, c) ((a) * (b) + (c))
#define V_MIN(a, b) ((a) < (b) ? (a) : (b))
#define V_MAX(a, b) ((a) > (b) ? (a) : (b))
#define V_SUM(a) (a)
#define V_SUM4_STORE(p, a, b, c, d, bias)                                          \
    ((p)[0] = (a) + (bias)[0], (p)[1] = (b) + (bias)[1], (p)[2] = (c) + (bias)[2], \
     (p)[3] = (d) + (bias)[3])
#define V_ROUND(a) rintf(a)
#define V_POW2(n) pow2_scalar(n)
#define V_POSITIVE(a) ((a) > 0.0f)
#define V_SELECT_POSITIVE(x, a, b) ((x) > 0.0f ? (a) : (b))
#define V_HADAMARD(a) (a)
#define V_LOAD_U16(p) ((float)*(p))
#define V_NOT_BELOW(a, b) (unsigned)!((a) < (b))
#define SCAN shortlist_scalar
#define LIST list_scalar
#define SCAN_TARGET
#define SUMS sums_scalar
#define GROUP 1
#include "shortlist.h"
#define SHORTLIST shortlist_scalar, NULL, NULL, 4
#define V_TRANSPOSE(t) ((void)(t))
#define VI uint32_t
#define VI_DOUBLE(a) ((a) + (a))
#define VI_TAKE(a, v, bit) ((a) | ((v) > 0.0f ? (bit) : 0u))
#define VI_STORE16(p, a) (*(p) = (uint16_t)(a))
#define VI_SET1(x) (x)
#define VI_LANES() 0u
#define VI_ADD(a, b) ((a) + (b))
#define VI_XOR(a, b) ((a) ^ (b))
#define VI_AND(a, b) ((a) & (b))
#define VI_MUL(a, b) ((a) * (b))
#define VI_SHIFT(a, n) ((a) >> (n))
#define V_BITS(a) bits_scalar(a)
#define V_LOAD_HALF(p) slide_half_to_float(*(p))
#define V_STORE_UPPER(p, a) (*(p) = (uint16_t)((a) >> 16))
#include "hash.h"
#include "blocks.h"
#include "half.h"
#include "kernels.h"

#ifdef SLIDE_X86

/* ---------------------------------------------------------------- avx2 -- */

static const int32_t avx2_masks[16] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                       0,  0,  0,  0,  0,  0,  0,  0};

static ALWAYS_INLINE TARGET_AVX2 __m256i mask_avx2(int n)
{
    return _mm256_loadu_si256((const __m256i *)(avx2_masks + 8 - n));
}

/* Sums of four vectors. V_SUM adds in the same order, so that a sum has the same bits
 * whether it is computed alone or with three others. */
static ALWAYS_INLINE TARGET_AVX2 __m128 sum4_avx2(__m256 a, __m256 b, __m256 c, __m256 d)
{
    const __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    const __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    const __m256 s = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44),
                                   _mm256_shuffle_ps(ab, cd, 0xEE));
    return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

/* In each pair the lower half becomes x + partner, and the upper half becomes partner - x. */
static ALWAYS_INLINE TARGET_AVX2 __m256 butterfly_avx2(__m256 x)
{
    const __m256 n0 = _mm256_castsi256_ps(_mm256_set1_epi64x((int64_t)1 << 63));
    const __m256 n1 = _mm256_setr_ps(0, 0, -0.0f, -0.0f, 0, 0, -0.0f, -0.0f);
    const __m256 n2 = _mm256_setr_ps(0, 0, 0, 0, -0.0f, -0.0f, -0.0f, -0.0f);
    x = _mm256_add_ps(_mm256_permute_ps(x, 0xB1), _mm256_xor_ps(x, n0));
    x = _mm256_add_ps(_mm256_permute_ps(x, 0x4E), _mm256_xor_ps(x, n1));
    return _mm256_add_ps(_mm256_permute2f128_ps(x, x, 1), _mm256_xor_ps(x, n2));
}

/* The upper halves of eight numbers, in order. */
static ALWAYS_INLINE TARGET_AVX2 void store_upper_avx2(uint16_t *p, __m256i x)
{
    x = _mm256_srli_epi32(x, 16);
    x = _mm256_permute4x64_epi64(_mm256_packus_epi32(x, x), 0x08);
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(x));
}

/* Vector k becomes the k-th values of all vectors. */
static ALWAYS_INLINE TARGET_AVX2 void transpose_avx2(__m256 *t)
{
    __m256 a[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_ps(t[i], t[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(t[i], t[i + 1]);
    }
    for (int i = 0; i < 4; i++) { /* pairs of values of four vectors */
        const int k = (i & 1) + 4 * (i >> 1);
        t[2 * i] = _mm256_shuffle_ps(a[k], a[k + 2], 0x44);
        t[2 * i + 1] = _mm256_shuffle_ps(a[k], a[k + 2], 0xEE);
    }
    for (int i = 0; i < 4; i++) {
        a[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
        a[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
    for (int i = 0; i < 8; i++)
        t[i] = a[i];
}

#define SIMD_NAME "avx2"
#define NAME(f) f##_avx2
#define FN static TARGET_AVX2
#define FN_INLINE static ALWAYS_INLINE TARGET_AVX2
#define V __m256
#define VW 8
#define MR 4
#define NX 2
#define NV 2
#define NV1 8
#define V_ZERO() _mm256_setzero_ps()
#define V_SET1(x) _mm256_set1_ps(x)
#define V_LOAD(p) _mm256_loadu_ps(p)
#define V_STORE(p, v) _mm256_storeu_ps(p, v)
#define V_LOADN(p, n) _mm256_maskload_ps(p, mask_avx2(n))
#define V_STOREN(p, n, v) _mm256_maskstore_ps(p, mask_avx2(n), v)
#define V_ADD(a, b) _mm256_add_ps(a, b)
#define V_SUB(a, b) _mm256_sub_ps(a, b)
#define V_MUL(a, b) _mm256_mul_ps(a, b)
#define V_DIV(a, b) _mm256_div_ps(a, b)
#define V_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define V_MIN(a, b) _mm256_min_ps(a, b)
#define V_MAX(a, b) _mm256_max_ps(a, b)
#define V_SUM(a) _mm_cvtss_f32(sum4_avx2(a, a, a, a))
#define V_SUM4_STORE(p, a, b, c, d, bias)                                          \
    _mm_storeu_ps(p, _mm_add_ps(sum4_avx2(a, b, c, d), _mm_loadu_ps(bias)))
#define V_ROUND(a) _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define V_POW2(n)                                                                  \
    _mm256_castsi256_ps(_mm256_slli_epi32(                                         \
        _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23))
#define V_POSITIVE(a)                                                              \
    (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_GT_OQ))
#define V_SELECT_POSITIVE(x, a, b)                                                 \
    _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GT_OQ))
#define V_HADAMARD(a) butterfly_avx2(a)
#define V_LOAD_U16(p)                                                              \
    _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(p))))
#define V_NOT_BELOW(a, b) (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_NLT_UQ))
#define SCAN shortlist_avx2
#define LIST list_avx2
#define SCAN_TARGET TARGET_AVX2
#define SUMS sums_avx2
#define GROUP 2
#include "shortlist.h"
#define SHORTLIST shortlist_avx2, NULL, NULL, 4
#define V_TRANSPOSE(t) transpose_avx2(t)
#define VI __m256i
#define VI_DOUBLE(a) _mm256_add_epi32(a, a)
#define VI_TAKE(a, v, bit)                                                          \
    _mm256_or_si256(a, _mm256_and_si256(bit, _mm256_castps_si256(_mm256_cmp_ps(    \
                                                 v, _mm256_setzero_ps(), _CMP_GT_OQ))))
#define VI_STORE16(p, a)                                                            \
    _mm_storeu_si128((__m128i *)(p),                                               \
                     _mm256_castsi256_si128(                                       \
                         _mm256_permute4x64_epi64(_mm256_packus_epi32(a, a), 8)))
#define VI __m256i
#define VI_SET1(x) _mm256_set1_epi32((int)(x))
#define VI_LANES() _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)
#define VI_ADD(a, b) _mm256_add_epi32(a, b)
#define VI_XOR(a, b) _mm256_xor_si256(a, b)
#define VI_AND(a, b) _mm256_and_si256(a, b)
#define VI_MUL(a, b) _mm256_mullo_epi32(a, b)
#define VI_SHIFT(a, n) _mm256_srli_epi32(a, n)
#define V_BITS(a) _mm256_castps_si256(a)
#define V_LOAD_HALF(p)                                                             \
    _mm256_castsi256_ps(_mm256_slli_epi32(                                         \
        _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(p))), 16))
#define V_STORE_UPPER(p, a) store_upper_avx2(p, a)
#include "hash.h"
#include "blocks.h"
#include "half.h"
#include "kernels.h"

/* -------------------------------------------------------------- avx512 -- */

#define TARGET_AVX512                                                              \
    __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,popcnt")))

static ALWAYS_INLINE TARGET_AVX512 __m128 sum4_avx512(__m512 a, __m512 b, __m512 c,
                                                      __m512 d)
{
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const __m512 s = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44),
                                   _mm512_shuffle_ps(ab, cd, 0xEE));
    const __m256 t = _mm256_add_ps(_mm512_castps512_ps256(s),
                                   _mm512_extractf32x8_ps(s, 1));
    return _mm_add_ps(_mm256_castps256_ps128(t), _mm256_extractf128_ps(t, 1));
}

static ALWAYS_INLINE TARGET_AVX512 __m512 flip_avx512(__m512 x, __mmask16 upper)
{
    const __m512i sign = _mm512_set1_epi32((int)0x80000000u);
    const __m512i bits = _mm512_castps_si512(x);
    return _mm512_castsi512_ps(_mm512_mask_xor_epi32(bits, upper, bits, sign));
}

static ALWAYS_INLINE TARGET_AVX512 __m512 butterfly_avx512(__m512 x)
{
    x = _mm512_add_ps(_mm512_permute_ps(x, 0xB1), flip_avx512(x, 0xAAAA));
    x = _mm512_add_ps(_mm512_permute_ps(x, 0x4E), flip_avx512(x, 0xCCCC));
    x = _mm512_add_ps(_mm512_shuffle_f32x4(x, x, 0xB1), flip_avx512(x, 0xF0F0));
    return _mm512_add_ps(_mm512_shuffle_f32x4(x, x, 0x4E), flip_avx512(x, 0xFF00));
}

/* Vector k becomes the k-th values of all vectors. */
static ALWAYS_INLINE TARGET_AVX512 void transpose_avx512(__m512 *t)
{
    __m512 a[16];
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_ps(t[i], t[i + 1]);
        a[i + 1] = _mm512_unpackhi_ps(t[i], t[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) /* each 128 bits of t[i + k] hold values of four vectors */
        for (int k = 0; k < 2; k++) {
            t[i + 2 * k] = _mm512_shuffle_ps(a[i + k], a[i + k + 2], 0x44);
            t[i + 2 * k + 1] = _mm512_shuffle_ps(a[i + k], a[i + k + 2], 0xEE);
        }
    for (int i = 0; i < 4; i++) {
        const __m512 b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88);
        const __m512 c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88);
        const __m512 d = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xDD);
        const __m512 e = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xDD);
        a[i] = _mm512_shuffle_f32x4(b, c, 0x88);
        a[i + 8] = _mm512_shuffle_f32x4(b, c, 0xDD);
        a[i + 4] = _mm512_shuffle_f32x4(d, e, 0x88);
        a[i + 12] = _mm512_shuffle_f32x4(d, e, 0xDD);
    }
    for (int i = 0; i < 16; i++)
        t[i] = a[i];
}

#define SIMD_NAME "avx512"
#define NAME(f) f##_avx512
#define FN static TARGET_AVX512
#define FN_INLINE static ALWAYS_INLINE TARGET_AVX512
#define V __m512
#define VW 16
#define MR 4
#define NX 4
#define NV 4
#define NV1 16
#define MASK16(n) ((__mmask16)((1u << (n)) - 1u))
#define V_ZERO() _mm512_setzero_ps()
#define V_SET1(x) _mm512_set1_ps(x)
#define V_LOAD(p) _mm512_loadu_ps(p)
#define V_STORE(p, v) _mm512_storeu_ps(p, v)
#define V_LOADN(p, n) _mm512_maskz_loadu_ps(MASK16(n), p)
#define V_STOREN(p, n, v) _mm512_mask_storeu_ps(p, MASK16(n), v)
#define V_ADD(a, b) _mm512_add_ps(a, b)
#define V_SUB(a, b) _mm512_sub_ps(a, b)
#define V_MUL(a, b) _mm512_mul_ps(a, b)
#define V_DIV(a, b) _mm512_div_ps(a, b)
#define V_FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define V_MIN(a, b) _mm512_min_ps(a, b)
#define V_MAX(a, b) _mm512_max_ps(a, b)
#define V_SUM(a) _mm_cvtss_f32(sum4_avx512(a, a, a, a))
#define V_SUM4_STORE(p, a, b, c, d, bias)                                          \
    _mm_storeu_ps(p, _mm_add_ps(sum4_avx512(a, b, c, d), _mm_loadu_ps(bias)))
#define V_ROUND(a) _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT)
#define V_POW2(n) _mm512_scalef_ps(_mm512_set1_ps(1.0f), n)
#define V_POSITIVE(a)                                                              \
    (unsigned)_mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_GT_OQ)
#define V_SELECT_POSITIVE(x, a, b)                                                 \
    _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ), b, a)
#define V_HADAMARD(a) butterfly_avx512(a)
#define V_LOAD_U16(p)                                                              \
    _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(p))))
#define V_NOT_BELOW(a, b) (unsigned)_mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ)
#define SCAN shortlist_vbmi
#define LIST list_vbmi
#define SCAN_TARGET TARGET_VBMI
#define SUMS sums_vbmi
#define GROUP 4
#include "shortlist.h"
#define SHORTLIST shortlist_avx2, NULL, NULL, 4
#define V_TRANSPOSE(t) transpose_avx512(t)
#define VI __m512i
#define VI_DOUBLE(a) _mm512_add_epi32(a, a)
#define VI_TAKE(a, v, bit)                                                          \
    _mm512_mask_or_epi32(a, _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_GT_OQ), a, bit)
#define VI_STORE16(p, a)                                                            \
    _mm256_storeu_si256((__m256i *)(p), _mm512_cvtepi32_epi16(a))
#define VI __m512i
#define VI_SET1(x) _mm512_set1_epi32((int)(x))
#define VI_LANES() _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define VI_ADD(a, b) _mm512_add_epi32(a, b)
#define VI_XOR(a, b) _mm512_xor_si512(a, b)
#define VI_AND(a, b) _mm512_and_si512(a, b)
#define VI_MUL(a, b) _mm512_mullo_epi32(a, b)
#define VI_SHIFT(a, n) _mm512_srli_epi32(a, n)
#define V_BITS(a) _mm512_castps_si512(a)
#define V_LOAD_HALF(p)                                                             \
    _mm512_castsi512_ps(_mm512_slli_epi32(                                         \
        _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(p))), 16))
#define V_STORE_UPPER(p, a)                                                        \
    _mm256_storeu_si256((__m256i *)(p), _mm512_cvtepi32_epi16(_mm512_srli_epi32(a, 16)))
#include "hash.h"
#include "blocks.h"
#include "half.h"
#include "kernels.h"

/* gcc before 10 does not know bfloat16, and clang 16 crashes on it. */
#if (defined(__clang__) && __clang_major__ < 19) || \
    (defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 10)
#define HAS_PAIRS 0
#else
#define HAS_PAIRS 1
#include "pairs.h"
#endif
#include "sift.h"

#endif /* SLIDE_X86 */

const slide_simd *slide_simd_table(const char *name)
{
    if (strcmp(name, "scalar") == 0)
        return &table_scalar;
#ifdef SLIDE_X86
    __builtin_cpu_init();
    if (strcmp(name, "avx2") == 0 && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("fma") && __builtin_cpu_supports("popcnt"))
        return &table_avx2;
    if (strcmp(name, "avx512") == 0 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("popcnt")) {
        static slide_simd table; /* with the kernels of later extensions */
        table = table_avx512;
        if (__builtin_cpu_supports("avx512vbmi")) {
            table.shortlist = shortlist_vbmi;
            table.entry_bits = 6;
        }
        if (__builtin_cpu_supports("avx512vnni"))
            table.sift = sift_vnni;
#if HAS_PAIRS
        if (__builtin_cpu_supports("avx512bf16"))
            table.pairs = &pair_kernels;
#endif
        return &table;
    }
#endif
    return NULL;
}
