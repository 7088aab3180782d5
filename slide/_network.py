"""The network: its arrays, how they start, and one epoch of training.

A `Network` owns every array of a model as plain NumPy, so that pickle, joblib and copy
keep it whole. What multiplies is compiled (`_core`, `_predict`); what decides is here.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from slide import _centroids, _predict
from slide._core import Trainer
from slide._memory import aligned_copy, aligned_zeros
from slide._model import Model
from slide._tables import HashTables

# Rows between two looks at the clock of the rebuild schedule (and at Python's signals).
_CHUNK = 4096


@dataclass
class Layer:
    """Arrays of one layer. The first layer has a row for each input feature, the others for
    each neuron; `steps` counts a row's updates, its last entry those of a shared bias."""

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

    @classmethod
    def zeros(cls, n_in, n_out, by_feature):
        shape = (n_in, n_out) if by_feature else (n_out, n_in)
        biases = [aligned_zeros(n_out) for _ in range(3)]
        return cls(
            n_in,
            n_out,
            w=aligned_zeros(shape),
            w_m=aligned_zeros(shape),
            w_v=aligned_zeros(shape[0]),
            b=biases[0],
            b_m=biases[1],
            b_v=biases[2],
            steps=aligned_zeros(shape[0] + 1, np.int32),
        )

    def __setstate__(self, state):
        # Pickle keeps values, not addresses: move the rows back onto cache lines.
        for name, value in state.items():
            setattr(self, name, aligned_copy(value) if isinstance(value, np.ndarray) else value)


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

    def add(self, counts):
        for name in vars(self):
            setattr(self, name, getattr(self, name) + counts.get(name, 0))


@dataclass
class Network:
    """A multi-layer perceptron whose output layer is trained on active neurons only.

    Parameters
    ----------
    n_features, n_classes : int
    hidden_layer_sizes : tuple of int
    settings : slide._auto.Settings
        Everything that "auto" was resolved to.
    seed : int
        Of the engine's random streams and of the hash functions.
    """

    n_features: int
    n_classes: int
    hidden_layer_sizes: tuple
    settings: object
    seed: int
    layers: list = field(init=False)
    tally: Tally = field(init=False, default_factory=Tally)
    tables: HashTables | None = field(init=False, default=None)
    counter: int = field(init=False, default=0)
    samples_to_rebuild: int = field(init=False, default=0)
    rebuild_gap: float = field(init=False, default=0.0)
    query_mean: np.ndarray = field(init=False)
    query_length: float = field(init=False, default=1.0)

    def __post_init__(self):
        widths = [self.n_features, *self.hidden_layer_sizes, self.n_classes]
        self.layers = [
            Layer.zeros(n_in, n_out, by_feature=i == 0)
            for i, (n_in, n_out) in enumerate(pairwise(widths))
        ]
        self.query_mean = np.zeros(widths[-2], np.float32)

    # ------------------------------------------------------------- start --

    def start(self, x, y, n_threads):
        """Set all weights: random hidden layers, output rows from the labels' centroids.

        x : InputRows; y : slide._labels.LabelRows. Memory beyond the layers: one block of rows.
        """
        settings = self.settings
        # SFC64 is NumPy's fastest generator; the streams of this and of the engine differ.
        random = np.random.Generator(np.random.SFC64(self.seed))
        first, *middle, output = self.layers
        random.standard_normal(dtype=np.float32, out=first.w)
        first.w *= np.float32(settings.input_scale)
        first.rate, first.bias_rate = settings.input_rate, settings.input_bias_rate
        for layer in middle:
            random.standard_normal(dtype=np.float32, out=layer.w)
            layer.w *= np.float32(np.sqrt(2 / layer.n_in))
        output.rate, output.bias_rate = settings.output_rate, settings.output_bias_rate
        self._start_output(x, y, n_threads)
        if settings.use_tables:
            random_state = np.random.RandomState(self.seed % 2**32)
            self.tables = HashTables(
                self.n_classes,
                output.n_in,
                settings.n_tables,
                settings.n_hash_bits,
                random_state,
            )
            self.rebuild_gap = float(settings.rehash_every)
            self.rebuild(n_threads)

    def _start_output(self, x, y, n_threads):
        output, model = self.layers[-1], self.model()
        counts = np.bincount(y.indices, minlength=self.n_classes)
        total = np.zeros(output.n_in)
        squares = 0.0
        for start in range(0, x.n_rows, _CHUNK):
            h = _predict.hidden(model, x, start, min(start + _CHUNK, x.n_rows), n_threads)
            total += h.sum(axis=0, dtype=np.float64)
            squares += float(np.einsum("ij,ij->", h, h, dtype=np.float64))
            _centroids.add_label_sums(h, y.indptr, y.indices, start, output.w)
        self._set_query_center(total, squares, x.n_rows)
        # The length at which a sample at the typical distance meets its label's logit.
        length = self.settings.centroid_logit / self.query_length
        _centroids.center_and_scale(output.w, counts.astype(np.int64), self.query_mean, length)
        output.b[:] = log_prior(counts, x.n_rows, self.settings.loss)
        # The mean input shall meet the prior exactly.
        output.b -= output.w @ self.query_mean

    def _set_query_center(self, total, squares, n):
        mean = total / n
        self.query_mean = mean.astype(np.float32)
        # What float32 rounding leaves of vectors that are all alike is not a distance.
        rounding = 1e-6 * (mean @ mean) + 1e-12
        self.query_length = float(np.sqrt(max(squares / n - mean @ mean, rounding)))

    # ---------------------------------------------------------- training --

    def model(self):
        return Model(self.layers, self.settings.activation, self.settings.loss)

    def trainer(self, x, y, sample_weight, n_threads):
        """The compiled loop over x and y; its scratch is allocated once and serves all epochs."""
        return Trainer(
            self.model(),
            x,
            y.indptr,
            y.indices,
            sample_weight,
            self.tables,
            {**self.settings.engine(), "seed": self.seed},
            n_threads,
        )

    def train(self, trainer, order, learning_rate, n_threads):
        """One pass over the rows `order` (int32); returns this pass's Tally.

        learning_rate : callable
            From the share of this pass that is done, 0 to 1, to the rate.

        Raises
        ------
        FloatingPointError
            When the loss is no longer a finite number.
        """
        tally = Tally()
        micro_batch = trainer.micro_batch
        warm_up = self.settings.warm_up
        total, squares, n_queries = np.zeros(self.layers[-1].n_in), 0.0, 0
        start = 0
        while start < len(order):
            rate = learning_rate(start / len(order))
            n_micro_batches = max(1, _CHUNK // micro_batch)
            if self.counter < warm_up:
                # The rate rises from step to step; 16 of them are smooth enough.
                rate *= (self.counter + 1) / warm_up
                n_micro_batches = max(1, warm_up // 16)
            rows = order[start : start + n_micro_batches * micro_batch]
            start += len(rows)
            counts = trainer.run(rows, self.counter, rate)
            self.counter += counts["n_micro_batches"]
            tally.add(counts)
            if not np.isfinite(counts["loss"]):
                raise FloatingPointError(f"step {self.counter}")
            if self.tables is not None:
                total += counts["query_sum"]
                squares += counts["query_norm2"]
                n_queries += counts["n_queries"]
                self.samples_to_rebuild -= len(rows)
                if self.samples_to_rebuild <= 0:
                    self._set_query_center(total, squares, n_queries)
                    tally.multiply_adds += self.rebuild(n_threads)
                    tally.n_rebuilds += 1
                    total[:], squares, n_queries = 0, 0.0, 0
        self.tally.add(vars(tally))
        return tally

    def rebuild(self, n_threads):
        """Hash all output neurons anew; returns the multiply-adds. The next gap is longer."""
        output = self.layers[-1]
        self.samples_to_rebuild = int(self.rebuild_gap)
        self.rebuild_gap *= 1.5
        return self.tables.rebuild(
            output.w, output.b, self.query_mean, self.query_length, n_threads
        )


def log_prior(counts, n_rows, loss):
    """Output biases before training: log odds (sigmoid) or log share (softmax) of each label.

    Half a sample is added to every count, so that a label never seen has a finite prior.
    """
    p = (counts + 0.5) / (n_rows + 1.0)
    if loss == "softmax":
        return np.log(p / p.sum())
    return np.log(p) - np.log1p(-np.minimum(p, 1 - 1e-6))
