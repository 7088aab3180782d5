"""Forms of a retrieval's arrays: those of the arrays that it really has."""

from itertools import product

import numpy as np
import pytest

from slide._base.named_arrays import forms_of
from slide._hashing.forms import retrieval_forms
from slide._hashing.hash_families import FAMILIES
from slide._hashing.retrieval import POLICIES, Retrieval

SIZES = [(1, 1), (7, 1), (1, 63), (5, 64), (5, 65), (30, 257), (3, 5000)]  # neurons, inputs
CODES = [(1, 1), (3, 5), (16, 4), (64, 1), (13, 5), (255, 16), (20, 13)]  # tables, bits
SETTINGS = {"n_wanted": 0, "n_candidates": 1, "bucket_limit": 4, "min_collisions": 1,
            "transform": True}  # fmt: skip


@pytest.mark.parametrize(("n_neurons", "n_in"), SIZES)
@pytest.mark.parametrize("policy", POLICIES)
def test_forms_are_those_of_the_arrays(policy, n_neurons, n_in):
    options = product(CODES, FAMILIES, (False, True), (2, 3), (0, 8), (0, 1))
    n_checked = 0
    for (n_tables, n_bits), family, use_tables, n_rounds, n_coarse, n_directions in options:
        if policy != "estimate" and (n_coarse or n_directions or n_rounds == 2 or not use_tables):
            continue
        if (n_directions and use_tables) or (n_in == 5000 and n_tables > 60):
            continue
        settings = {
            **SETTINGS, "policy": policy, "hash_family": family, "n_tables": n_tables,
            "n_hash_bits": n_bits, "use_tables": use_tables, "n_rounds": n_rounds,
            "n_coarse": n_coarse,
        }  # fmt: skip
        directions = np.eye(1, n_in, dtype=np.float32) if n_directions else None
        made = Retrieval(n_neurons, n_in, settings, np.random.RandomState(0), directions)
        forms = retrieval_forms(n_neurons, n_in, settings, n_directions)
        assert forms_of(made.named_arrays()) == forms
        n_checked += 1
    assert n_checked >= 20
