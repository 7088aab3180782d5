"""
Moving from MLPClassifier
=========================

``SparseMLPClassifier`` has the names and the manners of scikit-learn's ``MLPClassifier``. This
example runs the same code with both, lists the parameters that differ, shows where it is better to
stay, and measures what the move is for: time and memory as the number of classes grows.
"""

# %%
# The same code
# -------------

import time
import tracemalloc
import warnings
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, NullLocator
from sklearn.datasets import load_digits, make_gaussian_quantiles, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from slide import SparseMLPClassifier
from slide.datasets import make_extreme_classification

warnings.simplefilter("ignore", ConvergenceWarning)  # few epochs are enough to measure time
threadpool_limits(1)  # one thread for both

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)

for Classifier in (MLPClassifier, SparseMLPClassifier):
    clf = Classifier(hidden_layer_sizes=(100,), activation="relu", alpha=1e-4, random_state=0)
    start = time.perf_counter()
    clf.fit(X_train, y_train)
    seconds = time.perf_counter() - start
    shapes = ", ".join(str(weights.shape) for weights in clf.coefs_)
    print(
        f"{Classifier.__name__:20} accuracy {clf.score(X_test, y_test):.3f}, {seconds:.1f} s, "
        f"{clf.n_iter_} epochs, loss {clf.loss_:.4f}, weights {shapes}"
    )

# %%
# Parameters
# ----------
# Asked of the classes themselves:

theirs, ours = MLPClassifier().get_params(), SparseMLPClassifier().get_params()
same = [name for name in theirs if name in ours]


def show(title, names):
    print(fill(f"{title}: {', '.join(names)}", 90, subsequent_indent="    "))


show("the same, with the same default", [n for n in same if theirs[n] == ours[n]])
show(
    "the same, with another default",
    [f"{n} ({theirs[n]!r} → {ours[n]!r})" for n in same if theirs[n] != ours[n]],
)
show("only MLPClassifier", [n for n in theirs if n not in ours])
show("only SparseMLPClassifier", [n for n in ours if n not in theirs])

# %%
# Some of what has the same name does not do quite the same:
#
# - ``solver`` knows "adagrad" and no "lbfgs"; ``learning_rate`` is "linear" or "constant".
# - ``learning_rate_init``: the step of every layer is scaled to its input and its width.
# - ``batch_size="auto"`` is at most 64 rows, MLPClassifier's 200.
# - Adam is lazy: weights without a gradient are not touched, and a row of them shares its second
#   moment.
# - ``alpha`` shrinks only the weights that are updated; it is 0, as there is dropout.
# - ``early_stopping`` judges by ``ndcg_at_k``, which is the accuracy if every row has one label.
# - Dense features are centred, but scaling them is still up to you.
# - ``y`` may be a sparse indicator, and ``predict_topk`` ranks the best labels.

# %%
# Where to stay
# -------------
# With few classes, few features and few rows there is nothing to leave out, and L-BFGS, which
# only MLPClassifier has, is hard to beat. Five-fold cross-validation, all at their defaults:

problems = {
    "two moons": make_moons(500, noise=0.2, random_state=0),
    "three shells": make_gaussian_quantiles(
        n_samples=1000, n_features=5, n_classes=3, random_state=0
    ),
}
for problem, (X, y) in problems.items():
    for name, clf in {
        "MLPClassifier": MLPClassifier(random_state=0),
        'MLPClassifier(solver="lbfgs")': MLPClassifier(solver="lbfgs", random_state=0),
        "SparseMLPClassifier": SparseMLPClassifier(random_state=0),
    }.items():
        scores = cross_val_score(make_pipeline(StandardScaler(), clf), X, y, cv=5)
        print(f"{problem:13} {name:30} {scores.mean():.3f} ± {scores.std():.3f}")

# %%
# Time and memory
# ---------------
# 20,000 rows, and more and more classes; MLPClassifier goes as far as 3,000. The seconds are
# those of a ``fit`` of two epochs, halved, so that all it does before and after them counts.
# Memory is the peak of NumPy's arrays in a ``fit`` of one epoch, beyond X and y; the few
# megabytes that either library asks of C directly are not seen.

sizes = {"MLPClassifier": (10, 100, 1_000, 3_000), "SparseMLPClassifier": (10, 100, 1_000, 3_000)}
sizes["SparseMLPClassifier"] += (10_000, 50_000)
measured = {name: [] for name in sizes}
N_ROWS = 20_000
for Classifier in (MLPClassifier, SparseMLPClassifier):
    name = Classifier.__name__
    for n_classes in sizes[name]:
        X, y = make_extreme_classification(
            N_ROWS, 2_000, n_classes, n_nonzero=30, zipf_exponent=0, random_state=0
        )
        clf = Classifier((100,), max_iter=2, random_state=0)
        start = time.perf_counter()
        clf.fit(X, y)
        seconds = (time.perf_counter() - start) / 2
        tracemalloc.start()
        clf.set_params(max_iter=1).fit(X, y)
        megabytes = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        measured[name].append((len(clf.classes_), seconds, megabytes))
        print(
            f"{name:20} {len(clf.classes_):6,} classes  "
            f"{seconds:6.2f} s an epoch {megabytes:5.0f} MB"
        )

# %%
# Seconds an epoch are not all. With 1,000 classes, how many epochs does it take?

X, y = make_extreme_classification(
    10_000, 2_000, 1_000, n_nonzero=30, zipf_exponent=0.5, random_state=0
)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=2_000, random_state=0)
for clf in (
    MLPClassifier(max_iter=10, random_state=0),
    MLPClassifier(max_iter=30, random_state=0),
    SparseMLPClassifier(100, random_state=0),
):
    start = time.perf_counter()
    clf.fit(X_train, y_train)
    seconds = time.perf_counter() - start
    print(
        f"{type(clf).__name__:20} {clf.n_iter_:2} epochs, {seconds:4.1f} s: "
        f"accuracy {clf.score(X_test, y_test):.3f}"
    )

# %%
# The picture
# -----------

fig, axes = plt.subplots(1, 2, figsize=(8, 3.8), layout="constrained")
for name, style in {"MLPClassifier": "C1s-", "SparseMLPClassifier": "C0o-"}.items():
    classes, seconds, megabytes = zip(*measured[name], strict=True)
    axes[0].plot(classes, seconds, style, label=name)
    axes[1].plot(classes, megabytes, style)
x = np.array([3_000, 20_000])
axes[1].plot(x, x * N_ROWS * 8 / 1e6, "C1:", label="its table of rows × classes")
for ax, what in zip(axes, ("seconds an epoch, one thread", "peak memory, MB"), strict=True):
    ax.set(xscale="log", yscale="log", xlabel="classes in 20,000 rows", ylabel=what)
    ax.grid(alpha=0.3)
    ax.legend()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter("{x:,g}")
plt.show()

# %%
# MLPClassifier makes the target a dense table of rows and classes and computes every class for
# every row, so its time and memory grow with the number of classes. slide keeps the labels and a
# sample of other classes for every few rows; what grows are the weights. From some hundred
# classes on the move pays in memory, and it is quicker on all these sizes; at 20,000 classes the
# table alone would be 3 GB.
