"""The planted problem of very many classes that `scale` and `threads` train on."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from scipy import sparse

from common.run import save
from slide.datasets import make_extreme_classification

N_FEATURES = 135_909
N_NONZERO = 75
N_LABELS = 5
HIDDEN = 128


@contextmanager
def planted(n_classes, n_rows, n_test, popular=None):
    """Yield the folder of a problem's matrices for the children, and the labels of its test rows.

    popular : function that makes more columns of X for a number of rows, optional
    """
    X, Y = make_extreme_classification(
        n_rows + n_test,
        N_FEATURES,
        n_classes,
        n_nonzero=N_NONZERO,
        n_labels=N_LABELS,
        zipf_exponent=0.5,
        random_state=0,
    )
    if popular is not None:
        X = sparse.hstack([X, popular(X.shape[0])], format="csr", dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        save(folder, X_train=X[:n_rows], Y_train=Y[:n_rows], X_test=X[n_rows:])
        Y_test = Y[n_rows:]
        del X, Y
        yield folder, Y_test


def popular_columns(n_rows, n_columns=100, exponent=0.5):
    """Columns that nearly all rows share: the r-th is in a row with probability r^-exponent.

    So a row has 18.6 more non-zeros on average, as large as the noise. Every thread changes the
    weights of these columns in every micro-batch.
    """
    rng = np.random.default_rng(0)
    shares = np.arange(1, n_columns + 1) ** -exponent
    columns = [np.flatnonzero(rng.random(n_rows) < share) for share in shares]
    indptr = np.concatenate([[0], np.cumsum([len(rows) for rows in columns])])
    values = rng.uniform(0.02, 0.1, indptr[-1]).astype(np.float32)
    return sparse.csc_array((values, np.concatenate(columns), indptr), shape=(n_rows, n_columns))
