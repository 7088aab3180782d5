"""WTA and DWTA: the place of the largest coordinate in windows of 8 random coordinates."""
import numpy as np

from libc.string cimport memset

from slide._base.rows cimport Vector
from slide._base.typedefs cimport blocks_of, float32_t, int32_t, int64_t, uint64_t
from slide._hashing.bins cimport BinnedHasher, BinsView, densify, pack
from slide._hashing.hasher cimport HasherView

from slide._hashing.bins import draw_seeds

cdef enum:
    WINDOW = 8      # coordinates of a window
    HASH_BITS = 3   # bits of a place in a window

# Every coordinate that is in any window has a slot.
cdef struct WinnersView:
    const BinsView *bins
    bint skip_zeros            # DWTA
    int64_t n_used             # slots
    int64_t first_extra        # the slots from here on are copies of extra_0 ...
    int64_t second_extra       # ... and from here on of extra_1
    const int32_t *used        # (n_used,) slot -> coordinate, rising
    const int32_t *slot_of     # (n_in,) coordinate -> slot or -1
    const int32_t *windows     # (n_hashes, WINDOW) slots


cdef void _load_slots(const WinnersView *view, const Vector *x, const float32_t *folded_mean,
                      float32_t extra_0, float32_t extra_1, float32_t *out) noexcept nogil:
    """Load the coordinates of x - mean that are in any window into their slots.

    IN x, folded_mean (first_extra,) or NULL; OUT out (n_used,). Cost: n_used + x.size.
    """
    cdef int64_t i, k, n = view.first_extra
    cdef int32_t slot
    if x.ids == NULL:
        for i in range(n):
            out[i] = x.values[view.used[i]]
        if folded_mean != NULL:
            for i in range(n):
                out[i] -= folded_mean[i]
    else:
        for i in range(n):
            out[i] = -folded_mean[i] if folded_mean != NULL else 0.0
        for k in range(x.size):
            slot = view.slot_of[x.ids[k]]
            if slot >= 0:
                out[slot] += x.values[k]
    for i in range(n, view.second_extra):
        out[i] = extra_0 * view.bins.copy_scale
    for i in range(view.second_extra, view.n_used):
        out[i] = extra_1 * view.bins.copy_scale


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


cdef void _winner_take_all(const HasherView *hasher, const Vector *x,
                           const float32_t *folded_mean, float32_t extra_0, float32_t extra_1,
                           float32_t *scratch, uint64_t *words) noexcept nogil:
    """Compute the WTA or DWTA of one vector.

    hash_i = argmax_j x[window_i[j]], 3 bits; every window is the start of its own random
    permutation

    Two vectors x, y of d coordinates share a hash of WTA with probability
    sum_i C(|{j: x_j < x_i and y_j < y_i}|, 7) / C(d, 8). Zeros are values like any other.

    For DWTA a zero is an absent coordinate, and a window that has only zeros is empty: it borrows
    the hash of another window (`densify`). Let P be the probability that two vectors share a hash.
    Let A be the probability that the window is empty in neither vector and the hashes agree, P10
    that it is empty in just one vector, and P00 that it is empty in both. Where it is empty in one,
    the borrowed hash agrees by chance. Where it is empty in both, both go on to the same window.
    So P = A + P10 / 8 + P00 P, or P = (A + P10 / 8) / (1 - P00). A vector of zeros has the code 0.

    IN x, folded_mean (first_extra,) or NULL; OUT words (n_words,); scratch
    (n_used + 2 n_hashes,) of the calling thread.
    Cost: x.size + n_used + 8 n_hashes, and a random number per attempt of an empty window.
    Source: Yagnik et al., ICCV 2011 (WTA); Chen & Shrivastava, UAI 2018 (DWTA).
    """
    cdef const WinnersView *view = <const WinnersView *>hasher.own
    cdef int64_t i, n_empty = 0
    cdef int32_t *hashes = <int32_t *>(scratch + view.n_used)
    _load_slots(view, x, folded_mean, extra_0, extra_1, scratch)
    for i in range(view.bins.n_hashes):
        hashes[i] = _winner(scratch, view.windows + i * WINDOW, view.skip_zeros)
        n_empty += hashes[i] < 0
    if n_empty and not densify(view.bins, hashes, hashes + view.bins.n_hashes):
        memset(words, 0, hasher.n_words * sizeof(uint64_t))
        return
    pack(hasher, view.bins, hashes, words)


cdef class WTA(BinnedHasher):
    """Winner-take-all hash functions.

    Parameters: used (n_used,), the coordinates that are in any window, rising; windows (n_hashes,
    WINDOW), in which a coordinate is given by its place in `used`; the parameters of the bins.
    """

    cdef WinnersView own
    cdef object _slot_of

    family = "wta"

    @classmethod
    def draw(cls, int64_t n_in, int32_t n_tables, int32_t n_bits, random_state, bint extras=True):
        n_copies = max(1, n_in // 8) if extras else 0
        n_hashes = n_tables * blocks_of(n_bits, HASH_BITS)
        windows = _draw_windows(n_in + 2 * n_copies, n_hashes, random_state)
        return cls(n_in, n_tables, n_bits, {
            **_by_slot(windows), "n_copies": n_copies, "seeds": draw_seeds(random_state)})

    cdef int set_view(self) except -1:
        cdef const int32_t[::1] used = self.parameters["used"]
        cdef const int32_t[:, ::1] windows = self.parameters["windows"]
        cdef int32_t[::1] slot_of = np.full(self.view.n_in, -1, np.int32)
        cdef HasherView *view = &self.view
        cdef WinnersView *own = &self.own
        self.set_bins(HASH_BITS)
        limits = [view.n_in, view.n_in + self.bins.n_copies]
        own.bins, own.skip_zeros = &self.bins, False
        own.first_extra, own.second_extra = np.searchsorted(used, limits)
        np.asarray(slot_of)[used[:own.first_extra]] = np.arange(own.first_extra, dtype=np.int32)
        self._slot_of = slot_of
        own.n_used = used.shape[0]
        own.used, own.slot_of, own.windows = &used[0], &slot_of[0], &windows[0, 0]
        view.own, view.vector_kernel = own, _winner_take_all
        view.cost_per_value = 1
        view.fixed_cost = own.n_used + own.bins.n_hashes * WINDOW
        self.scratch_size = self.rows_scratch_size = own.n_used + 2 * own.bins.n_hashes
        return 0

    def fold(self, mean):
        """The coordinates of the mean that have slots, and a 0, so that there is an address."""
        mean = np.ascontiguousarray(mean, np.float32)
        return np.append(mean[self.parameters["used"][:self.own.first_extra]], np.float32(0))

    def named_arrays(self):
        arrays = BinnedHasher.named_arrays(self)
        arrays["windows"] = arrays.pop("used")[arrays["windows"]]
        return arrays

    def parameters_from(self, arrays):
        width = self.view.n_in + 2 * self.bins.n_copies
        if arrays["windows"].min() < 0 or arrays["windows"].max() >= width:
            raise ValueError(f"windows of hash functions must be coordinates in [0, {width})")
        return {**BinnedHasher.parameters_from(self, arrays), **_by_slot(arrays["windows"])}


cdef class DWTA(WTA):
    """Densified winner-take-all: zeros are absent coordinates."""

    family = "dwta"

    cdef int set_view(self) except -1:
        WTA.set_view(self)
        self.own.skip_zeros = True
        return 0


def _draw_windows(width, n_hashes, random_state):
    """Draw windows of distinct coordinates in random order; fewer than 8 are repeated."""
    if width <= 64:
        windows = random_state.random_sample((n_hashes, width)).argsort(axis=1)
        return windows[:, np.arange(WINDOW) % width]
    windows = random_state.randint(0, width, size=(n_hashes, WINDOW))
    while True:
        ordered = np.sort(windows, axis=1)
        again = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
        if not again.any():
            return windows
        windows[again] = random_state.randint(0, width, size=(again.sum(), WINDOW))


def _by_slot(windows):
    """The coordinates that are in any window, rising, and the windows as places among them."""
    used, slots = np.unique(windows, return_inverse=True)
    return {
        "used": used.astype(np.int32),
        "windows": slots.reshape(windows.shape).astype(np.int32),
    }
