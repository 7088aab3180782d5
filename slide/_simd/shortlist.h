/* The scan of one-bit codes, over the vector macros of tables.c and some more: SCAN (its name),
 * LIST (the name of its inner function), SCAN_TARGET, SUMS (a function of codes.h), GROUP (how many
 * blocks of 64 neurons SUMS takes at a time), V_LOAD_U16 and V_NOT_BELOW. The contract stands in
 * simd.h. */

/* Append neurons whose estimates are not below the threshold, out of 64 neurons from i on. */
static ALWAYS_INLINE SCAN_TARGET int64_t LIST(const uint16_t *sums, const slide_codes *index,
                                              int64_t i, int64_t end, float step,
                                              float low, float threshold, int32_t *ids,
                                              float *z)
{
    const V steps = V_SET1(step), lows = V_SET1(low), least = V_SET1(threshold);
    unsigned masks[64 / VW], any = 0;
    int64_t found = 0;
    for (int v = 0; v < 64 / VW; v++) {
        const V s = V_FMA(V_LOAD_U16(sums + v * VW), steps, lows);
        const V e = V_FMA(V_LOAD(index->scale + i + v * VW), s,
                          V_LOAD(index->bias + i + v * VW));
        masks[v] = V_NOT_BELOW(e, least);
        any |= masks[v];
    }
    for (int v = 0; any && v < 64 / VW; v++) {
        float part[VW];
        const V s = V_FMA(V_LOAD_U16(sums + v * VW), steps, lows);
        V_STORE(part, V_FMA(V_LOAD(index->scale + i + v * VW), s,
                            V_LOAD(index->bias + i + v * VW)));
        for (unsigned mask = masks[v]; mask; mask &= mask - 1u) {
            const int b = LOWEST_BIT(mask);
            if (i + v * VW + b >= end)
                break;
            ids[found] = (int32_t)(i + v * VW + b);
            z[found++] = part[b];
        }
    }
    return found;
}

static SCAN_TARGET int64_t SCAN(const slide_codes *index, int64_t first, int64_t n,
                                const uint8_t *lut, float step, float low,
                                float threshold, int32_t *ids, float *z)
{
    const int64_t n_bytes = index->n_bytes, end = first + n;
    const slide_sieve sieve = sieve_of(index, step, low, threshold);
    int64_t found = 0, i = first;
    uint16_t sums[64 * GROUP];
    for (; i < end; i += 64 * GROUP) {
        const int whole = GROUP == 1 || end - i > 64 * (GROUP - 1);
        unsigned passed = 0; /* blocks that may have neurons to list */
        if (whole)
            passed = SUMS(GROUP, index->codes + i * n_bytes, n_bytes, lut, &sieve,
                          coarse_at(index, i), sums);
        else
            for (int64_t j = i; j < end; j += 64)
                passed |= SUMS(1, index->codes + j * n_bytes, n_bytes, lut, &sieve,
                               coarse_at(index, j), sums + (j - i))
                          << (j - i) / 64;
        for (; passed; passed &= passed - 1u) {
            const int64_t j = 64 * LOWEST_BIT(passed);
            found += LIST(sums + j, index, i + j, end, step, low, threshold, ids + found,
                          z + found);
        }
    }
    return found;
}

#undef SCAN
#undef LIST
#undef SCAN_TARGET
#undef SUMS
#undef GROUP
#undef V_LOAD_U16
#undef V_NOT_BELOW
