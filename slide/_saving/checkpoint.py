"""The file in which a `fit` is kept: whose training it holds, when to write it, how to go on."""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_random_state

from slide._base.arrays import Array, NamedArrays, Params
from slide._base.files import check_replaceable
from slide._base.values import shown, trusting_nothing
from slide._saving.course_state import checked_history, course_state, set_course_state
from slide._saving.model_file import read_model, write_model
from slide._saving.plain_json import decode, encode
from slide.callback import Checkpoint

if TYPE_CHECKING:
    from slide._data.rows import TrainingRows
    from slide._estimator.classifier import SparseMLPClassifier
    from slide._settings.settings import Settings
    from slide._training.course import Course

_DAMAGED = "the file of Checkpoint is damaged"
_FREE = ("n_jobs", "verbose", "predict_mode", "random_state")  # may change between two runs


class CheckpointFile:
    """The file of a `slide.callback.Checkpoint`, for one training.

    Parameters
    ----------
    checkpoint : slide.callback.Checkpoint
    identity : dict
        What tells this training from others, see `identity_of`.

    Raises
    ------
    OSError, ValueError
        When the file cannot be written.
    """

    def __init__(self, checkpoint: Checkpoint, identity: dict[str, Any]) -> None:
        self._checkpoint, self._identity = checkpoint, identity
        self._written = time.monotonic()
        check_replaceable(checkpoint.path)

    @classmethod
    def of(
        cls,
        estimator: SparseMLPClassifier,
        params: Params,
        classes: Array,
        data: TrainingRows,
        rng: np.random.RandomState,
    ) -> CheckpointFile | None:
        """That of an estimator's Checkpoint, or None without one."""
        # scikit-learn keeps the callbacks there; a clone has nothing else of them.
        callbacks = getattr(estimator, "_skl_callbacks", ())
        found = [callback for callback in callbacks if isinstance(callback, Checkpoint)]
        if len(found) > 1:
            raise ValueError(f"callbacks must have one Checkpoint at most; got {len(found)}")
        if not found:
            return None
        n_before = estimator.t_ if hasattr(estimator, "_network") else 0
        return cls(found[0], identity_of(params, classes, data, rng, n_before))

    def read(self, cls: type[SparseMLPClassifier]) -> Kept | None:
        """What the file holds of this training, or None where there is no file.

        Raises
        ------
        ValueError
            When it holds something else, or is damaged.
        """
        path = self._checkpoint.path
        if not os.path.exists(path):
            return None
        model, kept, arrays = read_model(cls, path)
        if kept is None:
            self._refuse("that of a model that save wrote")
        with trusting_nothing(_DAMAGED):
            name = _differing(self._identity, kept["identity"])
            found = Kept(model, kept, arrays) if name is None else None
        if found is None:
            self._refuse(f"that of another {name}")
        self._identity["start"] = kept["identity"]["start"]
        return found

    def is_due(self, n_epochs: int | None = None) -> bool:
        """See `slide.callback.Checkpoint.is_due`."""
        return self._checkpoint.is_due(time.monotonic() - self._written, n_epochs)

    def write(self, model: SparseMLPClassifier, course: Course, done: bool = False) -> None:
        """Keep a Course, and the estimator as if it had stopped there."""
        header, arrays = (None, {}) if done else course_state(course)
        kept = {"identity": self._identity, "course": header, "history": model.history_}
        write_model(model, self._checkpoint.path, kept, arrays)
        self._written = time.monotonic()

    def _refuse(self, content: str) -> NoReturn:
        raise ValueError(
            f"the path of Checkpoint, {self._checkpoint.path}, must be of no file or of this "
            f"training; the file is {content}. Remove the file, or choose another path"
        )


class Kept:
    """What a file holds of a training.

    Attributes
    ----------
    model : SparseMLPClassifier
        As if training had stopped there.
    done : bool
        Whether it is over.
    """

    def __init__(
        self, model: SparseMLPClassifier, kept: dict[str, Any], arrays: NamedArrays
    ) -> None:
        self.model, self.done = model, kept["course"] is None
        self.model.history_ = checked_history(kept["history"])
        self._course, self._arrays = kept["course"], arrays
        self._start = decode(kept["identity"]["start"])
        if not isinstance(self._start, np.random.RandomState):
            raise ValueError(f"start must be the state of a RandomState; got {shown(self._start)}")

    def generator(self, rng: np.random.RandomState) -> np.random.RandomState:
        """`rng` as it was when the training began; another one where it is NumPy's own."""
        if rng is check_random_state(None):
            rng = np.random.RandomState()
        rng.set_state(self._start.get_state())
        return rng

    def check(self, settings: Settings, n_features: int, classes: Array) -> None:
        """Refuse a model that is none of a training with these settings, features and classes."""
        model = self.model
        with trusting_nothing(_DAMAGED):
            if model.n_features_in_ != n_features or not np.array_equal(model.classes_, classes):
                raise ValueError(f"its model must be of {n_features} features and y's classes")
            if model._network.settings != settings:
                raise ValueError("its network must have the settings that follow from parameters")

    def set_course(self, course: Course) -> None:
        """Let a Course, of the model's network, go on from here."""
        with trusting_nothing(_DAMAGED):
            set_course_state(course, self._course, self._arrays)


def identity_of(
    params: Params, classes: Array, data: TrainingRows, rng: np.random.RandomState, n_before: int
) -> dict[str, Any]:
    """What tells a training from others, of JSON's values.

    Parameters
    ----------
    params : dict
        Of the estimator, checked.
    classes : ndarray
    data : slide._data.rows.TrainingRows
        Before any are held out.
    rng : numpy.random.RandomState
        As it is before anything is drawn.
    n_before : int
        Samples that the network has been trained on before (`warm_start`).
    """
    x = data.x
    state = encode("random_state", rng)
    return {
        "parameter": {k: encode(k, v) for k, v in params.items() if k not in _FREE},
        "X": _digest(*((x.data, x.indices, x.indptr) if issparse(x) else (x,))),
        "y": _digest(data.labels.indptr, data.labels.indices, classes),
        "sample_weight": None if data.weights is None else _digest(data.weights),
        "random_state": None if rng is check_random_state(None) else state,
        "number of samples trained on before": n_before,
        "start": state,
    }


def _differing(ours: dict[str, Any], theirs: dict[str, Any]) -> str | None:
    """The first thing that tells two identities apart, or None."""
    pairs = [
        (f"parameter {k}", v, theirs["parameter"].get(k)) for k, v in ours["parameter"].items()
    ]
    pairs += [(k, v, theirs.get(k)) for k, v in ours.items() if k not in ("parameter", "start")]
    return next((name for name, one, other in pairs if one != other), None)


def _digest(*arrays: Array) -> str:
    """Of arrays of numbers, dates or texts."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        if array.dtype.kind in "OU":
            digest.update(json.dumps([str(item) for item in array.tolist()]).encode())
        else:
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()
