"""The kernels of the hash families: SimHash, WTA, DWTA and MinHash of one vector.

All take the same arguments; `hash_vector` in `_hashing.hasher` chooses among them. The vector
hashed is x - mean with two extra coordinates appended, those of the inner-product transform
(`_hashing.tables`).
WTA, DWTA and MinHash see a coordinate only by its rank, so that one of 1,000 would hardly ever
matter, however large: they append n_copies of each extra, divided by the root of n_copies.
"""
from libc.string cimport memcpy, memset

from slide._base.random cimport mix64
from slide._base.typedefs cimport (
    blocks_of,
    float32_t,
    int32_t,
    int64_t,
    uint16_t,
    uint32_t,
    uint64_t,
)
from slide._simd.dispatch cimport chosen, slide_simhash

cdef enum:
    ATTEMPTS = 64   # of an empty bin to borrow, before it takes the next full one

# -------------------------------------------------------------- SimHash --


cdef void _fold(const HasherView *hasher, const float32_t *signs, const Vector *x, const float32_t *folded_mean,
                float32_t *out) noexcept nogil:
    """The first signs and the count sketch: coordinate j is added to place j mod size.

    out[i] = sum of signs[j] x[j] over j = i mod size, - folded_mean[i]

    IN signs (n_padded,), the vector (as of `simhash`), folded_mean (size,) or NULL;
    OUT out (size,). Cost: a multiply-add a value.
    """
    cdef int64_t i, k, start, chunk, n, size = hasher.size
    if folded_mean != NULL:
        for i in range(size):
            out[i] = -folded_mean[i]
    else:
        memset(out, 0, size * sizeof(float32_t))
    if x.ids != NULL:
        for k in range(x.size):
            out[x.ids[k] & (size - 1)] += signs[x.ids[k]] * x.values[k]
        return
    for chunk in range(blocks_of(hasher.n_in, size)):
        start = chunk * size
        n = min(size, hasher.n_in - start)
        for i in range(n):
            out[i] += signs[start + i] * x.values[start + i]


cdef void simhash(const HasherView *hasher, const Vector *x, const float32_t *folded_mean, float32_t extra_0,
                  float32_t extra_1, float32_t *scratch, uint64_t *words) noexcept nogil:
    """SimHash through randomised fast Walsh-Hadamard transforms.

    bit_i = [(H D3 H D2 H F D1 (x - mean))_i + e0 s0_i + e1 s1_i > 0]

    with H the Hadamard matrix of `size`, D random diagonal signs and F the fold to `size` places
    (`_fold`); here of three rounds. Two vectors at angle t share a bit with probability 1 - t / pi.

    The last H is cut to the rows that are wanted, m, a power of two: the first m rows of H_size
    are H_m side by side, so that the size / m chunks are summed first.

    Where x is wider than `size`, F is a count sketch: it adds a variance of about 1 / size at most
    to a cosine, beside some 2.47 / (number of bits) of the bits.

    Two rounds do for dense vectors: all tests hold. They do not for vectors of few
    non-zeros: of e_a + e_b, H D1 is zero where row a xor b of H has one of the signs, so that
    projections i and i xor a xor b are equal or opposite. With five non-zeros pairs of bits
    were correlated up to 0.12 and pairs collided with probabilities off by 0.04, of 0.56.

    The extras come in with Gaussian weights of their own, so that `size` need not grow for them.

    IN ids (n_values,) or NULL, values (n_values,), folded_mean: the folded mean (n_blocks, size) or
    NULL; OUT words (n_words,); scratch (size,) of the calling thread.
    Cost, of each block: n_values + (n_rounds - 1) size (log2 size + 1) + size - m + m log2 m + 2 m.
    Source: Charikar, STOC 2002, section 3; Andoni et al., NIPS 2015, section 5 (the transforms);
    Weinberger et al., ICML 2009 (the fold).
    """
    cdef int64_t block, i, m, size = hasher.size
    cdef const float32_t *e0
    cdef const float32_t *e1
    for block in range(hasher.n_blocks):
        m = project(hasher, block, x, folded_mean, scratch)
        e0 = hasher.extra + block * size
        e1 = e0 + (hasher.n_blocks - 1) * size + hasher.last_size
        for i in range(m):
            scratch[i] += extra_0 * e0[i] + extra_1 * e1[i]
        chosen().sign_bits(scratch, m, words + block * (size // 64))


cdef int64_t project(const HasherView *hasher, int64_t block, const Vector *x, const float32_t *folded_mean,
                     float32_t *scratch) noexcept nogil:
    """The projections whose signs `simhash` takes, of one of its transforms; returns their number.

    OUT scratch (size,): they come first. A transform of `size` inputs or fewer, of which all
    projections are taken, multiplies every length by size ** (n_rounds / 2). The rest as of
    `simhash`.
    """
    cdef int64_t _round, i, chunk, size = hasher.size
    cdef int64_t m = size if block < hasher.n_blocks - 1 else hasher.last_size
    cdef const float32_t *s = hasher.later_signs + block * (hasher.n_rounds - 1) * size
    _fold(hasher, hasher.signs + block * hasher.n_padded, x,
          folded_mean + block * size if folded_mean != NULL else NULL, scratch)
    for _round in range(hasher.n_rounds - 1):
        chosen().hadamard(scratch, size)
        for i in range(size):
            scratch[i] *= s[i]
        s += size
    for chunk in range(1, size // m):
        for i in range(m):
            scratch[i] += scratch[chunk * m + i]
    chosen().hadamard(scratch, m)
    return m


cdef void simhash_rows(const HasherView *hasher, int32_t n_codes, int32_t n_bits,
                       const float32_t *rows, int64_t ld, const int32_t *ids, int64_t n,
                       const float32_t *extra_0, const float32_t *extra_1, float32_t *scratch,
                       uint16_t *codes, int64_t stride) noexcept nogil:
    """`simhash` of n dense rows without a mean, side by side; the same bits, and faster.

    IN rows (., ld), ids (n,) of the rows or NULL: the first n; extra_0, extra_1 (n,) or NULL;
    OUT codes (n_codes, stride): code t of the i-th, at t * stride + i, is its bits t * n_bits to
    (t + 1) * n_bits - 1. Scratch (2 * size * SLIDE_LANES,) of the calling thread.
    Cost: `simhash`, a row.
    """
    cdef slide_simhash functions
    functions.n_in, functions.n_padded = hasher.n_in, hasher.n_padded
    functions.size, functions.last_size = hasher.size, hasher.last_size
    functions.n_blocks, functions.n_rounds = hasher.n_blocks, hasher.n_rounds
    functions.signs, functions.later_signs = hasher.signs, hasher.later_signs
    functions.extra = hasher.extra
    functions.n_tables, functions.n_bits = n_codes, n_bits
    chosen().simhash(&functions, rows, ld, ids, n, extra_0, extra_1, scratch, codes, stride)


# ---------------------------------------- what the other families share --


cdef bint _densify(const HasherView *hasher, int32_t *hashes, int32_t *next_full) noexcept nogil:
    """Empty bins borrow from full ones; False where none is full.

    Bin i tries the bins of a random sequence that is its own, the same for every vector, up to
    the first full one; after ATTEMPTS of them it takes the next full bin, around the end.
    Two vectors that both have bin i empty so meet the same bins.

    INOUT hashes (n_hashes,), -1 where empty; OUT next_full (n_hashes,).
    Cost: n_hashes, and a random number an attempt. Thread-safe on the thread's own arrays.
    Source: Shrivastava, ICML 2017 (optimal densification).
    """
    cdef int64_t i, j = 0, attempt, n = hasher.n_hashes
    cdef int32_t full = -1
    cdef uint64_t u
    for i in range(n - 1, -1, -1):
        if hashes[i] >= 0:
            full = <int32_t>i
    if full < 0:
        return False
    for i in range(n - 1, -1, -1):
        if hashes[i] >= 0:
            full = <int32_t>i
        next_full[i] = full
    for i in range(n):
        if next_full[i] == i:
            continue
        for attempt in range(ATTEMPTS):
            u = mix64(hasher.seed_borrow + <uint64_t>(i * ATTEMPTS + attempt))
            j = <int64_t>(((u >> 32) * <uint64_t>n) >> 32)
            if next_full[j] == j:
                break
        hashes[i] = hashes[next_full[j]]
    return True


cdef void _pack(const HasherView *hasher, const int32_t *hashes, uint64_t *words) noexcept nogil:
    """A table's K bits are those of its hashes, the last one cut to its low bits.

    IN hashes (n_hashes,), each of hash_bits bits; OUT words (n_words,), zero beyond L * K bits.
    """
    cdef int64_t per_table = blocks_of(hasher.n_bits, hasher.hash_bits), j, bit = 0
    cdef int32_t _table, n_bits = hasher.n_bits
    cdef uint64_t code, mask = (<uint64_t>1 << n_bits) - 1
    memset(words, 0, hasher.n_words * sizeof(uint64_t))
    for _table in range(hasher.n_tables):
        code = 0
        for j in range(per_table):
            code |= <uint64_t>hashes[j] << (j * hasher.hash_bits)
        hashes += per_table
        code &= mask
        words[bit >> 6] |= code << (bit & 63)
        if (bit & 63) + n_bits > 64:
            words[(bit >> 6) + 1] |= code >> (64 - (bit & 63))
        bit += n_bits


# --------------------------------------------------------- WTA and DWTA --


cdef void _load_slots(const HasherView *hasher, const Vector *x, const float32_t *folded_mean, float32_t extra_0,
                      float32_t extra_1, float32_t *out) noexcept nogil:
    """The coordinates that are in any window.

    IN the vector (as of `winner_take_all`); OUT out (n_used,). Cost: n_used + n_values.
    """
    cdef int64_t i, k, n = hasher.first_extra
    cdef int32_t slot
    if x.ids == NULL:
        for i in range(n):
            out[i] = x.values[hasher.used[i]]
        if folded_mean != NULL:
            for i in range(n):
                out[i] -= folded_mean[i]
    else:
        for i in range(n):
            out[i] = -folded_mean[i] if folded_mean != NULL else 0.0
        for k in range(x.size):
            slot = hasher.slot_of[x.ids[k]]
            if slot >= 0:
                out[slot] += x.values[k]
    for i in range(n, hasher.second_extra):
        out[i] = extra_0 * hasher.copy_scale
    for i in range(hasher.second_extra, hasher.n_used):
        out[i] = extra_1 * hasher.copy_scale


cdef int32_t _winner(const float32_t *slots, const int32_t *window,
                     bint skip_zeros) noexcept nogil:
    """Place of the largest coordinate of a window, the first on ties; -1 where all are skipped.

    IN slots, window (WINDOW,). Cost: WINDOW comparisons.
    """
    cdef int32_t i, best = -1
    cdef float32_t value, highest = 0.0
    for i in range(WINDOW):
        value = slots[window[i]]
        if (best < 0 or value > highest) and not (skip_zeros and value == 0):
            best = i
            highest = value
    return best


cdef void winner_take_all(const HasherView *hasher, const Vector *x, const float32_t *folded_mean, float32_t extra_0,
                          float32_t extra_1, float32_t *scratch, uint64_t *words) noexcept nogil:
    """WTA and DWTA: the place, in a window of 8 random coordinates, of the largest.

    hash_i = argmax_j x[window_i[j]], 3 bits; a window is the head of a permutation of its own

    Two vectors x, y of d coordinates share a hash of WTA with probability
    sum_i C(|{j: x_j < x_i and y_j < y_i}|, 7) / C(d, 8), zeros being values like any other.
    For DWTA a zero is an absent coordinate; a window without others borrows the hash of another
    one (`_densify`). Of a window let A be the probability that both vectors have it non-empty
    and agree, P10 that just one has it empty and P00 that both have. A borrowed hash agrees by
    chance, but where both vectors walk on together; so P = A + P10 / 8 + P00 P, or
    P = (A + P10 / 8) / (1 - P00). A vector without any non-zero has the code 0.

    IN ids (n_values,) or NULL, values (n_values,), folded_mean: that of the slots (first_extra,)
    or NULL; OUT words (n_words,); scratch (n_used + 2 n_hashes,) of the calling thread.
    Cost: n_values + n_used + 8 n_hashes, and a random number an attempt of an empty window.
    Source: Yagnik et al., ICCV 2011 (WTA); Chen & Shrivastava, UAI 2018 (DWTA).
    """
    cdef int64_t i, n_empty = 0
    cdef bint skip_zeros = hasher.family == DWTA
    cdef int32_t *hashes = <int32_t *>(scratch + hasher.n_used)
    _load_slots(hasher, x, folded_mean, extra_0, extra_1, scratch)
    for i in range(hasher.n_hashes):
        hashes[i] = _winner(scratch, hasher.windows + i * WINDOW, skip_zeros)
        n_empty += hashes[i] < 0
    if n_empty and not _densify(hasher, hashes, hashes + hasher.n_hashes):
        memset(words, 0, hasher.n_words * sizeof(uint64_t))
        return
    _pack(hasher, hashes, words)


# -------------------------------------------------------------- MinHash --


cdef inline int64_t _add_key(uint64_t *keys, int64_t n, float32_t value,
                             int64_t coordinate) noexcept nogil:
    # Keys sort as values do, the lower coordinate first among equals. Zeros are absent.
    cdef uint32_t bits
    if value == 0:
        return n
    memcpy(&bits, &value, sizeof(bits))
    bits ^= <uint32_t>0xFFFFFFFF if bits >> 31 else <uint32_t>0x80000000
    keys[n] = (<uint64_t>bits << 32) | (<uint64_t>0xFFFFFFFF - <uint64_t>coordinate)
    return n + 1


cdef int64_t _list_keys(const HasherView *hasher, const Vector *x, const float32_t *folded_mean, float32_t extra_0,
                        float32_t extra_1, uint64_t *taken, uint64_t *keys) noexcept nogil:
    """Keys of all coordinates that may be among the t largest; returns their number.

    Of a sparse vector's absent coordinates, -mean[j], the t largest are among the first
    t + n_values of the mean's order; a bit of `taken` for each of these says that it is present.

    IN the vector (as of `minhash`); OUT taken (n_in / 64 + 1,), keys.
    Cost: n_values + 2 n_copies, and with a mean of a sparse vector t + n_values more.
    """
    cdef int64_t i, k, n = 0, n_in = hasher.n_in, prefix
    cdef const int32_t *order
    cdef const int32_t *rank
    if x.ids == NULL:
        for i in range(n_in):
            n = _add_key(keys, n, x.values[i] - (folded_mean[i] if folded_mean != NULL else 0), i)
    elif folded_mean == NULL:
        for k in range(x.size):
            n = _add_key(keys, n, x.values[k], x.ids[k])
    else:
        order = <const int32_t *>(folded_mean + n_in)
        rank = order + n_in
        prefix = min(n_in, hasher.n_largest + x.size)
        memset(taken, 0, blocks_of(prefix, 64) * sizeof(uint64_t))
        for k in range(x.size):
            n = _add_key(keys, n, x.values[k] - folded_mean[x.ids[k]], x.ids[k])
            i = rank[x.ids[k]]
            if i < prefix:
                taken[i >> 6] |= <uint64_t>1 << (i & 63)
        for i in range(prefix):
            if not (taken[i >> 6] >> (i & 63)) & 1:
                n = _add_key(keys, n, -folded_mean[order[i]], order[i])
    for i in range(hasher.n_copies):
        n = _add_key(keys, n, extra_0 * hasher.copy_scale, n_in + i)
    for i in range(hasher.n_copies):
        n = _add_key(keys, n, extra_1 * hasher.copy_scale, n_in + hasher.n_copies + i)
    return n


cdef void _largest_first(uint64_t *keys, int64_t n, int64_t n_largest) noexcept nogil:
    """Bring the n_largest keys to the front, in no order (Hoare, CACM 1961, algorithm 65).

    INOUT keys (n,), distinct. Cost: about 3 n comparisons.
    """
    cdef int64_t low = 0, high = n - 1, i, j
    cdef uint64_t pivot, key
    while low < high:
        pivot = keys[low + (high - low) // 2]
        i, j = low, high
        while i <= j:
            while keys[i] > pivot:
                i += 1
            while keys[j] < pivot:
                j -= 1
            if i <= j:
                key = keys[i]
                keys[i] = keys[j]
                keys[j] = key
                i += 1
                j -= 1
        if n_largest - 1 <= j:
            high = j
        elif n_largest - 1 >= i:
            low = i
        else:
            return


cdef void minhash(const HasherView *hasher, const Vector *x, const float32_t *folded_mean, float32_t extra_0,
                  float32_t extra_1, float32_t *scratch, uint64_t *words) noexcept nogil:
    """MinHash, by densified one permutation hashing, of the set of the t largest coordinates.

    hash_i = 2 bits of the member of bin i with the smallest random number

    The set: by value, the lower coordinate on ties, zeros never; all where they are fewer than t.
    A random number of each member says its bin and its order there; empty bins borrow
    (`_densify`). The members at hand are equal with probability J, the Jaccard similarity of
    the sets, and others agree in b = 2 bits by chance: J + (1 - J) / 4. The bits are a hash of
    the member and i, so that bins that borrow alike differ in them. An empty set has the code 0.

    IN ids (n_values,) or NULL, values (n_values,), folded_mean or NULL: the mean (n_in,) and, as
    int32, the coordinates by falling -mean, zeros last (n_in,), and each one's place there
    (n_in,); OUT words (n_words,); scratch of the calling thread, 8-byte aligned:
    4 n_hashes + 2 (n_in / 64 + 1) + 2 (n_in + 2 n_copies).
    Cost: some 4 (n_values + t + 2 n_copies) + n_hashes, and a random number an attempt.
    Source: Li, Owen & Zhang, NIPS 2012 (one permutation); Shrivastava & Li, ICML 2014 and
    Shrivastava, ICML 2017 (densified); Li & Koenig, WWW 2010 (b bits).
    """
    cdef int64_t i, n, bin_, n_hashes = hasher.n_hashes
    cdef uint64_t *bins = <uint64_t *>scratch
    cdef int32_t *hashes = <int32_t *>(bins + n_hashes)
    cdef uint64_t *taken = bins + 2 * n_hashes
    cdef uint64_t *keys = taken + hasher.n_in // 64 + 1
    cdef uint64_t u, member
    n = _list_keys(hasher, x, folded_mean, extra_0, extra_1, taken, keys)
    if n > hasher.n_largest:
        _largest_first(keys, n, hasher.n_largest)
        n = hasher.n_largest
    memset(bins, 0xFF, n_hashes * sizeof(uint64_t))
    for i in range(n):
        member = <uint64_t>0xFFFFFFFF - (keys[i] & <uint64_t>0xFFFFFFFF)
        u = mix64(hasher.seed_bins + member)
        bin_ = <int64_t>(((u >> 32) * <uint64_t>n_hashes) >> 32)
        bins[bin_] = min(bins[bin_], (u << 32) | member)
    for i in range(n_hashes):
        # An empty bin reads as -1.
        hashes[i] = <int32_t>(bins[i] & <uint64_t>0xFFFFFFFF)
    if not _densify(hasher, hashes, hashes + n_hashes):
        memset(words, 0, hasher.n_words * sizeof(uint64_t))
        return
    for i in range(n_hashes):
        u = mix64(hasher.seed_cut + ((<uint64_t>i << 32) | <uint64_t>hashes[i]))
        hashes[i] = <int32_t>(u & ((1 << hasher.hash_bits) - 1))
    _pack(hasher, hashes, words)
