"""The network: every array of a model, and the views of them that compiled loops take.

The arrays are plain NumPy. `start` fills them, `passes` trains them, `rehash` keeps the retrievals
of the layers up to date, and `slide._saving.network_state` makes files and pickles of a network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from slide._base.arrays import Floats, Matrix
from slide._base.guard import Guard
from slide._base.rows import InputRows
from slide._core import Trainer
from slide._data.centering import centered
from slide._engine.model import Model
from slide._network.confidence import Confidence
from slide._network.input_stats import InputStats
from slide._network.layer import Layer
from slide._network.tally import Tally

if TYPE_CHECKING:
    from slide._data.columns import Columns
    from slide._data.labels import LabelRows
    from slide._network.early import Early
    from slide._prototypes.prototypes import Prototypes
    from slide._settings.settings import Settings


@dataclass
class Network:
    """A multi-layer perceptron whose output layer is trained on active neurons only.

    Parameters
    ----------
    n_features, n_classes : int
        Inputs and outputs.
    hidden_layer_sizes : tuple of int
    settings : slide._settings.settings.Settings
        The result of resolving every "auto".
    seed : int
        Seeds the engine's random streams and the hash functions.
    columns : slide._data.columns.Columns or None
        The columns of X that the features are, where the network has no inputs for the others;
        None: all of them.
    x_mean : float32 (n_features,) or None
        Mean row of the training data, subtracted from every row of X before it reaches the network
        (`slide._data.centering`); None for sparse X.
    counter : int
        Micro-batches trained so far.
    samples_to_rebuild, rebuild_gap : int, float
        The schedule of `slide._network.rehash`: samples until the next rebuild, and the gap after
        that one.
    tally : slide._network.tally.Tally
    confidence : slide._network.confidence.Confidence
        How sure the probabilities are.
    early : slide._network.early.Early or None
        What the rows of `partial_fit` say while they are few; None: nothing is corrected any more.
    started : bool (n_classes,) or None
        Which rows of the output began at the centroid of a label. None: those of all labels count
        as begun.

    Attributes
    ----------
    layers : list of slide._network.layer.Layer
        The output last.
    input_stats : list of (float32 (n_in,), float)
        Mean and length of every layer's inputs (`slide._network.input_stats`).
    prototypes : slide._prototypes.prototypes.Prototypes or None
    derived : dict
        Objects that other modules compute from the weights and keep here, by name. `changed`
        empties it; neither files nor pickles hold it.
    guard : slide._base.guard.Guard
        Lock between rebuilds of the retrievals and those who read them.
    """

    n_features: int
    n_classes: int
    hidden_layer_sizes: tuple[int, ...]
    settings: Settings
    seed: int
    columns: Columns | None = None
    x_mean: np.ndarray | None = None
    counter: int = 0
    samples_to_rebuild: int = 0
    rebuild_gap: float = 0.0
    tally: Tally = field(default_factory=Tally)
    confidence: Confidence = field(default_factory=Confidence)
    early: Early | None = None
    started: np.ndarray | None = None
    layers: list[Layer] = field(init=False)
    input_stats: list[InputStats] = field(init=False)
    prototypes: Prototypes | None = field(init=False, default=None)
    derived: dict[str, Any] = field(init=False, default_factory=dict, repr=False)
    guard: Guard = field(init=False, default_factory=Guard, repr=False)

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
        for layer, chosen in zip(self.layers, self.settings.layers, strict=True):
            layer.rate, layer.bias_rate = chosen.rate, chosen.bias_rate
        if self.columns is not None and self.layers[0].by_feature:
            self.layers[0].ids = self.columns.ids
        self.input_stats = [(np.zeros(layer.n_in, np.float32), 1.0) for layer in self.layers]

    def twin(self) -> Network:
        """A Network that shares the arrays but may get other input statistics and prototypes."""
        twin = object.__new__(Network)
        vars(twin).update(vars(self), input_stats=list(self.input_stats), derived={})
        return twin

    def changed(self) -> None:
        """Forget all objects in `derived`: the weights have changed."""
        # A new dict: another thread may still compute an object from the old weights. It puts the
        # object into the old dict, which is no longer read.
        self.derived = {}

    def set_prototypes(self, prototypes: Prototypes | None) -> None:
        """Replace the prototypes, whose scores are added to the network's; None: no prototypes."""
        self.prototypes = prototypes

    def model(self, n_layers: int | None = None) -> Model:
        """Views of all layers for the compiled loops, or of the first n_layers.

        The last of these then counts as the output, and prototypes are left out.
        """
        settings, prototypes = self.settings, self.prototypes if n_layers is None else None
        return Model(self.layers[:n_layers], settings.activation, settings.loss, prototypes)

    @property
    def n_announced(self) -> int:
        """Number of columns of X."""
        return self.n_features if self.columns is None else self.columns.n_announced

    def coefs(self) -> list[Floats]:
        """Weights (n_in, n_out) of every layer; of the first one for all columns of X."""
        first, *others = [layer.coefs for layer in self.layers]
        if self.columns is not None:
            weights = np.zeros((self.n_announced, first.shape[1]), np.float32)
            weights[self.columns.ids] = first
            return [weights, *others]
        return [first, *others]

    def inputs(self, x: Matrix) -> Matrix:
        """Rows of X, checked, as inputs of the network: only its columns, and centred."""
        x = centered(x if self.columns is None else self.columns.select(x), self.x_mean)
        # A sparse first layer sums dense and CSR rows in different orders.
        return csr_array(x) if self.x_mean is None and self.layers[0].n_active else x

    def rows(self, x: Matrix) -> InputRows:
        """Inputs in the form that `model()` reads: sparse if there are prototypes."""
        return InputRows(x if self.prototypes is None else csr_array(x))

    def trainer(
        self, x: InputRows, y: LabelRows, sample_weight: Floats | None, n_threads: int
    ) -> Trainer:
        """The compiled loop over x and y; its scratch is allocated once and serves all epochs."""
        settings = {**self.settings.engine(), "seed": self.seed}
        return Trainer(self.model(), x, y.indptr, y.indices, sample_weight, settings, n_threads)
