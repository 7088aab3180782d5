"""
Moving from MLPClassifier
=========================

``SparseMLPClassifier`` has the parameters and methods of scikit-learn's ``MLPClassifier``. This
example runs the same code with both and lists the parameters that differ. It shows when to stay
with ``MLPClassifier``. Then it measures what you gain with ``SparseMLPClassifier``: time and
memory as the number of classes grows.
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
# Compare the parameters of both classes:

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
# Some parameters with the same name work slightly differently in SparseMLPClassifier:
#
# - ``solver`` has "adagrad" but no "lbfgs". ``learning_rate`` is "linear" or "constant".
# - ``learning_rate_init``: every layer scales its step to its input and its width.
# - ``batch_size="auto"`` is at most 64 rows; in MLPClassifier it is at most 200.
# - Adam is lazy: it does not touch weights without a gradient, and a row of weights shares one
#   second moment.
# - ``alpha`` shrinks only the weights that are updated. Its default is 0, because dropout
#   regularises the network.
# - ``early_stopping`` uses ``ndcg_at_k``, which is the accuracy if every row has one label.
# - Dense features are centred, but you must still scale them.
# - ``y`` can be a sparse indicator, and ``predict_topk`` ranks the best labels.

# %%
# When to stay with MLPClassifier
# -------------------------------
# With few classes, few features and few rows slide has no neurons to leave out. L-BFGS, which only
# MLPClassifier has, is then hard to beat. Five-fold cross-validation, all with their defaults:

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
# The data have 20,000 rows, and the number of classes grows. MLPClassifier stops at 3,000. The
# seconds are half the time of a ``fit`` of two epochs, so the work before and after the epochs
# counts too. The memory is the peak of NumPy's arrays in a ``fit`` of one epoch, without X and y.
# It misses the few megabytes that either library allocates directly in C.

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
            f"{seconds:6.2f} s per epoch {megabytes:5.0f} MB"
        )

# %%
# The seconds per epoch are only half of the comparison. How many epochs do 1,000 classes need?

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
# The plot
# --------

fig, axes = plt.subplots(1, 2, figsize=(8, 3.8), layout="constrained")
for name, style in {"MLPClassifier": "C1s-", "SparseMLPClassifier": "C0o-"}.items():
    classes, seconds, megabytes = zip(*measured[name], strict=True)
    axes[0].plot(classes, seconds, style, label=name)
    axes[1].plot(classes, megabytes, style)
x = np.array([3_000, 20_000])
axes[1].plot(x, x * N_ROWS * 8 / 1e6, "C1:", label="its table of rows × classes")
for ax, what in zip(axes, ("seconds per epoch, one thread", "peak memory, MB"), strict=True):
    ax.set(xscale="log", yscale="log", xlabel="classes in 20,000 rows", ylabel=what)
    ax.grid(alpha=0.3)
    ax.legend()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter("{x:,g}")
plt.show()

# %%
# MLPClassifier makes the target a dense table of rows × classes and computes every class for
# every row. So its time and memory grow with the number of classes. slide computes only the labels
# and a sample of other classes for a small batch of rows; only its weights grow. From some hundred
# classes on slide needs less memory, and it is faster at all these sizes. At 20,000 classes the
# table of MLPClassifier alone would be 3 GB.
