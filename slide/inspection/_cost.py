"""Plot of the cost of a training sample as networks get wider."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from slide._base.wrappers import called
from slide.inspection._axes import axes
from slide.inspection._within import within


class CostDisplay:
    """Plot of the multiply-adds of a training sample against the width of the widest layer.

    Make it with `from_estimators`. It draws the multiply-adds that were counted, and those that
    dense networks of the same shapes need.

    Parameters
    ----------
    widths : ndarray of shape (n_estimators,)
        Number of neurons in the widest layer, in rising order.
    cost, dense_cost : ndarray of shape (n_estimators,)
        Multiply-adds per sample that were counted, and those that a dense network needs.

    Attributes
    ----------
    ax_, figure_
        Matplotlib's axes and figure of the last plot.

    Examples
    --------
    >>> from slide import SparseMLPClassifier
    >>> from slide.datasets import make_extreme_classification
    >>> from slide.inspection import CostDisplay
    >>> estimators = []
    >>> for n_classes in (1_000, 10_000):
    ...     X, y = make_extreme_classification(2_000, 1_000, n_classes, random_state=0)
    ...     clf = SparseMLPClassifier((32,), max_iter=1, random_state=0)
    ...     estimators.append(clf.fit(X, y))
    >>> display = CostDisplay.from_estimators(estimators)
    >>> bool((display.cost < display.dense_cost).all())
    True
    """

    def __init__(
        self, widths: npt.ArrayLike, cost: npt.ArrayLike, dense_cost: npt.ArrayLike
    ) -> None:
        self.widths, self.cost, self.dense_cost = widths, cost, dense_cost

    @classmethod
    def from_estimators(cls, estimators: Iterable[Any], *, ax: Any = None, **line_kw: Any) -> Self:
        """Draw the cost of training fitted estimators of several widths.

        Parameters
        ----------
        estimators : list of SparseMLPClassifier
            Fitted estimators, or estimators that wrap them.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        **line_kw : dict
            Keyword arguments for matplotlib's `plot`.

        Returns
        -------
        display : CostDisplay
            The display, drawn.

        Examples
        --------
        >>> from slide import SparseMLPClassifier
        >>> from slide.datasets import make_extreme_classification
        >>> from slide.inspection import CostDisplay
        >>> X, y = make_extreme_classification(500, 400, 20, random_state=0)
        >>> estimators = [
        ...     SparseMLPClassifier((width,), active_fraction=0.1, max_iter=1, random_state=0)
        ...     for width in (128, 256)
        ... ]
        >>> display = CostDisplay.from_estimators([clf.fit(X, y) for clf in estimators])
        >>> display.widths.tolist()
        [128.0, 256.0]
        """
        rows = []
        if not isinstance(estimators, Iterable):
            raise ValueError(
                f"estimators must be a list of fitted estimators; got {called(estimators)}"
            )
        for i, estimator in enumerate(estimators):
            network = within(estimator, f"estimators[{i}]").fitted.network
            tally, width = network.tally, max(len(layer.b) for layer in network.layers)
            costs = np.array([tally.multiply_adds, tally.dense_multiply_adds]) / tally.n_samples
            rows.append((width, *costs))
        if not rows:
            raise ValueError("estimators must hold at least one fitted estimator; got none")
        return cls(*np.array(sorted(rows)).T).plot(ax, **line_kw)

    def plot(self, ax: Any = None, **line_kw: Any) -> Self:
        """Draw both curves, on logarithmic scales.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        **line_kw : dict
            Keyword arguments for matplotlib's `plot`.

        Returns
        -------
        display : CostDisplay
            The display itself.

        Examples
        --------
        >>> from slide.inspection import CostDisplay
        >>> display = CostDisplay([100, 1_000], cost=[900, 1_200], dense_cost=[2_000, 20_000])
        >>> display.plot().ax_.get_xscale()
        'log'
        """
        (self.ax_,) = axes(ax)
        self.figure_ = self.ax_.figure
        kw = {"marker": "o", "markersize": 4, **line_kw}
        self.ax_.plot(self.widths, self.dense_cost, **{"color": "tab:gray", **kw}, label="dense")
        self.ax_.plot(self.widths, self.cost, **{"color": "tab:blue", **kw}, label="active neurons")
        self.ax_.set(
            xscale="log", yscale="log", xlabel="neurons of the widest layer",
            ylabel="multiply-adds of a training sample",
        )  # fmt: skip
        self.ax_.legend()
        return self
