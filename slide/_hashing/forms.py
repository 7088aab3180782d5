"""Names, dtypes and shapes of a retrieval's arrays, known without making them.

Files are compared with these forms before memory is taken.
"""

from __future__ import annotations

from typing import Any

from slide._base.arrays import Forms
from slide._base.named_arrays import prefixed

_HASHES = {"wta": 3, "dwta": 3}  # bits of a hash of the families with windows
_WINDOW = 8  # coordinates of a window


def retrieval_forms(
    n_neurons: int, n_in: int, settings: dict[str, Any], n_directions: int = 0
) -> Forms:
    """The forms of `Retrieval.named_arrays`, for parameters as those of a Retrieval.

    n_directions : int
        Number of directions that it gets; 0: none.
    """
    policy, per_neuron = settings["policy"], (n_neurons,)
    if policy in ("none", "exact"):
        return {}
    if policy == "scan":
        return {
            "columns": ("float32", (n_in, n_neurons)),
            "biases": ("float32", per_neuron),
            "hashed_at": ("int32", per_neuron),
        }
    n_tables, n_bits = settings["n_tables"], settings["n_hash_bits"]
    tables = tables_forms(n_neurons, n_in, n_tables, n_bits, settings["hash_family"])
    if policy != "estimate":
        return prefixed("tables", tables)
    forms: Forms = {
        "codes": ("uint64", (n_neurons, _blocks(n_tables * n_bits, 64))),
        "norms": ("float32", per_neuron),
        "biases": ("float32", per_neuron),
        "hashed_at": ("int32", per_neuron),
        "mean": ("float32", (n_in,)),
    }
    if settings["n_coarse"]:
        forms["coarse"] = ("uint64", per_neuron)
    hasher = simhash_forms(n_in, n_tables, n_bits, settings["n_rounds"])
    forms.update(prefixed("hasher", hasher))
    if n_directions:
        forms["directions.vectors"] = ("float32", (n_directions, n_in))
        forms["directions.neurons"] = ("float32", (n_directions, n_neurons))
    if settings["use_tables"]:
        forms.update(prefixed("tables", tables))
    return forms


def tables_forms(n_neurons: int, n_in: int, n_tables: int, n_bits: int, family: str) -> Forms:
    """The forms of `HashTables.named_arrays`."""
    forms: Forms = {
        "offsets": ("int32", (n_tables, (1 << n_bits) + 1)),
        "ids": ("int32", (n_tables, n_neurons)),
        "mean": ("float32", (n_in,)),
        "query_bias": ("float32", (1,)),
    }
    if family == "simhash":
        hasher = simhash_forms(n_in, n_tables, n_bits)
    else:
        hasher = {"seeds": ("uint64", (3,))}
        if family in _HASHES:
            n_hashes = n_tables * _blocks(n_bits, _HASHES[family])
            hasher["windows"] = ("int32", (n_hashes, _WINDOW))
    return {**forms, **prefixed("hasher", hasher)}


def simhash_forms(n_in: int, n_tables: int, n_bits: int, n_rounds: int = 3) -> Forms:
    """The forms of `SimHash.named_arrays`; `simhash` tells what the sizes mean."""
    code_bits = n_tables * n_bits
    size = min(_power_of_two(n_in), max(256, _power_of_two(code_bits)))
    n_blocks = _blocks(code_bits, size)
    n_projections = (n_blocks - 1) * size
    n_projections += _power_of_two(code_bits - n_projections)
    return {
        "signs": ("float32", (n_blocks, _blocks(n_in, size) * size)),
        "later_signs": ("float32", (n_blocks, n_rounds - 1, size)),
        "extra": ("float32", (2, n_projections)),
    }


def _power_of_two(n: int, least: int = 64) -> int:
    """The least power of two that is not below n and `least`."""
    return max(least, 1 << (n - 1).bit_length())


def _blocks(n: int, size: int) -> int:
    """How many blocks of `size` hold n items."""
    return -(-n // size)
