"""
Word vectors from docstrings
============================

Train a network to predict the neighbours of a word in a text. It then learns which words are
similar, because words with the same neighbours get similar weights. This is the idea of word2vec.
In slide it is a classifier with one feature and one class for each word. The text is on every
machine that runs slide: the docstrings of NumPy, SciPy and scikit-learn.
"""

# %%
# The text
# --------
# The script reads the docstrings from the source files, without importing them, and leaves out
# their examples. A word is a run of at least two letters. The script uses the 3,000 most frequent
# words.

import ast
import re
import time
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import scipy
import sklearn
from scipy.sparse import csr_array
from sklearn.decomposition import TruncatedSVD
from sklearn.manifold import TSNE
from sklearn.preprocessing import normalize

from slide import SparseMLPClassifier

N_WORDS, WINDOW = 3_000, 4

passages = {}  # a dict keeps the order and drops repeated passages
for package in (np, scipy, sklearn):
    for path in sorted(Path(package.__file__).parent.rglob("*.py")):
        if "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = re.sub(r"(?m)^\s*(>>>|\.\.\.).*", "", ast.get_docstring(node) or "")
                passages.update(dict.fromkeys(re.split(r"\n\s*\n", text.lower())))
passages = [re.findall("[a-z]{2,}", passage) for passage in passages]
counts = Counter(word for passage in passages for word in passage)
words = [word for word, _ in counts.most_common(N_WORDS)]
print(f"{len(passages):,} passages of {counts.total():,} words, {len(counts):,} different ones")

# %%
# A word and its context
# ----------------------
# A row is one word of the text. Its labels are the words up to four places before and after it. As
# in word2vec, most occurrences of very frequent words, such as "the", are left out, both as rows
# and as labels.

number_of = {word: i for i, word in enumerate(words)}
gap = [-1] * WINDOW  # no context crosses the end of a passage; a rare word is also a gap
text = np.concatenate(
    [np.array([number_of.get(word, -1) for word in passage] + gap) for passage in passages]
)
rng = np.random.default_rng(0)
shares = np.bincount(text[text >= 0]) / np.count_nonzero(text >= 0)
keep = np.minimum(1, np.sqrt(1e-3 / shares))

places, labels = [], []
for distance in range(1, WINDOW + 1):
    left = np.flatnonzero((text[:-distance] >= 0) & (text[distance:] >= 0))
    places += [left, left + distance]
    labels += [text[left + distance], text[left]]
places, labels = np.concatenate(places), np.concatenate(labels)
kept = rng.random(len(labels)) < keep[labels]
places, labels = places[kept], labels[kept]
Y = csr_array((np.ones(len(labels), np.int8), (places, labels)), shape=(len(text), N_WORDS))
Y.data[:] = 1  # a word can be there twice

rows = np.flatnonzero((np.diff(Y.indptr) > 0) & (rng.random(len(text)) < keep[text]))
Y = Y[rows]
X = csr_array((np.ones(len(rows), np.float32), text[rows], np.arange(len(rows) + 1)))
print(f"{X.shape[0]:,} rows with {Y.nnz / Y.shape[0]:.1f} labels each")

# %%
# Train
# -----
# The angle between word vectors must tell how similar the words are, so the hidden layer is linear
# and has no dropout. (With the defaults, "relu" and dropout, the nearest neighbours make little
# sense.) Prototypes are off, because a row has only one feature.

start = time.perf_counter()
model = SparseMLPClassifier(
    (100,), "identity", dropout=0.0, prototypes=False, max_iter=3, random_state=0
).fit(X, Y)
vectors = model.coefs_[0]
print(
    f"{vectors.shape[0]:,} vectors of {vectors.shape[1]} numbers in "
    f"{time.perf_counter() - start:.0f} s on one thread, "
    f"{model.compute_fraction_:.0%} of a dense network's multiplications"
)

# %%
# Neighbours
# ----------


def likeness(vectors):
    vectors = normalize(vectors - vectors.mean(axis=0))
    cosine = vectors @ vectors.T
    np.fill_diagonal(cosine, -1)
    return cosine


alike = likeness(vectors)
for word in ("matrix", "maximum", "forest", "csr", "cosine", "seed", "plot", "error"):
    nearest = np.argsort(-alike[number_of[word]])[:6]
    print(f"{word:9}", *(words[i] for i in nearest))

# %%
# How good are the vectors? Pairs of words that belong together should be near neighbours. For
# comparison, two other kinds of vectors come from a table that counts how often two words are near
# each other. The first are the rows of the table. The second are a classic: 100 singular vectors of
# the positive pointwise mutual information.

pairs = """
minimum maximum, row column, rows columns, true false, left right, lower upper, mean median,
first last, sine cosine, int float, fit predict, csr csc, height width, real imaginary, start stop,
variance std, greater less, training test, forward backward, smallest largest, input output,
eigenvalues eigenvectors, samples observations, dense sparse, odd even, precision recall,
numerator denominator, tree forest, horizontal vertical, increasing decreasing
"""
pairs = [pair.split() for pair in pairs.split(",")]
pairs = [(number_of[a], number_of[b]) for a, b in pairs if a in number_of and b in number_of]

table = (X.T @ Y.astype(np.float32)).toarray()
expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
mutual = np.log(np.maximum(1, table / np.maximum(expected, 1e-9)))
mutual = csr_array(mutual.astype(np.float32))
singular = TruncatedSVD(100, random_state=0).fit_transform(mutual)
for name, them in {"slide": vectors, "counts": table, "singular vectors": singular}.items():
    cosine = likeness(them)
    nearer = [np.sum(cosine[i] > cosine[i, j]) for a, b in pairs for i, j in ((a, b), (b, a))]
    print(
        f"{name:17} nearest of all: {np.mean(np.array(nearer) < 1):.0%}, "
        f"among the ten nearest: {np.mean(np.array(nearer) < 10):.0%} of {len(nearer)}"
    )

# %%
# The network's vectors are best in both figures. But this is a small test, with thirty pairs that
# we chose, and differences of a few per cent mean nothing.
#
# A map
# -----
# The map shows some words of seven kinds. t-SNE places them so that similar vectors are near each
# other. The kinds only set the colours; the network knew nothing about them.

kinds = {
    "distances": "euclidean manhattan minkowski jaccard chebyshev canberra braycurtis cityblock",
    "sparse formats": "csr csc coo lil dok bsr dia",
    "distributions": "gamma beta poisson binomial exponential weibull cauchy lognormal",
    "data types": "float int bool complex str dtype integer",
    "models of trees": "tree trees forest boosting leaf ensemble splits",
    "solvers": "lbfgs newton saga sag liblinear cholesky lsqr",
    "windows": "kaiser hann blackman bartlett taper",
}
kinds = {kind: [w for w in them.split() if w in number_of] for kind, them in kinds.items()}
drawn = [word for them in kinds.values() for word in them]
them = normalize((vectors - vectors.mean(axis=0))[[number_of[word] for word in drawn]])
plane = TSNE(perplexity=6, init="pca", random_state=0).fit_transform(them)

fig, ax = plt.subplots(figsize=(8, 6), layout="constrained")
position = dict(zip(drawn, plane, strict=True))
for i, (kind, them) in enumerate(kinds.items()):
    points = np.array([position[word] for word in them])
    ax.scatter(*points.T, color=f"C{i}", label=kind, s=18)
    for word, point, (right, up) in zip(them, points, points > points.mean(axis=0), strict=True):
        ax.annotate(
            word,
            point,
            (4 if right else -4, 1 if up else -1),
            textcoords="offset points",
            ha="left" if right else "right",
            va="bottom" if up else "top",
            fontsize=8,
            color=f"C{i}",
        )
ax.set(xticks=[], yticks=[])
ax.margins(0.1)
ax.legend(fontsize=8)
plt.show()

# %%
# Words of a kind are close together although no docstring lists the kinds, because they have the
# same neighbours in the text. The network learns only how the authors of these packages use words:
# for them "seed" is the start of a random generator.
