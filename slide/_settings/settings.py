"""Settings of a network and of its training, with every "auto" resolved.

The annotation of a field holds the Rule that a value from a file must obey.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Self, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt
from ml_dtypes import bfloat16

from slide._base.arrays import Params
from slide._engine.losses import LOSSES
from slide._hashing.buckets import BUCKETS
from slide._hashing.hash_families import FAMILIES
from slide._hashing.retrieval import POLICIES
from slide._settings.rules import (
    ABOVE_0,
    BELOW_1,
    BOOL,
    MAX_TABLES,
    NUMBER,
    RULES,
    Rule,
    integer,
    one_of,
)

HASHING = ("estimate", *BUCKETS)  # policies that hash at all


def rules_of(settings: type) -> dict[str, Rule]:
    """The Rule of every field of a settings class, except nested settings, which have their own."""
    hints = get_type_hints(settings, include_extras=True)
    return {
        name: hint.__metadata__[0] for name, hint in hints.items() if get_origin(hint) is Annotated
    }


# Factor of the pruning of gradients in a single sparse layer (`slide._engine.pruning`).
_PRUNE = 0.75
_FEW_ACTIVE = 32  # of fewer gradients of a sample, pruning saves little, and each one matters


@dataclass(frozen=True)
class RetrievalSettings:
    """How the neurons of one layer are found."""

    policy: Annotated[str, one_of(*POLICIES)]
    hash_family: Annotated[str, one_of(*FAMILIES)]
    n_tables: Annotated[int, integer(1, MAX_TABLES)]
    n_hash_bits: Annotated[int, integer(1, 16)]
    use_tables: Annotated[bool, BOOL]
    # Neurons that the layer computes for a sample; 0 for the output.
    n_wanted: Annotated[int, integer(0)]
    n_candidates: Annotated[int, integer(1)]
    bucket_limit: Annotated[int, integer(1)]
    min_collisions: Annotated[int, integer(0)]
    # Whether to search by inner product (with norm, bias, mean of the inputs), not by angle.
    transform: Annotated[bool, BOOL]
    # Directions of the layer's inputs along which estimates are exact.
    n_directions: Annotated[int, integer(0)] = 0
    # Rounds of the SimHash transform behind estimates.
    n_rounds: Annotated[int, integer(2, 3)] = 3
    # Neurons that a first ranking by 64 bits keeps; 0: there is no first ranking.
    n_coarse: Annotated[int, integer(0)] = 0


@dataclass(frozen=True)
class LayerSettings:
    """One layer: its active neurons, how they are found, its start and its step sizes."""

    n_active: Annotated[int, integer(0)]  # neurons computed for a sample; 0: the layer is dense
    retrieval: RetrievalSettings | None
    dropout: Annotated[float, BELOW_1]
    scale: Annotated[float, NUMBER]  # standard deviation of the initial weights
    rate: Annotated[float, ABOVE_0]
    bias_rate: Annotated[float, ABOVE_0]


@dataclass(frozen=True)
class Settings:
    """Everything the engine needs to know, resolved."""

    loss: Annotated[str, one_of(*LOSSES)]
    activation: Annotated[str, RULES["activation"]]
    batch_size: Annotated[int, integer(1)]  # samples of a micro-batch, which make one update
    max_iter: Annotated[int, integer(1)]
    layers: tuple[LayerSettings, ...]  # the output last
    # active set of the output layer
    all_neurons: Annotated[bool, BOOL]
    tail_size: Annotated[int, integer(0)]
    n_hard: Annotated[int, integer(0)]
    n_hard_kept: Annotated[int, integer(0, 255)]  # hard neurons of a training row, found by mining
    rehash_every: Annotated[int, integer(1)]  # samples before the first rebuild of tables and codes
    rehash_at_last: Annotated[int, integer(1)]  # samples that the gap between two rebuilds grows to
    centroid_logit: Annotated[float, NUMBER]
    warm_up: Annotated[int, integer(0)]  # micro-batches until the full learning rate
    prototypes: Annotated[bool, BOOL]  # whether `fit` tries prototypes
    weight_dtype: Annotated[str, RULES["weight_dtype"]]  # of weights and first moments
    # solver
    solver: Annotated[str, RULES["solver"]]
    alpha: Annotated[float, RULES["alpha"]]
    momentum: Annotated[float, RULES["momentum"]]
    beta_1: Annotated[float, RULES["beta_1"]]
    beta_2: Annotated[float, RULES["beta_2"]]
    epsilon: Annotated[float, RULES["epsilon"]]

    @property
    def dtype(self) -> npt.DTypeLike:
        """`weight_dtype` as NumPy knows it."""
        return bfloat16 if self.weight_dtype == "bfloat16" else np.float32

    def engine(self) -> dict[str, Any]:
        """The settings of `slide._core.Trainer`, under its names, without the seed."""
        names = ("all_neurons", "tail_size", "n_hard", "n_hard_kept", "solver", "alpha", "momentum")
        return {
            "micro_batch": self.batch_size,
            "prune": self._prune(),
            "dropout": [layer.dropout for layer in self.layers[:-1]],
            **{name: getattr(self, name) for name in (*names, "beta_1", "beta_2", "epsilon")},
        }

    def _prune(self) -> float:
        """The factor of the pruning in every sparse layer. The noise of the layers adds up."""
        if any(0 < layer.n_active < _FEW_ACTIVE for layer in self.layers[:-1]):
            return 0.0
        return _PRUNE / math.sqrt(len(self.layers) - 1)

    def describe(self) -> dict[str, Any]:
        """`hash_params_`: the choices made, None for those that were not needed."""
        known = asdict(self)
        del known["layers"]
        retrievals = [layer.retrieval for layer in self.layers]
        if self.all_neurons:
            known["tail_size"] = None
        if not any(retrievals):
            known["rehash_every"] = known["rehash_at_last"] = None
        for name in ("n_active", "dropout"):
            known[name] = [getattr(layer, name) or None for layer in self.layers]
        names = ("hash_family", "n_tables", "n_hash_bits", "n_candidates", "bucket_limit")
        of_estimates = ("n_directions", "n_rounds", "n_coarse")
        known["retrieval"] = [found.policy if found else "none" for found in retrievals]
        known["n_listed"] = known.pop("n_hard_kept")
        if self.n_hard_kept:
            known["retrieval"][-1] = "lists"
        for name in (*names, *of_estimates):
            policies = ("estimate",) if name in of_estimates else HASHING
            known[name] = [
                (getattr(found, name) or None) if found and found.policy in policies else None
                for found in retrievals
            ]
        return known


@dataclass(frozen=True)
class CourseSettings:
    """The parameters that the course of a training reads."""

    shuffle: bool
    tol: float
    n_iter_no_change: int
    learning_rate: str
    learning_rate_init: float
    verbose: bool | int

    @classmethod
    def of(cls, params: Params) -> Self:
        """Take the fields from an estimator's parameters, a dict that `check_params` returned."""
        return cls(**{item.name: params[item.name] for item in fields(cls)})

    def rate_after(self, progress: float) -> float:
        """The learning rate after the share `progress` of all epochs."""
        if self.learning_rate == "constant":
            return self.learning_rate_init
        return self.learning_rate_init * max(1 - progress, 0.01)
