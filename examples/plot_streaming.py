"""
A stream that changes
=====================

``partial_fit`` learns data that comes day by day. In the middle of this stream many labels change
their meaning, and later new labels appear. A model that was trained only once gets worse. How fast
do models recover if they continue to learn? How many seconds does that cost, and does it cost
accuracy while nothing changes?
"""

# %%
# The stream
# ----------
# The stream has sixty days of 500 rows, and each row has one of 2,000 labels. On day 30 a third of
# the labels trade places: rows that had one label before now have another. A fifth of the labels
# appears on day 45 for the first time.

import time

import matplotlib.pyplot as plt
import numpy as np

from slide import SparseMLPClassifier
from slide.datasets import make_extreme_classification

N_DAYS, DAY, N_CLASSES = 60, 500, 2_000
FIRST, TRADE, NEWCOMERS = 10, 30, 45

X, y = make_extreme_classification(
    50_000, 10_000, N_CLASSES, n_nonzero=30, n_informative=8, zipf_exponent=0.8, random_state=0
)
rng = np.random.default_rng(0)
shuffled = rng.permutation(N_CLASSES)
newcomers, traders = shuffled[: N_CLASSES // 5], shuffled[-N_CLASSES // 3 :]

n_before = NEWCOMERS * DAY
without = np.flatnonzero(~np.isin(y, newcomers))
order = np.concatenate([without[:n_before], np.arange(len(y) - N_DAYS * DAY + n_before, len(y))])
X, y = X[order], y[order]
place_of = np.arange(N_CLASSES)
place_of[traders] = np.roll(traders, 1)
y[TRADE * DAY :] = place_of[y[TRADE * DAY :]]


def days(start, stop):
    rows = slice(max(start, 0) * DAY, stop * DAY)
    return X[rows], y[rows]


# %%
# Four ways to keep up
# --------------------
# All models start with the first ten days. Each morning every model predicts the labels of the
# day. In the evening it learns the true labels ("test, then train"):
#
# - the first model is never trained again;
# - the second trains once on every day's rows, with ``partial_fit``;
# - the third trains five times on every day's rows;
# - the fourth is replaced every fifth day by a new model, trained on the last ten days.
#
# The first call of ``partial_fit`` must name all labels that will ever come.


def passes(model, X, y, n):
    for _ in range(n):
        model.partial_fit(X, y, classes=np.arange(N_CLASSES))
    return model


def new_model():
    return SparseMLPClassifier(random_state=0)


X_first, y_first = days(0, FIRST)
models = {
    "trained once": new_model().fit(X_first, y_first),
    "partial_fit": passes(new_model(), X_first, y_first, 1),
    "partial_fit, five times": passes(new_model(), X_first, y_first, 5),
}
models["new every five days"] = models["trained once"]
accuracy, seconds = {name: [] for name in models}, dict.fromkeys(models, 0.0)
for today in range(FIRST, N_DAYS):
    X_today, y_today = days(today, today + 1)
    for name, model in models.items():
        accuracy[name].append(model.score(X_today, y_today))
    for name in models:
        start = time.perf_counter()
        if name == "partial_fit":
            passes(models[name], X_today, y_today, 1)
        elif name == "partial_fit, five times":
            passes(models[name], X_today, y_today, 5)
        elif name == "new every five days" and (today + 1) % 5 == 0:
            models[name] = new_model().fit(*days(today - 9, today + 1))
        seconds[name] += time.perf_counter() - start

# %%
# The plot
# --------

spans = {"days 10–29": (0, 20), "30–34": (20, 25), "35–44": (25, 35), "45–59": (35, 50)}
print(f"{'accuracy':25}", *(f"{span:>10}" for span in spans), " seconds of training")
for name, values in accuracy.items():
    means = (f"{np.mean(values[slice(*span)]):10.3f}" for span in spans.values())
    print(f"{name:25}", *means, f"{seconds[name]:8.1f}")

fig, ax = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
styles = ("k:", "C1-", "C0-", "C2--")
for (name, values), style in zip(accuracy.items(), styles, strict=True):
    ax.plot(range(FIRST, N_DAYS), values, style, label=name)
for day, text in {TRADE: "a third of the labels\ntrade places", NEWCOMERS: "new labels"}.items():
    ax.axvline(day, color="0.7", zorder=0)
    ax.text(day + 0.4, 1.03, text, color="0.3", fontsize=9, va="top")
ax.set(xlabel="day", ylabel="accuracy on the day's rows, before training", ylim=(0.3, 1.04))
ax.legend(loc="lower left")
ax.grid(alpha=0.3)
plt.show()

# %%
# While nothing changes, further training gains nothing: the model of the first ten days is as good
# as any. The model that sees every row only once needs two weeks to reach it. ``fit`` makes many
# passes and adds prototypes; ``partial_fit`` does neither.
#
# When labels trade places, all models lose the same accuracy, because no model can know this in
# advance. Five passes per day recover most of it after a week. One pass per day is not enough: two
# weeks recover about half. So if a stream changes, train on its rows several times. A new model on
# the last ten days needs ten days to forget the old meaning, and is then as good or better. But it
# costs four times as much as five passes per day. New labels lead to the same result.
