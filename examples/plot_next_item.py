"""
The next item of a session
==========================

What will a visitor look at next? One row is what they have looked at so far, its label the item
that came next, out of 20,000. This example makes sessions up, trains slide on them, and compares it
with what a shop can do without a model: show what is popular, what others saw together with it, or
what came next for others.
"""

# %%
# Make-believe sessions
# ---------------------
# The shop's 20,000 items stand on 2,000 shelves of ten. A visitor goes to and fro between two
# shelves, some of which are more popular than others, and mostly goes on at each where they left
# it: after the third item comes the fourth. In two cases of ten they jump to any place of the
# shelf, and one look in ten goes to something popular elsewhere. So the next item does not depend
# on the last one alone, but on what was last seen of each shelf.

import time

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse import csr_array, vstack
from sklearn.preprocessing import normalize

from slide import SparseMLPClassifier
from slide.metrics import recall_at_k

N_ITEMS, SHELF = 20_000, 10
N_SESSIONS, LENGTH, WARM = 20_000, 10, 4
N_TEST = 2_000  # sessions; the rest are for training

rng = np.random.default_rng(0)


def draw(n, size, flat):
    """Draw from range(n), the r-th number as often as 1 / (r + flat)."""
    shares = 1 / np.arange(flat, n + flat)
    return rng.choice(n, size=size, p=shares / shares.sum())


visitors = np.arange(N_SESSIONS)
item_on = rng.permutation(N_ITEMS).reshape(-1, SHELF)
popular = rng.permutation(N_ITEMS)
shelves = draw(len(item_on), (N_SESSIONS, 2), flat=100)
places = rng.integers(SHELF, size=(N_SESSIONS, 2))
sessions = np.empty((N_SESSIONS, LENGTH), dtype=np.int64)
for step in range(LENGTH):
    which = rng.integers(2, size=N_SESSIONS)
    jumps = rng.random(N_SESSIONS) < 0.2
    place = np.where(jumps, rng.integers(SHELF, size=N_SESSIONS), places[visitors, which] + 1)
    places[visitors, which] = place % SHELF
    sessions[:, step] = item_on[shelves[visitors, which], place % SHELF]
    strays = rng.random(N_SESSIONS) < 0.1
    sessions[strays, step] = popular[draw(N_ITEMS, strays.sum(), flat=10)]
sessions_test, sessions_train = sessions[:N_TEST], sessions[N_TEST:]

print("items of the first session:", *sessions[0])

# %%
# Rows and labels
# ---------------
# A row has a feature for each item seen, the more the later it was seen. Every item from the
# fifth of a session on is a label. A session is wholly in the training or wholly in the test.


def counts(sessions, weights):
    """A row for every session with its items, each with the weight of its place."""
    n, length = sessions.shape
    indptr = np.arange(0, n * length + 1, length)
    data = np.tile(np.asarray(weights, np.float32), n)
    X = csr_array((data, sessions.flatten(), indptr), shape=(n, N_ITEMS))
    X.sum_duplicates()
    return X


def rows_and_labels(sessions):
    steps = range(WARM, LENGTH)
    X = vstack([counts(sessions[:, :step], 0.8 ** np.arange(step)[::-1]) for step in steps])
    return normalize(X), np.concatenate([sessions[:, step] for step in steps])


X_train, y_train = rows_and_labels(sessions_train)
X_test, y_test = rows_and_labels(sessions_test)
print(f"{X_train.shape[0]:,} training rows, {X_test.shape[0]:,} test rows")
print(f"{len(np.unique(y_train)):,} of {N_ITEMS:,} items are a label of the training")

# %%
# Train
# -----
# ``predict_topk`` gives the twenty best items of every row without a table of rows and items.

K = 20
start = time.perf_counter()
model = SparseMLPClassifier(random_state=0).fit(X_train, y_train)
print(
    f"{model.n_iter_} epochs in {time.perf_counter() - start:.0f} s on one thread, "
    f"{model.compute_fraction_:.1%} of a dense network's multiplications"
)
rankings = {"slide": model.predict_topk(X_test, k=K)[0]}

# %%
# Without a model
# ---------------
# Four baselines, from the counts of the training sessions: the most popular items; those that
# were seen together with the visitor's items, by the cosine of the items' columns (item-kNN); and
# those that came right after, either after the last item only, or after all the visitor's items,
# with the weights of the row.


def best(scores):
    """The K best columns of every row, best first."""
    blocks = []
    for start in range(0, scores.shape[0], 1000):
        block = scores[start : start + 1000].toarray()
        top = np.argpartition(-block, K, axis=1)[:, :K]
        order = np.argsort(-np.take_along_axis(block, top, axis=1), axis=1)
        blocks.append(np.take_along_axis(top, order, axis=1))
    return np.vstack(blocks)


popularity = np.bincount(sessions_train.ravel(), minlength=N_ITEMS)
rankings["most popular"] = np.tile(np.argsort(-popularity)[:K], (len(y_test), 1))

columns = normalize(counts(sessions_train, np.ones(LENGTH)), axis=0)
together = csr_array(columns.T @ columns)
together.setdiag(0)
rankings["seen together"] = best(X_test @ together)

before, after = sessions_train[:, :-1].ravel(), sessions_train[:, 1:].ravel()
follows = csr_array((np.ones(len(before), np.float32), (before, after)), shape=(N_ITEMS, N_ITEMS))
follows = normalize(follows, norm="l1")
rankings["came after the last"] = best(follows[sessions_test[:, WARM - 1 : -1].T.ravel()])
rankings["came after any"] = best(X_test @ follows)

# %%
# The picture
# -----------
# A row has one label, so the recall at k is how often the item that came is among the k best.

styles = {
    "slide": "C0o-",
    "came after any": "C1s--",
    "came after the last": "C3v--",
    "seen together": "C2^--",
    "most popular": "kx:",
}
ks = np.array([1, 2, 3, 5, 10, 20])
fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
print("recall at", " " * 12, *(f"{k:5}" for k in ks))
for name, style in styles.items():
    recalls = [recall_at_k(y_test, rankings[name], k=k) for k in ks]
    print(f"{name:22}", *(f"{recall:.3f}" for recall in recalls))
    ax.plot(ks, recalls, style, label=name)
ax.set(xscale="log", xlabel="k", ylabel="the next item is among the k best", ylim=(-0.02, 0.82))
ax.set_xticks(ks, ks)
ax.minorticks_off()
ax.grid(alpha=0.3)
ax.legend(loc="upper left")
plt.show()

# %%
# Of the first few items, which are all that a page has room for, slide's are right most often: it
# has learnt to go on from what was last seen of both shelves. Next best is what came after any of
# the visitor's items, a simple count that is ready in a second and hard to beat by far. What came
# after the last item alone is nearly as good for the first place, but has nothing to offer when
# the visitor changes shelves. "Seen together" knows the shelves and not the order on them: worse
# at first, but of twenty items it has the most right, as the two shelves have twenty items. Where
# a long list is re-ranked afterwards, it would be the better choice.
