"""Names, dtypes and shapes of a network's arrays, known from its sizes and settings alone.

A file must hold exactly these arrays before any of them is made. So every size that it says is a
size of an array that it contains.
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING

from slide._base.arrays import Forms
from slide._base.named_arrays import prefixed
from slide._hashing.forms import retrieval_forms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from slide._settings.settings import LayerSettings, Settings

PROTOTYPES = "prototypes"  # start of the names of their arrays


def network_forms(
    widths: Sequence[int],
    settings: Settings,
    optional: Iterable[str],
    n_values: int | None,
    with_biases: bool,
    n_directions: Sequence[int],
) -> Forms:
    """The forms of all arrays of a network.

    Parameters
    ----------
    widths : list of int
        Features, hidden layers and classes.
    settings : slide._settings.settings.Settings
    optional : iterable of {"center", "columns", "started"}
        Which of these arrays there are.
    n_values : int or None
        Values of the prototypes; None: there are no prototypes.
    with_biases : bool
        Whether the prototypes have biases, those of SVMs.
    n_directions : list of int
        Directions of the retrieval of every layer; 0: none.
    """
    per_input, per_class = (widths[0],), (widths[-1],)
    known: Forms = {
        "center": ("float32", per_input),
        "columns": ("int32", per_input),
        "started": ("uint8", per_class),
    }
    forms = {name: known[name] for name in optional}
    if n_values is not None:
        own = prototypes_forms(n_values, widths[0], widths[-1] if with_biases else None)
        forms.update(prefixed(PROTOTYPES, own))
    layers = zip(settings.layers, pairwise(widths), n_directions, strict=True)
    for i, (chosen, (n_in, n_out), n) in enumerate(layers):
        by_feature = i == 0 and not chosen.n_active
        own = layer_forms(n_in, n_out, by_feature, settings.weight_dtype, chosen, n)
        forms.update(prefixed(f"layers.{i}", own))
    return forms


def layer_forms(
    n_in: int,
    n_out: int,
    by_feature: bool,
    weight_dtype: str,
    chosen: LayerSettings,
    n_directions: int,
) -> Forms:
    """The forms of the arrays of a Layer, of its input statistics and of its retrieval."""
    weights = (n_in, n_out) if by_feature else (n_out, n_in)
    n_rows = weights[0]
    forms: Forms = {
        "w": (weight_dtype, weights),
        "b": ("float32", (n_out,)),
        "w_m": (weight_dtype, weights),
        "w_v": ("float32", (n_rows,)),
        "b_m": ("float32", (n_out,)),
        "b_v": ("float32", (n_out,)),
        "steps": ("int32", (n_rows + 1,)),
        "input_mean": ("float32", (n_in,)),
    }
    if chosen.retrieval is not None:
        found = retrieval_forms(n_out, n_in, asdict(chosen.retrieval), n_directions)
        forms.update(prefixed("retrieval", found))
    return forms


def prototypes_forms(n_values: int, n_features: int, n_biases: int | None) -> Forms:
    """The forms of `Prototypes.arrays`."""
    forms: Forms = {
        "values": ("float32", (n_values,)),
        "labels": ("int32", (n_values,)),
        "indptr": ("int64", (n_features + 1,)),
        "feature_weights": ("float32", (n_features,)),
    }
    return forms if n_biases is None else {**forms, "biases": ("float32", (n_biases,))}
