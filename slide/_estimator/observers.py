"""Observers of a `fit`: scikit-learn's callbacks and the checkpoint file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slide._estimator.classifier import SparseMLPClassifier
    from slide._network.fitted import Fitted
    from slide._saving.checkpoint import CheckpointFile
    from slide._training.course import Course


class Observers:
    """Tells an estimator's callbacks how its `fit` goes on, and writes the checkpoint.

    It is a `slide._training.course.Observer`. The constructor tells the callbacks that the `fit`
    begins.

    Parameters
    ----------
    estimator : SparseMLPClassifier
    max_iter : int
        Most epochs; each epoch is a subtask of the `fit`.
    X, y, sample_weight
        As `fit` got them.
    file : slide._saving.checkpoint.CheckpointFile or None
    """

    def __init__(
        self,
        estimator: SparseMLPClassifier,
        max_iter: int,
        X: Any,
        y: Any,
        sample_weight: Any,
        file: CheckpointFile | None,
    ) -> None:
        self._file = file
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._what = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._fit = estimator._init_callback_context(max_subtasks=max_iter)
        self._fit.call_on_fit_task_begin(**self._what)
        self._epoch: Any = None

    def before_epoch(self) -> None:
        self._epoch = self._fit.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(**self._what)

    def after_chunk(self, course: Course) -> None:
        if self._file is not None and self._file.is_due():
            self._file.write(course.as_of_now(), course)

    def after_epoch(self, course: Course) -> None:
        def attributes() -> Mapping[str, Any]:
            return {"_fitted": course.as_of_now()}

        if self._epoch.call_on_fit_task_end(**self._what, reconstruction_attributes=attributes):
            course.stop()
        if self._file is not None and self._file.is_due(len(course.losses)):
            self._file.write(course.as_of_now(), course)

    def after_fit(self, fitted: Fitted) -> None:
        self._fit.call_on_fit_task_end(
            **self._what, reconstruction_attributes=lambda: {"_fitted": fitted}
        )
