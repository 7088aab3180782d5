"""The network: its arrays, how they start, and one epoch of training.

A `Network` owns every array of a model as plain NumPy, so that pickle, joblib and copy
keep it whole. What multiplies is compiled (`_core`, `_engine.predict`); what decides is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_dtypes import bfloat16
from scipy.sparse import csr_array, issparse
from sklearn.utils.extmath import randomized_svd

from slide._base.arrays import Array, Floats, Ids, Ints, Matrix
from slide._base.locks import Guard
from slide._base.memory import aligned_copy, aligned_zeros
from slide._base.rows import InputRows
from slide._core import Trainer
from slide._engine import centroids, predict
from slide._engine.model import PROGRESS, Model
from slide._hashing.retrieval import Retrieval

if TYPE_CHECKING:
    from slide._data.labels import LabelRows
    from slide._prediction.shortlist import Shortlist
    from slide._prototypes.prototypes import Prototypes
    from slide._settings.auto import Settings

# Rows between two looks at the clock of the rebuild schedule (and at Python's signals).
_CHUNK = 4096
_BACK_OFF = 1.5  # growth of the gap between two rebuilds
_BLOCK = 1 << 22  # weights that are held as float32 at a time
_PHASES = ("search", "forward", "backward")  # of a micro-batch, under the engine's clocks
_NOTED = 256  # rows whose hidden vectors' mean is noted at the end of a training


@dataclass
class Layer:
    """Arrays of one layer. A dense first layer has a row for each input feature, the others for
    each neuron; `steps` counts a row's updates, its last entry those of a shared bias. Weights and
    first moments, w and w_m, are float32 or bfloat16, all else is float32. What an update changes
    beside them lies side by side in memory: w_v, steps, b_m and b_v are made by `zeros`."""

    n_in: int
    n_out: int
    w: np.ndarray
    b: np.ndarray
    w_m: np.ndarray
    w_v: np.ndarray
    b_m: np.ndarray
    b_v: np.ndarray
    steps: np.ndarray
    rate: float = 1.0
    bias_rate: float = 1.0
    by_feature: bool = False
    n_active: int = 0  # neurons computed for a sample; 0: all
    retrieval: Retrieval | None = None  # what finds them

    @property
    def coefs(self) -> Floats:
        """Weights (n_in, n_out), float32: a view, of bfloat16 a copy."""
        w = self.w.astype(np.float32) if self.w.dtype == bfloat16 else self.w
        return w if self.by_feature else w.T

    def blocks(self, n_rows: int | None = None) -> Iterator[slice]:
        """Slices of n_rows rows (None: all) that hold some 4 million weights each.

        For what wants them as float32, or takes them in turns so that Ctrl-C is heard.
        """
        size = max(1, _BLOCK // self.w.shape[1])
        n_rows = len(self.w) if n_rows is None else n_rows
        return (slice(start, start + size) for start in range(0, n_rows, size))

    @classmethod
    def zeros(
        cls, n_in: int, n_out: int, by_feature: bool, n_active: int = 0, dtype: Any = np.float32
    ) -> Layer:
        shape = (n_in, n_out) if by_feature else (n_out, n_in)
        return cls(
            n_in,
            n_out,
            w=aligned_zeros(shape, dtype),
            w_m=aligned_zeros(shape, dtype),
            b=aligned_zeros(n_out),
            **_progress(shape[0], n_out, by_feature),
            by_feature=by_feature,
            n_active=n_active,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Pickle keeps values, not addresses: move the rows back onto cache lines, and what belongs
        # together side by side.
        progress = _progress(len(state["w_v"]), state["n_out"], state["by_feature"])
        for name, value in state.items():
            if name in progress:
                progress[name][...] = value
            elif isinstance(value, np.ndarray):
                value = aligned_copy(value)
            setattr(self, name, progress.get(name, value))


def _progress(n_rows: int, n_out: int, by_feature: bool) -> dict[str, Any]:
    """The arrays w_v, steps, b_m and b_v of a layer, by name: fields of arrays of PROGRESS."""
    rows = aligned_zeros(n_rows + 1, PROGRESS)
    biases = aligned_zeros(n_out, PROGRESS) if by_feature else rows[:n_out]
    return {
        "w_v": rows["w_v"][:n_rows],
        "steps": rows["steps"],
        "b_m": biases["b_m"],
        "b_v": biases["b_v"],
    }


@dataclass
class Tally:
    """Counts over the whole training, from the engine's own counters."""

    loss: float = 0.0
    weight: float = 0.0
    n_samples: int = 0
    n_micro_batches: int = 0
    n_active: int = 0
    multiply_adds: int = 0
    dense_multiply_adds: int = 0
    n_rebuilds: int = 0

    def add(self, counts: dict[str, Any]) -> None:
        for name in vars(self):
            setattr(self, name, getattr(self, name) + counts.get(name, 0))

    def since(self, before: Tally) -> Tally:
        """What was counted since a copy of it was made."""
        return Tally(**{name: value - getattr(before, name) for name, value in vars(self).items()})


@dataclass
class Pass:
    """How far a pass over the rows is, between two chunks of them.

    Parameters
    ----------
    n_rows : int
        Rows that are done.
    loss, weight : float
        Sums over them.
    queries : list of None or (float64 (n_in,), float)
        For every layer whose inputs are hashed their sum since the last rebuild, and that of their
        squared lengths.
    n_queries : int
        Rows that these are of.
    seconds : dict of str to float
        Where the time went: "search", "forward", "backward" with the updates, "rebuild".
    """

    n_rows: int
    loss: float
    weight: float
    queries: list[tuple[Array, float] | None]
    n_queries: int
    seconds: dict[str, float]

    @classmethod
    def begin(cls, n_layers: int) -> Pass:
        return cls(0, 0.0, 0.0, [None] * n_layers, 0, dict.fromkeys((*_PHASES, "rebuild"), 0.0))

    @property
    def mean_loss(self) -> float:
        return float(self.loss / self.weight)

    def add_counts(self, counts: dict[str, Any], n_rows: int, seconds: float) -> None:
        """Add what the engine says of some rows, and the time that they took."""
        self.n_rows += n_rows
        self.loss += counts["loss"]
        self.weight += counts["weight"]
        # Its clocks are of all threads together.
        parts = [counts[f"{phase}_seconds"] for phase in _PHASES]
        for phase, part in zip(_PHASES, parts, strict=True):
            self.seconds[phase] += seconds * part / max(sum(parts), 1e-9)

    def add_queries(self, queries: list[Any], n_rows: int) -> None:
        self.n_queries += n_rows
        for i, new in enumerate(queries):
            if new is not None:
                old = self.queries[i] or (0.0, 0.0)
                self.queries[i] = old[0] + new[0].astype(np.float64), old[1] + new[1]

    def forget_queries(self) -> None:
        self.queries, self.n_queries = [None] * len(self.queries), 0


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
    center : float32 (n_features,) or None
        What the rows of X are less of before they come here (`slide._data.centering`).
    """

    n_features: int
    n_classes: int
    hidden_layer_sizes: tuple[int, ...]
    settings: Settings
    seed: int
    center: np.ndarray | None = None
    layers: list[Layer] = field(init=False)
    tally: Tally = field(init=False, default_factory=Tally)
    counter: int = field(init=False, default=0)
    samples_to_rebuild: int = field(init=False, default=0)
    rebuild_gap: float = field(init=False, default=0.0)
    centers: list[tuple[Floats, float]] = field(init=False)  # of every layer's inputs, see _center
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
        self.centers = [(np.zeros(layer.n_in, np.float32), 1.0) for layer in self.layers]

    # ------------------------------------------------------------- start --

    def start(
        self, x: Matrix, y: LabelRows, prior: Array, n_threads: int, order: Array | None = None
    ) -> None:
        """Set all weights: random hidden layers, output rows from the labels' centroids.

        x : CSR or dense rows; order : int array of those that are looked at, None: all; y :
        slide._data.labels.LabelRows, theirs; prior : biases of the output, see `log_prior`. Memory
        beyond the layers: one block of rows.
        """
        # SFC64 is NumPy's fastest generator; the streams of this and of the engine differ.
        random = np.random.Generator(np.random.SFC64(self.seed))
        self.rebuild_gap = float(self.settings.rehash_every)
        self.samples_to_rebuild = int(self.rebuild_gap)
        rows = InputRows(x, order)
        sample = x[:_CHUNK] if order is None else x[order[:_CHUNK]]
        for i, (layer, chosen) in enumerate(zip(self.layers, self.settings.layers, strict=True)):
            layer.rate, layer.bias_rate = chosen.rate, chosen.bias_rate
            if layer is self.layers[-1]:
                self._start_output(rows, y, prior, n_threads)
            else:
                for block in layer.blocks():
                    part = random.standard_normal(layer.w[block].shape, dtype=np.float32)
                    part *= np.float32(chosen.scale)
                    layer.w[block] = part
                if layer.n_active:
                    self._start_sparse(i, sample, rows, n_threads)
            if chosen.search is not None:
                layer.retrieval = self._retrieval(i, sample)
                self.tally.multiply_adds += self._rehash(i, n_threads)

    def _start_sparse(self, i: int, sample: Matrix, rows: InputRows, n_threads: int) -> None:
        """The centre of a sparse layer's inputs; biases that give every neuron its chance there."""
        layer, n, h = self.layers[i], sample.shape[0], sample
        if i > 0:
            h = predict.hidden(self.model(i + 1), rows, 0, n, n_threads)
        self._center(i, *_sums(h), n)
        for block in layer.blocks():
            layer.b[block] = -(layer.w[block].astype(np.float32, copy=False) @ self.centers[i][0])

    def _retrieval(self, i: int, sample: Matrix) -> Retrieval:
        """What finds the neurons of layer i; of layer 0 it may look at rows of X, then dense."""
        search, layer, directions = self.settings.layers[i].search, self.layers[i], None
        assert search is not None
        if search.n_directions and search.transform:
            # Those in which the layer's inputs differ most.
            rows = sample - self.centers[i][0]
            n = min(search.n_directions, *rows.shape)
            directions = randomized_svd(rows, n, random_state=self.seed)[2]
        seed = np.random.SeedSequence([self.seed, i]).generate_state(1)[0]
        functions = np.random.RandomState(seed)
        return Retrieval(layer.n_out, layer.n_in, asdict(search), functions, directions)

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
        self._center(i, total, squares, x.n_rows)
        mean, length = self.centers[i]
        # The length at which a sample at the typical distance meets its label's logit.
        length = self.settings.centroid_logit / length
        used = np.bincount(y.indices, minlength=self.n_classes).astype(np.int64)
        for block in output.blocks():
            centroids.center_and_scale(rows[block], used[block], mean, length)
            if rows is not output.w:
                output.w[block] = rows[block]
            # The mean input shall meet the prior exactly.
            output.b[block] = prior[block] - output.w[block].astype(np.float32, copy=False) @ mean

    def _center(self, i: int, total: Array, squares: float, n: int) -> None:
        """Set the mean of layer i's inputs and the root mean square of their distance to it."""
        mean = total / n
        # What float32 rounding leaves of vectors that are all alike is not a distance.
        rounding = 1e-6 * (mean @ mean) + 1e-12
        length = float(np.sqrt(max(squares / n - mean @ mean, rounding)))
        self.centers[i] = mean.astype(np.float32), length

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

    def train(self, trainer: Trainer, order: Ids, learning_rate: Callable[[float], float],
              n_threads: int, so_far: Pass | None = None,
              after_chunk: Callable[[Pass], None] | None = None) -> Pass:  # fmt: skip
        """One pass over the rows `order` (int32), or what is left of it; returns its Pass.

        Parameters
        ----------
        trainer : slide._core.Trainer
        order : int32 (n,)
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
        while done.n_rows < len(order):
            rate = learning_rate(done.n_rows / len(order))
            n_samples = min(chunk, max(1, self.samples_to_rebuild)) if hashed else _CHUNK
            n_micro_batches = max(1, n_samples // micro_batch)
            if self.counter < warm_up:
                # The rate rises from step to step; 16 of them are smooth enough.
                rate *= (self.counter + 1) / warm_up
                n_micro_batches = max(1, warm_up // 16)
            rows = order[done.n_rows : done.n_rows + n_micro_batches * micro_batch]
            began = perf_counter()
            counts = trainer.run(rows, self.counter, rate)
            self.counter += counts["n_micro_batches"]
            self.tally.add(counts)
            done.add_counts(counts, len(rows), perf_counter() - began)
            if not np.isfinite(counts["loss"]):
                raise FloatingPointError(f"step {self.counter}")
            if hashed:
                self._keep_up(done, counts["queries"], len(rows), n_threads)
            if after_chunk is not None and done.n_rows < len(order):
                after_chunk(done)
        if any(layer.n_active for layer in self.layers):
            # What predicts finds its neurons by the weights as they are now.
            began = perf_counter()
            self.tally.multiply_adds += self.refresh(n_threads)
            done.seconds["rebuild"] += perf_counter() - began
        return done

    def _keep_up(self, done: Pass, queries: list[Any], n_rows: int, n_threads: int) -> None:
        """Hash the searched neurons anew when that is due, else those that moved much."""
        began = perf_counter()
        done.add_queries(queries, n_rows)
        self.samples_to_rebuild -= n_rows
        if self.samples_to_rebuild > 0:
            self.tally.multiply_adds += self._follow(n_threads)
        else:
            for i, sums in enumerate(done.queries):
                if sums is not None:
                    self._center(i, *sums, done.n_queries)
            self.tally.multiply_adds += self.rebuild(n_threads)
            self.tally.n_rebuilds += 1
            done.forget_queries()
        done.seconds["rebuild"] += perf_counter() - began

    def note_inputs(self, x: Matrix, n_threads: int, share: float = 1.0) -> None:
        """Note the mean of the output layer's inputs, for some rows x of a training that ends.

        `slide._prediction.shortlist` wants it. A few rows do: their mean is off by 1 / 16 of the
        inputs' spread. Fewer ones, a small batch, may move the mean before by a share. An output
        that is searched in training notes its inputs there.
        """
        self.shortlist = None
        i = len(self.layers) - 1
        if self.layers[i].retrieval is not None or self.layers[i - 1].n_active:
            return
        n, before = min(x.shape[0], _NOTED), self.centers[i]
        rows = InputRows(x[np.linspace(0, x.shape[0] - 1, n).astype(np.int64)])
        self._center(i, *_sums(predict.hidden(self.model(), rows, 0, n, n_threads)), n)
        if share < 1:
            (old, old_length), (new, length) = before, self.centers[i]
            mean = ((1 - share) * old + share * new).astype(np.float32)
            self.centers[i] = mean, (1 - share) * old_length + share * length

    def rebuild(self, n_threads: int) -> int:
        """Hash all searched neurons anew; returns the multiply-adds. The next gap is longer.

        The hash functions stay: the network learns with what they find, and loses .5 to 8 points
        when they are drawn anew (Fashion-MNIST, 5 epochs, every eighth rebuild).
        """
        cost = self.refresh(n_threads)
        # Not before: what Ctrl-C cut short is then due when training goes on.
        self.samples_to_rebuild = int(self.rebuild_gap)
        self.rebuild_gap = min(self.rebuild_gap * _BACK_OFF, float(self.settings.rehash_at_last))
        return cost

    def refresh(self, n_threads: int) -> int:
        """Hash all searched neurons as they are, off the schedule; returns the multiply-adds."""
        searched = [i for i, layer in enumerate(self.layers) if layer.retrieval is not None]
        return sum(self._rehash(i, n_threads) for i in searched)

    def _rehash(self, i: int, n_threads: int) -> int:
        layer, (mean, length) = self.layers[i], self.centers[i]
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


def log_prior(counts: Ints, n_rows: int, loss: str) -> Array:
    """Output biases before training: log odds (sigmoid) or log share (softmax) of each label.

    Half a sample is added to every count, so that a label never seen has a finite prior.
    """
    p = (counts + 0.5) / (n_rows + 1.0)
    if loss == "softmax":
        return np.asarray(np.log(p / p.sum()))
    return np.asarray(np.log(p) - np.log1p(-np.minimum(p, 1 - 1e-6)))
