"""The task of a training: everything that the user passed, checked and in the engine's form."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array, issparse

from slide._base.arrays import Array, Floats, Params
from slide._data.centering import is_sparse
from slide._data.columns import columns_that_pay
from slide._data.rows import hold_out
from slide._network.early import follow, needs_new_network
from slide._network.growth import meet
from slide._settings import auto
from slide._settings.budget import check_network

if TYPE_CHECKING:
    from slide._data.coder import LabelCoder
    from slide._data.rows import DataShape, TrainingRows
    from slide._network.fitted import Fitted
    from slide._settings.settings import Settings


def as_inputs(
    params: Params, data: TrainingRows, before: Fitted | None, last: bool
) -> tuple[TrainingRows, Floats | None]:
    """The rows as the inputs of a network that is trained on them, and the mean it subtracts.

    Dense rows are centred. Rows for a new network lose the columns that do not occur, if that
    saves memory. The network `before` decides the mean, and gets new columns if it lacks some.
    A sparse first layer cannot grow: it loses none if these rows are not the `last` ones, and gets
    all columns if it lacks some.
    """
    if before is None:
        data, x_mean = data.centered_by_mean()
        data = _in_one_form(params, data, x_mean)
        columns = None
        can_grow = not auto.first_is_sparse(params)
        if x_mean is None and (can_grow or last) and is_sparse(data.x):
            columns = columns_that_pay(data.x, params["hidden_layer_sizes"][0])
        return data.with_columns(columns), x_mean
    network = before.network
    columns = None if network.columns is None else network.columns.joined(data.x)
    if columns is not network.columns and not network.layers[0].by_feature:
        columns = None
    x_mean = network.x_mean
    if x_mean is not None and columns is not None:
        x_mean = np.pad(x_mean, (0, len(columns) - len(x_mean)))
    data = data.with_columns(columns).centered(x_mean)
    return _in_one_form(params, data, x_mean), x_mean


def _in_one_form(params: Params, data: TrainingRows, x_mean: Floats | None) -> TrainingRows:
    """Inputs of a sparse first layer as CSR if they are not centred.

    Its sums of dense and of CSR rows run in different orders, but the container of X must not
    matter.
    """
    if x_mean is not None or issparse(data.x) or not auto.first_is_sparse(params):
        return data
    return replace(data, x=csr_array(data.x))


def _corrected(before: Fitted, data: TrainingRows, n_threads: int) -> tuple[Fitted, TrainingRows]:
    """`before`, which had few rows, corrected by inputs `data`; and these less its mean."""
    network = meet(before.network, data, n_threads).twin()
    if network.early is not None and len(data) >= network.early.n_rows:
        # They are learnt many times, and the others are not: these decide alone.
        network.early = replace(network.early, n_rows=0)
    network, x = follow(network, data.x, n_threads)
    return replace(before, network=network), replace(data, x=x)


@dataclass(frozen=True)
class Task:
    """The rows to train on, and how to train.

    Parameters
    ----------
    params : dict
        Parameters of the estimator.
    coder : slide._data.coder.LabelCoder
    data : slide._data.rows.TrainingRows
        Rows to train on, as inputs of the network (`as_inputs`).
    x_mean : float32 (n_features,) or None
        The mean that was subtracted from them.
    rng : numpy.random.RandomState
    n_threads : int
    before : slide._network.fitted.Fitted or None
        The network to go on with.
    held_out : slide._data.rows.TrainingRows or None
        Rows to judge by, as inputs like `data`.
    feature_names : object ndarray of str, or None
        Names of the columns of X.
    """

    params: Params
    coder: LabelCoder
    data: TrainingRows
    x_mean: Floats | None
    rng: np.random.RandomState
    n_threads: int
    before: Fitted | None
    held_out: TrainingRows | None = None
    feature_names: Array | None = None
    shape: DataShape = field(init=False)
    settings: Settings = field(init=False)  # "auto" resolved for these rows

    def __post_init__(self) -> None:
        shape = self.data.shape(self.coder.multilabel)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "settings", auto.resolve(self.params, shape))

    @classmethod
    def of(
        cls,
        params: Params,
        coder: LabelCoder,
        data: TrainingRows,
        rng: np.random.RandomState,
        n_threads: int,
        before: Fitted | None,
        feature_names: Array | None = None,
    ) -> Task:
        """Make a Task: hold rows out under `early_stopping`, and subtract the other rows' mean."""
        if before is not None and needs_new_network(before.network, data.x):
            before = None  # it has learnt from equal rows only
        held_out = None
        if params["early_stopping"]:
            data, held_out = hold_out(data, coder.multilabel, params["validation_fraction"], rng)
        data, x_mean = as_inputs(params, data, before, last=True)
        if before is not None and before.network.early is not None:
            before, data = _corrected(before, data, n_threads)
            x_mean = before.network.x_mean
        if held_out is not None:
            held_out = held_out.with_columns(data.columns).centered(x_mean)
            held_out = _in_one_form(params, held_out, x_mean)
        return cls(params, coder, data, x_mean, rng, n_threads, before, held_out, feature_names)

    @property
    def network_settings(self) -> Settings:
        """Settings of the network that is trained: those of `before`, else new ones."""
        if self.before is None:
            return self.settings
        # The number of rows decides it, and those of the last fit may have been few.
        return replace(self.before.network.settings, batch_size=self.settings.batch_size)

    def check_memory(self) -> None:
        """Refuse a new network that does not fit into the memory."""
        n_epochs = min(self.settings.max_iter, self.params["n_iter_no_change"] + 1)
        check_network(self.params, self.settings, self.data, self.shape, self.n_threads, n_epochs)
