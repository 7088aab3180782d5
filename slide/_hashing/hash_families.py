"""Registry of the hash families: the class behind each name that `hash_family` takes."""

from __future__ import annotations

import numpy as np

from slide._hashing.hasher import Hasher
from slide._hashing.minhash import MinHash
from slide._hashing.simhash import SimHash
from slide._hashing.winners import DWTA, WTA

FAMILIES: dict[str, type[Hasher]] = {
    hasher.family: hasher for hasher in (SimHash, WTA, DWTA, MinHash)
}


def make_hasher(
    family: str,
    n_in: int,
    n_tables: int,
    n_bits: int,
    random_state: np.random.RandomState,
    extras: bool = True,
) -> Hasher:
    """Draw the hash functions of L tables of K bits.

    Parameters
    ----------
    family : str
        One of FAMILIES.
    n_in : int
        Width of the vectors.
    n_tables, n_bits : int
        L and K (1 to 16).
    random_state : numpy.random.RandomState
    extras : bool
        False leaves no room for the two extra coordinates, which must then be 0.
    """
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}; got {family!r}")
    return FAMILIES[family].draw(n_in, n_tables, n_bits, random_state, extras)
