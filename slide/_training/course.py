"""The course of a training: epochs, learning rate, when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import copy, deepcopy
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from slide._base.arrays import Array, Params
from slide._base.memory import copy_blocks
from slide._base.rows import InputRows
from slide._data.gains import ndcg_of_rows
from slide._engine import predict
from slide._network import passes
from slide._network.fitted import Fitted
from slide._network.input_stats import note_inputs
from slide._network.rehash import refresh
from slide._network.tally import Tally
from slide._settings.settings import CourseSettings
from slide._training import mining
from slide._training.divergence import check_loss, check_weights, diverged

if TYPE_CHECKING:
    from slide._core import Trainer
    from slide._data.rows import TrainingRows
    from slide._network.network import Network
    from slide._network.passes import Pass
    from slide._training.stacking import Stacking
    from slide._training.task import Task

_Weights: TypeAlias = list[tuple[Array, Array]]  # and biases, of every layer


class Observer(Protocol):
    """Gets the events of a training."""

    def before_epoch(self) -> None: ...

    def after_chunk(self, course: Course) -> None: ...

    def after_epoch(self, course: Course) -> None: ...


class Course:
    """A training of `fit` that can stop after any chunk of rows and go on later.

    Its state is in `network`, `rng`, `stacking`, `trainer.hard` and the attributes below, which
    `slide._saving.course_state` writes and reads.

    Parameters
    ----------
    task : slide._training.task.Task
        Rows to train on, and rows to judge by or None. With rows to judge by, the network ends with
        the weights of its best epoch; without them, only the training loss is judged.
    network : slide._network.network.Network
    stacking : slide._training.stacking.Stacking or None
        Gives the trained network its prototypes; it may leave some rows out at first.

    Attributes
    ----------
    losses, scores : list of float
        Training loss and validation score of every epoch; no scores without `held_out`.
    history : list of dict
        Counts and seconds of every epoch, see `history_of`.
    best : float
        The best merit of an epoch: its validation score, or the negative loss.
    best_weights : list of (ndarray, ndarray) or None
        Weights and biases of the best epoch, with `held_out`.
    n_stale : int
        Consecutive epochs without progress.
    stopped : bool
        Whether the last epoch is over.
    drawn_by : numpy.random.RandomState
        A copy of the generator, made before it drew the row order of the epoch in progress.
    so_far : slide._network.passes.Pass or None
        Progress of the current epoch; None between two epochs.
    seconds, counted : float and slide._network.tally.Tally
        Seconds that the current epoch has taken, and the counts before it.
    """

    def __init__(self, task: Task, network: Network, stacking: Stacking | None) -> None:
        data, n_threads = task.data, task.n_threads
        self.task, self.network, self.stacking = task, network, stacking
        self.data, self.held_out, self.n_threads = data, task.held_out, n_threads
        self.settings = CourseSettings.of(task.params)
        self.rng, self.max_iter = task.rng, task.settings.max_iter
        self.trainer = network.trainer(InputRows(data.x), data.labels, data.weights, n_threads)
        # With one label per row the score is the precision at 1.
        self.k = max(1, round(len(data.labels.indices) / len(data)))
        self.losses: list[float] = []
        self.scores: list[float] = []
        self.history: list[Params] = []
        self.best, self.n_stale, self.stopped = -np.inf, 0, False
        self.best_weights: _Weights | None = None
        self.drawn_by = task.rng
        self.so_far: Pass | None = None
        self.seconds, self.counted = 0.0, Tally()

    def run(self, observer: Observer) -> None:
        """Train until nothing improves, `max_iter` epochs are over or the observer says stop.

        Raises
        ------
        FloatingPointError
            When training diverges.
        """
        while len(self.losses) < self.max_iter and not self.stopped:
            observer.before_epoch()
            self._train_epoch(observer)
            self._judge()
            observer.after_epoch(self)
        self._finish()

    def stop(self) -> None:
        """End the training after the epoch that is just over."""
        self.stopped = True

    def result(self) -> Fitted:
        """The result of the training, which is over."""
        return self._fitted(self.network, self.losses)

    def as_of_now(self) -> Fitted:
        """The result as if the training had stopped here, with the training's own weights."""
        # Input statistics for short lists go into a twin: the training must not change.
        network = self.network.twin()
        note_inputs(network, self.data.x, self.n_threads)
        so_far = self.so_far
        return self._fitted(network, self.losses + ([so_far.mean_loss] if so_far else []))

    def _fitted(self, network: Network, losses: list[float]) -> Fitted:
        fitted = Fitted(
            network,
            self.task.coder,
            self.task.params,
            self.rng,
            labels_per_row=len(self.data.labels.indices) / len(self.data),
            losses=tuple(losses),
            scores=tuple(self.scores),
            history=tuple(self.history),
            feature_names=self.task.feature_names,
        )
        return fitted.after(self.task.before)

    def _train_epoch(self, observer: Observer) -> None:
        epoch, network, settings = len(self.losses), self.network, self.settings
        began = time.perf_counter()
        if self.so_far is None:
            self.seconds, self.counted = 0.0, copy(network.tally)
            self._open_epoch(epoch)
            self.drawn_by = deepcopy(self.rng)

        def learning_rate(share: float) -> float:
            return settings.rate_after((epoch + share) / self.max_iter)

        def after_chunk(so_far: Pass) -> None:
            nonlocal began
            self.so_far, now = so_far, time.perf_counter()
            self.seconds, began = self.seconds + now - began, now
            observer.after_chunk(self)

        done = train_rows(
            network, self.trainer, self._rows(), self.rng, settings, learning_rate, epoch + 1,
            self.n_threads, self.so_far, after_chunk,
        )  # fmt: skip
        self.so_far = None
        self.losses.append(done.mean_loss)
        self.seconds += time.perf_counter() - began
        self.history.append(history_of(network, self.counted, done, self.seconds))
        self._report(f"Iteration {epoch + 1}, loss = {done.mean_loss:.8f}")

    def _open_epoch(self, epoch: int) -> None:
        """Before certain epochs, once each: find hard neurons, weigh prototypes, calibrate."""
        network, stacking = self.network, self.stacking
        if network.settings.n_hard_kept and mining.mines_before(epoch, self.max_iter):
            n_kept = self.trainer.hard.shape[1]
            hard, cost = mining.hard_neurons(network, self.data, n_kept, self.n_threads)
            self.trainer.hard[...] = hard
            network.tally.multiply_adds += cost
        if stacking is not None and stacking.weighs_before(epoch, self.max_iter):
            stacking.weigh(network, self.n_threads)
        if stacking is not None and stacking.calibrates_before(epoch, self.max_iter):
            stacking.calibrate(network, self.n_threads)

    def _rows(self) -> Array:
        return np.arange(len(self.data)) if self.stacking is None else self.stacking.rows

    def _judge(self) -> None:
        """Judge the last epoch, and decide whether training stops."""
        settings, merit = self.settings, -self.losses[-1]
        if self.held_out is not None:
            merit = validation_score(self.network, self.held_out, self.k, self.n_threads)
            self.scores.append(merit)
            self._report(f"Validation score: {merit:.6f}")
        self.n_stale = self.n_stale + 1 if merit < self.best + settings.tol else 0
        if merit > self.best:
            self.best = merit
            if self.held_out is not None:
                self.best_weights = _keep_weights(self.network, self.best_weights)
        if self.n_stale > settings.n_iter_no_change:
            self.stopped = True
            what = "Training loss" if self.held_out is None else "Validation score"
            self._report(
                f"{what} did not improve more than tol={settings.tol:f} for "
                f"{settings.n_iter_no_change} consecutive epochs. Stopping."
            )

    def _report(self, line: str) -> None:
        if self.settings.verbose:
            print(line)

    def _finish(self) -> None:
        network = self.network
        if self.best_weights is not None:
            for layer, (w, b) in zip(network.layers, self.best_weights, strict=True):
                copy_blocks(w, layer.w)
                layer.b[...] = b
            refresh(network, self.n_threads)
        check_weights(network, self.settings, len(self.losses))
        if self.stacking is not None:
            self.stacking.apply(network, self.n_threads)
        note_inputs(network, self.data.x, self.n_threads)


def history_of(network: Network, before: Tally, done: Pass, seconds: float) -> dict[str, Any]:
    """Counts and seconds of an epoch, as `SparseMLPClassifier.history_` documents them."""
    counts = network.tally.since(before)
    n_active = [layer.n_active or layer.n_out for layer in network.layers[:-1]]
    return {
        "loss": done.mean_loss,
        "seconds": seconds,
        "seconds_in": dict(done.seconds),
        "n_samples": counts.n_samples,
        "multiply_adds": counts.multiply_adds,
        "dense_multiply_adds": counts.dense_multiply_adds,
        "n_active": [*n_active, counts.active_neurons / counts.n_micro_batches],
        "n_rebuilds": counts.n_rebuilds,
    }


def validation_score(network: Network, data: TrainingRows, k: int, n_threads: int) -> float:
    """`slide.metrics.ndcg_at_k` of the k best classes, averaged over the rows by their weight."""
    ids, _ = predict.topk(network.model(), network.rows(data.x), k, n_threads)
    gains = ndcg_of_rows(data.labels.contain(ids), np.diff(data.labels.indptr))
    return float(np.average(gains, weights=data.weights))


def train_rows(
    network: Network,
    trainer: Trainer,
    rows: Array,
    rng: np.random.RandomState,
    settings: CourseSettings,
    learning_rate: Callable[[float], float],
    epoch: int,
    n_threads: int,
    so_far: Pass | None = None,
    after_chunk: Callable[[Pass], None] | None = None,
) -> Pass:
    """One pass over the rows `rows`; returns its Pass."""
    rows = (rng.permutation(rows) if settings.shuffle else rows).astype(np.int32)
    try:
        with np.errstate(all="ignore"):  # an overflow is found by the checks of finite values
            done = passes.train(
                network, trainer, rows, learning_rate, n_threads, so_far, after_chunk
            )
    except FloatingPointError as error:
        raise diverged(network, settings, epoch, "the loss is no longer finite") from error
    check_loss(network, settings, epoch, done.mean_loss)
    return done


def _keep_weights(
    network: Network, kept: list[tuple[Array, Array]] | None
) -> list[tuple[Array, Array]]:
    """Copy weights and biases, over the earlier copies `kept` if there are any."""
    if kept is None:
        return [(copy_blocks(layer.w), copy_blocks(layer.b)) for layer in network.layers]
    return [
        (copy_blocks(layer.w, w), copy_blocks(layer.b, b))
        for layer, (w, b) in zip(network.layers, kept, strict=True)
    ]
