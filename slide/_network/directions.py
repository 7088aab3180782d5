"""The directions along which vectors vary most, by orthogonal iteration.

`slide._base.products` says why this is not LAPACK's singular value decomposition.
"""

from __future__ import annotations

import numpy as np

from slide._base.arrays import Array, Floats
from slide._base.products import rows_dot

_ROUNDS = 6
# Directions more than wanted, which let the wanted ones converge sooner (Halko et al. 2011).
_MORE = 10
# Share of the vectors' squares that is added in every direction, so that directions without any
# variance stay independent.
_LEAST = 1e-6


def main_directions(vectors: Floats, n: int, seed: int) -> Floats:
    """Find n orthonormal directions: float32 (n, width), the one of the largest variance first.

    vectors : float32 (., width), centred, of a length of about 1; n : at most the width. Cost: 12
    (n + 10) multiply-adds per value of the vectors.
    """
    width = vectors.shape[1]
    start = np.random.RandomState(seed).standard_normal((min(n + _MORE, width), width))
    found = _orthonormal(start)
    for _ in range(_ROUNDS):
        along = np.einsum("ij,kj->ik", vectors, found)
        turned = np.einsum("ik,ij->kj", along, vectors)
        found = _orthonormal(turned + np.float64(_LEAST * len(vectors)) * found)
    return found[:n]


def _orthonormal(vectors: Array) -> Floats:
    """The Gram-Schmidt process on rows, each of which is made orthogonal twice."""
    basis = np.zeros(vectors.shape)
    for i, vector in enumerate(vectors.astype(np.float64)):
        for _ in range(2):
            vector -= np.einsum("k,kj->j", rows_dot(basis[:i], vector), basis[:i])
        basis[i] = vector / np.sqrt(rows_dot(vector[np.newaxis], vector))
    return basis.astype(np.float32)
