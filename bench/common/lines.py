"""Cache lines that more than one thread writes in a step, counted from active sets.

The count needs no machine with many cores. A step is one micro-batch a thread, or one micro-batch
that all threads share. Weights and first moments are counted. The second moment and the bias of a
row would add at most two lines.
"""

import numpy as np
from scipy.sparse import csr_array

from common.engine import hidden_activations

LINE = 16  # float32 numbers of a cache line
SHARES = 16  # of the neurons, of which every thread owns some (slide._engine.team)


def written_by_several(clf, X, n_threads, size=64):
    """Lines that two or more of n_threads write in a step: raced, and with an owner a row.

    X has n_threads * size rows or more; each thread's micro-batch has `size` of them. The first
    layer has dense inputs. Returns a dict with both counts.
    """
    found = hidden_activations(clf, X[: n_threads * size])
    layers = [(csr_array(h) > 0).astype(np.int32) for h in found]
    n_out = clf.n_outputs_
    layers.append(csr_array(np.ones((n_threads * size, n_out), np.int32)))
    widths = [clf.n_features_in_, *(h.shape[1] for h in layers)]
    raced = owned = 0
    for i, h in enumerate(layers):
        writers = np.zeros((widths[i + 1], -(-widths[i] // LINE)), np.int32)
        for thread in range(n_threads):
            part = slice(thread * size, (thread + 1) * size)
            if i == 0:
                writers += (h[part].sum(axis=0) > 0).astype(np.int32)[:, np.newaxis]
                continue
            moved = (h[part].T @ layers[i - 1][part]).toarray() > 0
            padded = np.pad(moved, ((0, 0), (0, -widths[i] % LINE)))
            writers += padded.reshape(len(moved), -1, LINE).any(axis=2)
        raced += 2 * int((writers > 1).sum())
        owned += 2 * _shared_between_owners(widths[i + 1], widths[i], n_threads)
    return {"raced": raced, "owned": owned}


def _shared_between_owners(n_rows, width, n_threads):
    """Lines that hold the end of one owner's last row and the start of the next one's first."""
    starts = [thread * SHARES // n_threads * n_rows // SHARES for thread in range(1, n_threads)]
    return sum(start > 0 and start * width % LINE != 0 for start in set(starts))
