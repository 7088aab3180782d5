"""The network: its arrays, how they start, and one epoch of training.

A `Network` owns every array of a model as plain NumPy, so that pickle, joblib and copy
keep it whole. What multiplies is compiled (`_core`, `_engine.predict`); what decides is here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array, issparse
from sklearn.utils.extmath import randomized_svd

from slide._base.arrays import Array, Floats, Ids, Matrix
from slide._base.locks import Guard
from slide._base.memory import aligned_zeros
from slide._base.rows import InputRows
from slide._core import Trainer
from slide._engine import centroids, predict
from slide._engine.model import Model
from slide._hashing.retrieval import Retrieval
from slide._network.layer import Layer
from slide._network.passes import Pass
from slide._network.tally import Tally

if TYPE_CHECKING:
    from slide._data.labels import LabelRows
    from slide._prediction.shortlist import Shortlist
    from slide._prototypes.prototypes import Prototypes
    from slide._settings.auto import Settings

# Rows between two looks at the clock of the rebuild schedule (and at Python's signals).
_CHUNK = 4096
_BACK_OFF = 1.5  # growth of the gap between two rebuilds
_NOTED = 256  # rows whose hidden vectors' mean is noted at the end of a training


@dataclass
class Network:
    """A multi-layer perceptron whose output layer is trained on active neurons only.

    Parameters
    ----------
    n_features, n_classes : int
    hidden_layer_sizes : tuple of int
    settings : slide._settings.auto.Settings
        Everything that "auto" was resolved to.
    seed : int
        Of the engine's random streams and of the hash functions.
    x_mean : float32 (n_features,) or None
        What the rows of X are less of before they come here (`slide._data.centering`).
    """

    n_features: int
    n_classes: int
    hidden_layer_sizes: tuple[int, ...]
    settings: Settings
    seed: int
    x_mean: np.ndarray | None = None
    layers: list[Layer] = field(init=False)
    tally: Tally = field(init=False, default_factory=Tally)
    counter: int = field(init=False, default=0)
    samples_to_rebuild: int = field(init=False, default=0)
    rebuild_gap: float = field(init=False, default=0.0)
    # Of every layer's inputs: their mean, and the root mean square of their distance to it.
    input_stats: list[tuple[Floats, float]] = field(init=False)
    prototypes: Prototypes | None = field(init=False, default=None)
    shortlist: Shortlist | None = field(init=False, default=None)  # of `slide._prediction.lookup`
    guard: Guard = field(init=False, default_factory=Guard, repr=False)  # of sparse hidden layers

    def __post_init__(self) -> None:
        widths = [self.n_features, *self.hidden_layer_sizes, self.n_classes]
        self.layers = [
            Layer.zeros(
                n_in, n_out, i == 0 and not chosen.n_active, chosen.n_active, self.settings.dtype
            )
            for i, ((n_in, n_out), chosen) in enumerate(
                zip(pairwise(widths), self.settings.layers, strict=True)
            )
        ]
        self.input_stats = [(np.zeros(layer.n_in, np.float32), 1.0) for layer in self.layers]

    # ------------------------------------------------------------- start --

    def start(
        self, x: Matrix, y: LabelRows, prior: Array, n_threads: int, rows: Array | None = None
    ) -> None:
        """Set all weights: random hidden layers, output rows from the labels' centroids.

        x : CSR or dense rows; rows : int array of those that are looked at, None: all; y :
        slide._data.labels.LabelRows, theirs; prior : biases of the output, `Loss.log_prior`. Memory
        beyond the layers: one block of rows.
        """
        # SFC64 is NumPy's fastest generator; the streams of this and of the engine differ.
        random = np.random.Generator(np.random.SFC64(self.seed))
        self.rebuild_gap = float(self.settings.rehash_every)
        self.samples_to_rebuild = int(self.rebuild_gap)
        inputs = InputRows(x, rows)
        sample = x[:_CHUNK] if rows is None else x[rows[:_CHUNK]]
        for i, (layer, chosen) in enumerate(zip(self.layers, self.settings.layers, strict=True)):
            layer.rate, layer.bias_rate = chosen.rate, chosen.bias_rate
            if layer is self.layers[-1]:
                self._start_output(inputs, y, prior, n_threads)
            else:
                for block in layer.blocks():
                    part = random.standard_normal(layer.w[block].shape, dtype=np.float32)
                    part *= np.float32(chosen.scale)
                    layer.w[block] = part
                if layer.n_active:
                    self._start_sparse(i, sample, inputs, n_threads)
            if chosen.retrieval is not None:
                layer.retrieval = self._retrieval(i, sample)
                self.tally.multiply_adds += self._rehash(i, n_threads)

    def _start_sparse(self, i: int, sample: Matrix, rows: InputRows, n_threads: int) -> None:
        """The centre of a sparse layer's inputs; biases that give every neuron its chance there."""
        layer, n, h = self.layers[i], sample.shape[0], sample
        if i > 0:
            h = predict.hidden(self.model(i + 1), rows, 0, n, n_threads)
        self._set_input_stats(i, *_sums(h), n)
        for block in layer.blocks():
            w = layer.w[block].astype(np.float32, copy=False)
            layer.b[block] = -(w @ self.input_stats[i][0])

    def _retrieval(self, i: int, sample: Matrix) -> Retrieval:
        """What finds the neurons of layer i; of layer 0 it may look at rows of X, then dense."""
        chosen, layer, directions = self.settings.layers[i].retrieval, self.layers[i], None
        assert chosen is not None
        if chosen.n_directions and chosen.transform:
            # Those in which the layer's inputs differ most.
            rows = sample - self.input_stats[i][0]
            n = min(chosen.n_directions, *rows.shape)
            directions = randomized_svd(rows, n, random_state=self.seed)[2]
        seed = np.random.SeedSequence([self.seed, i]).generate_state(1)[0]
        functions = np.random.RandomState(seed)
        return Retrieval(layer.n_out, layer.n_in, asdict(chosen), functions, directions)

    def _start_output(self, x: InputRows, y: LabelRows, prior: Array, n_threads: int) -> None:
        output, model = self.layers[-1], self.model()
        # In place, or for bfloat16 beside the weights, before the moments' memory is used.
        rows = output.w if output.w.dtype == np.float32 else aligned_zeros(output.w.shape)
        total, squares = np.zeros(output.n_in), 0.0
        # A block of dense hidden vectors takes at most 64 MB.
        chunk = max(256, min(_CHUNK, (1 << 24) // output.n_in))
        for start in range(0, x.n_rows, chunk):
            h = predict.hidden(model, x, start, min(start + chunk, x.n_rows), n_threads)
            sums = _sums(h)
            total += sums[0]
            squares += sums[1]
            add = centroids.add_sparse_label_sums if issparse(h) else centroids.add_label_sums
            add(h, y.indptr, y.indices, start, rows)
        i = len(self.layers) - 1
        self._set_input_stats(i, total, squares, x.n_rows)
        mean, length = self.input_stats[i]
        # The length at which a sample at the typical distance meets its label's logit.
        length = self.settings.centroid_logit / length
        used = np.bincount(y.indices, minlength=self.n_classes).astype(np.int64)
        for block in output.blocks():
            centroids.center_and_scale(rows[block], used[block], mean, length)
            if rows is not output.w:
                output.w[block] = rows[block]
            # The mean input shall meet the prior exactly.
            output.b[block] = prior[block] - output.w[block].astype(np.float32, copy=False) @ mean

    def _set_input_stats(self, i: int, total: Array, squares: float, n: int) -> None:
        """Set the mean of layer i's inputs and the root mean square of their distance to it."""
        mean = total / n
        # What float32 rounding leaves of vectors that are all alike is not a distance.
        rounding = 1e-6 * (mean @ mean) + 1e-12
        length = float(np.sqrt(max(squares / n - mean @ mean, rounding)))
        self.input_stats[i] = mean.astype(np.float32), length

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "shortlist": None}

    # ---------------------------------------------------------- training --

    def model(self, n_layers: int | None = None) -> Model:
        """Views for the compiled loops; of the first n_layers, the last of them as the output."""
        settings, prototypes = self.settings, self.prototypes if n_layers is None else None
        return Model(self.layers[:n_layers], settings.activation, settings.loss, prototypes)

    def rows(self, x: Matrix) -> InputRows:
        """Centred rows in the form that `model()` predicts from: sparse beside prototypes."""
        return InputRows(x if self.prototypes is None else csr_array(x))

    def trainer(
        self, x: InputRows, y: LabelRows, sample_weight: Floats | None, n_threads: int
    ) -> Trainer:
        """The compiled loop over x and y; its scratch is allocated once and serves all epochs."""
        settings = {**self.settings.engine(), "seed": self.seed}
        return Trainer(self.model(), x, y.indptr, y.indices, sample_weight, settings, n_threads)

    def train(self, trainer: Trainer, rows: Ids, learning_rate: Callable[[float], float],
              n_threads: int, so_far: Pass | None = None,
              after_chunk: Callable[[Pass], None] | None = None) -> Pass:  # fmt: skip
        """One pass over the rows `rows` (int32), or what is left of it; returns its Pass.

        Parameters
        ----------
        trainer : slide._core.Trainer
        rows : int32 (n,)
        learning_rate : callable
            From the share of this pass that is done, 0 to 1, to the rate.
        n_threads : int
        so_far : Pass or None
            Of a pass that was stopped after a chunk.
        after_chunk : callable or None
            Is told the Pass between any two chunks of rows.

        Raises
        ------
        FloatingPointError
            When the loss is no longer a finite number.
        """
        done = so_far or Pass.begin(len(self.layers))
        self.shortlist = None
        micro_batch = trainer.micro_batch
        warm_up = self.settings.warm_up
        hashed = any(layer.retrieval is not None for layer in self.layers)
        chunk = _CHUNK
        if any(layer.n_active for layer in self.layers):
            chunk = min(chunk, self.settings.rehash_every)
        while done.n_rows < len(rows):
            rate = learning_rate(done.n_rows / len(rows))
            n_samples = min(chunk, max(1, self.samples_to_rebuild)) if hashed else _CHUNK
            n_micro_batches = max(1, n_samples // micro_batch)
            if self.counter < warm_up:
                # The rate rises from step to step; 16 of them are smooth enough.
                rate *= (self.counter + 1) / warm_up
                n_micro_batches = max(1, warm_up // 16)
            part = rows[done.n_rows : done.n_rows + n_micro_batches * micro_batch]
            began = perf_counter()
            counts = trainer.run(part, self.counter, rate)
            self.counter += counts["n_micro_batches"]
            self.tally.add(counts)
            done.add_counts(counts, len(part), perf_counter() - began)
            if not np.isfinite(counts["loss"]):
                raise FloatingPointError(f"step {self.counter}")
            if hashed:
                self._keep_up(done, counts["queries"], len(part), n_threads)
            if after_chunk is not None and done.n_rows < len(rows):
                after_chunk(done)
        if any(layer.n_active for layer in self.layers):
            # What predicts finds its neurons by the weights as they are now.
            began = perf_counter()
            self.tally.multiply_adds += self.refresh(n_threads)
            done.seconds["rebuild"] += perf_counter() - began
        return done

    def _keep_up(self, done: Pass, queries: list[Any], n_rows: int, n_threads: int) -> None:
        """Rebuild what finds neurons when that is due; else hash again those that moved much."""
        began = perf_counter()
        done.add_queries(queries, n_rows)
        self.samples_to_rebuild -= n_rows
        if self.samples_to_rebuild > 0:
            self.tally.multiply_adds += self._follow(n_threads)
        else:
            for i, sums in enumerate(done.queries):
                if sums is not None:
                    self._set_input_stats(i, *sums, done.n_queries)
            self.tally.multiply_adds += self.rebuild(n_threads)
            self.tally.n_rebuilds += 1
            done.forget_queries()
        done.seconds["rebuild"] += perf_counter() - began

    def note_inputs(self, x: Matrix, n_threads: int, share: float = 1.0) -> None:
        """Note the mean of the output layer's inputs, for some rows x of a training that ends.

        `slide._prediction.shortlist` wants it. A few rows do: their mean is off by 1 / 16 of the
        inputs' spread. Fewer ones, a small batch, may move the mean before by a share. An output
        with a retrieval notes its inputs there.
        """
        self.shortlist = None
        i = len(self.layers) - 1
        if self.layers[i].retrieval is not None or self.layers[i - 1].n_active:
            return
        n, before = min(x.shape[0], _NOTED), self.input_stats[i]
        rows = InputRows(x[np.linspace(0, x.shape[0] - 1, n).astype(np.int64)])
        self._set_input_stats(i, *_sums(predict.hidden(self.model(), rows, 0, n, n_threads)), n)
        if share < 1:
            (old, old_length), (new, length) = before, self.input_stats[i]
            mean = ((1 - share) * old + share * new).astype(np.float32)
            self.input_stats[i] = mean, (1 - share) * old_length + share * length

    def rebuild(self, n_threads: int) -> int:
        """Rebuild what finds neurons, and lengthen the next gap; returns the multiply-adds.

        The hash functions stay: the network learns with what they find, and loses .5 to 8 points
        when they are drawn anew (Fashion-MNIST, 5 epochs, every eighth rebuild).
        """
        cost = self.refresh(n_threads)
        # Not before: what Ctrl-C cut short is then due when training goes on.
        self.samples_to_rebuild = int(self.rebuild_gap)
        self.rebuild_gap = min(self.rebuild_gap * _BACK_OFF, float(self.settings.rehash_at_last))
        return cost

    def refresh(self, n_threads: int) -> int:
        """Rebuild what finds neurons, off the schedule; returns the multiply-adds."""
        hashed = [i for i, layer in enumerate(self.layers) if layer.retrieval is not None]
        return sum(self._rehash(i, n_threads) for i in hashed)

    def _rehash(self, i: int, n_threads: int) -> int:
        layer, (mean, length) = self.layers[i], self.input_stats[i]
        assert layer.retrieval is not None
        steps = layer.steps[: layer.n_out]
        # Nobody predicts by what finds the output's neurons.
        with self.guard.writing() if layer.n_active else nullcontext():
            return layer.retrieval.rebuild(layer.w, layer.b, mean, length, n_threads, steps)

    def _follow(self, n_threads: int) -> int:
        """Between two rebuilds, hash the neurons of sparse layers that moved much."""
        sparse = [layer for layer in self.layers if layer.n_active]
        with self.guard.writing() if sparse else nullcontext():
            return sum(
                layer.retrieval.follow(layer.w, layer.b, layer.steps[: layer.n_out], n_threads)
                for layer in sparse
                if layer.retrieval is not None
            )


def _sums(h: Matrix) -> tuple[Array, float]:
    """Sum of the rows, float64 (width,), and of their squared lengths; dense or CSR."""
    if issparse(h):
        total = np.asarray(h.sum(axis=0, dtype=np.float64)).ravel()
        return total, float(np.square(h.data, dtype=np.float64).sum())
    return h.sum(axis=0, dtype=np.float64), float(np.einsum("ij,ij->", h, h, dtype=np.float64))
