"""Data sets for extreme classification: a planted problem of any size, and the XMC text format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array
from sklearn.utils import check_random_state

from slide._base.arrays import Array
from slide._base.files import as_path
from slide._base.text_files import text_lines
from slide._base.values import MAX_INT, as_float, as_int, shown
from slide._data.xmc import read_xmc
from slide._settings.rules import RULES

if TYPE_CHECKING:
    import os

__all__ = ["load_xmc", "make_extreme_classification"]

_CHUNK_ROWS = 1 << 14  # bounds the scratch memory of make_extreme_classification


def make_extreme_classification(
    n_samples: int = 10_000,
    n_features: int = 10_000,
    n_classes: int = 1_000,
    *,
    n_nonzero: int = 50,
    n_informative: int = 10,
    n_labels: int = 1,
    n_siblings: int = 1,
    similarity: float = 0.5,
    zipf_exponent: float = 1.0,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[csr_array, Any]:
    """Make a sparse classification problem with many classes that a learner can solve.

    Every class has a signature of ``2 * n_informative`` features. A sample has a random half of the
    signature of its class, with values in [1, 2) before normalisation. Its other features are
    noise: they have values in [0.2, 1) and are drawn with a log-uniform popularity, which is the
    same for all classes. Time and memory are O(``n_samples * n_nonzero + n_classes``), with about
    12 bytes per class. So a million classes are no problem.

    This problem is easy. `n_siblings` makes it hard: classes then come in families, and siblings
    share a part of their signature. Only the other features of the signature distinguish siblings.
    These features are as weak as noise and come from the same hundredth of all features for every
    family. Almost all errors are then siblings of the right class, as with real labels. For
    example, take 20,000 classes in families of ten, ``zipf_exponent=0.5`` and 100,000 rows, else
    defaults: `SparseMLPClassifier` gets half of the rows wrong, and label centroids get more wrong.
    A learner that knew the signatures would make no error. Rows can also have many labels, be
    short like brief texts (a small `n_nonzero`), or have classes of equal frequency.

    Parameters
    ----------
    n_samples : int, default=10_000
        Number of rows.
    n_features : int, default=10_000
        Number of columns of X.
    n_classes : int, default=1_000
        Number of classes. With few samples, many classes have no sample.
    n_nonzero : int, default=50
        Exact number of features of each row; at most half of `n_features`.
    n_informative : int, default=10
        Number of features per row that come from the signature of its class. If a row has several
        labels, they share this number evenly.
    n_labels : int, default=1
        Mean number of labels per row. With 1, y is one-dimensional. With more, each row has
        between 1 and ``2 * n_labels - 1`` distinct labels, each number with the same probability.
        ``2 * n_labels - 1`` must exceed neither `n_informative` nor `n_classes`.
    n_siblings : int, default=1
        Number of classes per family. Ids 0 to ``n_siblings - 1`` are the first family, the next
        `n_siblings` ids the second. The last family can be smaller. With 1, classes have no
        siblings, and `similarity` has no effect.
    similarity : float, default=0.5
        Share of the signature that siblings have in common, in [0, 1). It is rounded so that every
        class has at least one feature of its own. Large values make the problem hard.
    zipf_exponent : float, default=1.0
        The r-th most frequent class has a frequency proportional to ``r ** -zipf_exponent``.
        With 0 all classes are equally frequent. Class ids are shuffled, so they do not tell the
        frequency.
    random_state : int, RandomState instance or None, default=None
        Pass an int to get the same problem at each call. The int determines signatures and samples
        together. To get training rows and test rows of one problem, make one problem and split it.

    Returns
    -------
    X : csr_array of shape (n_samples, n_features), dtype=float32
        Rows of length 1, with sorted int32 indices without duplicates.
    y : ndarray of shape (n_samples,), dtype=int64, or csr_array of shape (n_samples, n_classes), \
            dtype=int8
        Class ids in [0, `n_classes`) when `n_labels` is 1, otherwise a label indicator.

    Raises
    ------
    ValueError
        If an argument has a wrong type or is out of the range given above.

    Examples
    --------
    >>> from slide.datasets import make_extreme_classification
    >>> X, y = make_extreme_classification(200, 1_000, 30, random_state=0)
    >>> X.shape, X.nnz, y.shape
    ((200, 1000), 10000, (200,))
    >>> X, Y = make_extreme_classification(200, 1_000, 30, n_labels=3, random_state=0)
    >>> Y.shape, bool((Y.sum(axis=1) >= 1).all())
    ((200, 30), True)

    Short rows, with families of ten classes that are hard to distinguish:

    >>> X, y = make_extreme_classification(
    ...     200, 1_000, 30, n_nonzero=8, n_informative=6, n_siblings=10, random_state=0
    ... )
    >>> family = y // 10
    >>> int(family.max())
    2
    """
    n_samples = _checked("n_samples", n_samples, 1, np.iinfo(np.int64).max)
    n_features = _checked("n_features", n_features, 2, MAX_INT)
    n_classes = _checked("n_classes", n_classes, 1, MAX_INT)
    n_nonzero = _checked("n_nonzero", n_nonzero, 1, n_features // 2, "half of n_features")
    n_informative = _checked("n_informative", n_informative, 1, n_nonzero, "n_nonzero")
    most = (min(n_informative, n_classes) + 1) // 2
    n_labels = _checked("n_labels", n_labels, 1, most, "(min(n_informative, n_classes) + 1) // 2")
    n_siblings = _checked("n_siblings", n_siblings, 1, n_classes, "n_classes")
    share, exponent = as_float(similarity), as_float(zipf_exponent)
    if share is None or not 0 <= share < 1:
        raise ValueError(f"similarity must be a number in [0, 1); got {shown(similarity)}")
    if exponent is None or not 0 <= exponent < np.inf:
        raise ValueError(f"zipf_exponent must be a finite number >= 0; got {shown(zipf_exponent)}")

    rule = RULES["random_state"]
    if not rule.accepts(random_state):
        raise ValueError(f"random_state must be {rule.takes}; got {shown(random_state)}")

    seed = check_random_state(random_state).randint(2**63 - 1, dtype=np.int64)
    rng = np.random.default_rng(seed)
    labels, counts = _draw_labels(rng, n_samples, n_classes, n_labels, exponent)

    n_slots = 2 * n_informative
    n_shared = n_slots if n_siblings == 1 else min(round(share * n_slots), n_slots - 1)
    signatures = _Signatures(seed, n_features, n_slots, n_siblings, n_shared)

    indices = np.empty((n_samples, n_nonzero), dtype=np.int32)
    values = np.empty((n_samples, n_nonzero), dtype=np.float32)
    for start in range(0, n_samples, _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        indices[rows], values[rows] = _draw_rows(
            rng, labels[rows], counts[rows], n_nonzero, signatures
        )
    indptr = np.arange(0, n_samples * n_nonzero + 1, n_nonzero)
    X = _to_csr(values.ravel(), indices.ravel(), indptr, n_features)

    if n_labels == 1:
        return X, labels[:, 0]
    kept = np.arange(labels.shape[1]) < counts[:, np.newaxis]
    indptr = np.concatenate(([0], np.cumsum(counts)))
    data = np.ones(indptr[-1], dtype=np.int8)
    Y = _to_csr(data, labels[kept], indptr, n_classes)
    Y.sort_indices()
    return X, Y


@dataclass(frozen=True)
class _Signatures:
    """The informative features of every class. They are computed, never stored.

    Parameters
    ----------
    seed, n_features : int
    n_slots : int
        Number of features per signature.
    n_siblings : int
        Number of classes per family.
    n_shared : int
        Slots below this number belong to the family, the others to the class. Without siblings all
        slots belong to the family.
    """

    seed: int
    n_features: int
    n_slots: int
    n_siblings: int
    n_shared: int

    def features(self, labels: Array, slots: Array) -> Array:
        """Compute the features in the given slots of the signatures of `labels`, elementwise."""
        families = labels // self.n_siblings
        shared = _hash(families * self.n_slots + slots, self.seed) % np.uint64(self.n_features)
        if self.n_shared == self.n_slots:
            return shared
        n_own = max(self.n_features // 100, self.n_slots)
        ranks = _hash(labels * self.n_slots + slots, self.seed) % np.uint64(n_own)
        own = self.by_popularity(self.n_features - 1 - ranks.astype(np.int64))
        return np.where(self.are_shared(slots), shared.astype(np.int64), own)

    def are_shared(self, slots: Array) -> Array:
        return slots < self.n_shared

    def by_popularity(self, ranks: Array) -> Array:
        """Map ranks in the popularity of the noise to features; rank 0 is the most popular."""
        # The factor is a prime above any n_features, so this maps ranks to features one to one.
        return (ranks * 2654435761 + self.seed % self.n_features) % self.n_features


def _draw_labels(
    rng: np.random.Generator, n_samples: int, n_classes: int, n_labels: int, zipf_exponent: float
) -> tuple[Array, Array]:
    """Draw labels (n_samples, 2 * n_labels - 1), distinct in a row, and how many a row keeps."""
    cumulative = np.arange(1, n_classes + 1, dtype=np.float64)
    np.power(cumulative, -zipf_exponent, out=cumulative)
    np.cumsum(cumulative, out=cumulative)
    cumulative /= cumulative[-1]
    ranks = np.searchsorted(cumulative, rng.random((n_samples, 2 * n_labels - 1)), side="right")
    ids = np.arange(n_classes, dtype=np.int32)
    rng.shuffle(ids)
    labels = ids[ranks].astype(np.int64)
    _make_distinct(rng, labels, n_classes)
    return labels, rng.integers(1, 2 * n_labels, size=n_samples)


def _draw_rows(
    rng: np.random.Generator, labels: Array, counts: Array, n_nonzero: int, signatures: _Signatures
) -> tuple[Array, Array]:
    """Draw the features and the values of some samples, each row sorted by feature."""
    n_rows, n_slots, n_features = len(labels), signatures.n_slots, signatures.n_features
    n_informative = n_slots // 2
    # Choose n_informative slots at random; the (j mod count)-th label fills the j-th of them.
    slots = np.argsort(rng.random((n_rows, n_slots), dtype=np.float32), axis=1)[:, :n_informative]
    turns = np.arange(n_informative) % counts[:, np.newaxis]
    owners = np.take_along_axis(labels, turns, axis=1)

    features = np.empty((n_rows, n_nonzero), dtype=np.int64)
    features[:, :n_informative] = signatures.features(owners, slots)
    uniform = rng.random((n_rows, n_nonzero - n_informative))
    ranks = np.minimum(np.exp(uniform * np.log(n_features + 1)).astype(np.int64), n_features) - 1
    features[:, n_informative:] = signatures.by_popularity(ranks)
    _make_distinct(rng, features, n_features)

    strong = np.zeros((n_rows, n_nonzero), dtype=bool)
    strong[:, :n_informative] = signatures.are_shared(slots)
    values = rng.random((n_rows, n_nonzero), dtype=np.float32)
    values = np.where(strong, values + np.float32(1), values * np.float32(0.8) + np.float32(0.2))
    values /= np.sqrt(np.einsum("ij,ij->i", values, values))[:, np.newaxis]

    order = np.argsort(features, axis=1)
    return np.take_along_axis(features, order, axis=1), np.take_along_axis(values, order, axis=1)


def _make_distinct(rng: np.random.Generator, ids: Array, n_ids: int) -> None:
    """Redraw entries that repeat an earlier entry of their row, uniformly from [0, n_ids)."""
    rows = np.arange(len(ids))
    while len(rows):
        part = ids[rows]
        order = np.argsort(part, axis=1, kind="stable")
        part = np.take_along_axis(part, order, axis=1)
        row, place = np.nonzero(part[:, 1:] == part[:, :-1])
        ids[rows[row], order[row, place + 1]] = rng.integers(n_ids, size=len(row))
        rows = rows[np.unique(row)]


def _hash(keys: Array, seed: int) -> Array:
    """Mix each integer key with the seed into 64 bits (the finaliser of SplitMix64)."""
    x = keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _to_csr(data: Array, indices: Array, indptr: Array, n_columns: int) -> csr_array:
    """Make a csr_array with int32 indices, and an indptr of int32 if that can count the entries."""
    index_dtype = np.int32 if indptr[-1] <= np.iinfo(np.int32).max else np.int64
    indices, indptr = indices.astype(np.int32), indptr.astype(index_dtype)
    return csr_array((data, indices, indptr), shape=(len(indptr) - 1, n_columns))


def _checked(name: str, value: Any, low: int, high: int, why: str = "") -> int:
    """Return `value` as an int; ValueError if it is not an int in [low, high]."""
    number = as_int(value)
    if number is None or not low <= number <= high:
        limit = f"{high} = {why}" if why else f"{high}"
        raise ValueError(f"{name} must be an int between {low} and {limit}; got {shown(value)}")
    return number


def load_xmc(path: str | os.PathLike[str]) -> tuple[csr_array, csr_array]:
    """Load a data set in the text format of the Extreme Classification Repository.

    The first line holds ``n_samples n_features n_labels``. Each further line is one sample,
    ``label,label feature:value feature:value``, with ids from 0 and features in ascending order. A
    line without labels starts with a space. A line can also have no features, or neither labels nor
    features.

    Parameters
    ----------
    path : str or path-like
        A plain file, or one that is compressed with gzip, bzip2, xz or (from Python 3.14) zstd. The
        content of the file, not its name, decides what it is. It is read once, so a pipe will do.

    Returns
    -------
    X : csr_array of shape (n_samples, n_features), dtype=float32
        Features, with sorted indices. Values of 0 are not stored.
    Y : csr_array of shape (n_samples, n_labels), dtype=int8
        Label indicator, with sorted indices. A label that a line repeats counts once.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the header is malformed or announces more than 2**31 - 1 features or labels. If the
        number of rows or an id does not match the header. If a line does not follow the format or
        a value is not finite in float32. If a compressed file is damaged or cut short. If the file
        is no text: a pickle, a zip archive or UTF-16, for example. The message names the path and,
        if possible, the line.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from slide.datasets import load_xmc
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "tiny.txt"
    ...     _ = path.write_text("2 4 3\\n0,2 1:0.5 3:1\\n 0:2\\n")
    ...     X, Y = load_xmc(path)
    >>> X.toarray()
    array([[0. , 0.5, 0. , 1. ],
           [2. , 0. , 0. , 0. ]], dtype=float32)
    >>> Y.toarray()
    array([[1, 0, 1],
           [0, 0, 0]], dtype=int8)
    """
    path = as_path(path)
    with text_lines(path) as lines:
        return read_xmc(lines)
