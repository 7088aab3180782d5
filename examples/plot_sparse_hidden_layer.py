"""
Images through a sparse hidden layer
====================================

A wide hidden layer computes a thousand neurons for an image, but only a few dozen of them fire
strongly. slide finds these by hashing and leaves out the others, in the forward pass, in the
backward pass and in the update. How much work does that save, and how much accuracy does it cost?
And is hashing needed, or would random neurons or a narrow layer be as good?
"""

# %%
# Synthetic photographs
# ---------------------
# scikit-learn's handwritten digits are so small and clean that any network recognises them. Here
# every digit is enlarged to 16 x 16 pixels and placed somewhere on a noisy canvas of 28 x 28. Each
# digit makes four photographs. Training and test use different digits.

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
# The sparse layers have 1,000 neurons, of which a photograph uses 20 to 200. ``active_fraction``
# sets this number. The output, with ten classes, stays dense. ``retrieval`` selects how the
# neurons are found:
#
# - "auto" finds them by hash codes, as slide does by default;
# - "exact" computes all pre-activations and keeps the largest: the best choice, but finding the
#   neurons saves nothing;
# - "none" draws them at random, which is cheapest.
#
# The fourth way is a dense layer of 1,000 neurons or fewer. ``compute_fraction_`` counts all
# multiplications of the training, including those of the hashing, and divides by those of a dense
# network of the same widths. A dense layer of 100 neurons needs a tenth of the multiplications of
# 1,000 neurons.

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
# The plot
# --------
# The left plot shows accuracy against cost. The right plot shows the share of the truly largest
# neurons that are computed, according to the network's own weights after training.

styles = {"dense": "ks-", "hashed": "C0o-", "the largest": "C2^--", "random": "C1x:"}
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 4), width_ratios=(3, 2), layout="constrained")
for name, style in styles.items():
    cost, accuracy, _ = zip(*results[name], strict=True)
    left.plot(cost, accuracy, style, label=name)
left.set(
    xscale="log",
    xlabel="multiplications, share of 1,000 dense neurons'",
    ylabel="accuracy on the test photographs",
)
left.set_xticks([0.02, 0.05, 0.1, 0.2, 0.5, 1], ["1/50", "1/20", "1/10", "1/5", "1/2", "1"])
left.minorticks_off()
left.legend()
for name in ("hashed", "the largest", "random"):
    right.plot(SHARES, [recalls[name, share] for share in SHARES], styles[name])
right.set(xlabel="active share of the layer", ylabel="share of the largest neurons computed")
right.set(ylim=(-0.03, 1.05), xticks=SHARES)
for ax in (left, right):
    ax.grid(alpha=0.3)
plt.show()

# %%
# Hash codes find 60 to 70 % of the largest neurons, and that is enough: with at most a tenth of
# the multiplications, the hashed networks are no worse than the dense one of 1,000 neurons. A
# narrow dense network that costs as little is clearly worse, and so are random neurons. Exact
# knowledge of the largest neurons would gain another point or two, but needs half of the dense
# network's multiplications.
#
# Multiplications are not seconds. Dense layers read memory sequentially and use the processor's
# widest instructions. So at this size a sparse layer takes about as long as the dense one, and
# the narrow layers are by far the fastest. A sparse layer saves time if layers are wider and
# inputs larger than here. With few classes and small images try a narrow dense layer first.
#
# The sparse networks are even better than the dense one, but only on this data set: choosing a few
# neurons keeps a network from memorising small data, as dropout does. On 60,000 images of
# Fashion-MNIST the hashed network is about a point worse, as the README says.
