"""Callbacks for `SparseMLPClassifier.set_callbacks`, in addition to those of `sklearn.callback`."""

import math
import os
from typing import Any

from slide._base.files import as_path
from slide._base.values import as_float, as_int, shown
from slide._base.wrappers import called
from slide._settings.rules import check_positive, integer


class Checkpoint:
    """Keep a training in a file, so that it can continue after the process was killed.

    Set it with ``clf.set_callbacks(Checkpoint(path))`` and call `fit`. If the process dies, run the
    same program again: `fit` finds the file and continues from it, on the same data and with the
    same parameters. At most the work since the last checkpoint is lost. With one thread the result
    has the same bits as an uninterrupted training. After `fit` the file holds the finished model.
    If you run the same `fit` again, it returns this model immediately.

    Parameters
    ----------
    path : str or path-like
        File that keeps the training. Each checkpoint replaces it as a whole, so there is always one
        to continue from. `SparseMLPClassifier.load` can read it at any time. The loaded estimator
        is the same as if training had stopped at the checkpoint.
    every_n_epochs : int or None, default=1
        Epochs between two checkpoints.
    every_n_seconds : float or None, default=None
        Seconds between two checkpoints. These checkpoints can also come during an epoch. If you set
        both intervals, a checkpoint is made whenever one of them is over. If you set neither, only
        the finished model is kept.

    Raises
    ------
    ValueError
        When an argument is wrong. `fit` raises it when the file holds no checkpoint, or the
        checkpoint of a training with other data or other parameters. `fit` never overwrites such a
        file. Only `n_jobs`, `verbose` and `predict_mode` may change.

    OSError
        When the finished model cannot be written, for example because the disk is full. The
        estimator is fitted nevertheless: `save` it elsewhere.

    Warns
    -----
    RuntimeWarning
        When an earlier checkpoint cannot be written. The training goes on, and the file holds the
        last checkpoint that could be written.

    Notes
    -----
    Use one path per training. In a grid search with several fits, the second fit refuses the path.
    A digest of X, y and the sample weights identifies the data. Computing it takes a second per
    gigabyte.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from slide import SparseMLPClassifier
    >>> from slide.callback import Checkpoint
    >>> from slide.datasets import make_extreme_classification
    >>> X, y = make_extreme_classification(500, 400, 20, random_state=0)
    >>> clf = SparseMLPClassifier(random_state=0, max_iter=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "training.safetensors"
    ...     clf = clf.set_callbacks(Checkpoint(path, every_n_seconds=60)).fit(X, y)
    ...     twin = SparseMLPClassifier.load(path)
    >>> bool((twin.predict(X) == clf.predict(X)).all())
    True
    """

    def __init__(
        self,
        path: str | bytes | os.PathLike[Any],
        *,
        every_n_epochs: int | None = 1,
        every_n_seconds: float | None = None,
    ) -> None:
        rule = integer(1)
        if every_n_epochs is not None and not rule.accepts(every_n_epochs):
            got = shown(every_n_epochs)
            raise ValueError(f"every_n_epochs must be None or {rule.takes}; got {got}")
        if every_n_seconds is not None:
            check_positive("every_n_seconds", every_n_seconds)
        self.path = as_path(path)
        self.every_n_epochs = as_int(every_n_epochs)
        self.every_n_seconds = as_float(every_n_seconds)

    def is_due(self, seconds: float, n_epochs: int | None = None) -> bool:
        """Tell whether a checkpoint is due.

        Parameters
        ----------
        seconds : float
            Seconds since the last checkpoint.
        n_epochs : int or None, default=None
            Number of finished epochs if an epoch just ended, else None.

        Returns
        -------
        due : bool
            Whether to make a checkpoint.

        Examples
        --------
        >>> from slide.callback import Checkpoint
        >>> checkpoint = Checkpoint("training.safetensors", every_n_epochs=2, every_n_seconds=60)
        >>> checkpoint.is_due(10), checkpoint.is_due(10, n_epochs=4), checkpoint.is_due(90)
        (False, True, True)
        """
        if n_epochs is not None and self.every_n_epochs is not None:
            if n_epochs % self.every_n_epochs == 0:
                return True
        return seconds >= (self.every_n_seconds or math.inf)

    # The estimator calls its Checkpoint directly: the hooks do not get all that the file keeps.

    def setup(self, estimator: Any, context: Any) -> None:
        """Refuse other estimators."""
        if not hasattr(estimator, "predict_topk"):
            raise ValueError(
                "Checkpoint must be set on a SparseMLPClassifier, also within a pipeline; got "
                f"{called(estimator)}"
            )

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def teardown(self, estimator: Any, context: Any) -> None:
        """Do nothing."""
