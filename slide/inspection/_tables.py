"""Plot of the quality of hash tables: the sizes of their buckets, and their recall."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from slide._base.arrays import Array
from slide.inspection._axes import axes
from slide.inspection._recall import recall_of_layers
from slide.inspection._within import within


class HashTablesDisplay:
    """Plot of the sizes of the buckets that neurons are in, for all hash tables of each layer.

    Make it with `from_estimator`. With rows of X, it also shows the recall of each sparse layer.
    Good tables spread the neurons: most neurons share their bucket with a few others. If most
    neurons are in a few full buckets, use more `n_hash_bits`. If most neurons are alone in their
    bucket, use fewer `n_hash_bits` or more `n_tables`.

    Parameters
    ----------
    sizes : dict of int to ndarray of shape (n_tables, n_neurons)
        Size of the bucket of each neuron. Keys are the layers' numbers, from 0.
    n_buckets : dict of int to int
        Number of buckets per table of every layer.
    recall : dict of int to float
        Share of the neurons with the largest pre-activations that a layer finds, if it is known.

    Attributes
    ----------
    axes_, figure_
        Matplotlib's axes and figure of the last plot.

    Examples
    --------
    >>> from slide import SparseMLPClassifier
    >>> from slide.datasets import make_extreme_classification
    >>> from slide.inspection import HashTablesDisplay
    >>> X, y = make_extreme_classification(500, 400, 20, random_state=0)
    >>> clf = SparseMLPClassifier((512,), active_fraction=0.1, retrieval="rerank", random_state=0)
    >>> display = HashTablesDisplay.from_estimator(clf.fit(X, y), X)
    >>> display.sizes[0].shape[1]
    512
    """

    def __init__(
        self, sizes: dict[int, Array], n_buckets: dict[int, int], recall: dict[int, float]
    ) -> None:
        self.sizes, self.n_buckets, self.recall = sizes, n_buckets, recall

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any = None) -> Self:
        """Draw the tables of all layers that have tables.

        Parameters
        ----------
        estimator : SparseMLPClassifier
            Fitted estimator with hash tables: its `retrieval` is "vanilla", "topk", "threshold" or
            "rerank", or "estimate" in a wide layer. Or an estimator that wraps it.
        X : {array-like, sparse} of shape (n_samples, n_features), default=None
            Some hundred rows, on which the recall of sparse hidden layers is measured.

        Returns
        -------
        display : HashTablesDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            When no layer has tables.

        Examples
        --------
        >>> from slide import SparseMLPClassifier
        >>> from slide.datasets import make_extreme_classification
        >>> from slide.inspection import HashTablesDisplay
        >>> X, y = make_extreme_classification(500, 400, 20, random_state=0)
        >>> clf = SparseMLPClassifier((256,), active_fraction=0.1, retrieval="topk", random_state=0)
        >>> display = HashTablesDisplay.from_estimator(clf.fit(X, y))
        >>> list(display.sizes)
        [0]
        """
        inner = within(estimator)
        network = inner.fitted.network
        sizes, n_buckets = {}, {}
        for i, layer in enumerate(network.layers):
            tables = layer.retrieval.tables if layer.retrieval is not None else None
            if tables is not None:
                in_bucket = np.diff(tables.offsets, axis=1)
                sizes[i] = np.array([np.repeat(counts, counts) for counts in in_bucket])
                n_buckets[i] = in_bucket.shape[1]
        if not sizes:
            used = network.settings.describe()["retrieval"]
            raise ValueError(f"estimator must have hash tables; its layers use {used}")
        recall = {}
        if X is not None and any(layer.n_active for layer in network.layers):
            recall = recall_of_layers(network, inner.rows(X))
        return cls(sizes, n_buckets, recall).plot()

    def plot(self) -> Self:
        """Draw one histogram per layer, in a new figure.

        Returns
        -------
        display : HashTablesDisplay
            The display itself.

        Examples
        --------
        >>> import numpy as np
        >>> from slide.inspection import HashTablesDisplay
        >>> display = HashTablesDisplay({0: np.array([[1, 2, 2, 3, 3, 3]])}, {0: 8}, recall={})
        >>> display.plot().axes_[0].get_ylabel()
        'share of neurons'
        """
        self.axes_ = axes(n=len(self.sizes))
        self.figure_ = self.axes_[0].figure
        for ax, (i, sizes) in zip(self.axes_, self.sizes.items(), strict=True):
            n_tables, n_neurons = sizes.shape
            bins = np.geomspace(1, max(2, sizes.max()) * 1.01, 25)
            weights = np.full(sizes.size, 1 / sizes.size)
            ax.hist(
                sizes.ravel(), bins=np.unique(np.floor(bins)), weights=weights, color="tab:blue"
            )
            even = n_neurons / self.n_buckets[i]
            ax.axvline(max(even, 1), color="tab:orange", label=f"spread evenly: {even:.3g}")
            title = f"layer {i}: {n_neurons:,} neurons, {n_tables} x {self.n_buckets[i]:,} buckets"
            if i in self.recall:
                title += f"\nrecall {self.recall[i]:.2f}"
            ax.set(xscale="log", xlabel="neurons in a neuron's bucket", title=title)
            ax.title.set_fontsize("medium")
            ax.legend(fontsize="small")
        self.axes_[0].set_ylabel("share of neurons")
        return self
