"""The resolution of "auto": pure functions of the data's shape, with their reasons.

The figures behind a reason come from the ablations in `bench/`; they were chosen on several
problems at once (digits, Fashion-MNIST, Bibtex, Delicious, OEWN, EURLEX57K, planted problems of
100 to 100,000 classes), never for one of them alone.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from slide._base.arrays import Params
from slide._base.values import MAX_INT
from slide._data.rows import DataShape
from slide._engine.optimizer import SOLVERS
from slide._settings.auto_retrieval import CODE_BITS, hidden_retrieval, output_retrieval
from slide._settings.settings import LayerSettings, Settings

if TYPE_CHECKING:
    from slide._data.labels import LabelRows

# Learning rates are given for one unit of `learning_rate_init`. Each is scaled so that one update
# moves the layer's output by about the same share, whatever the layer's input.
_INPUT_STEP = 1200.0  # first layer's pre-activations, in their own standard deviations
_INPUT_BIAS_STEP = 10.0
_OUTPUT_STEP = 100.0  # output weights; divided by the width of the hidden layer
_OUTPUT_BIAS_STEP = 5.0
# Pre-activation that a label's neuron starts with on a sample at the label's centroid.
_CENTROID_LOGIT = 4.6

# The same for sparse layers, whose neurons see few of the samples. Not divided by the depth, though
# the steps of the layers add up: with steps divided by its root, 7 x 1000 neurons, 5 % active, lose
# half a point (Fashion-MNIST).
_SPARSE_STEP = 5400.0
_SPARSE_STEP_DEEPER = 1.35
_SPARSE_OUTPUT = 4.5

_SEVERAL = 1.5  # mean labels of a row from which on a longer tail pays
_FEW_VALUES = 4  # mean values of a row from which on SVMs tell labels apart
_TAIL_OF_SEVERAL = 300  # tail for one label a row; it grows with the root of their number
_COMPUTED = 256  # hidden neurons that a micro-batch computes
_WIDE_DROPOUT = 0.75  # dropout of a layer of four times as many
_JUDGED = 20  # fewest rows with which prototypes are tried
_NARROW = 128  # layers of fewer neurons stay dense if one share is given for all layers


def with_widths(params: Params, labels: LabelRows) -> Params:
    """The estimator's parameters (a dict, validated) with the widths of the hidden layers."""
    if params["hidden_layer_sizes"] != "auto":
        return params
    n_classes = labels.n_classes
    width = auto_width(n_classes, len(labels.indices) / n_classes)
    return {**params, "hidden_layer_sizes": (width,)}


def resolve(params: Params, shape: DataShape) -> Settings:
    """Settings from parameters that `with_widths` returned, and the data's shape."""

    def given(name: str, default: Any) -> Any:
        return default if params[name] == "auto" else params[name]

    # A later call may bring more rows than this one, so fewer rows do not make it smaller.
    batch_size = given("batch_size", auto_batch_size(shape.n_samples))
    n_together = min(batch_size, shape.n_samples)
    rows_per_class = shape.n_labels / shape.n_classes
    prototypes = _prototypes(params, shape)
    with_svms = prototypes and not shape.one_label
    epochs = auto_max_iter(shape.n_samples, n_together, rows_per_class, with_svms)
    max_iter = given("max_iter", epochs)
    hidden = _hidden_layers(params, shape)
    any_sparse = any(layer.n_active for layer in hidden)
    all_neurons, tail_size = _active_output(params, shape, n_together, any_sparse)
    output = _output_layer(params, shape, hidden, all_neurons)
    steps = max_iter * math.ceil(shape.n_samples / n_together)
    sizes = params["hidden_layer_sizes"]
    at_last = auto_rehash_at_last(hidden, sizes, shape)
    of_solver = ("solver", "alpha", "momentum", "beta_1", "beta_2", "epsilon")
    rehash_every = given("rehash_every", auto_rehash_every(shape.n_samples, any_sparse))
    return Settings(
        loss=given("loss", auto_loss(shape.multilabel, all_neurons)),
        activation=params["activation"],
        batch_size=batch_size,
        max_iter=max_iter,
        layers=(*hidden, output),
        all_neurons=all_neurons,
        tail_size=tail_size,
        n_hard=min(5, shape.n_classes) if output.retrieval else 0,
        n_hard_kept=0 if all_neurons else _n_hard_kept(params, shape, hidden),
        rehash_every=rehash_every,
        rehash_at_last=max(rehash_every, at_last),
        centroid_logit=_CENTROID_LOGIT,
        warm_up=min(300, steps // 10 + 1),
        prototypes=prototypes,
        weight_dtype=params["weight_dtype"],
        **{name: params[name] for name in of_solver},
    )


def _prototypes(params: Params, shape: DataShape) -> bool:
    """Whether to try prototypes and SVMs.

    "auto": for sparse X, many classes and enough rows to judge by, if the hidden layers are a
    bottleneck (Delicious has 500 features, fewer than hidden neurons, and gains nothing).
    """
    wanted = params["prototypes"]
    if wanted == "auto":
        narrow = shape.n_features > min(params["hidden_layer_sizes"])
        return shape.sparse and narrow and shape.n_classes >= 100 and shape.n_samples >= 1000
    if wanted and not shape.sparse:
        raise ValueError(
            "prototypes must be 'auto' or False for dense features: prototypes need sparse ones, "
            "where at most a quarter of X is not zero"
        )
    if wanted and shape.n_samples < _JUDGED:
        raise ValueError(
            f"prototypes=True takes at least {_JUDGED} rows, a tenth of which choose the weight; "
            f"got {shape.n_samples}"
        )
    return bool(wanted)


# ----------------------------------------------------------------- layers --


def first_is_sparse(params: Params) -> bool:
    """Whether the first hidden layer is sparse."""
    return _n_active(params["active_fraction"], 0, params["hidden_layer_sizes"][0]) > 0


def _hidden_layers(params: Params, shape: DataShape) -> list[LayerSettings]:
    sizes, layers = params["hidden_layer_sizes"], []
    n_in, n_values, sparse_input = shape.n_features, shape.n_values, shape.sparse
    square = shape.mean_square_norm or 1.0
    dropout = params["dropout"]
    if dropout == "auto":
        dropout = auto_dropout(min(sizes), len(sizes), shape.n_labels / shape.n_classes)
    for i, size in enumerate(sizes):
        n_active = _n_active(params["active_fraction"], i, size)
        retrieval = (
            hidden_retrieval(params, n_in, n_values, sparse_input, size, n_active, i)
            if n_active
            else None
        )
        if i == 0 and not n_active:
            rate = _INPUT_STEP / (shape.mean_abs_norm or 1.0)
        elif i == 0:
            # The fewer neurons are active, the fewer samples each one sees. If a share of .005 is
            # active, the step is three times as large.
            seldom = min(3.0, max(1.0, math.sqrt(0.05 * size / n_active)))
            rate = seldom * _SPARSE_STEP / math.sqrt(n_in * square)
        else:
            rate = _SPARSE_STEP_DEEPER if n_active else 1.0
        rate, bias_rate = _rates(params, rate, _INPUT_BIAS_STEP if i == 0 else 1.0, square)
        layers.append(
            LayerSettings(
                n_active=n_active,
                retrieval=retrieval,
                # Leaving neurons out is noise enough for a sparse layer.
                dropout=0.0 if n_active and params["dropout"] == "auto" else dropout,
                scale=1.0 / math.sqrt(square),
                rate=rate,
                bias_rate=bias_rate,
            )
        )
        n_in, n_values = size, n_active or size
        sparse_input = n_values * 4 <= n_in
        square = expected_square_norm(size, n_active)
    return layers


def _output_layer(
    params: Params, shape: DataShape, hidden: list[LayerSettings], all_neurons: bool
) -> LayerSettings:
    width = params["hidden_layer_sizes"][-1]
    retrieval = None
    if not all_neurons and params["retrieval"] not in ("auto", "none", "lists"):
        retrieval = output_retrieval(params, shape.n_classes)
    square = expected_square_norm(width, hidden[-1].n_active)
    rate = _OUTPUT_STEP / width
    if hidden[-1].n_active:
        rate *= _SPARSE_OUTPUT
    rate, bias_rate = _rates(params, rate, _OUTPUT_BIAS_STEP, square)
    return LayerSettings(0, retrieval, 0.0, 0.0, rate, bias_rate)


def expected_square_norm(n_neurons: int, n_active: int) -> float:
    """E|a|^2 of a layer's activations when its pre-activations are standard normal.

    Dense ReLU: each neuron keeps half of its variance (He et al. 2015). If only the largest share f
    is active: each active neuron has the second moment 1 + t phi(t) / f, where a share f of the
    normal distribution lies above t.
    """
    if not n_active or n_active >= n_neurons:
        return n_neurons / 2
    share = n_active / n_neurons
    t = NormalDist().inv_cdf(1 - share)
    return n_active * (1 + t * NormalDist().pdf(t) / share)


def _n_hard_kept(params: Params, shape: DataShape, hidden: list[LayerSettings]) -> int:
    """Number of hard neurons in every row's list; 0: there are no lists.

    "auto": lists where every row has exactly one label (planted siblings: P@1 .53 to .65), or
    where rows have _SEVERAL labels or more on average and fewer than _FEW_VALUES values (word
    windows: .20 to .25). With more values the SVMs gain the same without lists (EURLEX57K: P@5 .698
    with and without). Five per row are enough; one gives half the gain.
    """
    several = shape.n_labels >= _SEVERAL * shape.n_samples and shape.n_values < _FEW_VALUES
    pays = (shape.one_label or several) and not hidden[-1].n_active
    wanted = params["retrieval"] == "lists" or (params["retrieval"] == "auto" and pays)
    return min(5, shape.n_classes - 1) if wanted else 0


def _rates(
    params: Params, rate: float, bias_rate: float, square_norm: float
) -> tuple[float, float]:
    """Factors of the learning rate for weights and biases, for the chosen solver."""
    solver = SOLVERS[params["solver"]]
    if not solver.normalizes:
        return solver.rate_factor / square_norm, solver.rate_factor
    return solver.rate_factor * rate, solver.rate_factor * bias_rate


def _n_active(fraction: Any, i: int, size: int) -> int:
    """Active neurons of hidden layer i; 0 for a dense one."""
    if fraction == "auto":
        n_active = auto_n_active(size)
    elif isinstance(fraction, float | int):
        n_active = size if size < _NARROW else math.ceil(fraction * size)
    else:
        n_active = math.ceil(fraction[i] * size)
    return n_active if n_active < size else 0


# --------------------------------------------------------------- the rules --


def auto_batch_size(n_samples: int) -> int:
    """Rows of a micro-batch: 64 share each read of a weight row, and fit the second-level cache.

    A small data set takes fewer, so that an epoch has some 40 updates.
    """
    return max(8, min(64, n_samples // 40))


def auto_max_iter(n_samples: int, batch_size: int, rows_per_class: float, with_svms: bool) -> int:
    """Epochs: the more rows there are, the fewer epochs, but still the more updates.

    Without SVMs, OEWN (75,000 rows) still gains from the eighth epoch; with them six are as good as
    eight, if rows may have several labels (planted siblings, one label: P@1 .640 after 7 epochs,
    .653 after 9). A million rows get 5. Where classes have more than 15 rows each, there is
    more to learn and less to overfit: up to twice as many epochs, but then no more than 20
    (EURLEX57K, 55 rows: P@5 .6935 after 6, .6995 after 13). If an epoch has few updates (few rows
    or large batches), there are enough epochs for 1,000 updates, but no more than MLPClassifier's
    200.
    """
    updates = math.ceil(n_samples / batch_size)
    usual = (60 if with_svms else 80) * math.pow(n_samples, -0.2)
    more = usual * min(2.0, math.sqrt(rows_per_class / 15))
    usual = max(usual, min(more, 20.0))
    return max(5, round(usual), min(200, math.ceil(1000 / updates)))


def auto_tail_size(n_classes: int, labels_per_row: float) -> int:
    """Sampled neurons of a micro-batch: 20 times the fourth root of the width, 128 to 1,024.

    With one label a row, at 10,000 and 20,000 classes 250 are as good as 500 and 1,000 at equal
    epochs and better at equal seconds, 128 are worse; at 100,000 classes 350 are better than 1,000
    after 8 epochs. The more labels a row has, the more neurons compete for its best places: the
    tail grows with the root of their number.
    """
    one = max(128, min(1024, round(20 * math.pow(n_classes, 0.25))))
    several = (
        round(_TAIL_OF_SEVERAL * math.sqrt(labels_per_row)) if labels_per_row >= _SEVERAL else 0
    )
    return max(one, several)


def auto_loss(multilabel: bool, all_neurons: bool) -> str:
    """Softmax if rows have one label and all output neurons are computed; else sigmoid.

    Over a sampled tail sigmoid was better on every problem (P@1 +.01 to +.05).
    """
    return "softmax" if all_neurons and not multilabel else "sigmoid"


def auto_width(n_classes: int, rows_per_class: float) -> int:
    """Hidden neurons: so many that `auto_dropout` keeps _COMPUTED of them.

    The more classes there are, the fewer: prediction computes all of them for every class.
    """
    most = 4 if n_classes <= 2048 else 2 if n_classes <= 131_072 else 1
    share = 1 - _WIDE_DROPOUT * _few(rows_per_class)
    return 32 * round(_COMPUTED * min(most, 1 / share) / 32)


def _few(rows_per_class: float) -> float:
    """How much dropout the data need, 0 to 1: many rows per class regularise too."""
    return min(1.0, math.sqrt(300 / max(rows_per_class, 1)))


def auto_dropout(width: int, depth: int, rows_per_class: float) -> float:
    """Dropout rate: .3 from 128 hidden neurons on, less in narrow layers, which need them all.

    It is divided by the depth, because the noise of the layers adds up: at depth 3 a third of it in
    each layer is better than all of it in each layer, or none, on OEWN (P@1 .263, with all .241)
    and Fashion-MNIST (.897, with all .888). Beyond 300 rows per class it gradually shrinks, because
    the data regularise too: Fashion-MNIST (6,000 rows per class) gains .3 of a point.
    """
    few = _few(rows_per_class)
    rate = 0.3 * few * min(1.0, width / 128)
    # A wider layer computes _COMPUTED neurons in every micro-batch.
    rate = max(rate, min(_WIDE_DROPOUT * few, 1 - _COMPUTED / width))
    return round(rate / depth, 4)


def auto_rehash_every(n_samples: int, any_sparse: bool) -> int:
    """Samples before the first rebuild: a sixteenth of an epoch, as neurons move fast at first.

    Sparse hidden layers depend on their codes at every step; with them it is 1,024 samples.
    """
    return 1024 if any_sparse else max(2048, n_samples // 16)


def auto_rehash_at_last(
    hidden: list[LayerSettings], sizes: tuple[int, ...], shape: DataShape
) -> int:
    """Samples that the gap between two rebuilds grows to: each neuron is active 600 times in it.

    The gap is longer if rebuilds would otherwise cost more than a tenth of the training.
    Fashion-MNIST, 1,000 neurons: gaps of 2,048 to 8,192 samples are equally good, 16,384 loses .2
    of a point. If only the output layer has a retrieval, the gap grows without limit.
    """
    drift = rebuild = training = 0.0
    n_in, n_values = shape.n_features, shape.n_values
    for size, layer in zip(sizes, hidden, strict=True):
        n_active = layer.n_active or size
        training += 3 * n_active * n_values
        if layer.retrieval and layer.retrieval.policy not in ("exact", "none"):
            drift = max(drift, 600 * size / n_active)
            if layer.retrieval.policy != "scan":
                rebuild += size * (2 * n_in + 20 * min(n_in, CODE_BITS))
        n_in, n_values = size, n_active
    if not drift:
        return MAX_INT
    return min(MAX_INT, round(max(drift, 10 * rebuild / max(training, 1))))


def auto_n_active(size: int) -> int:
    """Active neurons of a hidden layer: all if it has at most 8,192 neurons, else 128.

    A layer of which only a share is active learns worse in the same epochs (Fashion-MNIST: by 1
    point at 50 of 1,000 or 10,000), but a dense step of a wider layer takes too long.
    """
    return size if size <= 8192 else 128


def _active_output(
    params: Params, shape: DataShape, n_together: int, any_sparse: bool
) -> tuple[bool, int]:
    """Whether all output neurons are computed, and the size of the tail if not."""
    n_classes, retrieval = shape.n_classes, params["retrieval"]
    fraction = params["active_fraction"]
    wants_retrieval = retrieval not in ("auto", "none") and not any_sparse
    if fraction == "auto":
        tail_size = params["tail_size"]
        if tail_size == "auto":
            tail_size = auto_tail_size(n_classes, shape.n_labels / max(shape.n_samples, 1))
        # Labels come on top of the tail; beyond half of the neurons sampling saves nothing.
        labels = n_together * shape.n_labels / max(shape.n_samples, 1)
        few = tail_size + labels > n_classes / 2
        return few and not wants_retrieval, tail_size
    share = fraction if isinstance(fraction, float | int) else fraction[-1]
    if isinstance(fraction, float | int) and n_classes < _NARROW:
        share = 1.0
    if share >= 1:
        if wants_retrieval:
            raise ValueError(
                f"retrieval={retrieval!r} has nothing to choose where active_fraction is 1.0 for "
                "every layer; take 'auto', 'none' or a smaller fraction"
            )
        return True, 0
    if params["tail_size"] != "auto":
        return False, params["tail_size"]
    return False, max(1, math.ceil(share * n_classes))
