"""Axes to draw on and the history to draw, shared by all displays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slide._base.values import shown

if TYPE_CHECKING:
    from slide._base.arrays import Params
    from slide._network.fitted import Fitted


def axes(ax: Any = None, n: int = 1) -> list[Any]:
    """Return `ax` as a list, or make n axes side by side; ImportError without matplotlib."""
    try:
        from matplotlib import pyplot
        from matplotlib.axes import Axes
    except ImportError as error:
        raise ImportError(
            "pictures need matplotlib, which is not installed: pip install matplotlib"
        ) from error
    if ax is not None:
        if not isinstance(ax, Axes):
            raise ValueError(f"ax must be None or Axes of matplotlib; got {shown(ax)}")
        return [ax]
    _, found = pyplot.subplots(1, n, figsize=(1 + 5 * n, 4), squeeze=False, layout="constrained")
    return list(found[0])


def history_of(fitted: Fitted) -> list[Params]:
    """Return the history of a training; ValueError if it is empty."""
    if not fitted.records:
        raise ValueError(
            "estimator must have a history_ of its training; one that was loaded from a file has "
            "none until it is trained on, and only a curve against='epochs'"
        )
    return fitted.records
