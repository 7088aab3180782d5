"""Checkpoint files: which training a file holds, when to write it, how to go on from it."""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_random_state

from slide._base.arrays import Array, Params
from slide._base.files import check_replaceable
from slide._base.values import shown, trusting_nothing
from slide._saving import model_file
from slide._saving.course_state import checked_history, course_state, set_course_state
from slide._saving.model_file import Saved
from slide._saving.plain_json import decode, encode
from slide.callback import Checkpoint

if TYPE_CHECKING:
    from slide._data.rows import TrainingRows
    from slide._network.fitted import Fitted
    from slide._network.network import Network
    from slide._settings.settings import Settings
    from slide._training.course import Course

_DAMAGED = "the file of Checkpoint is damaged"
# Parameters that may change between two runs.
_FREE = ("n_jobs", "verbose", "predict_mode", "random_state")


class CheckpointFile:
    """The file of a `slide.callback.Checkpoint`, for one training.

    Parameters
    ----------
    checkpoint : slide.callback.Checkpoint
    identity : dict
        Distinguishes this training from others, see `identity_of`.
    params : dict
        Parameters of the estimator, as the user set them.
    feature_names : object ndarray of str, or None

    Raises
    ------
    OSError, ValueError
        When the file cannot be written.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        identity: dict[str, Any],
        params: Params,
        feature_names: Array | None,
    ) -> None:
        self._checkpoint, self._identity = checkpoint, identity
        self._params, self._feature_names = params, feature_names
        self._written = time.monotonic()
        check_replaceable(checkpoint.path)

    def read(self) -> Kept | None:
        """Read the training that the file holds; None if there is no file.

        Raises
        ------
        ValueError
            When the file holds something else, or is damaged.
        """
        path = self._checkpoint.path
        if not os.path.exists(path):
            return None
        saved = model_file.read(path, self._params)
        kept = saved.training
        if kept is None:
            self._refuse("that of a model that save wrote")
        with trusting_nothing(_DAMAGED):
            name = _differing(self._identity, kept["identity"])
            found = Kept(saved, kept) if name is None else None
        if found is None:
            self._refuse(f"that of another {name}")
        self._identity["start"] = kept["identity"]["start"]
        return found

    def is_due(self, n_epochs: int | None = None) -> bool:
        """See `slide.callback.Checkpoint.is_due`."""
        return self._checkpoint.is_due(time.monotonic() - self._written, n_epochs)

    def write(self, fitted: Fitted, course: Course | None) -> None:
        """Write a Course, and `fitted`, its result so far; course=None: the training is over.

        If the file cannot be written, it still holds the checkpoint before. A training that is not
        over warns and goes on.

        Raises
        ------
        OSError
            When the training is over and the file cannot be written. The message says that the
            estimator is fitted, which it must be already.
        FloatingPointError
            When the state of the training is no longer finite.
        """
        header, arrays = (None, {}) if course is None else course_state(course)
        # A Course has its own history.
        history = list(fitted.history) if course is None else []
        kept = {"identity": self._identity, "course": header, "history": history}
        saved = Saved(self._params, fitted, self._feature_names, kept, arrays)
        try:
            model_file.write(self._checkpoint.path, saved)
        except OSError as error:
            self._report(error, is_over=course is None)
        except ValueError as error:  # parameters were encoded before, so it is a number
            raise FloatingPointError(
                f"training diverged: the file of Checkpoint, {self._checkpoint.path}, was not "
                f"written, because it holds finite numbers only: {error}"
            ) from error
        self._written = time.monotonic()

    def _report(self, error: OSError, is_over: bool) -> None:
        problem = f"the file of Checkpoint, {self._checkpoint.path}, was not written: {error}"
        if is_over:
            problem = f"the estimator is fitted, but {problem}"
            raise OSError(*(problem,) if error.errno is None else (error.errno, problem)) from error
        warnings.warn(
            f"{problem}. The training goes on, and the file holds the last checkpoint that could "
            "be written",
            RuntimeWarning,
            stacklevel=2,
        )

    def _refuse(self, content: str) -> NoReturn:
        raise ValueError(
            f"the path of Checkpoint, {self._checkpoint.path}, must be of no file or of this "
            f"training; the file is {content}. Remove the file, or choose another path"
        )


class Kept:
    """A training that a file keeps.

    Attributes
    ----------
    fitted : slide._network.fitted.Fitted
        The result as if training had stopped there.
    done : bool
        Whether the training is over.
    """

    def __init__(self, saved: Saved, kept: dict[str, Any]) -> None:
        self.done = kept["course"] is None
        self.fitted = replace(saved.fitted, history=tuple(checked_history(kept["history"])))
        self._course, self._arrays = kept["course"], saved.training_arrays
        self._start = decode(kept["identity"]["start"])
        if not isinstance(self._start, np.random.RandomState):
            raise ValueError(f"start must be the state of a RandomState; got {shown(self._start)}")

    @property
    def network(self) -> Network:
        return self.fitted.network

    def generator(self, rng: np.random.RandomState) -> np.random.RandomState:
        """Set `rng` back to the start of the training; NumPy's global one is left alone."""
        if rng is check_random_state(None):
            rng = np.random.RandomState()
        rng.set_state(self._start.get_state())
        return rng

    def check(self, settings: Settings, n_features: int, classes: Array) -> None:
        """Refuse a model whose settings, features or classes are not those of this training."""
        network, coder = self.network, self.fitted.coder
        with trusting_nothing(_DAMAGED):
            if network.n_features != n_features or not np.array_equal(coder.classes, classes):
                raise ValueError(f"its model must be of {n_features} features and y's classes")
            if network.settings != settings:
                raise ValueError("its network must have the settings that follow from parameters")

    def set_course(self, course: Course) -> None:
        """Set a Course of this model's network to the state that the file holds."""
        with trusting_nothing(_DAMAGED):
            set_course_state(course, self._course, self._arrays)


def the_checkpoint(callbacks: Iterable[Any]) -> Checkpoint | None:
    """The Checkpoint among an estimator's callbacks, or None; more than one is refused."""
    found = [callback for callback in callbacks if isinstance(callback, Checkpoint)]
    if len(found) > 1:
        raise ValueError(f"callbacks must have one Checkpoint at most; got {len(found)}")
    return found[0] if found else None


def identity_of(
    params: Params, classes: Array, data: TrainingRows, rng: np.random.RandomState, n_before: int
) -> dict[str, Any]:
    """JSON values that distinguish a training from others.

    Parameters
    ----------
    params : dict
        Parameters of the estimator, checked.
    classes : ndarray
    data : slide._data.rows.TrainingRows
        All rows, before any are held out.
    rng : numpy.random.RandomState
        The generator before anything is drawn.
    n_before : int
        Samples that the network has been trained on before this training (`warm_start`).
    """
    model_file.check_labels(classes)  # now, not when the first file is due
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
    """The name of the first difference between two identities, or None."""
    pairs = [
        (f"parameter {k}", v, theirs["parameter"].get(k)) for k, v in ours["parameter"].items()
    ]
    pairs += [(k, v, theirs.get(k)) for k, v in ours.items() if k not in ("parameter", "start")]
    return next((name for name, one, other in pairs if one != other), None)


def _digest(*arrays: Array) -> str:
    """A digest of arrays of numbers, dates or texts."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        if array.dtype.kind in "OU":
            digest.update(json.dumps([str(item) for item in array.tolist()]).encode())
        else:
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()
