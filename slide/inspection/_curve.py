"""Plot of the progress of a training against seconds, multiply-adds or epochs."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt

from slide._base.values import shown
from slide.inspection._axes import axes, history_of
from slide.inspection._within import within

_LABELS = {
    "seconds": "seconds",
    "multiply_adds": "multiply-adds",
    "epochs": "epochs",
    "loss": "training loss",
    "validation_score": "validation score",
}


class TrainingCurveDisplay:
    """Plot of the loss or validation score of every epoch against seconds, work or epochs.

    Make it with `from_estimator`. (scikit-learn's `LearningCurveDisplay` shows another curve:
    scores against the number of training rows.)

    Parameters
    ----------
    x, y : ndarray of shape (n_epochs,)
        Seconds, multiply-adds or epochs since the start; losses or scores.
    against : {"seconds", "multiply_adds", "epochs"}
        Meaning of x.
    of : {"loss", "validation_score"}
        Meaning of y.

    Attributes
    ----------
    ax_, figure_, line_
        Matplotlib's axes, figure and line of the last plot.

    Examples
    --------
    >>> from slide import SparseMLPClassifier
    >>> from slide.datasets import make_extreme_classification
    >>> from slide.inspection import TrainingCurveDisplay
    >>> X, y = make_extreme_classification(500, 400, 20, random_state=0)
    >>> clf = SparseMLPClassifier(random_state=0, max_iter=3).fit(X, y)
    >>> display = TrainingCurveDisplay.from_estimator(clf, against="multiply_adds")
    >>> display.y.shape
    (3,)
    """

    def __init__(self, x: npt.ArrayLike, y: npt.ArrayLike, *, against: str, of: str) -> None:
        self.x, self.y, self.against, self.of = x, y, against, of

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        against: str = "seconds",
        of: str = "loss",
        ax: Any = None,
        name: str | None = None,
        **line_kw: Any,
    ) -> Self:
        """Draw the training of a fitted estimator.

        Parameters
        ----------
        estimator : SparseMLPClassifier
            Fitted estimator, or one that wraps it.
        against : {"seconds", "multiply_adds", "epochs"}, default="seconds"
            The horizontal axis. An estimator that was loaded from a file has only "epochs".
        of : {"loss", "validation_score"}, default="loss"
            The vertical axis. "validation_score" needs `early_stopping`.
        ax : matplotlib Axes, default=None
            Axes to draw on, for several curves in one plot; None makes a figure.
        name : str, default=None
            Name of the curve in the legend.
        **line_kw : dict
            Keyword arguments for matplotlib's `plot`.

        Returns
        -------
        display : TrainingCurveDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            When the estimator lacks the history for this curve, or an argument has another value
            than those above.

        Examples
        --------
        >>> from slide import SparseMLPClassifier
        >>> from slide.datasets import make_extreme_classification
        >>> from slide.inspection import TrainingCurveDisplay
        >>> X, y = make_extreme_classification(500, 400, 20, random_state=0)
        >>> clf = SparseMLPClassifier(random_state=0, max_iter=3).fit(X, y)
        >>> display = TrainingCurveDisplay.from_estimator(clf, against="epochs", name="ours")
        >>> display.x.tolist()
        [1, 2, 3]
        """
        for argument, value, known in (
            ("against", against, ("seconds", "multiply_adds", "epochs")),
            ("of", of, ("loss", "validation_score")),
        ):
            if value not in known:
                takes = " or ".join(map(repr, known))
                raise ValueError(f"{argument} must be {takes}; got {shown(value)}")
        fitted = within(estimator).fitted
        y = fitted.loss_curve if of == "loss" else fitted.score_curve
        if not y:
            raise ValueError(f"of must be 'loss' where early_stopping was off; got {of!r}")
        steps = [1] * len(y)
        if against != "epochs":
            # An estimator that was loaded and trained again has only the later epochs.
            steps = [epoch[against] for epoch in history_of(fitted)][-len(y) :]
        display = cls(np.cumsum(steps), np.array(y[-len(steps) :]), against=against, of=of)
        return display.plot(ax, name=name, **line_kw)

    def plot(self, ax: Any = None, *, name: str | None = None, **line_kw: Any) -> Self:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        name : str, default=None
            Name of the curve in the legend.
        **line_kw : dict
            Keyword arguments for matplotlib's `plot`.

        Returns
        -------
        display : TrainingCurveDisplay
            The display itself.

        Examples
        --------
        >>> from slide.inspection import TrainingCurveDisplay
        >>> display = TrainingCurveDisplay([1, 2, 3], [0.9, 0.4, 0.3], against="epochs", of="loss")
        >>> display.plot(color="black").ax_.get_xlabel()
        'epochs'
        """
        (self.ax_,) = axes(ax)
        self.figure_ = self.ax_.figure
        (self.line_,) = self.ax_.plot(
            self.x, self.y, **{"marker": "o", "markersize": 3, "label": name, **line_kw}
        )
        self.ax_.set(xlabel=_LABELS[self.against], ylabel=_LABELS[self.of])
        self.ax_.set_xlim(0, auto=None)  # the next curve may be longer
        if name is not None:
            self.ax_.legend()
        return self
