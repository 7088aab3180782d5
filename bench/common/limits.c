/* What this machine's memory can do, for bench/kernels.py, which compiles it. One thread each. */
#include <stdint.h>

/* STREAM's triad: a = b + s c. */
void triad(float *restrict a, const float *restrict b, const float *restrict c, float s, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        a[i] = b[i] + s * c[i];
}

/* Ask for a row, to be read or also to be changed. */
#define ASK(row, width, change)                                                                  \
    for (int64_t k = 0; k < (width); k += 16)                                                    \
        __builtin_prefetch((row) + k, change)

typedef float lane __attribute__((vector_size(64), aligned(4)));

/* Read the rows w[ids] of `width` floats, a multiple of 64, each asked for `ahead` rows early;
 * out (16,) gets a sum that keeps the compiler from leaving them out. */
void read_rows(const float *w, const int32_t *ids, int64_t n, int64_t width, int64_t ahead,
               float *out)
{
    lane sums[4] = {{0}};
    for (int64_t i = 0; i < n; i++) {
        const float *row = w + ids[i] * width;
        if (ahead && i + ahead < n)
            ASK(w + ids[i + ahead] * width, width, 0);
        for (int64_t k = 0; k < width; k += 64)
            for (int j = 0; j < 4; j++)
                sums[j] += *(const lane *)(row + k + 16 * j);
    }
    *(lane *)out = sums[0] + sums[1] + sums[2] + sums[3];
}

/* Read, change and write the rows w[ids] and m[ids]. */
void update_rows(float *restrict w, float *restrict m, const int32_t *ids, int64_t n,
                 int64_t width, int64_t ahead)
{
    for (int64_t i = 0; i < n; i++) {
        float *restrict row = w + ids[i] * width, *restrict moment = m + ids[i] * width;
        if (ahead && i + ahead < n) {
            ASK(w + ids[i + ahead] * width, width, 1);
            ASK(m + ids[i + ahead] * width, width, 1);
        }
        for (int64_t k = 0; k < width; k++) {
            moment[k] = 0.9f * moment[k] + 0.1f;
            row[k] -= 1e-3f * moment[k];
        }
    }
}
