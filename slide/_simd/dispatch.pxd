from slide._base.typedefs cimport (
    float32_t,
    int8_t,
    int16_t,
    int32_t,
    int64_t,
    uint16_t,
    uint32_t,
    uint64_t,
    uint8_t,
)

cdef extern from "slide/_simd/simd.h" nogil:
    ctypedef struct slide_codes:
        const uint8_t *codes
        int64_t n_bytes
        const float32_t *scale
        const float32_t *bias
        const int16_t *coarse
        float32_t scale_unit
        float32_t bias_unit
        float32_t bias_mid

    ctypedef struct slide_bytes:
        const int8_t *codes
        int64_t n_fours
        const float32_t *scale
        const float32_t *sum
        const float32_t *bias
        const float32_t *error
        const float32_t *length

    ctypedef struct slide_sifter:
        const uint8_t *codes
        float32_t scale
        float32_t low
        float32_t length
        float32_t error
        float32_t threshold
        const float32_t *more
        int32_t *ids
        float32_t *most
        float32_t *least
        int64_t *n

    ctypedef struct slide_simhash:
        int64_t n_in
        int64_t size
        int64_t last_size
        int64_t n_blocks
        int64_t n_rounds
        int64_t n_padded
        const float32_t *signs
        const float32_t *later_signs
        const float32_t *extra
        int32_t n_tables
        int32_t n_bits

    enum:
        SLIDE_BLOCK
        SLIDE_LANES

    ctypedef struct slide_pairs:
        void (*dots)(const uint16_t *rows, int64_t ldr, const int32_t *ids,
                     const float32_t *bias, int64_t n_rows, const uint16_t *x, int64_t ldx,
                     int64_t n_x, int64_t d, float32_t *out, int64_t ldo) noexcept nogil
        void (*accumulate)(const uint32_t *coef, int64_t si, int64_t sk, const uint32_t *pairs,
                           int64_t ldp, int64_t n_pairs, float32_t *out, int64_t ldo,
                           int64_t n_out, int64_t d) noexcept nogil
        void (*halves)(const float32_t *x, int64_t ldx, int64_t n, int64_t d,
                       uint16_t *out) noexcept nogil
        void (*pair_rows)(const float32_t *x, int64_t ldx, int64_t n, int64_t d,
                          uint32_t *out) noexcept nogil
        void (*take)(const uint16_t *rows, int64_t ldr, const int32_t *ids, int64_t n_rows,
                     const int32_t *starts, int64_t d, uint16_t *out) noexcept nogil
        void (*pair_halves)(const uint16_t *rows, int64_t ldr, const int32_t *ids,
                            int64_t n_rows, int64_t d, uint32_t *out) noexcept nogil

    ctypedef struct slide_simd:
        const char *name
        void (*dots)(const float32_t *rows, int64_t ldr, const int32_t *ids,
                     const float32_t *bias, int64_t n_rows, const float32_t *x,
                     int64_t ldx, int64_t n_x, int64_t d, float32_t *out,
                     int64_t ldo) noexcept nogil
        void (*accumulate)(const float32_t *coef, int64_t si, int64_t sk,
                           const float32_t *rows, int64_t ldr, const int32_t *ids,
                           int64_t n_rows, float32_t *out, int64_t ldo,
                           int64_t n_out, int64_t d) noexcept nogil
        void (*spread)(const float32_t *row, const float32_t *coef, const int32_t *ids,
                       int64_t n, float32_t *out, int64_t ldo, int64_t d) noexcept nogil
        void (*gather_sum)(const float32_t *coef, const float32_t *rows, int64_t ldr,
                           const int32_t *ids, int64_t n, float32_t *out,
                           int64_t d) noexcept nogil
        float32_t (*square_sum)(const float32_t *x, int64_t n) noexcept nogil
        void (*momentum)(float32_t *w, float32_t *m, const float32_t *g, int64_t n,
                         float32_t step, float32_t b1) noexcept nogil
        int64_t (*momentum_some)(float32_t *w, float32_t *m, const float32_t *g, int64_t n,
                                 float32_t step, float32_t b1) noexcept nogil
        void (*take)(const float32_t *rows, int64_t ldr, const int32_t *ids, int64_t n_rows,
                     const int32_t *starts, int64_t d, float32_t *out) noexcept nogil
        void (*spread_blocks)(const float32_t *row, const int32_t *starts, const float32_t *coef,
                              const int32_t *ids, int64_t n, float32_t *out, int64_t ldo,
                              int64_t d) noexcept nogil
        void (*momentum_blocks)(float32_t *w, float32_t *m, const int32_t *starts,
                                const float32_t *g, int64_t d, float32_t step,
                                float32_t b1) noexcept nogil
        void (*unpack)(const uint16_t *rows, int64_t ldr, const int32_t *ids, int64_t n_rows,
                       int64_t d, float32_t *out) noexcept nogil
        void (*momentum_half)(uint16_t *w, uint16_t *m, const float32_t *g, int64_t n,
                              float32_t step, float32_t b1, uint32_t seed) noexcept nogil
        void (*take_half)(const uint16_t *rows, int64_t ldr, const int32_t *ids, int64_t n_rows,
                          const int32_t *starts, int64_t d, float32_t *out) noexcept nogil
        void (*momentum_half_blocks)(uint16_t *w, uint16_t *m, const int32_t *starts,
                                     const float32_t *g, int64_t d, float32_t step, float32_t b1,
                                     uint32_t seed) noexcept nogil
        void (*hadamard)(float32_t *x, int64_t n) noexcept nogil
        void (*sign_bits)(const float32_t *x, int64_t n, uint64_t *out) noexcept nogil
        void (*simhash)(const slide_simhash *hash, const float32_t *rows, int64_t ldr,
                        const int32_t *ids, int64_t n_rows, const float32_t *extra_0,
                        const float32_t *extra_1, float32_t *scratch, uint16_t *codes,
                        int64_t ldc) noexcept nogil
        void (*statistics)(const float32_t *rows, int64_t ldr, const float32_t *bias,
                           int64_t n_rows, const float32_t *mean, int64_t d,
                           float32_t *along, float32_t *norm2) noexcept nogil
        double (*exp_sum)(float32_t *z, int64_t n, float32_t shift) noexcept nogil
        float32_t (*max)(const float32_t *z, int64_t n) noexcept nogil
        double (*sigmoid)(float32_t *z, int64_t n) noexcept nogil
        float32_t (*gather_dot)(const float32_t *row, const int32_t *ids,
                                const float32_t *values, int64_t n) noexcept nogil
        void (*code_scores)(const uint64_t *codes, int64_t n_words, const int32_t *ids,
                            int64_t n, const uint64_t *query, const float32_t *curve,
                            const float32_t *norm, const float32_t *bias,
                            float32_t *out) noexcept nogil
        void (*rising_keys)(const float32_t *x, int64_t n, int32_t *keys) noexcept nogil
        int64_t (*reaching)(const int32_t *keys, int64_t n, int32_t least) noexcept nogil
        int64_t (*shortlist)(const slide_codes *index, int64_t first, int64_t n,
                             const uint8_t *lut, float32_t step, float32_t low,
                             float32_t threshold, int32_t *ids, float32_t *z) noexcept nogil
        void (*sift)(const slide_bytes *rows, int64_t first, int64_t n, const slide_sifter *x,
                     int64_t n_x) noexcept nogil
        const slide_pairs *pairs
        int entry_bits

    void slide_prefetch(const void *start, int64_t n_bytes)
    float32_t slide_half_to_float(uint16_t half)
    uint16_t slide_float_to_half(float32_t x, uint32_t noise)
    uint32_t slide_noise(uint32_t place)
    const slide_simd *slide_simd_table(const char *name)

# The table chosen at import. Sibling modules call chosen() once per vector, not per element.
cdef const slide_simd *chosen() noexcept nogil
