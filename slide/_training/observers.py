"""What looks on while `fit` trains: scikit-learn's callbacks, and the file that keeps it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slide._estimator.classifier import SparseMLPClassifier
    from slide._saving.checkpoint import CheckpointFile
    from slide._training.course import Course


class Observers:
    """Tells an estimator's callbacks how its `fit` goes on, and keeps that in a checkpoint.

    It begins the `fit`.

    Parameters
    ----------
    estimator : SparseMLPClassifier
    max_iter : int
        Most epochs, which are the subtasks of the `fit`.
    X, y, sample_weight
        As `fit` got them.
    as_of : callable
        From a Course to the estimator as if `fit` had stopped there.
    file : slide._saving.checkpoint.CheckpointFile or None
    """

    def __init__(
        self,
        estimator: SparseMLPClassifier,
        max_iter: int,
        X: Any,
        y: Any,
        sample_weight: Any,
        as_of: Callable[[Course], SparseMLPClassifier],
        file: CheckpointFile | None,
    ) -> None:
        self._estimator, self._as_of, self._file = estimator, as_of, file
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
            self._file.write(self._as_of(course), course)

    def after_epoch(self, course: Course) -> None:
        def fitted() -> Mapping[str, Any]:
            return vars(self._as_of(course))

        if self._epoch.call_on_fit_task_end(**self._what, reconstruction_attributes=fitted):
            course.stop()
        if self._file is not None and self._file.is_due(len(course.losses)):
            self._file.write(self._as_of(course), course)

    def after_fit(self) -> None:
        def fitted() -> Mapping[str, Any]:
            return vars(self._estimator)

        self._fit.call_on_fit_task_end(**self._what, reconstruction_attributes=fitted)
