"""The benchmarks' data sets, each as ``X_train, Y_train, X_test, Y_test``.

Data sets of extreme classification are CSR, float32; Fashion-MNIST is dense, one label per row.
Files are looked for in ``$SLIDE_DATA``, then in ``shared/data`` next to the repository. A path
instead of a name is the user's own data, in the Extreme Classification text format.
"""

import gzip
import json
import os
import re
import struct
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
from scipy import sparse

# Arguments of make_extreme_classification; a tenth of the rows is the test.
PLANTED = {
    "planted-siblings": {
        "n_samples": 330_000,
        "n_features": 200_000,
        "n_classes": 100_000,
        "n_siblings": 10,
        "zipf_exponent": 0.5,
    },
    "planted-tags": {
        "n_samples": 60_000,
        "n_features": 50_000,
        "n_classes": 10_000,
        "n_nonzero": 100,
        "n_informative": 40,
        "n_labels": 6,
        "n_siblings": 5,
        "zipf_exponent": 0.7,
    },
    "planted-short": {
        "n_samples": 200_000,
        "n_features": 30_000,
        "n_classes": 30_000,
        "n_nonzero": 6,
        "n_informative": 5,
        "n_siblings": 5,
        "zipf_exponent": 0.0,
    },
}
FILES = ("bibtex", "delicious")
EURLEX = {"eurlex57k": "test", "eurlex57k-dev": "dev"}  # by the part that is the test
DATASETS = ("oewn", *EURLEX, *FILES, *PLANTED)
REPO = Path(__file__).resolve().parents[2]


def data_dir():
    """The folder that holds the data sets."""
    candidates = [Path(os.environ["SLIDE_DATA"])] if os.environ.get("SLIDE_DATA") else []
    candidates.append(REPO.parent / "shared" / "data")
    for path in candidates:
        if path.is_dir():
            return path
    raise FileNotFoundError(f"no data in {', '.join(map(str, candidates))}; set SLIDE_DATA")


def load(name):
    """Load the data set of that name, or the file or folder at that path."""
    if name == "oewn":
        return load_oewn()
    if name in EURLEX:
        return load_eurlex57k(EURLEX[name])
    if name in PLANTED:
        return load_planted(**PLANTED[name])
    if name in FILES:
        return load_xmc_split(data_dir() / "mulan" / f"{name}.xmc.txt.gz")
    path = Path(name)
    if path.is_dir():
        return load_xmc_folder(path)
    if path.is_file():
        return load_xmc_split(path)
    raise ValueError(f"dataset must be one of {DATASETS}, a file or a folder, got {name!r}")


def load_oewn():
    """Definition -> hypernyms, split and features as in the data folder's README."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts, labels = {"train": [], "test": []}, {"train": [], "test": []}
    with gzip.open(data_dir() / "oewn" / "synsets.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            words = row["definition"] + row["examples"] + row["lemmas"]
            texts[row["split"]].append(" ".join(words))
            labels[row["split"]].append(row["hypernyms"])

    tfidf = TfidfVectorizer(min_df=2, ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32)
    X_train = tfidf.fit_transform(texts["train"])
    X_test = tfidf.transform(texts["test"])
    seen = sorted({label for row in labels["train"] for label in row})
    column = {label: i for i, label in enumerate(seen)}
    Y_train, Y_test = (_indicator(labels[split], column) for split in ("train", "test"))
    return _canonical(X_train, Y_train, X_test, Y_test)


def load_eurlex57k(part):
    """Law -> concepts, official split, features as in the data folder's README."""
    from sklearn.feature_extraction.text import TfidfTransformer

    from slide.datasets import load_xmc

    folder = data_dir() / "eurlex57k"
    (X_train, Y_train), (X_test, Y_test) = (
        load_xmc(folder / f"{name}.xmc.txt.gz") for name in ("train", part)
    )
    tfidf = TfidfTransformer(sublinear_tf=True).fit(X_train)
    X_train, X_test = (tfidf.transform(X).astype(np.float32) for X in (X_train, X_test))
    return _canonical(X_train, Y_train, X_test, Y_test)


def load_planted(n_samples, n_classes, **params):
    """A problem of make_extreme_classification, the last tenth of its rows for the test."""
    from slide.datasets import make_extreme_classification

    X, Y = make_extreme_classification(n_samples, n_classes=n_classes, random_state=0, **params)
    if Y.ndim == 1:
        ones = np.ones(n_samples, dtype=np.float32)
        Y = sparse.csr_array((ones, Y, np.arange(n_samples + 1)), shape=(n_samples, n_classes))
    n_train = n_samples - n_samples // 10
    return _canonical(X[:n_train], Y[:n_train], X[n_train:], Y[n_train:])


def load_xmc_split(path, test_fraction=0.2, seed=0):
    """A file in the Extreme Classification text format, split at random."""
    from slide.datasets import load_xmc

    X, Y = load_xmc(path)
    order = np.random.default_rng(seed).permutation(X.shape[0])
    n_test = round(test_fraction * X.shape[0])
    test, train = np.sort(order[:n_test]), np.sort(order[n_test:])
    return _canonical(X[train], Y[train], X[test], Y[test])


def load_xmc_folder(folder):
    """A folder with two files in the Extreme Classification text format.

    Before ``.txt`` or ``.txt.gz``, one name ends in ``train`` or ``trn``, and the other in ``test``
    or ``tst``.
    """
    from slide.datasets import load_xmc

    matrices = []
    for names in ("train|trn", "test|tst"):
        pattern = re.compile(rf"(.*[^a-z])?({names})\.txt(\.gz)?", re.IGNORECASE)
        found = [path for path in folder.iterdir() if pattern.fullmatch(path.name)]
        if len(found) != 1:
            raise ValueError(
                f"{folder} must hold one file {names}.txt or .txt.gz, got {sorted(found)}"
            )
        matrices += load_xmc(found[0])
    X_train, Y_train, X_test, Y_test = matrices
    if (X_train.shape[1], Y_train.shape[1]) != (X_test.shape[1], Y_test.shape[1]):
        raise ValueError(f"{folder}: the headers announce different features or labels")
    return _canonical(*matrices)


def load_windows(n_train, n_test, n_side=2, min_count=10, seed=0):
    """Word -> the words around it, from the sample of English Wikipedia's articles.

    Tokens are runs of letters, in lower case. Words that occur fewer than `min_count` times are
    left out before windows are cut; windows do not cross articles. A row of X is one word, and the
    row of Y is the set of the words up to `n_side` places before and after it. The test windows are
    from every twentieth article. Training and test windows are drawn without replacement.
    """
    articles = []
    path = data_dir() / "enwiki-sample" / "articles.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("<doc "):
                articles.append([])
            elif not line.startswith("</doc>"):
                articles[-1] += re.findall("[a-z]+", line.lower())
    counts = Counter(chain.from_iterable(articles))
    words = sorted(word for word, count in counts.items() if count >= min_count)
    column = {word: i for i, word in enumerate(words)}
    kept = [[column[word] for word in article if word in column] for article in articles]
    lengths = [len(article) for article in kept]
    tokens = np.fromiter(chain.from_iterable(kept), np.int32, sum(lengths))
    article_of = np.repeat(np.arange(len(kept)), lengths)

    rng, out = np.random.default_rng(seed), []
    tested = article_of % 20 == 0
    for rows, n in ((~tested, n_train), (tested, n_test)):
        places = rng.permutation(np.flatnonzero(rows))
        X, Y = _windows(tokens, article_of, places[: n + n // 100], n_side, len(words))
        full = np.flatnonzero(np.diff(Y.indptr))[:n]  # an article of one word has no context
        if len(full) < n:
            raise ValueError(f"{path} has {len(full)} windows of the {n} wanted")
        out += [X[full], Y[full]]
    return out


def _windows(tokens, article_of, places, n_side, n_words):
    """One-hot rows of the words at these places, and indicators of the words around them."""
    sides = np.concatenate([np.arange(-n_side, 0), np.arange(1, n_side + 1)])
    around = places[:, None] + sides
    inside = (around >= 0) & (around < len(tokens))
    around = np.clip(around, 0, len(tokens) - 1)
    inside &= article_of[around] == article_of[places][:, None]
    shape = (len(places), n_words)
    ones = np.ones(len(places), np.float32)
    X = sparse.csr_matrix((ones, tokens[places], np.arange(len(places) + 1)), shape=shape)
    indptr = np.concatenate([[0], np.cumsum(inside.sum(axis=1))])
    ones = np.ones(indptr[-1], np.float32)
    Y = sparse.csr_matrix((ones, tokens[around[inside]], indptr), shape=shape)
    Y.sum_duplicates()
    Y.data[:] = 1
    return X, Y


def load_fashion_mnist(folder=None):
    """Pixels in 0..1, float32, (n, 784), and class numbers (n,), from the standard idx files."""
    folder = data_dir() / "fashion-mnist" if folder is None else Path(folder)
    out = []
    for split in ("train", "t10k"):
        images = load_idx(folder / f"{split}-images-idx3-ubyte.gz")
        out.append(images.reshape(len(images), -1) / np.float32(255))
        out.append(load_idx(folder / f"{split}-labels-idx1-ubyte.gz").astype(np.int32))
    return tuple(out)


def load_idx(path):
    """An idx file of bytes -> array."""
    with gzip.open(path) as file:
        raw = file.read()
    zero, kind, n_dims = struct.unpack_from(">HBB", raw)
    if (zero, kind) != (0, 8):
        raise ValueError(f"{path} must be an idx file of unsigned bytes")
    shape = struct.unpack_from(f">{n_dims}I", raw, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * n_dims).reshape(shape)


def _indicator(rows, column):
    """Lists of labels -> CSR indicator; a label without a column is dropped."""
    ids = [[column[label] for label in row if label in column] for row in rows]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in ids])])
    indices = np.fromiter((i for row in ids for i in row), dtype=np.int32, count=indptr[-1])
    ones = np.ones(len(indices), dtype=np.float32)
    return sparse.csr_matrix((ones, indices, indptr), shape=(len(rows), len(column)))


def _canonical(*matrices):
    """float32 CSR with sorted, unique int32 indices."""
    out = []
    for matrix in matrices:
        matrix = sparse.csr_matrix(matrix, dtype=np.float32)
        matrix.sum_duplicates()
        out.append(matrix)
    return tuple(out)
