"""Model files: safetensors for the arrays, JSON in its metadata for the rest, no pickle."""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse import csr_array, csr_matrix

from slide._base.arrays import Array, NamedArrays, Params
from slide._base.files import replacing
from slide._base.values import shown, trusting_nothing
from slide._data.coder import LabelCoder
from slide._network.fitted import Fitted
from slide._network.older import Older
from slide._saving.network_state import check_finite, floats, network_from_state, network_state
from slide._saving.plain_json import decode, decode_dtype, encode
from slide._saving.room import check_head, parsed, room_of
from slide._saving.tensors import TensorFile, checksum, write_tensors
from slide._settings.rules import check_params

_KEY = "slide"  # the key of our JSON in the metadata
_TRAINING = "training."  # start of the names of arrays that only a checkpoint has
# The format's version; 2 added checksums, 3 columns without inputs, confidence and early rows.
# Raise it when older versions would misread new files.
_FORMAT = 3
_OLDER = ("losses", "scores")  # curves of `Older`
_MAX_WIDTH = 1000  # characters that a dtype of texts may have even if all texts are shorter
_CONTAINERS = {"none": None, "ndarray": np.ndarray, "csr_array": csr_array,
               "csr_matrix": csr_matrix}  # fmt: skip


@dataclass(frozen=True)
class Saved:
    """The content of a model file.

    Parameters
    ----------
    params : dict
        Parameters of the estimator.
    fitted : slide._network.fitted.Fitted
    feature_names : object ndarray of str, or None
    training : dict or None
        JSON's own values that a training goes on from; only a checkpoint has them.
    training_arrays : dict of str to ndarray
    """

    params: Params
    fitted: Fitted
    feature_names: Array | None
    training: dict[str, Any] | None = None
    training_arrays: NamedArrays = field(default_factory=dict)


def write(path: str, saved: Saved) -> None:
    """Write a model to a file that appears whole or not at all."""
    header, arrays = _header_and_arrays(saved)
    header["checksums"] = {name: checksum(name, array) for name, array in arrays.items()}
    header["checksum"] = _text_checksum(header)
    metadata = {_KEY: json.dumps(header, allow_nan=False)}
    with replacing(path) as temporary:
        try:
            write_tensors(temporary, arrays, metadata)
        except OSError as error:
            if error.errno is not None:
                raise
            raise OSError(f"{path} cannot be written: {error}") from error


def check_labels(classes: Array) -> None:
    """Refuse classes that a file cannot hold."""
    kind, texts = classes.dtype.kind, True
    if kind == "O":
        texts = all(isinstance(label, str) for label in classes)
    if kind not in "biufUOMm" or not texts:
        raise ValueError(
            "a model can be saved if its labels are ints, bools, floats, texts or dates of NumPy; "
            f"got {shown(classes[0])}, of type {type(classes[0]).__name__}: convert y before fit"
        )


def read(path: str, defaults: Params) -> Saved:
    """Read the file of `write`.

    `defaults` has all parameters of the estimator; files of older versions may lack some.
    """
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise ValueError(f"{path} is no model that can be loaded: it is not a plain file")
    problem = f"{path} is no model that can be loaded"
    with trusting_nothing(problem):
        check_head(path)
    with trusting_nothing(problem), TensorFile(path) as file:
        header = _header(file)
        names = [name for name in file.names if name.startswith(_TRAINING)]
        arrays = {name.removeprefix(_TRAINING): file.take(name) for name in names}
        return _saved(header, file, arrays, defaults)


def _header_and_arrays(saved: Saved) -> tuple[dict[str, Any], NamedArrays]:
    params, fitted, coder = saved.params, saved.fitted, saved.fitted.coder
    check_params(params)  # `read` refuses what `fit` would refuse
    network, arrays = network_state(fitted.network)
    header = {
        "format": _FORMAT,
        "params": {name: encode(name, value) for name, value in params.items()},
        "trained_with": {
            name: encode(name, value)
            for name, value in fitted.params.items()
            if name not in ("random_state", "n_jobs")
        },
        "network": {name: _encode_all(name, value) for name, value in network.items()},
        # If `random_state` is this generator, both must be one object again after loading.
        "rng": None if fitted.rng is params["random_state"] else encode("random_state", fitted.rng),
        "labels": next(k for k, v in _CONTAINERS.items() if v is coder.container),
        "labels_per_row": fitted.labels_per_row,
        "loss_curve": list(fitted.losses),
        "validation_scores": list(fitted.scores) or None,
    }
    if not coder.multilabel:
        header["classes_dtype"], arrays["classes"] = _classes_array(coder.classes)
    if saved.feature_names is not None:
        arrays["feature_names"] = _text_array(saved.feature_names)
    for name in _OLDER:
        if len(curve := getattr(fitted.older, name)):
            arrays[f"older_{name}"] = curve
    if saved.training is not None:
        header["training"] = saved.training
    for name, array in saved.training_arrays.items():
        arrays[f"{_TRAINING}{name}"] = array
    return header, arrays


def _saved(
    header: dict[str, Any], file: TensorFile, training_arrays: NamedArrays, defaults: Params
) -> Saved:
    params = {name: decode(value) for name, value in header["params"].items()}
    if foreign := params.keys() - defaults.keys():
        raise ValueError(f"it has an unknown parameter {min(foreign)!r}")
    params = {**defaults, **params}
    check_params(params)
    trained_with = {name: decode(value) for name, value in header["trained_with"].items()}
    multilabel = header["labels"] != "none"
    known = None
    if not multilabel:
        known = _classes(file.take("classes"), header["classes_dtype"], file.size)
    names = None
    if "feature_names" in file.names:
        names = _texts(file.take("feature_names"), file.size)
    losses, scores_before = (_curve(f"older_{name}", file) for name in _OLDER)
    network = network_from_state(_decode_all(header.pop("network")), file)
    classes: Array = np.arange(network.n_classes) if known is None else known
    if len(classes) != network.n_classes or not (classes[1:] > classes[:-1]).all():
        raise ValueError(f"classes must be {network.n_classes} labels in rising order")
    if names is not None and len(names) != network.n_announced:
        raise ValueError(f"feature_names must be {network.n_announced}; got {len(names)}")
    rng = params["random_state"] if header["rng"] is None else decode(header["rng"])
    if not isinstance(rng, np.random.RandomState):
        raise ValueError("rng must be the state of a RandomState")
    scores = header["validation_scores"]
    fitted = Fitted(
        network,
        LabelCoder(classes, _CONTAINERS[header["labels"]]),
        check_params({**params, **trained_with}),
        rng,
        labels_per_row=floats("labels_per_row", [header["labels_per_row"]])[0],
        losses=tuple(floats("loss_curve", header["loss_curve"])),
        scores=() if scores is None else tuple(floats("validation_scores", scores)),
        # Left out: its seconds differ from run to run, and equal trainings must give equal files.
        history=(),
        feature_names=names,
        older=Older(losses, scores_before),
    )
    return Saved(params, fitted, names, header.get("training"), training_arrays)


def _curve(name: str, file: TensorFile) -> Array:
    """A curve of `Older`; empty if the file has none."""
    if name not in file.names:
        return np.zeros(0, np.float32)
    curve = file.take(name)
    if curve.ndim != 1 or curve.dtype != np.float32:
        raise ValueError(f"{name} must be float32 of one dimension; got {curve.dtype}")
    check_finite(name, curve)
    return curve


def _header(file: TensorFile) -> dict[str, Any]:
    """The JSON of a file; unknown formats and damaged JSON are refused."""
    if _KEY not in file.metadata:
        raise ValueError("it is in safetensors format, but not from save")
    header: dict[str, Any] = parsed(file.metadata[_KEY].encode(), file.size)
    version = header["format"]
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"its format must be a number from 1 on; got {version!r}")
    if version > _FORMAT:
        raise ValueError(
            f"it is of format {version}, of a newer version of slide; this version reads {_FORMAT}"
        )
    if version > 1 or "checksum" in header:
        kept = header.pop("checksum", None)
        found = _text_checksum(header)
        if found != kept:
            raise ValueError(f"its JSON is damaged: the checksum is {found}, not {kept}")
        file.checksums = header["checksums"]
    return header


def _text_checksum(header: dict[str, Any]) -> str:
    """CRC-32 of the header as JSON, which contains the checksums of the arrays."""
    return f"{zlib.crc32(json.dumps(header).encode()):08x}"


def _encode_all(name: str, value: Any) -> Any:
    """`encode` on the leaves of dicts and lists."""
    if isinstance(value, dict):
        return {key: _encode_all(f"{name}.{key}", item) for key, item in value.items()}
    if isinstance(value, list):
        return [_encode_all(name, item) for item in value]
    return encode(name, value)


def _decode_all(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() != {"numpy"}:
        return {key: _decode_all(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode_all(item) for item in value]
    return decode(value)


# ---------------------------------------------- labels and names as arrays --


def _classes_array(classes: Array) -> tuple[str, Array]:
    """The dtype of labels, and the labels as an array that safetensors knows.

    Integers, bools and floats stay as they are. Texts become JSON. Dates, durations and long floats
    become their bytes.
    """
    check_labels(classes)
    dtype = classes.dtype
    if dtype.kind in "UO":
        longest = _longest(classes)
        if _is_too_wide(dtype, longest, len(classes), room_of(0)):
            dtype = np.dtype(f"U{longest}")  # so that `load` takes it
        return dtype.str, _text_array(classes)
    if dtype.kind in "biuf" and dtype.itemsize <= 8:
        return dtype.str, classes.astype(dtype.newbyteorder("="))
    return dtype.str, np.ascontiguousarray(classes)[:, np.newaxis].view(np.uint8)


def _classes(array: Array, text: str, size: int) -> Array:
    """The labels of a file of `size` bytes, from what `_classes_array` returned."""
    dtype = decode_dtype(text)
    if dtype.kind in "UO":
        return _texts_of(dtype, _texts(array, size), size)
    if dtype.kind in "biuf" and dtype.itemsize <= 8:
        if array.ndim != 1 or array.dtype != dtype.newbyteorder("="):
            raise ValueError(f"classes must be {dtype} of one dimension; got {array.dtype}")
        return array.astype(dtype)
    if dtype.kind not in "Mmf" or array.dtype != np.uint8 or array.shape[1:] != (dtype.itemsize,):
        raise ValueError(f"classes cannot be of dtype {dtype} and {array.dtype} {array.shape}")
    return np.ascontiguousarray(array).view(dtype)[:, 0]


def _texts_of(dtype: np.dtype[Any], texts: Array, size: int) -> Array:
    longest = _longest(texts)
    if _is_too_wide(dtype, longest, len(texts), room_of(size)):
        raise ValueError(
            f"{len(texts)} classes of at most {longest} characters cannot be of dtype {dtype} in a "
            f"file of {size} bytes"
        )
    return texts.astype(dtype)


def _longest(texts: Array) -> int:
    return max(map(len, texts), default=0)


def _is_too_wide(dtype: np.dtype[Any], longest: int, n: int, room: int) -> bool:
    """Whether n texts of a dtype, the longest of so many characters, exceed the room.

    Every text of an array of strings takes the memory of the widest one, be it there or not.
    """
    too_wide = dtype.itemsize > 4 * max(longest, _MAX_WIDTH)
    return dtype.kind == "U" and (too_wide or n * dtype.itemsize > room)


def _text_array(texts: Array) -> Array:
    return np.frombuffer(json.dumps(texts.tolist()).encode(), np.uint8)


def _texts(array: Array, size: int) -> Array:
    """Inverse of `_text_array`, in a file of `size` bytes: an object array of strings."""
    if array.dtype != np.uint8 or array.ndim != 1:
        raise ValueError(f"texts must be bytes; got {array.dtype} of shape {array.shape}")
    texts = parsed(array.tobytes(), size)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("texts must be a list of strings")
    return np.array(texts, dtype=object)
