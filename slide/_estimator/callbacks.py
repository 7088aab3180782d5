"""scikit-learn's support of callbacks, and a stand-in for versions before 1.9, which have none.

The stand-in knows one callback, `slide.callback.Checkpoint`, which the estimator calls itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, TypeVar

import sklearn

from slide._base.values import shown
from slide.callback import Checkpoint

try:
    from sklearn import callback as theirs
except ImportError:
    theirs = None

F = TypeVar("F", bound=Callable[..., Any])


class NoContext:
    """Context of a `fit` without callbacks."""

    def subcontext(self, **what: Any) -> Self:
        return self

    def call_on_fit_task_begin(self, **what: Any) -> None:
        """Tell nobody that a task begins."""

    def call_on_fit_task_end(self, **what: Any) -> bool:
        """Tell nobody that a task ends; returns that training goes on."""
        return False


class CheckpointOnly:
    """Mixin of an estimator whose only callback is a Checkpoint."""

    def set_callbacks(self, *callbacks: Any) -> Self:
        """Set callbacks for the estimator.

        Parameters
        ----------
        *callbacks : slide.callback.Checkpoint
            The callbacks to set, in place of all others. Other callbacks need scikit-learn 1.9.

        Returns
        -------
        self : SparseMLPClassifier
            The same estimator.

        Raises
        ------
        ValueError
            When a callback is no `Checkpoint`.

        Examples
        --------
        >>> from slide import SparseMLPClassifier
        >>> from slide.callback import Checkpoint
        >>> clf = SparseMLPClassifier().set_callbacks(Checkpoint("training.safetensors"))
        """
        for callback in callbacks:
            if not isinstance(callback, Checkpoint):
                raise ValueError(
                    "callbacks must be of slide.callback.Checkpoint before scikit-learn 1.9 (this "
                    f"is {sklearn.__version__}); got {shown(callback)}. Install scikit-learn 1.9 "
                    "for others"
                )
        self._skl_callbacks = list(callbacks)
        return self

    def __sklearn_clone__(self) -> Any:
        from sklearn.base import _clone_parametrized  # private, but these versions are final

        twin = _clone_parametrized(self)
        if hasattr(self, "_skl_callbacks"):
            twin._skl_callbacks = self._skl_callbacks
        return twin

    def _init_callback_context(self, **what: Any) -> NoContext:
        return NoContext()


def _unchanged(method: F) -> F:
    return method


CallbackSupport: Any = CheckpointOnly if theirs is None else theirs.CallbackSupportMixin
with_callbacks: Callable[[F], F] = _unchanged if theirs is None else theirs.with_callbacks
