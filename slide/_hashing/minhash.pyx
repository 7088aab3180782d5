"""MinHash of the set of a vector's largest coordinates, by densified one permutation hashing."""
import numpy as np

from libc.string cimport memset

from slide._base.random cimport mix64
from slide._base.rows cimport Vector
from slide._base.typedefs cimport blocks_of, float32_t, int32_t, int64_t, uint64_t
from slide._hashing.bins cimport BinnedHasher, BinsView, densify, pack
from slide._hashing.hasher cimport HasherView
from slide._simd.largest cimport sortable

from slide._hashing.bins import draw_seeds

cdef enum:
    HASH_BITS = 2

cdef struct MinHashView:
    const BinsView *bins
    int64_t n_in
    int64_t n_largest          # t, the size of the set
    uint64_t seed_bins
    uint64_t seed_cut


cdef inline int64_t _add_key(uint64_t *keys, int64_t n, float32_t value,
                             int64_t coordinate) noexcept nogil:
    # Keys sort as values do; of two equal values, the one of the lower coordinate has the larger
    # key. Zeros get no key.
    if value == 0:
        return n
    keys[n] = (<uint64_t>sortable(value) << 32) | (<uint64_t>0xFFFFFFFF - <uint64_t>coordinate)
    return n + 1


cdef int64_t _list_keys(const MinHashView *view, const Vector *x, const float32_t *folded_mean,
                        float32_t extra_0, float32_t extra_1, uint64_t *taken,
                        uint64_t *keys) noexcept nogil:
    """List the keys of all coordinates that may be among the t largest; returns their number.

    An absent coordinate j of a sparse vector has the value -mean[j]. The t largest absent
    coordinates are among the first t + x.size coordinates in the order of falling -mean. Each of
    these coordinates has a bit in `taken`, which is set where the coordinate is present in x.

    IN the arguments of `_minhash`; OUT taken (n_in / 64 + 1,), keys.
    Cost: x.size + 2 n_copies, and t + x.size more for a sparse vector with a mean.
    """
    cdef int64_t i, k, n = 0, n_in = view.n_in, n_copies = view.bins.n_copies, size = x.size, prefix
    cdef const int32_t *ids = x.ids
    cdef const float32_t *values = x.values
    cdef const int32_t *order
    cdef const int32_t *rank
    if ids == NULL:
        for i in range(n_in):
            n = _add_key(keys, n, values[i] - (folded_mean[i] if folded_mean != NULL else 0), i)
    elif folded_mean == NULL:
        for k in range(size):
            n = _add_key(keys, n, values[k], ids[k])
    else:
        order = <const int32_t *>(folded_mean + n_in)
        rank = order + n_in
        prefix = min(n_in, view.n_largest + size)
        memset(taken, 0, blocks_of(prefix, 64) * sizeof(uint64_t))
        for k in range(size):
            n = _add_key(keys, n, values[k] - folded_mean[ids[k]], ids[k])
            i = rank[ids[k]]
            if i < prefix:
                taken[i >> 6] |= <uint64_t>1 << (i & 63)
        for i in range(prefix):
            if not (taken[i >> 6] >> (i & 63)) & 1:
                n = _add_key(keys, n, -folded_mean[order[i]], order[i])
    for i in range(n_copies):
        n = _add_key(keys, n, extra_0 * view.bins.copy_scale, n_in + i)
    for i in range(n_copies):
        n = _add_key(keys, n, extra_1 * view.bins.copy_scale, n_in + n_copies + i)
    return n


cdef void _largest_first(uint64_t *keys, int64_t n, int64_t n_largest) noexcept nogil:
    """Bring the n_largest keys to the front, in any order (Hoare, CACM 1961, algorithm 65).

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


cdef void _minhash(const HasherView *hasher, const Vector *x, const float32_t *folded_mean,
                   float32_t extra_0, float32_t extra_1, float32_t *scratch,
                   uint64_t *words) noexcept nogil:
    """Compute the MinHash of one vector.

    hash_i = 2 bits of the member of bin i with the smallest random number

    The set has the t largest non-zero coordinates, or all of them where they are fewer than t; on
    ties the lower coordinate is taken. A random number of each member decides its bin and its order
    in the bin; empty bins borrow (`densify`). The members that two vectors have in bin i are equal
    with probability J, the Jaccard similarity of the sets. Different members agree in b = 2 bits by
    chance, so that hashes are equal with probability J + (1 - J) / 4. The bits are a hash of both
    the member and i, so that bins that borrow the same member need not have the same bits. An empty
    set has the code 0.

    IN x; folded_mean or NULL: the mean (n_in,) and, as int32, the coordinates in the order of
    falling -mean, with zeros last (n_in,), and the place of each coordinate in that order (n_in,);
    OUT words (n_words,); scratch of the calling thread, 8-byte aligned:
    4 n_hashes + 2 (n_in / 64 + 1) + 2 (n_in + 2 n_copies).
    Cost: some 4 (x.size + t + 2 n_copies) + n_hashes, and a random number per attempt.
    Source: Li, Owen & Zhang, NIPS 2012 (one permutation); Shrivastava & Li, ICML 2014 and
    Shrivastava, ICML 2017 (densified); Li & Koenig, WWW 2010 (b bits).
    """
    cdef const MinHashView *view = <const MinHashView *>hasher.own
    cdef int64_t i, n, bin_, n_hashes = view.bins.n_hashes
    cdef uint64_t *bins = <uint64_t *>scratch
    cdef int32_t *hashes = <int32_t *>(bins + n_hashes)
    cdef uint64_t *taken = bins + 2 * n_hashes
    cdef uint64_t *keys = taken + view.n_in // 64 + 1
    cdef uint64_t u, member
    n = _list_keys(view, x, folded_mean, extra_0, extra_1, taken, keys)
    if n > view.n_largest:
        _largest_first(keys, n, view.n_largest)
        n = view.n_largest
    memset(bins, 0xFF, n_hashes * sizeof(uint64_t))
    for i in range(n):
        member = <uint64_t>0xFFFFFFFF - (keys[i] & <uint64_t>0xFFFFFFFF)
        u = mix64(view.seed_bins + member)
        bin_ = <int64_t>(((u >> 32) * <uint64_t>n_hashes) >> 32)
        bins[bin_] = min(bins[bin_], (u << 32) | member)
    for i in range(n_hashes):
        # An empty bin reads as -1.
        hashes[i] = <int32_t>(bins[i] & <uint64_t>0xFFFFFFFF)
    if not densify(view.bins, hashes, hashes + n_hashes):
        memset(words, 0, hasher.n_words * sizeof(uint64_t))
        return
    for i in range(n_hashes):
        u = mix64(view.seed_cut + ((<uint64_t>i << 32) | <uint64_t>hashes[i]))
        hashes[i] = <int32_t>(u & ((1 << view.bins.hash_bits) - 1))
    pack(hasher, view.bins, hashes, words)


cdef class MinHash(BinnedHasher):
    """MinHash of the largest 5 % of the coordinates. Its parameters are those of the bins."""

    cdef MinHashView own

    family = "minhash"

    @classmethod
    def draw(cls, int64_t n_in, int32_t n_tables, int32_t n_bits, random_state, bint extras=True):
        # A large extra fills a quarter of the t members; n_in // 8 copies would fill all of them.
        n_copies = max(1, n_in // 80) if extras else 0
        return cls(n_in, n_tables, n_bits,
                   {"n_copies": n_copies, "seeds": draw_seeds(random_state)})

    cdef int set_view(self) except -1:
        cdef HasherView *view = &self.view
        cdef MinHashView *own = &self.own
        self.set_bins(HASH_BITS)
        own.bins, own.n_in, own.n_largest = &self.bins, view.n_in, blocks_of(view.n_in, 20)
        _, own.seed_bins, own.seed_cut = self.parameters["seeds"]
        view.own, view.vector_kernel = own, _minhash
        view.cost_per_value = 4
        view.fixed_cost = 4 * (own.n_largest + 2 * own.bins.n_copies) + own.bins.n_hashes
        self.scratch_size = self.rows_scratch_size = 4 * own.bins.n_hashes + 2 * (
            view.n_in // 64 + 1) + 2 * (view.n_in + 2 * own.bins.n_copies)
        return 0

    def fold(self, mean):
        """The mean, the coordinates in the order of falling -mean, their places in this order."""
        mean = np.ascontiguousarray(mean, np.float32)
        order = np.lexsort((mean, mean == 0)).astype(np.int32)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order), dtype=np.int32)
        return np.concatenate([mean, order.view(np.float32), rank.view(np.float32)])
