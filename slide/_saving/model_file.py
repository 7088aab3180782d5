"""Models as files: safetensors for the arrays, JSON in its metadata for the rest, no pickle."""

from __future__ import annotations

import json
import os
import zlib
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from safetensors import SafetensorError
from scipy.sparse import csr_array, csr_matrix
from sklearn.utils.validation import check_is_fitted

from slide._base.arrays import Array, NamedArrays
from slide._base.files import as_path, replacing
from slide._base.locks import one_at_a_time
from slide._base.values import trusting_nothing
from slide._data.labels import LabelCoder
from slide._saving.network_state import floats, network_from_state, network_state
from slide._saving.plain_json import decode, decode_dtype, encode
from slide._saving.tensors import TensorFile, checksum, write_tensors
from slide._settings.rules import check_params

if TYPE_CHECKING:
    from slide._estimator.classifier import SparseMLPClassifier

M = TypeVar("M")

_KEY = "slide"  # of our JSON in the metadata
_TRAINING = "training."  # before the names of arrays that only a checkpoint has
# Raise it when older versions can no longer read what is written. 2 added checksums.
_FORMAT = 2
_MAX_WIDTH = 1000  # characters of a label's place, where no label is longer
_CONTAINERS = {"none": None, "ndarray": np.ndarray, "csr_array": csr_array,
               "csr_matrix": csr_matrix}  # fmt: skip


class Saving:
    """Mixin of an estimator whose `_network.network` is a `slide._network.network.Network`."""

    @one_at_a_time
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to one file, which `load` can read.

        The file is in safetensors format. Weights, moments and hash tables are arrays that other
        programs can read. The rest is JSON under "slide" in the file's metadata. The file holds no
        pickle, so you can load a file from a stranger. It appears whole or not at all: if writing
        fails or the process is killed, an existing file stays as it was. A kill may leave a folder
        `.NAME.HEX.tmp` next to it, which you can delete. Checksums let `load` find damage, but not
        forgery.

        Parameters
        ----------
        path : str or path-like
            File to write or replace.

        Raises
        ------
        NotFittedError
            When the estimator is not fitted.
        ValueError
            When a parameter is wrong or has a type that JSON cannot hold, or `path` is not a file.
        OSError
            When the file cannot be written.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from slide import SparseMLPClassifier
        >>> from slide.datasets import make_extreme_classification
        >>> X, y = make_extreme_classification(500, 400, 20, random_state=0)
        >>> clf = SparseMLPClassifier(random_state=0, max_iter=2).fit(X, y)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clf.save(Path(folder) / "model.safetensors")
        ...     twin = SparseMLPClassifier.load(Path(folder) / "model.safetensors")
        >>> bool((twin.decision_function(X) == clf.decision_function(X)).all())
        True
        """
        check_is_fitted(self)
        write_model(self, as_path(path))  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Load an estimator from a file that `save` wrote.

        It predicts like the saved estimator. With one thread it also continues training like it,
        bit by bit on a machine with the same instruction set.

        Parameters
        ----------
        path : str or path-like
            File of `save`, written by this version of the package or an older one.

        Returns
        -------
        estimator : SparseMLPClassifier
            Estimator of the class that you call `load` on.

        Raises
        ------
        OSError
            When the file does not exist or you have no right to read it.
        ValueError
            When `save` did not write the file, when it is cut short or damaged, or when a newer
            version wrote it. Every array is checked, so a file that was tampered with may predict
            anything but does no harm.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from slide import SparseMLPClassifier
        >>> X, y = [[0.0, 1.0], [1.0, 0.0], [0.1, 0.9], [0.9, 0.2]], [0, 1, 0, 1]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "model.safetensors"
        ...     SparseMLPClassifier((16,), random_state=0).fit(X, y).save(path)
        ...     clf = SparseMLPClassifier.load(path)
        >>> clf.predict(X).tolist()
        [0, 1, 0, 1]
        """
        return read_model(cls, as_path(path))[0]


def write_model(
    model: SparseMLPClassifier,
    path: str,
    training: dict[str, Any] | None = None,
    training_arrays: NamedArrays | None = None,
) -> None:
    """Write a fitted estimator and, in a checkpoint, what its training goes on from.

    path : str; training : JSON's own values or None; training_arrays : dict of str to ndarray.
    """
    header, arrays = _state_of(model)
    if training is not None:
        header["training"] = training
    for name, array in (training_arrays or {}).items():
        arrays[f"{_TRAINING}{name}"] = array
    header["checksums"] = {name: checksum(name, array) for name, array in arrays.items()}
    header["checksum"] = _text_checksum(header)
    metadata = {_KEY: json.dumps(header, allow_nan=False)}
    with replacing(path) as temporary:
        try:
            write_tensors(temporary, arrays, metadata)
        except SafetensorError as error:
            raise OSError(f"{path} cannot be written: {error}") from error


def read_model(cls: type[M], path: str) -> tuple[M, dict[str, Any] | None, NamedArrays]:
    """What `write_model` wrote: the estimator, the training or None, and its arrays by name."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise ValueError(f"{path} is no model that can be loaded: it is not a plain file")
    with open(path, "rb"):  # says in Python's own words what is wrong
        pass
    problem = f"{path} is no model that can be loaded"
    with trusting_nothing(problem), TensorFile(path) as file:
        header = _header(file)
        names = [name for name in file.names if name.startswith(_TRAINING)]
        training = {name.removeprefix(_TRAINING): file.take(name) for name in names}
        return _restored(cls, header, file), header.get("training"), training


def _state_of(model: SparseMLPClassifier) -> tuple[dict[str, Any], NamedArrays]:
    """The plain values and the arrays of a fitted estimator."""
    params = model.get_params(deep=False)
    check_params(params)  # what `fit` would refuse could not be loaded either
    network, arrays = network_state(model._network)
    rng = model._rng
    header = {
        "format": _FORMAT,
        "params": {name: encode(name, value) for name, value in params.items()},
        "trained_with": {
            name: encode(name, value)
            for name, value in model._params.items()
            if name not in ("random_state", "n_jobs")
        },
        "network": {name: _encode_all(name, value) for name, value in network.items()},
        # One generator may serve as the parameter too, and both go on together.
        "rng": None if rng is model.random_state else encode("random_state", rng),
        "labels": next(k for k, v in _CONTAINERS.items() if v is model._coder.container),
        "labels_per_row": model._labels_per_row,
        "loss_curve": model.loss_curve_,
        "validation_scores": model.validation_scores_,
    }
    if not model._coder.multilabel:
        header["classes_dtype"], arrays["classes"] = _classes_array(model.classes_)
    if hasattr(model, "feature_names_in_"):
        arrays["feature_names"] = _text_array(model.feature_names_in_)
    return header, arrays


def _restored(cls: type[M], header: dict[str, Any], file: TensorFile) -> Any:
    """The estimator of `_state_of`'s values and arrays."""
    params = {name: decode(value) for name, value in header["params"].items()}
    model: Any = cls(**params)
    params = model.get_params(deep=False)  # a file of before has not all of them
    check_params(params)
    trained_with = {name: decode(value) for name, value in header["trained_with"].items()}
    multilabel = header["labels"] != "none"
    known = None if multilabel else _classes(file.take("classes"), header["classes_dtype"])
    names = _texts(file.take("feature_names")) if "feature_names" in file.names else None
    network = network_from_state(
        {name: _decode_all(value) for name, value in header["network"].items()}, file
    )
    classes: Array = np.arange(network.n_classes) if known is None else known
    if len(classes) != network.n_classes or not (classes[1:] > classes[:-1]).all():
        raise ValueError(f"classes must be {network.n_classes} labels in rising order")
    if names is not None:
        if len(names) != network.n_features:
            raise ValueError(f"feature_names must be {network.n_features}; got {len(names)}")
        model.feature_names_in_ = names
    rng = model.random_state if header["rng"] is None else decode(header["rng"])
    if not isinstance(rng, np.random.RandomState):
        raise ValueError("rng must be the state of a RandomState")
    model.n_features_in_ = network.n_features
    model._labels_per_row = floats("labels_per_row", [header["labels_per_row"]])[0]
    losses = floats("loss_curve", header["loss_curve"])
    scores = header["validation_scores"]
    if scores is not None:
        scores = floats("validation_scores", scores)
    coder = LabelCoder(classes, _CONTAINERS[header["labels"]])
    trained_with = check_params({**params, **trained_with})
    # Seconds are of a machine's day, not of the model: the same training gives the same file.
    model._set_trained(network, coder, trained_with, rng, losses, scores, history=[])
    return model


def _header(file: TensorFile) -> dict[str, Any]:
    """The JSON of the file, of a format that this version knows."""
    if _KEY not in file.metadata:
        raise ValueError("it is in safetensors format, but not from save")
    header: dict[str, Any] = json.loads(file.metadata[_KEY])
    version = header["format"]
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"its format must be a number from 1 on; got {version!r}")
    if version > _FORMAT:
        raise ValueError(
            f"it is of format {version}, of a newer version of slide; this one reads {_FORMAT}"
        )
    if version > 1 or "checksum" in header:
        kept = header.pop("checksum", None)
        found = _text_checksum(header)
        if found != kept:
            raise ValueError(f"its JSON is damaged: the checksum is {found}, not {kept}")
        file.checksums = header["checksums"]
    return header


def _text_checksum(header: dict[str, Any]) -> str:
    """CRC-32 of plain values as JSON, with the checksums of the arrays that are among them."""
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
    """Labels as an array that safetensors knows, and their dtype.

    Integers, bools and floats are themselves, texts are JSON, and dates, durations and long floats
    are their bytes.
    """
    dtype = classes.dtype
    if dtype.kind in "UO":
        return dtype.str, _text_array(classes)
    if dtype.kind in "biuf" and dtype.itemsize <= 8:
        return dtype.str, classes.astype(dtype.newbyteorder("="))
    return dtype.str, np.ascontiguousarray(classes)[:, np.newaxis].view(np.uint8)


def _classes(array: Array, text: str) -> Array:
    dtype = decode_dtype(text)
    if dtype.kind in "UO":
        return _texts_of(dtype, _texts(array))
    if dtype.kind in "biuf" and dtype.itemsize <= 8:
        if array.ndim != 1 or array.dtype != dtype.newbyteorder("="):
            raise ValueError(f"classes must be {dtype} of one dimension; got {array.dtype}")
        return array.astype(dtype)
    if dtype.kind not in "Mmf" or array.dtype != np.uint8 or array.shape[1:] != (dtype.itemsize,):
        raise ValueError(f"classes cannot be of dtype {dtype} and {array.dtype} {array.shape}")
    return np.ascontiguousarray(array).view(dtype)[:, 0]


def _texts_of(dtype: np.dtype[Any], texts: Array) -> Array:
    # A few bytes of a file must not ask for any amount of memory.
    longest = max(map(len, texts), default=0)
    if dtype.kind == "U" and dtype.itemsize > 4 * max(longest, _MAX_WIDTH):
        raise ValueError(f"classes of at most {longest} characters cannot be of dtype {dtype}")
    return texts.astype(dtype)


def _text_array(texts: Array) -> Array:
    return np.frombuffer(json.dumps(texts.tolist()).encode(), np.uint8)


def _texts(array: Array) -> Array:
    """The strings of `_text_array`, an object array."""
    if array.dtype != np.uint8 or array.ndim != 1:
        raise ValueError(f"texts must be bytes; got {array.dtype} of shape {array.shape}")
    texts = json.loads(array.tobytes())
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("texts must be a list of strings")
    return np.array(texts, dtype=object)
