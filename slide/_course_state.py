"""A course of training as plain values and arrays, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from slide._json import decode, encode
from slide._network import Pass, Tally
from slide._typing import Array, State

if TYPE_CHECKING:
    from slide._epochs import Course


def course_state(course: Course) -> tuple[dict[str, Any], State]:
    """What `Course` needs to go on, beside its network and its data.

    Returns
    -------
    plain : dict
        JSON's own values.
    arrays : dict of str to ndarray
    """
    so_far, stacking = course.so_far, course.stacking
    plain = {
        "losses": course.losses,
        "scores": course.scores,
        "history": course.history,
        "best": course.best if course.losses else None,
        "n_stale": course.n_stale,
        "stopped": course.stopped,
        # In an epoch, what draws its order once more.
        "rng": encode("rng", course.rng if so_far is None else course.drawn_by),
        "so_far": None,
        "seconds": course.seconds,
        "counted": vars(course.counted),
        "weighed": None,
    }
    arrays = {"listed": course.trainer.listed}
    for i, (w, b) in enumerate(course.best_weights or []):
        arrays[f"best.{i}.w"], arrays[f"best.{i}.b"] = w, b
    if stacking is not None and stacking.weight is not None:
        plain["weighed"] = [float(v) for v in (stacking.weight, stacking.slope, stacking.offset)]
    if so_far is not None:
        queries = [None if sums is None else float(sums[1]) for sums in so_far.queries]
        plain["so_far"] = {**vars(so_far), "queries": queries}
        for i, sums in enumerate(so_far.queries):
            if sums is not None:
                arrays[f"queries.{i}"] = sums[0]
    return plain, arrays


def set_course_state(course: Course, plain: dict[str, Any], arrays: State) -> None:
    """Let a Course of the same data and parameters go on from what `course_state` returned.

    Raises
    ------
    ValueError
        When that does not fit the Course. Values of a wrong type may also raise TypeError, KeyError
        and the like.
    """
    n_rows, layers = len(course.data), course.network.layers
    course.losses = _finite("losses", plain["losses"])
    course.scores = _finite("scores", plain["scores"])
    course.history = list(plain["history"])
    course.best = -np.inf if plain["best"] is None else _finite("best", [plain["best"]])[0]
    course.n_stale, course.stopped = _count("n_stale", plain["n_stale"]), bool(plain["stopped"])
    course.drawn_by = decode(plain["rng"])
    course.rng.set_state(course.drawn_by.get_state())
    listed = _like("listed", course.trainer.listed, arrays)
    if listed.size and not (listed.min() >= -1 and listed.max() < course.network.n_classes):
        raise ValueError("listed must hold classes, or -1")
    course.trainer.listed[...] = listed
    if "best.0.w" in arrays:
        course.best_weights = [
            (_like(f"best.{i}.w", layer.w, arrays), _like(f"best.{i}.b", layer.b, arrays))
            for i, layer in enumerate(layers)
        ]
    if plain["weighed"] is not None:
        stacking = course.stacking
        if stacking is None:
            raise ValueError("weighed must be None without prototypes")
        stacking.weight, stacking.slope, stacking.offset = _finite("weighed", plain["weighed"])
    course.seconds = _finite("seconds", [plain["seconds"]])[0]
    course.counted = Tally(**plain["counted"])
    so_far = plain["so_far"]
    if so_far is not None:
        _finite("numbers so far", [so_far["loss"], so_far["weight"], *so_far["seconds"].values()])
        _count("n_rows", so_far["n_rows"], n_rows)
        _count("n_queries", so_far["n_queries"])
        queries = []
        for i, (layer, norms2) in enumerate(zip(layers, so_far["queries"], strict=True)):
            if norms2 is not None:
                wanted = np.zeros(layer.n_in)
                norms2 = _like(f"queries.{i}", wanted, arrays), _finite("queries", [norms2])[0]
            queries.append(norms2)
        course.so_far = Pass(**{**so_far, "queries": queries})


def _finite(name: str, values: Any) -> list[float]:
    if not all(isinstance(v, float) and np.isfinite(v) for v in values):
        raise ValueError(f"{name} must be finite numbers; got {values!r}")
    return list(values)


def _count(name: str, value: Any, high: int | None = None) -> int:
    if type(value) is not int or value < 0 or (high is not None and value > high):
        raise ValueError(f"{name} must be a count of at most {high}; got {value!r}")
    return value


def _like(name: str, wanted: Array, arrays: State) -> Array:
    array = arrays[name]
    if array.dtype != wanted.dtype or array.shape != wanted.shape:
        raise ValueError(
            f"{name} must be {wanted.dtype} of shape {wanted.shape}; got {array.dtype} of shape "
            f"{array.shape}"
        )
    return array
