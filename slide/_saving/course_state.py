"""Conversion of a Course's state to JSON values and named arrays, and back."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import numpy as np

from slide._base.arrays import Array, NamedArrays, Params
from slide._base.values import shown
from slide._network.passes import Pass
from slide._saving.network_state import (
    check,
    check_finite,
    confidence_from,
    floats,
    tally_from,
    tally_header,
)
from slide._saving.plain_json import decode, encode
from slide._settings.rules import ABOVE_0, BOOL, NUMBER, Rule, integer

if TYPE_CHECKING:
    from slide._network.layer import Layer
    from slide._training.course import Course

_SECONDS = Pass.begin(0).seconds.keys()
_EPOCH = {
    "loss": NUMBER,
    "seconds": NUMBER,
    "seconds_in": Rule(lambda value: _are_seconds(value), f"seconds of {', '.join(_SECONDS)}"),
    "n_samples": integer(1, 2**200),
    "multiply_adds": integer(0, 2**200),
    "dense_multiply_adds": integer(1, 2**200),
    "n_active": Rule(lambda value: _are_numbers(value), "a list of finite numbers"),
    "n_rebuilds": integer(0, 2**200),
}  # what `slide._training.course.history_of` returns


def course_state(course: Course) -> tuple[dict[str, Any], NamedArrays]:
    """The state that a Course needs to go on, apart from its network and its data.

    Returns
    -------
    header : dict
        JSON's own values.
    arrays : dict of str to ndarray
    """
    so_far, stacking = course.so_far, course.stacking
    header = {
        "losses": course.losses,
        "scores": course.scores,
        "history": course.history,
        "best": course.best if course.losses else None,
        "n_stale": course.n_stale,
        "stopped": course.stopped,
        # Within an epoch: the generator as it was before it drew the row order of the epoch.
        "rng": encode("rng", course.rng if so_far is None else course.drawn_by),
        "so_far": None,
        "seconds": course.seconds,
        "counted": tally_header(course.counted),
        "weighed": None,
        "calibrated": None,
    }
    arrays = {"listed": course.trainer.hard}
    for i, (w, b) in enumerate(course.best_weights or []):
        arrays[f"best.{i}.w"], arrays[f"best.{i}.b"] = w, b
    if stacking is not None and stacking.weight is not None:
        header["weighed"] = [float(stacking.weight), float(stacking.svm_weight)]
    if stacking is not None and stacking.hard is not None and stacking.svm_weight:
        arrays["negatives"] = stacking.hard
    if stacking is not None and stacking.scale is not None:
        header["calibrated"] = [*stacking.scale, *astuple(stacking.confidence)]
    if so_far is not None:
        queries = [None if sums is None else float(sums[1]) for sums in so_far.queries]
        header["so_far"] = {**vars(so_far), "queries": queries}
        for i, sums in enumerate(so_far.queries):
            if sums is not None:
                arrays[f"queries.{i}"] = sums[0]
    return header, arrays


def set_course_state(course: Course, header: dict[str, Any], arrays: NamedArrays) -> None:
    """Set a Course of the same data and parameters to what `course_state` returned.

    Raises
    ------
    ValueError
        When a value does not fit the Course. Values of a wrong type may also raise TypeError,
        KeyError and the like.
    """
    judged = course.held_out is not None
    n_epochs = len(header["losses"])
    course.losses = floats("losses", header["losses"], n_epochs)
    course.scores = floats("scores", header["scores"], n_epochs if judged else 0)
    course.history = checked_history(header["history"], n_epochs)
    check("", header, {"n_stale": integer(0, n_epochs), "stopped": BOOL})
    course.n_stale, course.stopped = header["n_stale"], header["stopped"]
    (course.seconds,) = floats("seconds", [header["seconds"]])
    course.counted = tally_from(header["counted"], "counted.")
    course.drawn_by = decode(header["rng"])
    course.rng.set_state(course.drawn_by.get_state())
    course.trainer.hard[...] = _hard("listed", course.trainer.hard, course, arrays)
    if n_epochs:
        (course.best,) = floats("best", [header["best"]])
        if judged:
            course.best_weights = [
                _weights(f"best.{i}", layer, arrays)
                for i, layer in enumerate(course.network.layers)
            ]
    _set_stacking(course, header, arrays)
    if header["so_far"] is not None:
        course.so_far = _pass(course, header["so_far"], arrays)
    if (course.so_far is None and not n_epochs) or (course.so_far is not None and course.stopped):
        raise ValueError("an epoch must be over or in progress, and none once training has stopped")


def _hard(name: str, like: Array, course: Course, arrays: NamedArrays) -> Array:
    """Hard neurons of every row."""
    hard = _like(name, like, arrays)
    if hard.size and not (hard.min() >= -1 and hard.max() < course.network.n_classes):
        raise ValueError(f"{name} must hold classes, or -1")
    return hard


def _set_stacking(course: Course, header: dict[str, Any], arrays: NamedArrays) -> None:
    stacking = course.stacking
    weighed, calibrated = header["weighed"], header.get("calibrated")  # older versions lack it
    if stacking is None:
        if weighed is not None or calibrated is not None:
            raise ValueError("weighed and calibrated must be None if no rows come late")
        return
    if weighed is not None:
        # Older versions have the first value alone, or add two that mean something else.
        values = floats("weighed", weighed, len(weighed) if len(weighed) in (1, 3) else 2)
        weight, svm_weight = values[0], values[1] if len(values) == 2 else 0.0
        may_weigh = stacking.tries_prototypes and stacking.held_out is None
        if min(weight, svm_weight) < 0 or (max(weight, svm_weight) > 0 and not may_weigh):
            raise ValueError(f"weighed={weighed} does not go with the prototypes")
        if svm_weight > 0:
            like = np.zeros((len(course.data), stacking.n_hard), np.int32)
            stacking.hard = _hard("negatives", like, course, arrays)
        stacking.weight, stacking.svm_weight = weight, svm_weight
    if calibrated is not None:
        slope, offset, *confidence = floats("calibrated", calibrated, 6)
        if weighed is None or slope <= 0:
            raise ValueError(f"calibrated={calibrated} does not go with weighed={weighed}")
        stacking.scale, stacking.confidence = (slope, offset), confidence_from(confidence)


def checked_history(value: Any, n_epochs: int | None = None) -> list[Params]:
    """Check that `value` is the `history_` of n_epochs epochs (None: any), and return it."""
    if not isinstance(value, list) or n_epochs not in (None, len(value)):
        many = "" if n_epochs is None else f"{n_epochs} "
        raise ValueError(f"history must be a list of {many}epochs; got {shown(value)}")
    for i, epoch in enumerate(value):
        check(f"history[{i}].", epoch, _EPOCH)
    return value


def _pass(course: Course, header: dict[str, Any], arrays: NamedArrays) -> Pass:
    """The Pass over a Course's rows, from what `course_state` returned."""
    rules = {
        "n_rows": integer(1, len(course.data)),
        "n_queries": integer(0),
        "loss": NUMBER,
        "weight": ABOVE_0,
        "seconds": _EPOCH["seconds_in"],
    }
    check("so_far.", header, rules)
    queries: list[tuple[Array, float] | None] = []
    for i, (layer, norms2) in enumerate(zip(course.network.layers, header["queries"], strict=True)):
        if norms2 is None:
            queries.append(None)
            continue
        sums = _like(f"queries.{i}", np.zeros(layer.n_in), arrays)
        check_finite(f"queries.{i}", sums)
        (norms2,) = floats(f"norms of queries.{i}", [norms2])
        queries.append((sums, norms2))
    if any(sums is not None for sums in queries) and not header["n_queries"]:
        raise ValueError(f"so_far.n_queries={header['n_queries']} does not go with its queries")
    return Pass(**{**header, "queries": queries})


def _weights(name: str, layer: Layer, arrays: NamedArrays) -> tuple[Array, Array]:
    w, b = _like(f"{name}.w", layer.w, arrays), _like(f"{name}.b", layer.b, arrays)
    check_finite(f"{name}.w", w)
    check_finite(f"{name}.b", b)
    return w, b


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(NUMBER.accepts(value) for value in values)


def _are_seconds(value: Any) -> bool:
    return value.keys() == _SECONDS and _are_numbers([*value.values()])


def _like(name: str, wanted: Array, arrays: NamedArrays) -> Array:
    array = arrays.get(name)
    if array is None:
        raise ValueError(f"{name} is missing")
    if array.dtype != wanted.dtype or array.shape != wanted.shape:
        raise ValueError(
            f"{name} must be {wanted.dtype} of shape {wanted.shape}; got {array.dtype} of shape "
            f"{array.shape}"
        )
    return array
