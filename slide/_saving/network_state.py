"""Conversion of a network to plain values and named arrays, for files and pickles, and back.

Nothing in a file is trusted. A pickle of a network holds the same values and arrays, and names
one function of this module, `network_from_arrays`.
"""

from __future__ import annotations

import copyreg
from dataclasses import asdict, astuple, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from slide._base.arrays import Array, Forms, NamedArrays
from slide._base.named_arrays import flat, part_of, prefixed
from slide._base.values import MAX_INT, shown
from slide._data.columns import Columns
from slide._hashing.buckets import BUCKETS
from slide._hashing.retrieval import Retrieval
from slide._network.confidence import Confidence
from slide._network.early import Early
from slide._network.network import Network
from slide._network.tally import Tally
from slide._prototypes.prototypes import Prototypes
from slide._saving.forms import PROTOTYPES, network_forms
from slide._saving.room import room_of
from slide._saving.tensors import ArraysInMemory
from slide._settings.rules import ABOVE_0, BOOL, NOT_BELOW_0, NUMBER, RULES, Rule, integer
from slide._settings.settings import (
    LayerSettings,
    RetrievalSettings,
    Settings,
    rules_of,
)

if TYPE_CHECKING:
    from slide._network.layer import Layer

_ARRAYS = ("w", "b", "w_m", "w_v", "b_m", "b_v", "steps")  # arrays of a layer
_MAX_INT64 = 2**63 - 1
# Name in the code -> name in files, where they differ: names in files never change.
_SETTINGS_IN_FILE = {"retrieval": "search", "n_hard_kept": "n_listed"}
_TALLY_IN_FILE = {"active_neurons": "n_active"}
_MAX_STEPS = 2**30  # leaves room to train on
_LAYER_OBJECTS = 1 << 14  # bytes that the Python objects of a layer take

_NETWORK_RULES = {
    "n_features": integer(1),
    "n_classes": integer(1),
    "seed": integer(0),
    "counter": integer(0, _MAX_INT64),
    "samples_to_rebuild": integer(1),
    "rebuild_gap": Rule(
        lambda value: NUMBER.accepts(value) and 1 <= value < MAX_INT + 1, "[1, 2**31)"
    ),
}
# These values tell whether there are a mean row and prototypes.
_PARTS_RULES = {"centered": BOOL, "prototype_weight": NOT_BELOW_0, "svm_weight": NOT_BELOW_0}
# The header's values that tell whether there are arrays of these names.
_OPTIONAL = {"center": "centered", "columns": "n_announced", "started": "some_started"}
_EARLY_RULES = {
    "n_rows": integer(0, _MAX_INT64),
    "log_square": NUMBER,
    "log_scaled": NUMBER,
    "undecided": BOOL,
}
_SETTINGS_RULES, _LAYER_RULES = rules_of(Settings), rules_of(LayerSettings)
_RETRIEVAL_RULES = rules_of(RetrievalSettings)


class Source(Protocol):
    """Arrays by name: a `TensorFile`, or `ArraysInMemory`."""

    size: int

    def shape(self, name: str) -> tuple[int, ...]: ...
    def check(self, forms: Forms) -> None: ...
    def read(self, name: str) -> Array: ...


# -------------------------------------------- to plain values and arrays --


def network_state(network: Network) -> tuple[dict[str, Any], NamedArrays]:
    """A Network as plain values and arrays.

    Returns
    -------
    header : dict
        Numbers, strings, None, lists and dicts of them.
    arrays : dict of str to ndarray
        The network's own arrays where they are contiguous, else copies.
    """
    settings = _renamed(asdict(network.settings), _SETTINGS_IN_FILE)
    header = {name: getattr(network, name) for name in _NETWORK_RULES}
    header.update(
        n_announced=None if network.columns is None else network.columns.n_announced,
        centered=network.x_mean is not None,
        **_prototype_weights(network),
        hidden_layer_sizes=list(network.hidden_layer_sizes),
        settings=settings,
        tally=tally_header(network.tally),
        confidence=list(astuple(network.confidence)),
        input_lengths=[length for _, length in network.input_stats],
        early=None if network.early is None else asdict(network.early),
        some_started=network.started is not None,
    )
    return header, _arrays(network)


def _reduced(network: Network) -> tuple[Any, ...]:
    """The pickle of a network: a function, and its arguments.

    Another thread may train the network meanwhile. Codes and tables must fit each other, so they
    are copied between two rebuilds; the weights may change.
    """
    with network.guard.reading():
        header, arrays = network_state(network)
        for name in arrays:
            if ".retrieval." in name:
                arrays[name] = arrays[name].copy()
    return network_from_arrays, (header, arrays)


copyreg.pickle(Network, _reduced)


def _prototype_weights(network: Network) -> dict[str, float]:
    made = network.prototypes
    weights = (0.0, 0.0) if made is None else (made.weight, made.svm_weight)
    return dict(zip(("prototype_weight", "svm_weight"), weights, strict=True))


def _arrays(network: Network) -> NamedArrays:
    prototypes = network.prototypes
    found = {} if network.x_mean is None else {"center": network.x_mean}
    if network.columns is not None:
        found["columns"] = network.columns.ids
    if network.started is not None:
        found["started"] = network.started.view(np.uint8)
    if prototypes is not None:
        found.update(prefixed(PROTOTYPES, prototypes.arrays()))
    for i, layer in enumerate(network.layers):
        own = {name: np.ascontiguousarray(getattr(layer, name)) for name in _ARRAYS}
        own["input_mean"] = network.input_stats[i][0]
        found.update(prefixed(f"layers.{i}", flat(own, retrieval=layer.retrieval)))
    return found


# ------------------------------------------ from plain values and arrays --


def network_from_arrays(header: dict[str, Any], arrays: NamedArrays) -> Network:
    """The Network of a pickle. Pickles name this function: it must stay where it is."""
    return network_from_state(header, ArraysInMemory(arrays))


def network_from_state(header: dict[str, Any], source: Source) -> Network:
    """The Network that `network_state` described.

    The sizes and settings in `header` tell the names, shapes and dtypes of all arrays. A network is
    made only if the source holds arrays of just these forms.

    Parameters
    ----------
    header : dict
    source : Source
        It must hold the network's arrays and no others.

    Raises
    ------
    ValueError
        When a value is out of range or an array does not fit. Values of a wrong type may also
        raise TypeError, KeyError and the like.
    """
    header = {"svm_weight": 0.0, **header}  # older versions lack it
    widths = _widths(header, source)
    settings = _settings(header["settings"], widths)
    forms = _forms(header, widths, settings, source)
    # A file that passes holds every array of the network, so memory may be taken for them now.
    source.check(forms)
    network = _unfilled(header, widths, settings, _columns(header, widths, source))
    prototypes = part_of(forms, PROTOTYPES)
    if prototypes:
        found = {name: source.read(f"{PROTOTYPES}.{name}") for name in prototypes}
        weights = header["prototype_weight"], header["svm_weight"]
        network.set_prototypes(Prototypes.from_arrays(found, network.n_classes, *weights))
    if network.x_mean is not None:
        network.x_mean[...] = source.read("center")
        check_finite("center", network.x_mean)
    if network.started is not None:
        network.started[...] = source.read("started") != 0
    for i, layer in enumerate(network.layers):
        _fill_layer(layer, network.input_stats[i][0], f"layers.{i}", source)
        chosen, prefix = settings.layers[i].retrieval, f"layers.{i}.retrieval"
        if chosen is not None:
            layer.retrieval = _retrieval(layer, chosen, prefix, part_of(forms, prefix), source)
    return network


def _widths(header: dict[str, Any], source: Source) -> list[int]:
    """Features, hidden layers and classes; refused if the source is too small for them."""
    rules = {**_NETWORK_RULES, **_PARTS_RULES}
    check("", {name: header[name] for name in rules}, rules)
    check("", header, {"hidden_layer_sizes": RULES["hidden_layer_sizes"]})
    widths = [header["n_features"], *header["hidden_layer_sizes"], header["n_classes"]]
    # The source must hold all weights and first moments, and explain the objects of the layers.
    bytes_each = 4 if header["settings"].get("weight_dtype") == "bfloat16" else 8
    needed = bytes_each * sum(n_in * n_out for n_in, n_out in pairwise(widths))
    if needed > source.size or _LAYER_OBJECTS * len(widths) > room_of(source.size):
        raise ValueError(f"layers of widths {widths} do not fit into {source.size} bytes")
    return widths


def _forms(header: dict[str, Any], widths: list[int], settings: Settings, source: Source) -> Forms:
    """The forms of the network's arrays. The source decides two sizes that no setting tells."""
    n_values = None
    if header["prototype_weight"] or header["svm_weight"]:
        n_values = source.shape(f"{PROTOTYPES}.values")[0]
    n_directions = []
    for i, (layer, n_in) in enumerate(zip(settings.layers, widths[:-1], strict=True)):
        # As many as `slide._network.start.make_retrieval` found.
        most = min(layer.retrieval.n_directions, n_in) if layer.retrieval else 0
        n = source.shape(f"layers.{i}.retrieval.directions.vectors")[0] if most else 0
        if most and not 1 <= n <= most:
            raise ValueError(f"layers.{i} has {n} directions; at most {most}")
        n_directions.append(n)
    optional = [name for name, key in _OPTIONAL.items() if header.get(key)]
    with_biases = header["svm_weight"] > 0
    return network_forms(widths, settings, optional, n_values, with_biases, n_directions)


def _unfilled(
    header: dict[str, Any], widths: list[int], settings: Settings, columns: Columns | None
) -> Network:
    """A Network with the plain values of `header`, whose arrays are not filled yet."""
    x_mean = np.zeros(widths[0], np.float32) if header["centered"] else None
    check("tally.", header["tally"], {"dense_multiply_adds": integer(1, 2**200)})
    tally = tally_from(header["tally"], "tally.")
    own = {name: header[name] for name in _NETWORK_RULES}
    sizes = tuple(widths[1:-1])
    network = Network(
        **own,
        hidden_layer_sizes=sizes,
        settings=settings,
        columns=columns,
        x_mean=x_mean,
        tally=tally,
        confidence=confidence_from(
            header.get("confidence", [1.0, 0.0, 0.0, 0.0])
        ),  # older files lack it
    )
    if header.get("some_started"):  # files of older versions lack it, and `early`
        network.started = np.zeros(network.n_classes, bool)
    if header.get("early") is not None:
        check("early.", header["early"], _EARLY_RULES)
        network.early = Early(**header["early"])
    pairs = zip(network.input_stats, header["input_lengths"], strict=True)
    for i, ((mean, _), length) in enumerate(pairs):
        check(f"layers.{i}.", {"input_length": length}, {"input_length": ABOVE_0})
        network.input_stats[i] = mean, length
    return network


def _columns(header: dict[str, Any], widths: list[int], source: Source) -> Columns | None:
    """The columns of X that have inputs, from the untrusted column of every input."""
    if header.get("n_announced") is None:  # nor do files of older versions have it
        return None
    check("", header, {"n_announced": integer(widths[0])})
    n_announced, ids = header["n_announced"], source.read("columns")
    columns = Columns.of_ids(n_announced, ids)
    known = columns.known
    if known[0] < 0 or known[-1] >= n_announced or not (known[1:] > known[:-1]).all():
        raise ValueError(f"columns must be distinct numbers below {n_announced}")
    return columns


def _fill_layer(layer: Layer, input_mean: Array, prefix: str, source: Source) -> None:
    """Read the arrays of a Layer and the mean of its inputs."""
    arrays = {**{name: getattr(layer, name) for name in _ARRAYS}, "input_mean": input_mean}
    for name, array in arrays.items():
        array[...] = source.read(f"{prefix}.{name}")
    for name in ("w", "b", "input_mean"):
        check_finite(f"{prefix}.{name}", arrays[name])
    if layer.steps.min() < 0 or layer.steps.max() > _MAX_STEPS:
        raise ValueError(f"{prefix}.steps must lie in [0, {_MAX_STEPS}]")


def _retrieval(
    layer: Layer, settings: RetrievalSettings, prefix: str, forms: Forms, source: Source
) -> Retrieval:
    """The Retrieval of a layer, whose arrays have `forms`."""
    directions = None
    if "directions.vectors" in forms:
        directions = np.zeros(forms["directions.vectors"][1], np.float32)
    any_functions = np.random.RandomState(0)
    found = Retrieval(layer.n_out, layer.n_in, asdict(settings), any_functions, directions)
    found.set_named_arrays({name: source.read(f"{prefix}.{name}") for name in forms})
    return found


def confidence_from(values: Any) -> Confidence:
    """The Confidence of a list of its four values."""
    slope, shift, crowding, bend = floats("confidence", values, 4)
    if slope <= 0 or bend < 0:
        raise ValueError(f"confidence must have a slope above 0 and a bend from 0 on; got {values}")
    return Confidence(slope, shift, crowding, bend)


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
    """The Tally of a dict of counts; messages put `where` before the names of counts."""
    sums = {"loss": NUMBER, "weight": NUMBER}
    counts = _renamed(header, _inverse(_TALLY_IN_FILE))
    check(where, counts, {f.name: sums.get(f.name, integer(0, 2**200)) for f in fields(Tally)})
    return Tally(**counts)


def _settings(header: dict[str, Any], widths: list[int]) -> Settings:
    """Settings from their dict, for layers between the given widths."""
    header = _renamed(header, _inverse(_SETTINGS_IN_FILE))
    own = {name: value for name, value in header.items() if name != "layers"}
    own = {"weight_dtype": "float32", **own}  # files of older versions lack it
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
    """Refuse a missing value, or one that its rule does not accept."""
    for name, rule in rules.items():
        if name not in values:
            raise ValueError(f"{where}{name} is missing")
        if not rule.accepts(values[name]):
            raise ValueError(f"{where}{name} must be {rule.takes}; got {shown(values[name])}")


def floats(name: str, values: Any, n: int | None = None) -> list[float]:
    """Check that `values` is a list of n finite floats (n=None: at least one), and return it."""
    if (
        not isinstance(values, list)
        or (len(values) != n if n is not None else not values)
        or not all(isinstance(value, float) and np.isfinite(value) for value in values)
    ):
        raise ValueError(f"{name} must hold finite numbers, {'at least one' if n is None else n}")
    return values


def check_finite(name: str, array: Array) -> None:
    # The sum is finite only if every number is, and needs no memory.
    with np.errstate(all="ignore"):
        if not np.isfinite(array.sum(dtype=np.float64)):
            raise ValueError(f"{name} must hold finite numbers")
