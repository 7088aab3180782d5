"""
A grid search over texts
========================

``SparseMLPClassifier`` is a scikit-learn estimator, so it works in pipelines and searches. This
example uses texts with 2,000 labels. It searches for the width of the hidden layer, for the use
of prototypes, and for the way to count words. The score is the precision of the three best labels
of a text. The share of texts whose whole set of labels is right would tell little.
"""

# %%
# Texts
# -----
# The texts are the rows of a planted problem: feature 17 becomes the word "w17", and a large value
# becomes a word that is repeated. Labels come in families of five, which share half of their
# characteristic words.

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline

from slide import SparseMLPClassifier
from slide.datasets import make_extreme_classification
from slide.metrics import precision_at_k_scorer

rows, Y = make_extreme_classification(
    5_000, 10_000, 2_000, n_nonzero=25, n_labels=2, n_siblings=5, similarity=0.5, random_state=0
)
times = np.ceil(rows.data * 10).astype(int)
words = np.repeat(rows.indices, times)
ends = np.concatenate([[0], np.cumsum(times)])[rows.indptr]
texts = [" ".join(f"w{word}" for word in words[start:stop]) for start, stop in pairwise(ends)]
texts_train, texts_test, Y_train, Y_test = train_test_split(
    texts, Y, test_size=1_000, random_state=0
)
print(texts[0][:90], "…")
print(f"{len(texts_train):,} training texts, {Y.nnz / len(texts):.1f} labels per text")

# %%
# The search
# ----------
# ``precision_at_k_scorer(3)`` asks the pipeline for three labels per text and counts the right
# ones. A text has two labels on average, so the precision of three labels cannot reach 1. The
# search runs in two processes. Each network has one thread (``n_jobs`` of the classifier stays
# None), so the figures are the same every time.

pipeline = Pipeline(
    [
        ("tfidf", TfidfVectorizer(dtype=np.float32)),
        ("slide", SparseMLPClassifier(random_state=0)),
    ]
)
widths, prototypes, logarithms = [(16,), (64,), (256,)], [False, True], [False, True]
grid = {
    "slide__hidden_layer_sizes": widths,
    "slide__prototypes": prototypes,
    "tfidf__sublinear_tf": logarithms,
}
search = GridSearchCV(pipeline, grid, scoring=precision_at_k_scorer(3), cv=3, n_jobs=2)
search.fit(texts_train, Y_train)
print(search.best_params_)
print(f"P@3 in cross-validation {search.best_score_:.3f}")
print(f"P@3 of the test texts   {search.score(texts_test, Y_test):.3f}")
most = np.minimum(Y_test.sum(axis=1), 3).mean() / 3
print(f"highest possible P@3    {most:.3f}")

# %%
# A pipeline has no ``predict_topk``, but its last step has it:

features = search.best_estimator_[:-1].transform(texts_test[:3])
labels, scores = search.best_estimator_[-1].predict_topk(features, k=3)
for row in range(3):
    print(f"ranked {labels[row]}, right {Y_test[[row]].indices}")

# %%
# The grid
# --------
# ``GridSearchCV`` sorts the parameters by name and varies the last one fastest.

results = search.cv_results_
shape = len(widths), len(prototypes), len(logarithms)
scores = results["mean_test_score"].reshape(shape)
deviations = results["std_test_score"].reshape(shape)
seconds = results["mean_fit_time"].reshape(shape).mean(axis=(1, 2))
for width, s in zip(widths, seconds, strict=True):
    print(f"{width[0]:4} neurons: {s:.1f} s for a fit")

fig, axes = plt.subplots(1, 2, figsize=(7, 3.6), sharey=True, layout="constrained")
for i, ax in enumerate(axes):
    image = ax.imshow(scores[:, i], vmin=scores.min(), vmax=scores.max(), aspect="auto")
    for (row, column), score in np.ndenumerate(scores[:, i]):
        dark = score < (scores.min() + scores.max()) / 2
        ax.text(
            column,
            row,
            f"{score:.3f} ± {deviations[row, i, column]:.3f}",
            ha="center",
            va="center",
            color="w" if dark else "k",
        )
    ax.set_title("network and prototypes" if prototypes[i] else "network alone")
    ax.set_xticks(range(2), ["counts", "logarithms"])
    ax.set_yticks(range(3), [width[0] for width in widths])
axes[0].set_ylabel("hidden neurons")
fig.supxlabel("term frequencies")
fig.colorbar(image, ax=axes, label="P@3, mean of three folds")
plt.show()

# %%
# Prototypes matter most. Without them the network needs width: it improves each time the layer is
# four times as wide. Prototypes see every word and bypass the narrow hidden layer. With them 16
# neurons are better than 64 neurons without, and not far from 256 neurons without, in less than
# half of the time. The way to count words makes no difference to the network alone. With
# prototypes, logarithms are better at every width, by about as much as folds differ. The score on
# the test texts, which the search has not seen, agrees with the score of the search.
