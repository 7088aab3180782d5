"""Metrics of ranked labels for `python -m slide evaluate`."""

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from slide._base.arrays import Array
from slide.metrics import label_propensities, ndcg_at_k, precision_at_k, psp_at_k, recall_at_k


def evaluate_ranked(y: Any, ranked: Array, ks: list[int], y_train: Any = None) -> dict[str, float]:
    """Compute every metric at every k.

    Parameters
    ----------
    y : csr_array of shape (n_rows, n_labels) or ndarray of shape (n_rows,)
        Label indicator, or the one label of each row.
    ranked : ndarray of shape (n_rows, at least max(ks))
        Columns of y or labels, best first.
    ks : list of int
    y_train : like y, of any number of rows and columns, or None
        Labels of the training rows; without them PSP is left out.

    Returns
    -------
    figures : dict of str to float
        "P@1", "P@3", ..., then the same for R (recall), nDCG and PSP.

    Examples
    --------
    >>> import numpy as np
    >>> from slide._cli.evaluation import evaluate_ranked
    >>> evaluate_ranked(np.array([4, 7]), np.array([[4, 7], [4, 7]]), [1])
    {'P@1': 0.5, 'R@1': 0.5, 'nDCG@1': 0.5}
    """
    metrics = {"P": precision_at_k, "R": recall_at_k, "nDCG": ndcg_at_k}
    figures = {f"{name}@{k}": metric(y, ranked, k) for name, metric in metrics.items() for k in ks}
    if y_train is not None:
        y, ranked, y_train = _in_columns(y, ranked, y_train)
        propensities = label_propensities(y_train)
        figures |= {f"PSP@{k}": psp_at_k(y, ranked, propensities, k) for k in ks}
    return figures


def table_of(figures: dict[str, float]) -> str:
    """Format the figures as text: one line per metric, one column per k."""
    names = list(dict.fromkeys(name.split("@")[0] for name in figures))
    ks = list(dict.fromkeys(name.split("@")[1] for name in figures))
    lines = ["    " + "".join(f" {'@' + k:>8}" for k in ks)]
    lines += [
        f"{name:<4}" + "".join(f" {figures[f'{name}@{k}']:8.4f}" for k in ks) for name in names
    ]
    return "\n".join(lines)


def _in_columns(y: Any, ranked: Array, y_train: Any) -> tuple[csr_array, Array, csr_array]:
    """Map all three arguments to the same columns, one for each label in any of them."""
    if y.ndim == 2:
        n_columns = max(y.shape[1], y_train.shape[1])
        return _widened(y, n_columns), ranked, _widened(y_train, n_columns)
    labels = np.unique(np.concatenate([y, y_train, ranked.ravel()]))
    y, y_train = (_one_a_row(np.searchsorted(labels, rows), len(labels)) for rows in (y, y_train))
    return y, np.searchsorted(labels, ranked), y_train


def _widened(y: csr_array, n_columns: int) -> csr_array:
    return csr_array((y.data, y.indices, y.indptr), shape=(y.shape[0], n_columns))


def _one_a_row(columns: Array, n_columns: int) -> csr_array:
    ones = np.ones(len(columns), dtype=np.int8)
    return csr_array((ones, columns, np.arange(len(columns) + 1)), shape=(len(columns), n_columns))
