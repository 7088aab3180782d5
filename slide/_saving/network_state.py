"""A network as plain values and arrays by name, and back, trusting neither."""

from __future__ import annotations

from dataclasses import asdict, fields
from itertools import pairwise
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from slide._base.arrays import Array, NamedArrays
from slide._base.named_arrays import flat, part_of
from slide._hashing.buckets import BUCKETS
from slide._hashing.hash_families import FAMILIES
from slide._hashing.retrieval import POLICIES, Retrieval
from slide._network.network import Network
from slide._network.tally import Tally
from slide._prototypes.prototypes import Prototypes
from slide._settings.auto import LayerSettings, Settings
from slide._settings.auto_retrieval import RetrievalSettings
from slide._settings.rules import BELOW_1, BOOL, MAX_TABLES, RULES, Rule, integer, one_of

if TYPE_CHECKING:
    from slide._network.layer import Layer
    from slide._saving.tensors import TensorFile

_ARRAYS = ("w", "b", "w_m", "w_v", "b_m", "b_v", "steps")  # of a layer
_PROTOTYPES = "prototypes"  # before the names of their arrays
_MAX_INT64 = 2**63 - 1
# What files call by another name than the code: keys of the format stay.
_SETTINGS_IN_FILE = {"retrieval": "search", "n_hard_kept": "n_listed"}
_TALLY_IN_FILE = {"active_neurons": "n_active"}
_MAX_STEPS = 2**30  # leaves room to train on


def _is_finite(value: Any) -> bool:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and bool(np.isfinite(value))


NUMBER = Rule(_is_finite, "a finite number")
POSITIVE = Rule(lambda value: _is_finite(value) and value > 0, "a finite number above 0")

_NETWORK_RULES = {
    "n_features": integer(1),
    "n_classes": integer(1),
    "seed": integer(0),
    "counter": integer(0, _MAX_INT64),
    "samples_to_rebuild": integer(1),
    "rebuild_gap": Rule(lambda value: _is_finite(value) and 1 <= value < 2**31, "[1, 2**31)"),
    "centered": BOOL,
    "prototype_weight": Rule(lambda value: _is_finite(value) and value >= 0, "[0, inf)"),
}
_DERIVED = ("centered", "prototype_weight")  # of the network's rules, no attributes of it
_SETTINGS_RULES = {
    **{name: RULES[name] for name in ("activation", "solver", "alpha", "momentum", "beta_1")},
    **{name: RULES[name] for name in ("beta_2", "epsilon")},
    "loss": one_of("softmax", "sigmoid"),
    "batch_size": integer(1),
    "max_iter": integer(1),
    "all_neurons": BOOL,
    "tail_size": integer(0),
    "n_hard": integer(0),
    "n_hard_kept": integer(0, 255),
    "rehash_every": integer(1),
    "rehash_at_last": integer(1),
    "centroid_logit": NUMBER,
    "warm_up": integer(0),
    "prototypes": BOOL,
    "weight_dtype": RULES["weight_dtype"],
}
_LAYER_RULES = {
    "n_active": integer(0),
    "dropout": BELOW_1,
    "scale": NUMBER,
    "rate": POSITIVE,
    "bias_rate": POSITIVE,
}
_RETRIEVAL_RULES = {
    "policy": one_of(*POLICIES),
    "hash_family": one_of(*FAMILIES),
    "n_tables": integer(1, MAX_TABLES),
    "n_hash_bits": integer(1, 16),
    "use_tables": BOOL,
    "n_wanted": integer(0),
    "n_candidates": integer(1),
    "bucket_limit": integer(1),
    "min_collisions": integer(0),
    "transform": BOOL,
    "n_directions": integer(0),
    "n_rounds": integer(2, 3),
    "n_coarse": integer(0),
}


# ------------------------------------------------------------------- there --


def network_state(network: Network) -> tuple[dict[str, Any], NamedArrays]:
    """What a Network is made of.

    Returns
    -------
    header : dict
        Numbers, strings, None, lists and dicts of them.
    arrays : dict of str to ndarray
        The network's own arrays where they are contiguous, else copies.
    """
    settings = _renamed(asdict(network.settings), _SETTINGS_IN_FILE)
    header = {name: getattr(network, name) for name in _NETWORK_RULES if name not in _DERIVED}
    header.update(
        centered=network.x_mean is not None,
        prototype_weight=0.0 if network.prototypes is None else network.prototypes.weight,
        hidden_layer_sizes=list(network.hidden_layer_sizes),
        settings=settings,
        tally=tally_header(network.tally),
        input_lengths=[length for _, length in network.input_stats],
    )
    prototypes = network.prototypes
    return header, _arrays(network, None if prototypes is None else prototypes.arrays())


def _arrays(network: Network, prototypes: NamedArrays | None) -> NamedArrays:
    found = {} if network.x_mean is None else {"center": network.x_mean}
    found.update({f"{_PROTOTYPES}.{name}": array for name, array in (prototypes or {}).items()})
    for i, layer in enumerate(network.layers):
        own = {name: np.ascontiguousarray(getattr(layer, name)) for name in _ARRAYS}
        own["input_mean"] = network.input_stats[i][0]
        own = flat(own, retrieval=layer.retrieval)
        found.update({f"layers.{i}.{name}": array for name, array in own.items()})
    return found


# -------------------------------------------------------------------- back --


def network_from_state(header: dict[str, Any], file: TensorFile) -> Network:
    """The Network of what `network_state` returned.

    A network of the sizes that `header` names is made first, and says which arrays there must be
    and of which form; only then are they read.

    Parameters
    ----------
    header : dict
    file : slide._saving.tensors.TensorFile
        Its arrays must be the network's, no others.

    Raises
    ------
    ValueError
        When a value is out of range or an array does not fit. Values of a wrong type may also
        raise TypeError, KeyError and the like.
    """
    network = _unfilled(header, file)
    prototypes = _unfilled_prototypes(header, file) if header["prototype_weight"] else None
    arrays = _arrays(network, prototypes)
    file.check(arrays)
    if prototypes:
        found = {name: file.read(f"{_PROTOTYPES}.{name}") for name in prototypes}
        n_classes, weight = network.n_classes, header["prototype_weight"]
        network.prototypes = Prototypes.from_arrays(**found, n_classes=n_classes, weight=weight)
    if network.x_mean is not None:
        network.x_mean[...] = file.read("center")
        check_finite("center", network.x_mean)
    for i, layer in enumerate(network.layers):
        mean = network.input_stats[i][0]
        for name, array in (*((name, getattr(layer, name)) for name in _ARRAYS),
                            ("input_mean", mean)):  # fmt: skip
            array[...] = file.read(f"layers.{i}.{name}")
        for name, array in (("w", layer.w), ("b", layer.b), ("input_mean", mean)):
            check_finite(f"layers.{i}.{name}", array)
        if layer.steps.min() < 0 or layer.steps.max() > _MAX_STEPS:
            raise ValueError(f"layers.{i}.steps must lie in [0, {_MAX_STEPS}]")
        if layer.retrieval is not None:
            prefix = f"layers.{i}.retrieval"
            names = part_of(arrays, prefix)
            found = {name: file.read(f"{prefix}.{name}") for name in names}
            layer.retrieval.set_named_arrays(found)
    return network


def _unfilled(header: dict[str, Any], file: TensorFile) -> Network:
    """A Network whose plain values are those of `header` and whose arrays are yet to be filled."""
    check("", {name: header[name] for name in _NETWORK_RULES}, _NETWORK_RULES)
    check("", header, {"hidden_layer_sizes": RULES["hidden_layer_sizes"]})
    n_features, n_classes = header["n_features"], header["n_classes"]
    sizes = tuple(header["hidden_layer_sizes"])
    widths = [n_features, *sizes, n_classes]
    # Before memory is asked for: weights and first moments must be in the file.
    bytes_each = 4 if header["settings"].get("weight_dtype") == "bfloat16" else 8
    if bytes_each * sum(n_in * n_out for n_in, n_out in pairwise(widths)) > file.size:
        raise ValueError(f"layers of widths {widths} do not fit into {file.size} bytes")
    settings = _settings(header["settings"], widths)
    x_mean = np.zeros(n_features, np.float32) if header["centered"] else None
    network = Network(n_features, n_classes, sizes, settings, header["seed"], x_mean)
    for i, (layer, chosen) in enumerate(zip(network.layers, settings.layers, strict=True)):
        layer.rate, layer.bias_rate = chosen.rate, chosen.bias_rate
        if chosen.retrieval is not None:
            layer.retrieval = _retrieval(i, layer, chosen.retrieval, file)
    for name in ("counter", "samples_to_rebuild", "rebuild_gap"):
        setattr(network, name, header[name])
    check("tally.", header["tally"], {"dense_multiply_adds": integer(1, 2**200)})
    network.tally = tally_from(header["tally"], "tally.")
    lengths = header["input_lengths"]
    for i, length in enumerate(lengths):
        check(f"layers.{i}.", {"input_length": length}, {"input_length": POSITIVE})
    pairs = zip(network.input_stats, lengths, strict=True)
    network.input_stats = [(mean, length) for (mean, _), length in pairs]
    return network


def tally_header(tally: Tally) -> dict[str, Any]:
    """The counts of a Tally under the names that files have for them."""
    return {_TALLY_IN_FILE.get(name, name): count for name, count in vars(tally).items()}


def _inverse(names: dict[str, str]) -> dict[str, str]:
    return {new: old for old, new in names.items()}


def _renamed(value: Any, names: dict[str, str]) -> Any:
    """`value` with other keys, in dicts and lists at any depth."""
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(item, names) for item in value]
    return value


def tally_from(header: dict[str, Any], where: str) -> Tally:
    """The Tally of a dict of its counts; `where` is what comes before their names in messages."""
    sums = {"loss": NUMBER, "weight": NUMBER}
    counts = _renamed(header, _inverse(_TALLY_IN_FILE))
    check(where, counts, {f.name: sums.get(f.name, integer(0, 2**200)) for f in fields(Tally)})
    return Tally(**counts)


def _unfilled_prototypes(header: dict[str, Any], file: TensorFile) -> NamedArrays:
    """Arrays of the forms that `Prototypes.arrays` has."""
    n_values, n_features = file.shape(f"{_PROTOTYPES}.values")[0], header["n_features"]
    return {
        "values": np.zeros(n_values, np.float32),
        "labels": np.zeros(n_values, np.int32),
        "indptr": np.zeros(n_features + 1, np.int64),
        "feature_weights": np.zeros(n_features, np.float32),
    }


def _retrieval(i: int, layer: Layer, settings: RetrievalSettings, file: TensorFile) -> Retrieval:
    directions = None
    if settings.n_directions:
        # So many as `Network._retrieval` found.
        n = file.shape(f"layers.{i}.retrieval.directions.vectors")[0]
        if not 1 <= n <= min(settings.n_directions, layer.n_in):
            raise ValueError(f"layers.{i} has {n} directions; at most {settings.n_directions}")
        directions = np.zeros((n, layer.n_in), np.float32)
    any_functions = np.random.RandomState(0)
    return Retrieval(layer.n_out, layer.n_in, asdict(settings), any_functions, directions)


def _settings(header: dict[str, Any], widths: list[int]) -> Settings:
    """Settings from their dict, for layers between the given widths."""
    header = _renamed(header, _inverse(_SETTINGS_IN_FILE))
    own = {name: value for name, value in header.items() if name != "layers"}
    own = {"weight_dtype": "float32", **own}  # a file of before has none
    check("settings.", own, _SETTINGS_RULES)
    layers = [
        _layer_settings(f"settings.layers.{i}.", layer, n_in, n_out)
        for i, (layer, (n_in, n_out)) in enumerate(
            zip(header["layers"], pairwise(widths), strict=True)
        )
    ]
    output, n_hard = layers[-1], own["n_hard"]
    if output.n_active or (output.retrieval is None) != (n_hard == 0) or n_hard > widths[-1]:
        raise ValueError(f"settings.n_hard={n_hard} does not go with the retrieval of the output")
    if output.retrieval is not None and output.retrieval.n_wanted:
        raise ValueError("the retrieval of the output must have n_wanted=0")
    for i, layer in enumerate(layers[:-1]):
        wanted = layer.retrieval.n_wanted if layer.retrieval else 0
        if layer.n_active != wanted or (layer.retrieval is not None and not wanted):
            raise ValueError(
                f"layer {i} has n_active={layer.n_active}, its retrieval is for {wanted}"
            )
    return Settings(**own, layers=tuple(layers))


def _layer_settings(where: str, header: dict[str, Any], n_in: int, n_out: int) -> LayerSettings:
    own = {name: value for name, value in header.items() if name != "retrieval"}
    check(where, own, _LAYER_RULES)
    if own["n_active"] >= n_out:
        raise ValueError(f"{where}n_active must be below {n_out}; got {own['n_active']}")
    retrieval = header["retrieval"]
    if retrieval is not None:
        check(f"{where}search.", retrieval, _RETRIEVAL_RULES)
        retrieval = RetrievalSettings(**retrieval)
        if retrieval.policy in BUCKETS and not retrieval.use_tables:
            raise ValueError(f"{where}search.policy={retrieval.policy!r} needs use_tables")
        ranks_all = retrieval.policy == "estimate" and not retrieval.use_tables
        if retrieval.n_directions and not (ranks_all and retrieval.transform):
            raise ValueError(f"{where}search.n_directions is for estimates without tables")
        code_bits = retrieval.n_tables * retrieval.n_hash_bits
        if retrieval.n_coarse and not (ranks_all and code_bits > 64):
            raise ValueError(
                f"{where}search.n_coarse is for estimates without tables, of more than 64 bits"
            )
    return LayerSettings(**own, retrieval=retrieval)


def check(where: str, values: dict[str, Any], rules: dict[str, Rule]) -> None:
    """Refuse a value that its rule does not accept; there must be one for every rule."""
    for name, rule in rules.items():
        if name not in values:
            raise ValueError(f"{where}{name} is missing")
        if not rule.accepts(values[name]):
            raise ValueError(f"{where}{name} must be {rule.takes}; got {values[name]!r}")


def floats(name: str, values: Any, n: int | None = None) -> list[float]:
    """A list of n finite floats; of None one at least."""
    if (
        not isinstance(values, list)
        or (len(values) != n if n is not None else not values)
        or not all(isinstance(value, float) and np.isfinite(value) for value in values)
    ):
        raise ValueError(f"{name} must hold finite numbers, {'at least one' if n is None else n}")
    return values


def check_finite(name: str, array: Array) -> None:
    # One sum is as good as a look at every number, and needs no memory.
    with np.errstate(all="ignore"):
        if not np.isfinite(array.sum(dtype=np.float64)):
            raise ValueError(f"{name} must hold finite numbers")
