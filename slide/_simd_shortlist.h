/* The scan of one-bit codes, over the vector macros of _simd_tables.c and SCAN (its name),
 * SCAN_FN, SUMS (a function of _simd_codes.h), GROUP (blocks of 64 neurons that SUMS takes at a
 * time), V_LOAD_U16 and V_NOT_BELOW. The contract stands in _simd.h. */

SCAN_FN int64_t SCAN(const uint8_t *codes, int64_t n_bytes, int64_t n, const uint8_t *lut,
                     float step, float low, const float *scale, const float *bias,
                     float threshold, int32_t first, int32_t *ids, float *z)
{
    const V steps = V_SET1(step), lows = V_SET1(low), least = V_SET1(threshold);
    int64_t found = 0;
    for (int64_t i0 = 0; i0 < n; i0 += 64 * GROUP) {
        uint16_t sums[64 * GROUP];
        const int64_t size = n - i0 < 64 * GROUP ? n - i0 : 64 * GROUP;
        if (GROUP == 1 || size > 64 * (GROUP - 1))
            SUMS(GROUP, codes + i0 * n_bytes, n_bytes, lut, sums);
        else
            for (int64_t j = 0; j < size; j += 64)
                SUMS(1, codes + (i0 + j) * n_bytes, n_bytes, lut, sums + j);
        for (int64_t j0 = 0; j0 < size; j0 += 64) {
            unsigned masks[64 / VW], any = 0;
            for (int v = 0; v < 64 / VW; v++) {
                const int64_t j = j0 + v * VW;
                const V s = V_FMA(V_LOAD_U16(sums + j), steps, lows);
                const V e = V_FMA(V_LOAD(scale + i0 + j), s, V_LOAD(bias + i0 + j));
                masks[v] = V_NOT_BELOW(e, least);
                any |= masks[v];
            }
            for (int v = 0; any && v < 64 / VW; v++) {
                const int64_t j = j0 + v * VW;
                float part[VW];
                const V s = V_FMA(V_LOAD_U16(sums + j), steps, lows);
                V_STORE(part, V_FMA(V_LOAD(scale + i0 + j), s, V_LOAD(bias + i0 + j)));
                for (unsigned mask = masks[v]; mask; mask &= mask - 1u) {
                    const int b = LOWEST_BIT(mask);
                    if (i0 + j + b >= n)
                        break;
                    ids[found] = first + (int32_t)(i0 + j) + b;
                    z[found++] = part[b];
                }
            }
        }
    }
    return found;
}

#undef SCAN
#undef SCAN_FN
#undef SUMS
#undef GROUP
#undef V_LOAD_U16
#undef V_NOT_BELOW
