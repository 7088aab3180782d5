"""The best classes of rows, from all of them or from a short list; when there is a list, and which.

A list is made when it is first asked for after training and is kept with the network, which drops
it when it trains on; it is never saved or pickled.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import numpy as np

from slide._base.arrays import Floats, Ids
from slide._engine import predict
from slide._prediction.shortlist import MAX_WIDTH, Shortlist

if TYPE_CHECKING:
    from slide._base.rows import InputRows
    from slide._network.network import Network

# Fewer neurons, neurons a candidate or weights than these are as fast scored as looked up.
_LEAST = 16_384
_LEAST_PER_CANDIDATE = 16
_LEAST_WEIGHTS = 1 << 20

_making = threading.Lock()


def _unlock() -> None:
    """A lock for a forked process: whoever held its parent's is not there to give it back."""
    global _making
    _making = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


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
        Neurons that a row scores with "lsh"; k where it is less.
    apart : bool
        Whether both are (2, n, k): the best without what prototypes add, then the best with it.
    """
    if isinstance(n_candidates, str):  # "auto"
        n_candidates = candidates_for(k)
    if mode == "exact" or not pays(network, n_candidates):
        with network.guard.reading():
            return predict.topk(network.model(), x, k, n_threads, apart)
    short = shortlist(network, n_threads)
    return short.topk(network.model(), x, 0, x.n_rows, k, n_candidates, n_threads, apart)


def candidates_for(k: int) -> int:
    """What "auto" is for the best k.

    For the best five, 272, they hold .96 to .999 of the best and .90 to .99 of the five (see
    docs/how-it-works.md).
    """
    return 192 + 16 * k


def pays(network: Network, n_candidates: int) -> bool:
    """Whether a list of so many neurons is found faster than all are scored."""
    *_, last, output = network.layers
    return bool(
        last.n_active == 0
        and output.n_in <= MAX_WIDTH
        and output.n_out >= max(_LEAST, _LEAST_PER_CANDIDATE * n_candidates)
        and output.w.size >= _LEAST_WEIGHTS
    )


def shortlist(network: Network, n_threads: int) -> Shortlist:
    """The Shortlist of the network's output layer, made where there is none."""
    with _making:
        if network.shortlist is None:
            i = len(network.layers) - 1
            output, (mean, length) = network.layers[i], network.input_stats[i]
            seed = np.random.SeedSequence([network.seed, i, 1]).generate_state(1)[0]
            functions = np.random.RandomState(seed)
            counter = network.counter
            made = Shortlist(output.w, output.b, mean, length, functions, n_threads)
            if network.counter != counter:
                return made  # another thread trains: it is old already
            network.shortlist = made
        return network.shortlist
