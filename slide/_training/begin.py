"""A training: from scratch, from a fitted network or from a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from slide._network.early import begin_early, rows_are_equal
from slide._network.growth import meet
from slide._network.start import start_late_labels, start_network
from slide._training.course import Course, Observer
from slide._training.stacking import Stacking

if TYPE_CHECKING:
    from slide._network.fitted import Fitted
    from slide._network.network import Network
    from slide._training.task import Task

_FEWEST = 1000  # fewest rows of which some come late only for the calibration


class Kept(Protocol):
    """A training that a checkpoint keeps."""

    @property
    def done(self) -> bool: ...

    @property
    def fitted(self) -> Fitted: ...

    @property
    def network(self) -> Network: ...

    def set_course(self, course: Course) -> None: ...


def train(task: Task, observer: Observer, kept: Kept | None) -> Fitted:
    """Train, or go on with what a checkpoint kept."""
    if kept and kept.done:
        return kept.fitted
    course = resume(task, kept) if kept else go_on(task) if task.before else begin(task)
    course.run(observer)
    return course.result()


def begin(task: Task) -> Course:
    """A Course of a new network."""
    stacking = _stacking(task)
    rows = stacking.rows if stacking else None
    network = start_network(
        task.params, task.settings, task.data, rows, task.x_mean, task.rng, task.n_threads
    )
    if rows_are_equal(task.data.x):
        begin_early(network, task.data.x, equal=True)
    return Course(task, network, stacking)


def go_on(task: Task) -> Course:
    """A Course of the network that `task.before` has."""
    assert task.before is not None
    network = meet(task.before.network, task.data, task.n_threads)
    # The number of rows decides it, and those of the last fit may have been few.
    network.settings = replace(network.settings, batch_size=task.settings.batch_size)
    start_late_labels(network, task.data, task.n_threads)
    return Course(task, network, None)


def resume(task: Task, kept: Kept) -> Course:
    """A Course that goes on where the checkpoint stopped."""
    course = Course(task, kept.network, _stacking(task))
    kept.set_course(course)
    return course


def _stacking(task: Task) -> Stacking | None:
    settings, rows_judge = task.settings, task.held_out is not None
    multilabel = task.coder.multilabel
    # Late rows cost training data. The softmax over all neurons is good enough without them.
    some_late = (multilabel or not settings.all_neurons) and len(task.data) >= _FEWEST
    if task.before is not None or not (settings.prototypes or rows_judge or some_late):
        return None
    return Stacking(task.data, task.held_out, task.rng, multilabel, settings.prototypes)
