"""
The next item of a session
==========================

What will a visitor look at next? A row holds the items that a visitor has looked at so far. Its
label is the item that came next, out of 20,000. This example generates sessions, trains slide on
them, and compares it with a shop that has no model. Such a shop can show popular items, items that
other visitors saw in the same session, or items that came next for other visitors.
"""

# %%
# Synthetic sessions
# ------------------
# The shop has 20,000 items on 2,000 shelves of ten. Some shelves are more popular than others. A
# visitor switches between two shelves and mostly takes the items of a shelf in order: after the
# third item comes the fourth. In two of ten cases they jump to a random place of the shelf. One
# look in ten goes to a popular item elsewhere. So the next item depends on the last item seen on
# each shelf, not only on the last item.

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
    """Draw from range(n); the probability of r is proportional to 1 / (r + flat)."""
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
# A row has a feature for each item seen; items seen later have larger values. Every item of a
# session from the fifth on is a label. The rows of a session are either all training rows or all
# test rows.


def counts(sessions, weights):
    """One row per session with its items; the weight of an item depends on its place."""
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
print(f"{len(np.unique(y_train)):,} of {N_ITEMS:,} items are labels in the training rows")

# %%
# Train
# -----
# ``predict_topk`` gives the twenty best items of every row without a table of rows × items.

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
# Four baselines use only counts of the training sessions:
#
# - the most popular items;
# - the items seen together with the visitor's items, by the cosine of the items' columns
#   (item-kNN);
# - the items that came right after the visitor's last item;
# - the items that came right after any of the visitor's items, with the weights of the row.


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
# The plot
# --------
# A row has one label, so the recall at k tells how often the next item is among the k best.

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
# A page has room for only a few items. Among the first few, slide's items are right most often: it
# has learnt to continue from the last items seen on both shelves. The second best is "came after
# any", a simple count that is ready in a second and hard to beat by a wide margin. "Came after
# the last" is nearly as good for the first place, but fails when the visitor changes shelves. "Seen
# together" knows the shelves but not the order of their items. It is worse for the first places,
# but best for twenty items, because the two shelves have twenty items. This count would be the
# better choice if another system re-ranks a long list afterwards.
