"""The best classes of every row: which of three ways finds them.

A Sieve finds the exact ones, as the scores of all neurons do. A Shortlist finds nearly all of them.
The first prediction for which one of these pays makes it. It is kept in `Network.derived` until the
weights change, and is never saved or pickled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slide._base.arrays import Floats, Ids
from slide._base.guard import Guard
from slide._engine import predict
from slide._prediction import sieve
from slide._prediction.shortlist import MAX_WIDTH, Shortlist
from slide._prediction.sieve import Sieve

if TYPE_CHECKING:
    from slide._base.rows import InputRows
    from slide._network.network import Network

# With fewer neurons, neurons per candidate or weights than these, scoring all is as fast.
_LEAST = 16_384
_LEAST_PER_CANDIDATE = 16
_LEAST_WEIGHTS = 1 << 20

# With fewer neurons, or neurons of fewer inputs, scoring all is as fast. So it is with fewer rows,
# if the Sieve is not made yet.
_LEAST_SIEVED = 2048
_LEAST_INPUTS = 64
_LEAST_ROWS = 64

_SHORTLIST, _SIEVE = "shortlist", "sieve"  # in `Network.derived`
_making = Guard()  # only one thread makes them


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
            if not apart and _sieve_pays(network, x, k):
                return _sieve(network, n_threads).topk(network.model(), x, k, n_threads)
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
        if _SHORTLIST not in derived:
            i = len(network.layers) - 1
            output, (mean, length) = network.layers[i], network.input_stats[i]
            seed = np.random.SeedSequence([network.seed, i, 1]).generate_state(1)[0]
            functions = np.random.RandomState(seed)
            derived[_SHORTLIST] = Shortlist(output.w, output.b, mean, length, functions, n_threads)
        made: Shortlist = derived[_SHORTLIST]
        return made


def _sieve_pays(network: Network, x: InputRows, k: int) -> bool:
    """Whether a Sieve finds the k best neurons of these rows faster than the scores of all do."""
    *_, last, output = network.layers
    made = _SIEVE in network.derived
    return bool(
        sieve.pays()
        and last.n_active == 0
        and output.n_out >= _LEAST_SIEVED
        and _LEAST_INPUTS <= output.n_in <= sieve.MAX_WIDTH
        and k <= sieve.MAX_K
        and (made or x.n_rows >= _LEAST_ROWS)
    )


def _sieve(network: Network, n_threads: int) -> Sieve:
    """The Sieve of the network's output layer, which is kept until the weights change."""
    with _making.writing():
        derived = network.derived  # keep this dict, as `shortlist` does
        if _SIEVE not in derived:
            output = network.layers[-1]
            derived[_SIEVE] = Sieve(output.w, output.b, n_threads)
        made: Sieve = derived[_SIEVE]
        return made
