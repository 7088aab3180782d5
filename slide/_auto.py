"""What "auto" becomes: pure functions of the data's shape, with their reasons.

The figures behind a reason come from the ablations in `bench/`; they were chosen on several
problems at once (digits, Fashion-MNIST, Bibtex, Delicious, OEWN, planted problems of 10,000
classes), never for one of them alone.
"""

import math
from dataclasses import asdict, dataclass

# Learning rates are given for one unit of `learning_rate_init`; each is scaled so that one
# update moves what comes out of the layer by about the same share, whatever the layer's input.
_INPUT_STEP = 1200.0  # first layer's pre-activations, in their own standard deviations
_INPUT_BIAS_STEP = 10.0
_OUTPUT_STEP = 100.0  # output weights, over the width of the hidden layer
_OUTPUT_BIAS_STEP = 5.0
# Pre-activation that a label's neuron starts with on a sample at the label's centroid.
_CENTROID_LOGIT = 4.6

_TABLE_SETTINGS = (
    "n_hard",
    "n_candidates",
    "bucket_limit",
    "n_tables",
    "n_hash_bits",
    "rehash_every",
)


@dataclass(frozen=True)
class Settings:
    """Everything the engine needs to know, resolved."""

    loss: str
    activation: str
    dropout: float
    batch_size: int  # samples of a micro-batch, one update of each active row
    max_iter: int
    # active set of the output layer
    all_neurons: bool
    tail_size: int
    use_tables: bool
    n_hard: int
    n_candidates: int
    bucket_limit: int
    n_tables: int
    n_hash_bits: int
    rehash_every: int  # samples before the first rebuild
    # start and step sizes
    input_scale: float
    input_rate: float
    input_bias_rate: float
    centroid_logit: float
    output_rate: float
    output_bias_rate: float
    warm_up: int  # micro-batches until the full learning rate
    # Adam
    beta_1: float
    beta_2: float
    epsilon: float

    def engine(self):
        """The settings of `slide._core.Trainer`, under its names (the seed is not among them)."""
        return {
            "micro_batch": self.batch_size,
            "all_neurons": self.all_neurons,
            "tail_size": self.tail_size,
            "n_hard": self.n_hard,
            "n_candidates": self.n_candidates,
            "bucket_limit": self.bucket_limit,
            "dropout": self.dropout,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }

    def describe(self):
        """A dict for people: what was chosen, None for what was not needed."""
        known = {
            "hash_family": "simhash" if self.use_tables else None,
            "retrieval": "rerank" if self.use_tables else "none",
            **asdict(self),
        }
        unused = _TABLE_SETTINGS if not self.use_tables else ()
        unused += ("tail_size",) if self.all_neurons else ()
        return {name: None if name in unused else value for name, value in known.items()}


@dataclass(frozen=True)
class DataShape:
    """What "auto" may look at."""

    n_samples: int
    n_classes: int
    n_labels: int  # label entries in all, n_samples for one label a row
    mean_square_norm: float  # average of |x|^2 over the rows
    mean_abs_norm: float  # average of |x|_1
    multilabel: bool


def resolve(params, shape):
    """Settings from the estimator's parameters (a dict, validated) and the data's shape."""

    def given(name, default):
        return default if params[name] == "auto" else params[name]

    batch_size = min(given("batch_size", auto_batch_size(shape.n_samples)), shape.n_samples)
    max_iter = given("max_iter", auto_max_iter(shape.n_samples, batch_size))
    all_neurons, tail_size = _active(params, shape, batch_size)
    # "auto" retrieves nothing: on every problem measured so far (10,000 to 670,091 classes) the
    # seconds that retrieval takes bought as much or more as further epochs with the tail alone.
    use_tables = not all_neurons and params["retrieval"] == "rerank"
    n_hash_bits = given("n_hash_bits", auto_n_hash_bits(shape.n_classes))
    sizes = tuple(params["hidden_layer_sizes"])
    steps = max_iter * math.ceil(shape.n_samples / batch_size)
    square_norm = shape.mean_square_norm or 1.0
    abs_norm = shape.mean_abs_norm or 1.0
    return Settings(
        loss=given("loss", auto_loss(shape.multilabel, all_neurons)),
        activation=params["activation"],
        dropout=given("dropout", auto_dropout(min(sizes))),
        batch_size=batch_size,
        max_iter=max_iter,
        all_neurons=all_neurons,
        tail_size=tail_size,
        use_tables=use_tables,
        n_hard=min(5, shape.n_classes) if use_tables else 0,
        n_candidates=64,
        bucket_limit=16,
        n_tables=given("n_tables", 24),
        n_hash_bits=n_hash_bits,
        rehash_every=given("rehash_every", auto_rehash_every(shape.n_samples)),
        input_scale=1.0 / math.sqrt(square_norm),
        input_rate=_INPUT_STEP / abs_norm,
        input_bias_rate=_INPUT_BIAS_STEP,
        centroid_logit=_CENTROID_LOGIT,
        output_rate=_OUTPUT_STEP / sizes[-1],
        output_bias_rate=_OUTPUT_BIAS_STEP,
        warm_up=min(300, steps // 10 + 1),
        beta_1=params["beta_1"],
        beta_2=params["beta_2"],
        epsilon=params["epsilon"],
    )


def auto_batch_size(n_samples):
    """64 rows read a weight row once for all and keep their vectors in the second-level cache.

    A small data set takes fewer, so that an epoch has some 40 updates.
    """
    return max(8, min(64, n_samples // 40))


def auto_max_iter(n_samples, batch_size):
    """Epochs: fewer the more rows there are, more updates all the same.

    Bibtex (6,000 rows) is best after about 12 passes and overfits after 20, OEWN (75,000) still
    gains from the eighth; a million rows get 5. Where an epoch has few updates, for few rows
    or large batches, there are epochs for 1,000 of them, but no more than MLPClassifier's 200.
    """
    updates = math.ceil(n_samples / batch_size)
    return max(5, round(80 * n_samples**-0.2), min(200, math.ceil(1000 / updates)))


def auto_tail_size(n_classes):
    """Sampled neurons of a micro-batch; the fourth root of the width.

    At 10,000 and 20,000 classes 250 are as good as 500 and 1,000 at equal epochs and better
    at equal seconds, 128 are worse; at 100,000 classes 350 are better than 1,000 after 8 epochs.
    """
    return max(128, min(1024, round(20 * n_classes**0.25)))


def auto_loss(multilabel, all_neurons):
    """Softmax where it is exact and its probabilities are the point; else sigmoid.

    Over a sampled tail sigmoid was better on every problem (P@1 +.01 to +.05).
    """
    return "softmax" if all_neurons and not multilabel else "sigmoid"


def auto_dropout(width):
    """.3 from 128 hidden neurons on; less in a narrow layer, which has no neuron to spare."""
    return 0.3 * min(1.0, width / 128)


def auto_n_hash_bits(n_classes):
    """Buckets of about 32 neurons: long enough to hold the hardest, short enough to be read."""
    return max(2, min(16, round(math.log2(max(n_classes, 2) / 32))))


def auto_rehash_every(n_samples):
    """Neurons move fast at the start: first rebuild after a sixteenth of an epoch."""
    return max(2048, n_samples // 16)


def _active(params, shape, batch_size):
    """Whether all output neurons are computed, and the tail's size when not."""
    n_classes = shape.n_classes
    fraction = params["active_fraction"]
    if fraction == "auto":
        tail_size = params["tail_size"]
        if tail_size == "auto":
            tail_size = auto_tail_size(n_classes)
        # Labels come on top of the tail; beyond half of the neurons sampling saves nothing.
        labels = batch_size * shape.n_labels / max(shape.n_samples, 1)
        few = tail_size + labels > n_classes / 2
        return few and params["retrieval"] != "rerank", tail_size
    share = fraction if isinstance(fraction, float | int) else fraction[-1]
    if share >= 1:
        if params["retrieval"] == "rerank":
            raise ValueError(
                "retrieval='rerank' has nothing to choose where active_fraction is 1.0 for the "
                "output; take 'auto', 'none' or a smaller fraction"
            )
        return True, 0
    if params["tail_size"] != "auto":
        return False, params["tail_size"]
    return False, max(1, math.ceil(share * n_classes))
