"""
Texts with 20,000 labels
========================

Shops, libraries and help desks file short texts under thousands of labels. A text has several
labels, and most labels are rare. This example generates such texts, turns them into tf-idf features
and trains one network for all 20,000 labels. At the end it asks the question that matters with so
many labels: does the network know the rare ones?
"""

# %%
# Synthetic texts
# ---------------
# Labels are narrow, such as "fencing", or broad, such as "sports". Each of 19,600 narrow labels
# belongs to one of 400 broad labels. A narrow label has twelve notions. It shares four of them with
# all narrow labels of the same broad label. Every notion has five synonyms, and a text uses any of
# them. So a text contains some six words for each of its one or two narrow labels, and twelve
# common words without meaning. In seven of ten cases it also has the broad label. As in real data,
# a few labels are frequent and many are rare.

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MultiLabelBinarizer, normalize

from slide import SparseMLPClassifier
from slide.metrics import precision_at_k

N_TEXTS = 50_000
N_NOTIONS, N_SYNONYMS = 6_000, 5
N_BROAD, N_LABELS = 400, 20_000  # the first 400 labels are the broad ones

rng = np.random.default_rng(0)
n_words = N_NOTIONS * N_SYNONYMS
syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "is")]
words = dict.fromkeys("".join(word) for word in rng.choice(syllables, (2 * n_words, 3)))
words = list(words)[:n_words]

broad_of = rng.integers(N_BROAD, size=N_LABELS)
notions_of = rng.integers(N_NOTIONS, size=(N_LABELS, 12))
notions_of[:, :4] = rng.integers(N_NOTIONS, size=(N_BROAD, 4))[broad_of]


def draw(low, high, size, flat):
    """Draw from range(low, high); the probability of low + r is proportional to 1 / (r + flat)."""
    shares = 1 / np.arange(flat, high - low + flat)
    return low + rng.choice(high - low, size=size, p=shares / shares.sum())


texts, labels_of_text = [], []
narrow_labels = draw(N_BROAD, N_LABELS, (N_TEXTS, 2), flat=100)
common_words = draw(0, n_words, (N_TEXTS, 12), flat=10)
n_narrow = rng.integers(1, 3, size=N_TEXTS)
for narrow, common, n in zip(narrow_labels, common_words, n_narrow, strict=True):
    notions = notions_of[narrow[:n]]
    notions = notions[rng.random(notions.shape) < 0.5]
    telling = notions * N_SYNONYMS + rng.integers(N_SYNONYMS, size=len(notions))
    texts.append(" ".join(words[word] for word in rng.permutation([*telling, *common])))
    broad = broad_of[narrow[:n]][rng.random(n) < 0.7]
    labels_of_text.append({f"label {label}" for label in (*narrow[:n], *broad)})

print(texts[0])
print(sorted(labels_of_text[0]))

# %%
# Features and labels
# -------------------
# This step is plain scikit-learn. The target stays a sparse indicator, because a dense table would
# have a billion entries.

all_labels = [f"label {label}" for label in range(N_LABELS)]
binarizer = MultiLabelBinarizer(classes=all_labels, sparse_output=True)
Y = binarizer.fit_transform(labels_of_text)
texts_train, texts_test, Y_train, Y_test = train_test_split(
    texts, Y, test_size=5_000, random_state=0
)
vectorizer = TfidfVectorizer(sublinear_tf=True, dtype=np.float32)
X_train = vectorizer.fit_transform(texts_train)
X_test = vectorizer.transform(texts_test)

n_rows = np.bincount(Y_train.indices, minlength=N_LABELS)
print(f"{X_train.shape[0]:,} texts, {X_train.shape[1]:,} words, {Y_train.shape[1]:,} labels")
print(f"labels with at most three training texts: {np.mean(n_rows <= 3):.0%}")

# %%
# Train
# -----
# All parameters stay at their defaults. With sparse features and many classes slide then uses
# prototypes. The prototype of a label is the mean of its training texts. The similarity of a text
# and the prototype is added to the label's score. A model without prototypes shows how much they
# gain.

rankings = {}
for name, prototypes in {"network alone": False, "network and prototypes": "auto"}.items():
    start = time.perf_counter()
    model = SparseMLPClassifier(prototypes=prototypes, random_state=0).fit(X_train, Y_train)
    seconds = time.perf_counter() - start
    rankings[name], _ = model.predict_topk(X_test, k=5)
    print(
        f"{name}: {model.n_iter_} epochs in {seconds:.0f} s on one thread, "
        f"{model.compute_fraction_:.1%} of a dense network's multiplications"
    )

# %%
# Two rankings need no training. The first gives every text the most frequent labels. The second
# gives a text the labels whose training texts have the nearest mean (Rocchio's classifier, which is
# prototypes without a network).


def best(scores, k=5):
    scores = scores.toarray()
    top = np.argpartition(-scores, k, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1)
    return np.take_along_axis(top, order, 1)


centroids = normalize(Y_train.T @ X_train)
rankings["nearest centroid"] = np.vstack(
    [best(X_test[start : start + 500] @ centroids.T) for start in range(0, X_test.shape[0], 500)]
)
rankings["most frequent"] = np.tile(np.argsort(-n_rows)[:5], (X_test.shape[0], 1))

for name, ranking in rankings.items():
    row = "  ".join(f"P@{k} {precision_at_k(Y_test, ranking, k=k):.3f}" for k in (1, 3, 5))
    print(f"{name:24}{row}")
most = [np.minimum(Y_test.sum(axis=1), k).mean() / k for k in (1, 3, 5)]
print("{:24}P@1 {:.3f}  P@3 {:.3f}  P@5 {:.3f}".format("highest possible", *most))

# %%
# A text has 2.5 labels on average, so no ranking reaches a P@3 or P@5 of 1. Network and prototypes
# together are clearly better than either alone. Prototypes remember which rare words came with a
# label, and the network has learnt from other labels which words are synonyms.
#
# Rare labels
# -----------
# Means over all texts say little about rare labels. So take every label of every test text: how
# often is it among the five best? The answer depends on the number of training texts of the label.

edges = np.array([0, 1, 2, 4, 8, 16, 32, 64, 10**9])
names = ["0", "1", "2–3", "4–7", "8–15", "16–31", "32–63", "64+"]
rows, labels = Y_test.nonzero()
group = np.searchsorted(edges, n_rows[labels], side="right") - 1

fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
styles = {
    "network and prototypes": ("C0", "o-"),
    "network alone": ("C1", "s-"),
    "nearest centroid": ("C2", "^--"),
    "most frequent": ("0.5", "x:"),
}
for name, (color, style) in styles.items():
    hit = (rankings[name][rows] == labels[:, np.newaxis]).any(axis=1)
    found = np.bincount(group, hit) / np.bincount(group)
    print(f"{name:24}", *(f"{share:.2f}" for share in found))
    ax.plot(found, style, color=color, label=name)
ax.set_xticks(range(len(names)), names)
ax.set(xlabel="training texts of the label", ylabel="found among the five best", ylim=(-0.02, 1))
ax.grid(alpha=0.3)
ax.legend()
plt.show()

# %%
# No ranking can find a label without training texts. With one to three training texts the nearest
# mean is best, because it assumes only similarity; but even the nearest mean finds few of these
# labels. With four to seven texts it is as good as network and prototypes together. From eight
# texts on, network and prototypes together are best. The network alone needs far more examples
# before it knows a label. The frequent labels are the broad ones, and their texts are of many
# kinds. A mean says least about such texts, so there the network alone is nearly as good as both.
#
# Without synonyms, there would be little to learn across labels, and the nearest mean would have
# the best P@1: try ``N_NOTIONS, N_SYNONYMS = 30_000, 1``.
