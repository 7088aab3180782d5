"""Rows left out of training, as rows that come after it would be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array, issparse

from slide._base.arrays import Floats
from slide._data.rows import TrainingRows
from slide._prototypes.prototypes import document_counts

_SAME_LENGTH = 1e-3  # largest difference of lengths that are the same, relative


def as_unseen(judges: TrainingRows, data: TrainingRows, among: bool) -> TrainingRows:
    """The rows `judges` without the features that rows after training do not have.

    data : the rows to train on; among : whether the judges are some of them.

    A vectorizer makes features only of words that enough rows have, judges too. So a row that comes
    later has only features that enough of these rows have. A judge also has some that fewer of the
    others have. They say little, and the row has less weight in its other features: its best score
    is lower by .6 on OEWN. If all rows have the same length, the rest of a judge gets it too.

    Nothing is left out of dense rows, or if some column of X is empty: then later rows may have
    features that no row has.
    """
    if not len(judges) or not issparse(judges.x) or judges.n_announced > judges.x.shape[1]:
        return judges
    n_judges, n_others = document_counts(judges.x), document_counts(data.x)
    if among:
        n_others -= n_judges
    fewest = (n_others + n_judges).min()
    x = csr_array(judges.x, copy=True)
    lengths = _lengths(x)
    x.data[n_others[x.indices] < fewest] = 0
    if np.ptp(lengths) <= _SAME_LENGTH * lengths.max():
        rest = _lengths(x)
        factors = np.divide(lengths, rest, out=np.ones_like(rest), where=rest > 0)
        x.data *= np.repeat(factors, np.diff(x.indptr))
    x.eliminate_zeros()
    return replace(judges, x=x)


def _lengths(x: csr_array) -> Floats:
    """Euclidean lengths of the rows."""
    return np.sqrt(np.asarray(x.multiply(x).sum(axis=1), np.float32)).ravel()
