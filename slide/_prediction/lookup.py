"""The best classes of every row, from all scores or from a short list; when short lists pay.

The first prediction for which a short list pays makes the Shortlist. It is kept in
`Network.derived` until the weights change, and is never saved or pickled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slide._base.arrays import Floats, Ids
from slide._base.guard import Guard
from slide._engine import predict
from slide._prediction.shortlist import MAX_WIDTH, Shortlist

if TYPE_CHECKING:
    from slide._base.rows import InputRows
    from slide._network.network import Network

# With fewer neurons, neurons per candidate or weights than these, scoring all is as fast.
_LEAST = 8192
_LEAST_PER_CANDIDATE = 16
_LEAST_WEIGHTS = 1 << 20

_NAME = "shortlist"  # in `Network.derived`
_making = Guard()  # only one thread makes a Shortlist


def topk(
    network: Network,
    x: InputRows,
    k: int,
    n_threads: int,
    mode: str = "exact",
    n_candidates: int | str = "auto",
    apart: bool = False,
) -> tuple[Ids, Floats]:
    """The k best neurons of every row, best first: int32 ids and float32 scores, both (n, k).

    Parameters
    ----------
    network : slide._network.network.Network
    x : slide._base.rows.InputRows
    k, n_threads : int
    mode : {"exact", "lsh"}
    n_candidates : "auto" or int
        Neurons scored per row with "lsh".
    apart : bool
        Whether to return two rankings, arrays (2, n, k): the best by the network alone, then the
        best by network and prototypes.
    """
    if isinstance(n_candidates, str):  # "auto"
        n_candidates = candidates_for(k)
    if mode == "exact" or not pays(network, n_candidates):
        with network.guard.reading():
            return predict.topk(network.model(), x, k, n_threads, apart)
    short = shortlist(network, n_threads)
    return short.topk(network.model(), x, 0, x.n_rows, k, n_candidates, n_threads, apart)


def candidates_for(k: int) -> int:
    """The number of candidates that "auto" stands for.

    For the best five it is 272, which contain .96 to .999 of the best neurons and .90 to .99 of the
    best five (see docs/how-it-works.md).
    """
    return 192 + 16 * k


def pays(network: Network, n_candidates: int) -> bool:
    """Whether a short list of n_candidates neurons is faster than the scores of all neurons."""
    *_, last, output = network.layers
    return bool(
        last.n_active == 0
        and output.n_in <= MAX_WIDTH
        and output.n_out >= max(_LEAST, _LEAST_PER_CANDIDATE * n_candidates)
        and output.w.size >= _LEAST_WEIGHTS
    )


def shortlist(network: Network, n_threads: int) -> Shortlist:
    """The Shortlist of the network's output layer, which is kept until the weights change."""
    with _making.writing():
        # Keep this dict: if another thread trains meanwhile, the network gets a new one. The list,
        # which is outdated then, goes into this one, which is no longer read.
        derived = network.derived
        if _NAME not in derived:
            i = len(network.layers) - 1
            output, (mean, length) = network.layers[i], network.input_stats[i]
            seed = np.random.SeedSequence([network.seed, i, 1]).generate_state(1)[0]
            functions = np.random.RandomState(seed)
            derived[_NAME] = Shortlist(output.w, output.b, mean, length, functions, n_threads)
        made: Shortlist = derived[_NAME]
        return made
