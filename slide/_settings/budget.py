"""Check that a network fits into memory, before any of it is allocated.

Linux grants memory that it does not have, and kills the process that then writes to it. So the
sizes of the arrays are added up first and compared with the limits. The sum is a lower bound: if
not every row of an array is written, only the written pages count.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from slide._base import limits
from slide._base.arrays import Matrix, Params
from slide._data.columns import occurring

if TYPE_CHECKING:
    from slide._data.labels import LabelRows
    from slide._data.rows import DataShape, TrainingRows
    from slide._settings.settings import RetrievalSettings, Settings

_PROGRESS = 16  # bytes that an update changes besides a row of weights


# ---------------------------------------------------------------- needs --


@dataclass(frozen=True)
class Use:
    """Share of each array that training is sure to write; 1: every page."""

    output: float = 1.0  # weights of the output, written for labels and tails
    output_moments: float = 1.0
    output_start: float = 1.0  # centroids, written for labels
    input_moments: float = 1.0  # moments of the first layer, written for features that occur


def network_needs(
    widths: list[int],
    settings: Settings,
    shape: DataShape,
    n_threads: int,
    early_stopping: bool,
    use: Use,
) -> dict[str, int]:
    """Bytes of the large arrays of a network and of its training, by kind.

    Parameters
    ----------
    widths : list of int
        Features, hidden layers and classes.
    settings : slide._settings.settings.Settings
    shape : slide._data.rows.DataShape
    n_threads : int
    early_stopping : bool
        Whether a copy of the best weights is kept.
    use : Use
    """
    item = 2 if settings.weight_dtype == "bfloat16" else 4
    sizes = [item * n_in * n_out for n_in, n_out in pairwise(widths)]
    input_rows = widths[1] if settings.layers[0].n_active else widths[0]
    weights = sum(sizes[:-1]) + sizes[-1] * use.output
    moments = sizes[0] * use.input_moments + sum(sizes[1:-1]) + sizes[-1] * use.output_moments
    needs = {
        "moments": moments,
        "biases and counts": _PROGRESS * (input_rows + sum(widths[2:-1]))
        + (_PROGRESS + 4) * widths[-1] * use.output,
        "the best weights": sum(sizes) if early_stopping else 0,
        "hashing": sum(
            _retrieval_bytes(layer.retrieval, n_in, n_out)
            for layer, (n_in, n_out) in zip(settings.layers, pairwise(widths), strict=True)
        ),
        "lists": 4 * settings.n_hard_kept * shape.n_samples,
        "threads": _threads_bytes(widths, settings, shape, n_threads),
    }
    # Centroids of bfloat16 rows are float32, and freed before the other arrays are written.
    start = 0 if item == 4 else 2 * sizes[-1] * use.output_start
    needs = {"weights": weights, **needs, "the start": max(0, start - sum(needs.values()))}
    return {name: int(size) for name, size in needs.items() if size >= 1}


def _retrieval_bytes(retrieval: RetrievalSettings | None, n_in: int, n_neurons: int) -> int:
    """Codes, tables or the copy of the weights behind a layer's retrieval."""
    if retrieval is None:
        return 0
    if retrieval.policy == "scan":
        return 4 * n_in * n_neurons
    size = 0
    if retrieval.policy == "estimate":
        size += n_neurons * (8 * math.ceil(retrieval.n_tables * retrieval.n_hash_bits / 64) + 12)
    if retrieval.use_tables and retrieval.policy not in ("none", "exact"):
        size += 4 * retrieval.n_tables * (n_neurons + (1 << retrieval.n_hash_bits))
    return size


def _threads_bytes(widths: list[int], settings: Settings, shape: DataShape, n_threads: int) -> int:
    """Scores and dense rows of a micro-batch, for every thread."""
    # If there are few micro-batches, one thread may take them all.
    n_threads = max(1, min(n_threads, shape.n_samples // settings.batch_size // 4))
    n = min(settings.batch_size, shape.n_samples)
    labels = n * shape.n_labels // shape.n_samples
    n_active = widths[-1]
    if not settings.all_neurons:
        n_active = min(n_active, labels + settings.tail_size)
    dense = 0 if shape.sparse or settings.layers[0].n_active else 4 * n * widths[0]
    return n_threads * (4 * n * n_active + dense)


def least_use(
    labels: LabelRows,
    x: Matrix,
    settings: Settings,
    widths: list[int],
    shape: DataShape,
    n_epochs: int,
) -> Use:
    """The Use of a network that is trained for n_epochs on rows x, CSR or dense, and `labels`.

    It assumes small pages: a system with huge pages uses them only as long as it has some.
    """
    page, item = mmap.PAGESIZE, 2 if settings.weight_dtype == "bfloat16" else 4
    n_features, n_hidden, *_, n_classes = widths
    width = widths[-2]
    seen = len(np.unique(labels.indices)) / n_classes
    drawn = (
        n_epochs * settings.tail_size * max(1, shape.n_samples // settings.batch_size) / n_classes
    )
    touched = 1.0 if settings.all_neurons else 1 - (1 - seen) * math.exp(-drawn)
    occurs = len(occurring(x)) / n_features if shape.sparse else 1.0
    output = _pages(touched, item * width, page)
    # A sparse first layer has a row per neuron, which holds one weight per feature.
    of_feature = item if settings.layers[0].n_active else item * n_hidden
    return Use(
        # Prototypes rescale every row; weights in bfloat16 are written in full.
        output=1.0 if settings.prototypes or item == 2 else output,
        output_moments=output,
        output_start=_pages(seen, 4 * width, page),
        input_moments=_pages(occurs, of_feature, page),
    )


def _pages(share: float, size: int, page: int) -> float:
    """Expected share of pages that are touched if a random `share` of all rows is.

    size : bytes of a row; page : bytes of a page.
    """
    return 1 - math.pow(1 - share, max(1.0, page / size))


# ---------------------------------------------------------------- the verdict --


def check_network(
    params: Params,
    settings: Settings,
    data: TrainingRows,
    shape: DataShape,
    n_threads: int,
    n_epochs: int,
) -> None:
    """Refuse a network that is larger than memory.

    Parameters
    ----------
    params : dict
        Parameters of the estimator.
    settings : slide._settings.settings.Settings
    data : slide._data.rows.TrainingRows
    shape : slide._data.rows.DataShape
        The shape of `data`.
    n_threads : int
    n_epochs : int
        The training takes at least so many epochs.

    Raises
    ------
    MemoryError
        If the network is too large; the message lists the sizes.
    """
    widths = [shape.n_features, *params["hidden_layer_sizes"], shape.n_classes]
    known = (widths, settings, shape, n_threads, params["early_stopping"])
    needs = network_needs(*known, Use())
    if sum(needs.values()) < limits.LARGE:
        return
    what = (
        f"hidden_layer_sizes={params['hidden_layer_sizes']} with {shape.n_features} features and "
        f"{shape.n_classes} classes"
    )
    advice = "use fewer neurons"
    if settings.weight_dtype == "float32":
        advice += ", or weight_dtype='bfloat16'"
    limits.check_needs(what, needs, limits.address_limit(), advice)
    limit = limits.memory_limit()
    if limit is not None and sum(needs.values()) > limit.left:
        # Only now count the pages that will be written, which takes a pass over X.
        use = least_use(data.labels, data.x, settings, widths, shape, n_epochs)
        limits.check_needs(what, network_needs(*known, use), limit, advice)
