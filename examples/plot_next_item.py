"""
The next item of a session
==========================

What will a visitor look at next? One row is what they have looked at so far, one label the item that
came next, out of 20,000. This example makes sessions up, trains slide on them, and compares it with
what shops use when they have no model: popularity, items bought together, and what came next before.
"""

# %%
# Make-believe sessions
# ---------------------
# The shop's 20,000 items stand on 2,000 shelves of ten. A visitor wanders between two shelves and goes on
# at each where they left it: after the third item mostly comes the fourth. Now and then they look at
# something popular, or at a random item of the shelf. So the next item does not depend on the last
# one alone, but on what was last seen of each shelf.

import time

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse import csr_array
from sklearn.preprocessing import normalize

from slide import SparseMLPClassifier
from slide.metrics import recall_at_k

N_ITEMS, SHELF = 20_000, 10
N_SESSIONS, LENGTH, WARM = 20_000, 10, 4
N_TEST = 2_000  # sessions; the rest are for training

rng = np.random.default_rng(0)


def zipf(n, size, flat):
    shares = 1 / np.arange(flat, n + flat)
    return rng.choice(n, size=size, p=shares / shares.sum())


n_shelves = N_ITEMS // SHELF
item_at = rng.permutation(N_ITEMS).reshape(n_shelves, SHELF)  # of every shelf, in its order
rows = np.arange(N_SESSIONS)
shelves = zipf(n_shelves, (N_SESSIONS, 2), flat=100)
places = rng.integers(SHELF, size=(N_SESSIONS, 2))
popular = rng.permutation(N_ITEMS)
sessions = np.empty((N_SESSIONS, LENGTH), dtype=np.int64)
for step in range(LENGTH):
    which = rng.integers(2, size=N_SESSIONS)
    wanders = rng.random(N_SESSIONS) < 0.2
    on = np.where(wanders, rng.integers(SHELF, size=N_SESSIONS), places[rows, which] + 1) % SHELF
    places[rows, which] = on
    sessions[:, step] = item_at[shelves[rows, which], on]
    strays = rng.random(N_SESSIONS) < 0.1
    sessions[strays, step] = popular[zipf(N_ITEMS, strays.sum(), flat=10)]

print("items of the first session:", *sessions[0])

# %%
# Rows and labels
# ---------------
# A row has a feature for each item seen, the more the later it was seen. Every item from the fifth of a
# session on is a label. A session is wholly in the training or wholly in the test.


def rows_of(sessions):
    histories, labels, values = [], [], []
    for step in range(WARM, LENGTH):
        histories.append(sessions[:, :step])
        labels.append(sessions[:, step])
    n_rows = [len(h) for h in histories]
    data, indices, lengths = [], [], []
    for history in histories:
        age = np.arange(history.shape[1])[::-1]
        data.append(np.tile(0.8**age, len(history)))
        indices.append(history.ravel())
        lengths.append(np.full(len(history), history.shape[1]))
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    X = csr_array(
        (np.concatenate(data).astype(np.float32), np.concatenate(indices), indptr),
        shape=(sum(n_rows), N_ITEMS),
    )
    X.sum_duplicates()
    return normalize(X), np.concatenate(labels)


X_train, y_train = rows_of(sessions[N_TEST:])
X_test, y_test = rows_of(sessions[:N_TEST])
print(f"{X_train.shape[0]:,} training rows, {X_test.shape[0]:,} test rows")
print(f"{len(np.unique(y_train)):,} of {N_ITEMS:,} items are labels of the training")

start = time.perf_counter()
model = SparseMLPClassifier(random_state=0).fit(X_train, y_train)
print(
    f"slide: {model.n_iter_} epochs in {time.perf_counter() - start:.0f} s on one thread, "
    f"{model.compute_fraction_:.1%} of a dense network's multiplications"
)
K = 20
rankings = {"slide": model.predict_topk(X_test, k=K)[0]}

# baselines
seen = csr_array(
    (
        np.ones(sessions[N_TEST:].size, np.float32),
        (np.repeat(np.arange(N_SESSIONS - N_TEST), LENGTH), sessions[N_TEST:].ravel()),
    ),
    shape=(N_SESSIONS - N_TEST, N_ITEMS),
)
seen.sum_duplicates()
seen.data[:] = 1
columns = normalize(seen, axis=0)
together = columns.T @ columns
together.setdiag(0)
before, after = sessions[N_TEST:, :-1].ravel(), sessions[N_TEST:, 1:].ravel()
follows = csr_array((np.ones(len(before), np.float32), (before, after)), shape=(N_ITEMS, N_ITEMS))
follows = normalize(follows, "l1")
last = (
    csr_array(
        (np.ones(len(y_test), np.float32), (np.arange(len(y_test)), [0] * len(y_test))),
        shape=(len(y_test), N_ITEMS),
    )
    if False
    else None
)


def best(scores):
    blocks = []
    for start in range(0, scores.shape[0], 1000):
        block = scores[start : start + 1000].toarray()
        top = np.argpartition(-block, K, axis=1)[:, :K]
        blocks.append(
            np.take_along_axis(top, np.argsort(-np.take_along_axis(block, top, 1), axis=1), 1)
        )
    return np.vstack(blocks)


counts = np.bincount(sessions[N_TEST:].ravel(), minlength=N_ITEMS)
rankings["popularity"] = np.tile(np.argsort(-counts)[:K], (len(y_test), 1))
rankings["seen together (item-kNN)"] = best(X_test @ together)
last_items = np.concatenate([sessions[:N_TEST, step - 1] for step in range(WARM, LENGTH)])
rankings["came next (last item)"] = best(follows[last_items])
rankings["came next (all items)"] = best(X_test @ follows)
for n, r in rankings.items():
    print(f"{n:26}", *(f"{recall_at_k(y_test, r, k=k):.3f}" for k in (1, 2, 5, 10, 20)))
