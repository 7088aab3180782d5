"""
Images through a sparse hidden layer
====================================

A wide hidden layer computes a thousand neurons for an image, of which a few dozen fire strongly.
slide can find those by hashing and leave the others out, forward, backward and in the update. What
does that save, and what does it cost in accuracy? And is it the hashing that does it, or would
random neurons or a narrow layer do as well?
"""

# %%
# Make-believe photographs
# ------------------------
# scikit-learn's handwritten digits are so small and clean that any network knows them. Here every
# digit is enlarged to 16 x 16 pixels and laid somewhere on a noisy canvas of 28 x 28, four times
# each. The digits of the test are none of the training's.

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from slide import SparseMLPClassifier
from slide.inspection import retrieval_recall

SIDE = 28
rng = np.random.default_rng(0)
digits, y = load_digits(return_X_y=True)
digits = np.kron(digits.reshape(-1, 8, 8) / 16, np.ones((2, 2)))


def photographs(digits):
    canvas = rng.normal(0, 0.1, (len(digits), SIDE, SIDE)).astype(np.float32)
    for photo, digit, (top, left) in zip(
        canvas, digits, rng.integers(4, 9, (len(digits), 2)), strict=True
    ):
        photo[top : top + 16, left : left + 16] += digit
    return canvas.reshape(len(digits), -1)


digits_train, digits_test, y_train, y_test = train_test_split(digits, y, stratify=y, random_state=0)
X_train, y_train = photographs(np.repeat(digits_train, 4, axis=0)), np.repeat(y_train, 4)
X_test, y_test = photographs(np.repeat(digits_test, 4, axis=0)), np.repeat(y_test, 4)
print(f"{len(X_train):,} training and {len(X_test):,} test photographs of {SIDE} x {SIDE} pixels")

# %%
# Four ways to choose the neurons
# -------------------------------
# Always a layer of 1,000 neurons, of which a photograph gets 20 to 200. ``active_fraction`` says
# how many, the output of ten classes staying dense, and ``retrieval`` says how they are found:
#
# - by hash codes ("auto"), what slide is about;
# - by computing all and keeping the largest ("exact"), the best choice there is, but no saving;
# - at random ("none"), the cheapest.
#
# And dense layers, of 1,000 neurons and narrower. ``compute_fraction_`` counts all
# multiplications of the training, those of the hashing included, and divides by those of a dense
# network of the same widths. A dense layer of 100 neurons takes a tenth of what 1,000 take.

WIDTH, SHARES = 1_000, (0.02, 0.05, 0.1, 0.2)


def train(width=WIDTH, **params):
    start = time.perf_counter()
    model = SparseMLPClassifier(width, max_iter=10, random_state=0, **params).fit(X_train, y_train)
    seconds = time.perf_counter() - start
    cost = model.compute_fraction_ * width / WIDTH
    return model, cost, model.score(X_test, y_test), seconds


results = {"dense": [train(width)[1:] for width in (20, 50, 100, 200, WIDTH)]}
recalls = {}
for name, retrieval in {"hashed": "auto", "the largest": "exact", "random": "none"}.items():
    results[name] = []
    for share in SHARES:
        model, *result = train(active_fraction=(share, 1.0), retrieval=retrieval)
        results[name].append(result)
        recalls[name, share] = retrieval_recall(model, X_test)[0]

for name, rows in results.items():
    for cost, accuracy, seconds in rows:
        print(f"{name:12} multiplications {cost:.3f}   accuracy {accuracy:.3f}   {seconds:.1f} s")

# %%
# The picture
# -----------
# To the left: what an accuracy costs. To the right: how many of the truly largest neurons are
# computed, by the network's own weights after training.

styles = {"dense": "ks-", "hashed": "C0o-", "the largest": "C2^--", "random": "C1x:"}
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 4), width_ratios=(3, 2), layout="constrained")
for name, style in styles.items():
    cost, accuracy, _ = zip(*results[name], strict=True)
    left.plot(cost, accuracy, style, label=name)
left.set(
    xscale="log",
    xlabel="multiplications, of 1,000 dense neurons",
    ylabel="accuracy on the test photographs",
)
left.set_xticks([0.02, 0.05, 0.1, 0.2, 0.5, 1], ["1/50", "1/20", "1/10", "1/5", "1/2", "1"])
left.minorticks_off()
left.legend()
for name in ("hashed", "the largest", "random"):
    right.plot(SHARES, [recalls[name, share] for share in SHARES], styles[name])
right.set(xlabel="active share of the layer", ylabel="of the largest neurons, computed")
right.set(ylim=(-0.03, 1.05), xticks=SHARES)
for ax in (left, right):
    ax.grid(alpha=0.3)
plt.show()

# %%
# Hash codes find 60 to 70 % of the largest neurons, and that is enough: with a tenth of the
# multiplications or less, the hashed networks are no worse than the dense one of 1,000 neurons. A
# dense network that is as cheap, because it is narrow, is clearly worse, and so are random
# neurons. To know the largest for certain would gain another point or two, for half of the dense
# network's multiplications.
#
# Multiplications are not seconds. Dense layers read memory in a row and use the processor's
# widest instructions, so that at this size a sparse layer takes about as long as the dense one
# and the narrow ones are quickest by far. For time, a sparse layer pays where layers are wider
# and inputs more than here; on few classes and small images take a narrow dense layer first.
#
# That sparse networks are even ahead of the dense one is a gift of this data set: choosing a few
# neurons keeps a network from learning small data by heart, as dropout does. On 60,000 images of
# Fashion-MNIST the hashed network is about a point behind, as the README tells.
