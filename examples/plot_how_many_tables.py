"""
How many tables do I need?
==========================

The papers on SLIDE find the neurons of a sparse layer in hash tables: neurons that share a bucket
with the input are candidates. How many tables do you need, and how many bits? This example tries
a grid of both. The layer has 1,000 neurons, of which 50 are computed per image. The example also
compares the tables with slide's default, which estimates pre-activations from hash codes, without
tables.
"""

# %%
# Synthetic photographs
# ---------------------
# Each photograph is one of scikit-learn's digits, enlarged and placed somewhere on a noisy canvas
# of 28 x 28 pixels.

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
# four times as many as needed. It computes them and keeps the largest. If there are too few,
# random neurons fill up the set. A table of K bits has 2\ :sup:`K` buckets. With many bits a bucket
# holds only few neurons, the most likely ones, so many tables are needed to find enough of them.
#
# ``retrieval_recall`` compares the computed neurons with those whose pre-activation is truly
# largest. ``compute_fraction_`` counts the multiplications, hashing included.


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
# The default has no tables in a layer of this size. Every neuron has one long code. The number of
# bits in which it differs from the image's code gives an estimate of the neuron's pre-activation.
# The neurons with the largest estimates are computed. A comparison of 64 bits counts as one
# multiplication. Without tables only the product of ``n_tables`` and ``n_hash_bits`` matters: it
# is the length of the code.

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
# The plot
# --------

fig, (left, right) = plt.subplots(1, 2, figsize=(8, 4), width_ratios=(4, 5), layout="constrained")
recall = grid[:, :, 0]
left.imshow(recall, vmin=0, vmax=1, aspect="auto")
for (i, j), share in np.ndenumerate(recall):
    left.text(j, i, f"{share:.2f}", ha="center", va="center", color="k" if share > 0.5 else "w")
left.set_xticks(range(len(bits)), bits)
left.set_yticks(range(len(tables)), tables)
left.set(xlabel="bits per table", ylabel="tables", title="share of the largest neurons found")

for i, (n_tables, marker) in enumerate(zip(tables, "v^sD", strict=True)):
    right.plot(
        *grid[i, :, 1:].T, marker, color="C1", alpha=0.4 + 0.2 * i, label=f"{n_tables} tables"
    )
right.plot(*np.array(estimates)[:, 1:].T, "C0o-", label="estimates")
right.plot(*largest[1:], "C2*", markersize=11, label="the largest, all computed")
right.plot(*random[1:], "kx", label="at random")
right.set(
    xscale="log",
    xlabel="multiplications, share of a dense network's",
    ylabel="accuracy",
    title="cost and accuracy",
)
right.set_xticks([0.05, 0.1, 0.2, 0.5], ["0.05", "0.1", "0.2", "0.5"])
right.minorticks_off()
right.grid(alpha=0.3)
right.legend(fontsize=8, loc="lower right")
plt.show()

# %%
# More tables find more of the largest neurons, and accuracy grows with the share that is found.
# Few tables are hardly better than chance. This layer has only 1,000 neurons, so with many tables 4
# bits are best. 8 bits make 256 buckets of four neurons each, which yield too few candidates. (A
# layer a thousand times as wide would need some ten bits more for buckets of the same size.)
#
# Estimates cost less than most of the tables. With 512 bits they find as much as 250 tables of 4
# bits, because a long code ranks all neurons, while a table only says yes or no. Computing
# everything is most accurate in this run. 250 tables are second, slightly better than estimates,
# but need one and a half times the multiplications of estimates. So leave ``retrieval``,
# ``n_tables`` and ``n_hash_bits`` at "auto" (256 bits for such a layer), and look at
# ``retrieval_recall``. If it is low and accuracy matters, first try longer codes, with a larger
# ``n_tables``, and only then tables. With 600 test images, accuracies that differ by less than two
# or three hundredths may be equal.
