/* Vector kernels for each instruction set behind one table.
 *
 * The kernels are written once, in kernels.h, blocks.h, hash.h, half.h and shortlist.h, over
 * vector macros; tables.c includes these once per instruction set with function
 * level `target` attributes, so that one portable binary carries all of them.
 * slide_simd_table() hands out the table of a named instruction set, or NULL
 * where the processor (or the compiler) does not have it.
 *
 * All kernels: no allocation, no locks, no global state; safe to call from any
 * number of threads on disjoint outputs. Pointers need no alignment; 64-byte
 * aligned rows are faster. Every result depends on its own row and vector only,
 * never on how many of them are computed together.
 */
#ifndef SLIDE_SIMD_H
#define SLIDE_SIMD_H

#include <stdint.h>

/* Codes of neurons, in blocks of 64 neurons: byte p of neuron i is codes[i / 64][p][i % 64]. With
 * entry_bits 4, byte p holds the groups of bits number 2 p (in its low half) and 2 p + 1, and
 * n_bytes is a multiple of 4. With entry_bits 6, byte p holds the group number p. n_bytes is at
 * most 255. */
typedef struct {
    const uint8_t *codes; /* (blocks, n_bytes, 64) */
    int64_t n_bytes;
    const float *scale; /* (64 blocks,) */
    const float *bias;
    /* (blocks, 2, 64) scale / scale_unit and (bias - bias_mid) / bias_unit, rounded, of the
     * neurons 0, 2, .. 62, 1, 3, .. 63 of each block, or NULL. They only rule neurons out early:
     * no result depends on them. */
    const int16_t *coarse;
    float scale_unit, bias_unit, bias_mid;
} slide_codes;

/* Rows of weights in bytes: weight j of row i is about scale[i] times its code. The arrays have a
 * multiple of 64 elements. */
typedef struct {
    const int8_t *codes; /* (blocks of 64 rows, n_fours, 64, 4): codes 4 k to 4 k + 3 of each row */
    int64_t n_fours;
    const float *scale;
    const float *sum; /* of the row's weights */
    const float *bias;
    const float *error;  /* length of the difference between the row and its codes */
    const float *length; /* of the row */
} slide_bytes;

/* A vector in bytes: element j is about low + scale * code. Its list of neurons. */
typedef struct {
    const uint8_t *codes; /* (4 n_fours,) */
    float scale, low;
    float length; /* of scale * codes */
    /* Length of the difference, plus this: how much a product in float32 is rounded, divided by
     * the length of the row. */
    float error;
    float threshold;
    const float *more; /* added to the products, from that of neuron `first` on; or NULL */
    int32_t *ids;
    float *most, *least; /* bounds of the listed products */
    int64_t *n;
} slide_sifter;

/* The random numbers of SimHash; the class of that name in _hashing/simhash.pyx explains them. */
typedef struct {
    int64_t n_in, size, last_size, n_blocks, n_rounds, n_padded;
    const float *signs, *later_signs, *extra;
    int32_t n_tables, n_bits;
} slide_simhash;

#define SLIDE_BLOCK 16 /* neurons that a micro-batch keeps or leaves out together */
#define SLIDE_LANES 16 /* rows that simhash takes side by side, at most */

/* Products of bfloat16, on processors that multiply it. A pair is two numbers in 32 bits, the
 * first number in the lower half. Sums are float32. */
typedef struct {
    /* The same as `dots`, for bfloat16 rows and x. IN rows (., ldr), ids (n_rows,) or NULL, bias,
     * x (n_x, ldx); OUT out (n_x, ldo). */
    void (*dots)(const uint16_t *rows, int64_t ldr, const int32_t *ids, const float *bias,
                 int64_t n_rows, const uint16_t *x, int64_t ldx, int64_t n_x, int64_t d,
                 float *out, int64_t ldo);

    /* out[i * ldo + :] += sum_k first(coef[i * si + k * sk]) * first(pairs[k])
     *                           + second(coef[..]) * second(pairs[k]).
     * IN coef, pairs (n_pairs, ldp); INOUT out (n_out, ldo). */
    void (*accumulate)(const uint32_t *coef, int64_t si, int64_t sk, const uint32_t *pairs,
                       int64_t ldp, int64_t n_pairs, float *out, int64_t ldo, int64_t n_out,
                       int64_t d);

    /* Round rows of floats to the nearest bfloat16. IN x (n, ldx); OUT out (n, ld), where ld is d
     * rounded up to an even number; the added number is zero. */
    void (*halves)(const float *x, int64_t ldx, int64_t n, int64_t d, uint16_t *out);

    /* Pair rows 2 q and 2 q + 1, rounded to the nearest bfloat16; a missing row is zero.
     * IN x (n, ldx); OUT out ((n + 1) / 2, d). */
    void (*pair_rows)(const float *x, int64_t ldx, int64_t n, int64_t d, uint32_t *out);

    /* The same as `take` of slide_simd; the columns stay bfloat16. */
    void (*take)(const uint16_t *rows, int64_t ldr, const int32_t *ids, int64_t n_rows,
                 const int32_t *starts, int64_t d, uint16_t *out);

    /* The same as `pair_rows` for bfloat16 rows id(i), with id(i) as in `dots`. */
    void (*pair_halves)(const uint16_t *rows, int64_t ldr, const int32_t *ids, int64_t n_rows,
                        int64_t d, uint32_t *out);
} slide_pairs;

typedef struct {
    const char *name;

    /* out[b * ldo + i] = rows[id(i)] . x[b] + bias[id(i)]
     * id(i) = ids[i], or i where ids is NULL; bias may be NULL.
     * IN rows (., ldr), ids (n_rows,), bias, x (n_x, ldx); OUT out (n_x, ldo).
     * Cost: n_rows * n_x * d multiply-adds. */
    void (*dots)(const float *rows, int64_t ldr, const int32_t *ids,
                 const float *bias, int64_t n_rows, const float *x, int64_t ldx,
                 int64_t n_x, int64_t d, float *out, int64_t ldo);

    /* out[i * ldo + :] += sum_k coef[i * si + k * sk] * rows[id(k)], k ascending.
     * IN coef, rows (., ldr), ids (n_rows,) or NULL; INOUT out (n_out, ldo).
     * Cost: n_out * n_rows * d multiply-adds. */
    void (*accumulate)(const float *coef, int64_t si, int64_t sk,
                       const float *rows, int64_t ldr, const int32_t *ids,
                       int64_t n_rows, float *out, int64_t ldo, int64_t n_out,
                       int64_t d);

    /* out[ids[k] * ldo + :] += coef[k] * row, k ascending.
     * IN coef, ids (n,), row (d,); INOUT out (., ldo). Cost: n * d multiply-adds. */
    void (*spread)(const float *row, const float *coef, const int32_t *ids, int64_t n,
                   float *out, int64_t ldo, int64_t d);

    /* out[:] = sum_k coef[k] * rows[ids[k]], k ascending.
     * IN coef, ids (n,), rows (., ldr); OUT out (d,). Cost: n * d multiply-adds. */
    void (*gather_sum)(const float *coef, const float *rows, int64_t ldr,
                       const int32_t *ids, int64_t n, float *out, int64_t d);

    /* The sum of the squares of x[0..n). */
    float (*square_sum)(const float *x, int64_t n);

    /* One step along the first moment: m = b1 m + (1 - b1) g; w -= step * m.
     * INOUT w, m (n,); IN g (n,). */
    void (*momentum)(float *w, float *m, const float *g, int64_t n, float step,
                     float b1);

    /* The same as `momentum` for the elements whose g is not zero (a square below 1e-37 counts as
     * zero); the others keep their bits. Returns the number of elements that moved. */
    int64_t (*momentum_some)(float *w, float *m, const float *g, int64_t n, float step,
                             float b1);

    /* Columns of rows, in blocks: out[i * d + :] = the columns of row id(i) that are in the blocks.
     * Block b has SLIDE_BLOCK columns, from starts[b] on; the last block may be shorter, so that
     * there are d columns in all. IN rows (., ldr), ids (n_rows,) or NULL, starts; OUT out
     * (n_rows, d). */
    void (*take)(const float *rows, int64_t ldr, const int32_t *ids, int64_t n_rows,
                 const int32_t *starts, int64_t d, float *out);

    /* The same as `spread` for such columns of a row: out[ids[k] * ldo + :] += coef[k] * them. */
    void (*spread_blocks)(const float *row, const int32_t *starts, const float *coef,
                          const int32_t *ids, int64_t n, float *out, int64_t ldo, int64_t d);

    /* The same as `momentum` for such columns of rows w and m; IN g (d,). */
    void (*momentum_blocks)(float *w, float *m, const int32_t *starts, const float *g, int64_t d,
                            float step, float b1);

    /* out[i * d + :] = row id(i) of bfloat16 rows, as floats.
     * IN rows (., ldr), ids (n_rows,) or NULL; OUT out (n_rows, d). */
    void (*unpack)(const uint16_t *rows, int64_t ldr, const int32_t *ids,
                   int64_t n_rows, int64_t d, float *out);

    /* The same as `momentum`, for bfloat16 w and m. Both are rounded up or down at random, so
     * that they are right on average: otherwise a step much smaller than w's spacing would be lost.
     * The 32 random bits of element i depend on seed + i alone, under every instruction set. */
    void (*momentum_half)(uint16_t *w, uint16_t *m, const float *g, int64_t n, float step,
                          float b1, uint32_t seed);

    /* The same as `take`, for bfloat16 rows, as floats. */
    void (*take_half)(const uint16_t *rows, int64_t ldr, const int32_t *ids, int64_t n_rows,
                      const int32_t *starts, int64_t d, float *out);

    /* The same as `momentum_half`, for columns in blocks; the random bits of a column depend on
     * seed + its number in the row. */
    void (*momentum_half_blocks)(uint16_t *w, uint16_t *m, const int32_t *starts, const float *g,
                                 int64_t d, float step, float b1, uint32_t seed);

    /* Unnormalised fast Walsh-Hadamard transform, in place; n a power of two.
     * Bit-identical under every instruction set. n log2(n) additions. */
    void (*hadamard)(float *x, int64_t n);

    /* Bit i of out is set where x[i] > 0; out has (n + 63) / 64 words. */
    void (*sign_bits)(const float *x, int64_t n, uint64_t *out);

    /* codes[t * ldc + i] = bits t * n_bits to (t + 1) * n_bits - 1 of the SimHash of row
     * id(i), the same bits as `slide._hashing.simhash` gives without a mean, under every
     * instruction set; id(i) = ids[i], or i where ids is NULL.
     * IN rows (., ldr), ids (n_rows,), extra_0, extra_1 (n_rows,) or NULL; OUT codes
     * (n_tables, ldc); scratch (2 * size * SLIDE_LANES,) of the thread, best 64-byte aligned.
     * Cost of each row: that of `slide._hashing.simhash`. */
    void (*simhash)(const slide_simhash *hash, const float *rows, int64_t ldr,
                    const int32_t *ids, int64_t n_rows, const float *extra_0,
                    const float *extra_1, float *scratch, uint16_t *codes, int64_t ldc);

    /* along[i] = rows[i] . mean + bias[i] and norm2[i] = |rows[i]|^2, as `dots` gives them.
     * IN rows (., ldr), bias (n_rows,), mean (d,); OUT along, norm2 (n_rows,).
     * Cost: 2 * n_rows * d multiply-adds. */
    void (*statistics)(const float *rows, int64_t ldr, const float *bias, int64_t n_rows,
                       const float *mean, int64_t d, float *along, float *norm2);

    /* z[i] = exp(z[i] + shift); returns the sum. Relative error < 3e-7;
     * arguments are clamped to [-87, 88]. NaN gives NaN. */
    double (*exp_sum)(float *z, int64_t n, float shift);

    /* The largest of z[0..n); -inf where n is 0. */
    float (*max)(const float *z, int64_t n);

    /* z[i] = 1 / (1 + exp(-z[i])); returns the sum of log(1 + exp(z[i])). */
    double (*sigmoid)(float *z, int64_t n);

    /* sum_j row[ids[j]] * values[j], a dense row against a sparse vector.
     * IN row, ids (n,), values (n,). Cost: n multiply-adds. */
    float (*gather_dot)(const float *row, const int32_t *ids, const float *values,
                        int64_t n);

    /* out[i] = norm[id(i)] * curve[h] + bias[id(i)], h the Hamming distance of the
     * code id(i) and the query; id(i) = ids[i], or i where ids is NULL.
     * IN codes (., n_words), norm, bias, query (n_words,), curve (bits + 1,);
     * OUT out (n,). Cost: n * n_words population counts. */
    void (*code_scores)(const uint64_t *codes, int64_t n_words, const int32_t *ids,
                        int64_t n, const uint64_t *query, const float *curve,
                        const float *norm, const float *bias, float *out);

    /* Signed integers that rise with x: IN x (n,); OUT keys (n,). Those of NaNs lie beyond those
     * of the infinities. */
    void (*rising_keys)(const float *x, int64_t n, int32_t *keys);

    /* How many of n keys are at least `least`. */
    int64_t (*reaching)(const int32_t *keys, int64_t n, int32_t least);

    /* List the neurons i in first..first + n whose estimates z are not below the threshold. NaN
     * is listed, too:
     *     z = scale[i] * (low + step * s[i]) + bias[i]
     *     s[i] = sum over g of lut[g][h], h the g-th group of entry_bits bits of i's code
     * IN index; first, a multiple of 64; lut (entries, 1 << entry_bits), numbers below 24;
     * OUT ids (n,), rising; z (n,), their estimates. Returns how many are listed.
     * Cost: an addition of bytes for each entry and neuron, 64 neurons at a time.
     * Source: Andre, Kermarrec, Le Scouarnec, VLDB 2015 (tables in registers). */
    int64_t (*shortlist)(const slide_codes *index, int64_t first, int64_t n,
                         const uint8_t *lut, float step, float low, float threshold,
                         int32_t *ids, float *z);

    /* List, for every vector b, the neurons i in first..first + n whose products may reach the
     * threshold: most >= threshold, or NaN, where least <= product <= most and
     *     product = rows[i] . vector b + bias[i] + more[i - first], as computed in float32.
     * A bound `least` that is NaN becomes -inf. Sums of products of bytes must fit into 32 bits:
     * at most 65,536 inputs.
     * IN rows; first, a multiple of 64; INOUT x (n_x,), whose lists have room for n more each.
     * Cost: a multiply-add of bytes for each weight and vector. NULL without AVX-512 VNNI. */
    void (*sift)(const slide_bytes *rows, int64_t first, int64_t n, const slide_sifter *x,
                 int64_t n_x);
    const slide_pairs *pairs; /* NULL where the processor does not multiply bfloat16 */
    int entry_bits; /* 6 where the processor can look up 64 bytes in a register, else 4 */
} slide_simd;

/* Prefetch n_bytes from `start` on, which will be changed. */
static inline void slide_prefetch(const void *start, int64_t n_bytes)
{
#if defined(__GNUC__) || defined(__clang__)
    for (int64_t k = 0; k < n_bytes; k += 64)
        __builtin_prefetch((const char *)start + k, 1);
    /* Without this, gcc believes that a function that only prefetches has no effect, and drops
     * the call. */
    __asm__ volatile("");
#else
    (void)start;
    (void)n_bytes;
#endif
}

/* The value of a bfloat16. */
static inline float slide_half_to_float(uint16_t half)
{
    union { uint32_t i; float f; } u;
    u.i = (uint32_t)half << 16;
    return u.f;
}

/* A bfloat16 near x: the upper or the lower neighbour, as 16 random bits decide. */
static inline uint16_t slide_float_to_half(float x, uint32_t noise)
{
    union { float f; uint32_t i; } u;
    u.f = x;
    return (uint16_t)((u.i + (noise & 0xffff)) >> 16);
}

/* The 32 random bits that `momentum_half` uses for element i, where place is seed + i. They are
 * only as random as the seed, which must differ from call to call. */
static inline uint32_t slide_noise(uint32_t place)
{
    place *= 0x9e3779b1;
    return place ^ (place >> 16);
}

/* name: "scalar", "avx2" or "avx512". */
const slide_simd *slide_simd_table(const char *name);

#endif
