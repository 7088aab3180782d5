"""
How many tables do I need?
==========================

The papers on SLIDE find the neurons of a sparse layer in hash tables: neurons that share a bucket
with the input are candidates. How many tables, and of how many bits? This example tries a grid of
both on a layer of 1,000 neurons, 50 of which are computed for an image, and compares the tables
with slide's default: estimates from hash codes, without tables.
"""

# %%
# Make-believe photographs
# ------------------------
# scikit-learn's digits, enlarged and laid somewhere on a noisy canvas of 28 x 28 pixels.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from slide import SparseMLPClassifier
from slide.inspection import retrieval_recall

rng = np.random.default_rng(0)
digits, y = load_digits(return_X_y=True)
digits = np.kron(digits.reshape(-1, 8, 8) / 16, np.ones((2, 2)))
photos = rng.normal(0, 0.1, (len(digits), 28, 28)).astype(np.float32)
corners = rng.integers(4, 9, (len(digits), 2))
for photo, digit, (top, left) in zip(photos, digits, corners, strict=True):
    photo[top : top + 16, left : left + 16] += digit
X_train, X_test, y_train, y_test = train_test_split(
    photos.reshape(len(y), -1), y, test_size=600, stratify=y, random_state=0
)

# %%
# The grid
# --------
# ``retrieval="rerank"`` takes from the tables the neurons that share most buckets with the image,
# four times as many as are needed, computes them and keeps the largest; too few are filled up at
# random. A table of K bits has 2\ :sup:`K` buckets: with many bits buckets hold few neurons, the
# likeliest ones, and it takes many tables to gather enough of them.
#
# ``retrieval_recall`` holds the computed neurons against those whose pre-activation is truly
# largest, and ``compute_fraction_`` counts the multiplications, hashing included.


def train(**params):
    model = SparseMLPClassifier(
        1_000, active_fraction=(0.05, 1.0), max_iter=10, random_state=0, **params
    ).fit(X_train, y_train)
    result = (
        retrieval_recall(model, X_test)[0],
        model.compute_fraction_,
        model.score(X_test, y_test),
    )
    print("{:6.2f} {:15.3f} {:9.3f}".format(*result))
    return result


tables, bits = (4, 16, 64, 250), (2, 4, 6, 8)
print(" " * 19, "recall multiplications accuracy")
grid = np.empty((len(tables), len(bits), 3))
for i, n_tables in enumerate(tables):
    for j, n_hash_bits in enumerate(bits):
        print(f"{n_tables:4} tables, {n_hash_bits} bits", end="  ")
        grid[i, j] = train(retrieval="rerank", n_tables=n_tables, n_hash_bits=n_hash_bits)

# %%
# Estimates
# ---------
# The default has no tables in a layer of this size. Every neuron has one long code, and from the
# number of bits in which it differs from the image's code follows an estimate of the neuron's
# pre-activation; the largest estimates win. Comparing 64 bits counts as one multiplication. Only
# the product of ``n_tables`` and ``n_hash_bits`` matters then: the length of the code.

code_lengths = (64, 128, 256, 512, 1024)
estimates = []
for length in code_lengths:
    print(f"{length:4} bits of a code", end="  ")
    estimates.append(train(retrieval="estimate", n_tables=length // 8, n_hash_bits=8))
print(f"{'the largest':18}", end="  ")
largest = train(retrieval="exact")
print(f"{'at random':18}", end="  ")
random = train(retrieval="none")

# %%
# The picture
# -----------

fig, (left, right) = plt.subplots(1, 2, figsize=(8, 4), width_ratios=(4, 5), layout="constrained")
recall = grid[:, :, 0]
left.imshow(recall, vmin=0, vmax=1, aspect="auto")
for (i, j), share in np.ndenumerate(recall):
    left.text(j, i, f"{share:.2f}", ha="center", va="center", color="k" if share > 0.5 else "w")
left.set_xticks(range(len(bits)), bits)
left.set_yticks(range(len(tables)), tables)
left.set(xlabel="bits of a table", ylabel="tables", title="of the largest neurons, found")

for i, (n_tables, marker) in enumerate(zip(tables, "v^sD", strict=True)):
    right.plot(
        *grid[i, :, 1:].T, marker, color="C1", alpha=0.4 + 0.2 * i, label=f"{n_tables} tables"
    )
right.plot(*np.array(estimates)[:, 1:].T, "C0o-", label="estimates")
right.plot(*largest[1:], "C2*", markersize=11, label="the largest, all computed")
right.plot(*random[1:], "kx", label="at random")
right.set(
    xscale="log",
    xlabel="multiplications, of a dense network",
    ylabel="accuracy",
    title="what it costs and what it brings",
)
right.set_xticks([0.05, 0.1, 0.2, 0.5], ["0.05", "0.1", "0.2", "0.5"])
right.minorticks_off()
right.grid(alpha=0.3)
right.legend(fontsize=8, loc="lower right")
plt.show()

# %%
# The more tables, the more of the largest neurons are found, and accuracy follows that share. Few
# tables are little better than chance. Here, where a table has only 1,000 neurons to share out,
# buckets of 4 bits are best with many tables; 8 bits make 256 buckets of four neurons each, from
# which too few candidates come. (A layer a thousand times as wide would need some ten bits more
# for buckets of the same size.)
#
# Estimates cost less than most of the tables and find as much with 512 bits as 250 tables of 4
# bits do: a long code ranks all the neurons, where a table only says yes or no. For the best
# accuracy below that of computing everything, 250 tables are a little ahead in this run, at one
# and a half times the multiplications. The advice is therefore: leave ``retrieval``, ``n_tables``
# and ``n_hash_bits`` at "auto" (256 bits for such a layer), look at ``retrieval_recall``, and if
# it is low and accuracy matters, take longer codes, by a larger ``n_tables``, before you try
# tables. With 600 test images, accuracies that differ by less than two or three hundredths may be
# equal.
