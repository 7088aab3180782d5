"""The start of a training: from scratch, from a fitted network or from a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from slide._network.start import start_late_labels, start_network
from slide._training.course import Course
from slide._training.stacking import Stacking

if TYPE_CHECKING:
    from slide._network.network import Network
    from slide._training.task import Task


class Kept(Protocol):
    """A training that a checkpoint keeps."""

    @property
    def network(self) -> Network: ...

    def set_course(self, course: Course) -> None: ...


def begin(task: Task) -> Course:
    """A Course of a new network."""
    stacking = _stacking(task)
    rows = stacking.rows if stacking else None
    network = start_network(
        task.params, task.settings, task.data, rows, task.x_mean, task.rng, task.n_threads
    )
    return Course(task, network, stacking)


def go_on(task: Task) -> Course:
    """A Course of the network that `task.before` has."""
    assert task.before is not None
    network = task.before.network
    network.settings = task.network_settings
    start_late_labels(network, task.data, task.n_threads)
    return Course(task, network, None)


def resume(task: Task, kept: Kept) -> Course:
    """A Course that goes on where the checkpoint stopped."""
    course = Course(task, kept.network, _stacking(task))
    kept.set_course(course)
    return course


def _stacking(task: Task) -> Stacking | None:
    if task.before is not None or not task.settings.prototypes:
        return None
    return Stacking(task.data, task.held_out, task.rng)
