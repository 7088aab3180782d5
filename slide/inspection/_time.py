"""Plot of the time of a training, by kind of work."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from slide._base.arrays import Array
from slide.inspection._axes import axes, history_of
from slide.inspection._within import within

_PARTS = {
    "search": "find neurons",
    "forward": "forward",
    "backward": "backward and update",
    "rebuild": "rebuild codes and tables",
    "other": "other: lists, prototypes",
}
_COLORS = ("tab:blue", "tab:green", "tab:orange", "tab:red", "tab:gray")


class TimeSpentDisplay:
    """Plot of the seconds of every epoch, by kind of work.

    Make it with `from_estimator`. It leaves out the time before the first epoch, for initial
    weights, and the time after the last epoch, for prototypes.

    Parameters
    ----------
    seconds : dict of str to ndarray of shape (n_epochs,)
        Seconds of "search" (hashing, looking up, ranking and choosing active sets), "forward",
        "backward" (back-propagation together with the updates), "rebuild" (of codes and tables)
        and "other".

    Attributes
    ----------
    ax_, figure_, bars_
        Matplotlib's axes, figure and bars of the last plot.

    Examples
    --------
    >>> from slide import SparseMLPClassifier
    >>> from slide.datasets import make_extreme_classification
    >>> from slide.inspection import TimeSpentDisplay
    >>> X, y = make_extreme_classification(500, 400, 20, random_state=0)
    >>> clf = SparseMLPClassifier(random_state=0, max_iter=3).fit(X, y)
    >>> sorted(TimeSpentDisplay.from_estimator(clf).seconds)
    ['backward', 'forward', 'other', 'rebuild', 'search']
    """

    def __init__(self, seconds: dict[str, Array]) -> None:
        self.seconds = seconds

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, **bar_kw: Any) -> Self:
        """Draw the time of a fitted estimator's training.

        Parameters
        ----------
        estimator : SparseMLPClassifier
            Fitted estimator, or one that wraps it. It must not be loaded from a file, because a
            file has no history.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        **bar_kw : dict
            Keyword arguments for matplotlib's `bar`.

        Returns
        -------
        display : TimeSpentDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            When the estimator has no history.

        Examples
        --------
        >>> from slide import SparseMLPClassifier
        >>> from slide.datasets import make_extreme_classification
        >>> from slide.inspection import TimeSpentDisplay
        >>> X, y = make_extreme_classification(500, 400, 20, random_state=0)
        >>> clf = SparseMLPClassifier(random_state=0, max_iter=3).fit(X, y)
        >>> display = TimeSpentDisplay.from_estimator(clf)
        >>> len(display.seconds["forward"])
        3
        """
        history = history_of(within(estimator).fitted)
        parts = {
            part: np.array([epoch["seconds_in"][part] for epoch in history])
            for part in _PARTS
            if part != "other"
        }
        whole = np.array([epoch["seconds"] for epoch in history])
        parts["other"] = np.maximum(whole - sum(parts.values()), 0)
        return cls(parts).plot(ax, **bar_kw)

    def plot(self, ax: Any = None, **bar_kw: Any) -> Self:
        """Draw one bar per epoch.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        **bar_kw : dict
            Keyword arguments for matplotlib's `bar`.

        Returns
        -------
        display : TimeSpentDisplay
            The display itself.

        Examples
        --------
        >>> import numpy as np
        >>> from slide.inspection import TimeSpentDisplay
        >>> parts = ("search", "forward", "backward", "rebuild", "other")
        >>> display = TimeSpentDisplay({part: np.array([2.0, 1.0]) for part in parts})
        >>> display.plot().ax_.get_ylabel()
        'seconds'
        """
        (self.ax_,) = axes(ax)
        self.figure_, self.bars_ = self.ax_.figure, []
        bottom, whole = np.zeros(1), np.sum(list(self.seconds.values()))
        for color, (part, label) in zip(_COLORS, _PARTS.items(), strict=True):
            seconds = self.seconds[part]
            share = f"{label} ({seconds.sum() / whole:.0%})"
            epochs = np.arange(1, len(seconds) + 1)
            kw = {"color": color, "label": share, "width": 0.8, **bar_kw}
            self.bars_.append(self.ax_.bar(epochs, seconds, bottom=bottom, **kw))
            bottom = bottom + seconds
        self.ax_.set(xlabel="epoch", ylabel="seconds", ylim=(0, 1.45 * np.max(bottom)))
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        self.ax_.legend(loc="upper right", fontsize="small")
        return self
