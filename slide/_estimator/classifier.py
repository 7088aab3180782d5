"""The scikit-learn estimator: parameters, methods and fitted attributes. No numerics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state

from slide._base.arrays import Array, Params
from slide._base.locks import one_at_a_time
from slide._base.n_jobs import is_parallel, resolve_n_jobs
from slide._data.checks import check_weights
from slide._data.coder import LabelCoder
from slide._data.rows import TrainingRows
from slide._estimator.callbacks import CallbackSupport, with_callbacks
from slide._estimator.features import check_features
from slide._estimator.html import NetworkTable
from slide._estimator.observers import Observers
from slide._estimator.prediction import Prediction
from slide._estimator.saving import Saving
from slide._network.early import needs_new_network
from slide._network.fitted import Fitted
from slide._saving.checkpoint import CheckpointFile, identity_of, the_checkpoint
from slide._settings.auto import with_widths
from slide._settings.rules import check_params, check_same_network, is_true
from slide._training.batch import adapted, train_batch
from slide._training.begin import train
from slide._training.task import Task, as_inputs


class SparseMLPClassifier(
    Prediction,
    Saving,
    NetworkTable,
    CallbackSupport,
    ClassifierMixin,
    BaseEstimator,
):
    """Multi-layer perceptron that computes only the neurons that matter for a sample.

    Layers are dense or sparse. In a sparse layer each sample uses only the neurons with the largest
    pre-activations, which hashing finds [1]_ [2]_. In a wide output layer a micro-batch computes
    its labels and a small uniform sample of the other neurons [3]_. So a step costs little more
    with a million neurons than with a thousand. Threads share the weights without locks [4]_.
    Prediction scores every class exactly. Parameters have the names, order and meaning of
    :class:`sklearn.neural_network.MLPClassifier`. Scale dense features first (`StandardScaler`).

    Parameters
    ----------
    hidden_layer_sizes : "auto", int or sequence of int, default="auto"
        Width of every hidden layer, at least one. "auto" is one layer of 256 to 1,024 neurons, the
        fewer the more classes there are.
    activation : {"identity", "logistic", "tanh", "relu"}, default="relu"
        Activation of the hidden layers.
    loss : {"auto", "softmax", "sigmoid"}, default="auto"
        One cross-entropy over all classes ("softmax"), or a binary one per class ("sigmoid").
    active_fraction : "auto", float or sequence of float, default="auto"
        Share of a layer's neurons that are computed for a sample, in (0, 1]; 1.0 is dense. One
        number applies to every layer of at least 128 neurons. A sequence has one number per layer;
        the last is for the output and decides what `tail_size` "auto" is. "auto" keeps hidden
        layers of up to 8,192 neurons dense and gives wider ones 128 active neurons.
    hash_family : {"auto", "simhash", "wta", "dwta", "minhash"}, default="auto"
        Hash functions: signs of random projections, winner take all, winner take all densified for
        sparse vectors, or minwise hashing of the largest values.
    n_tables : "auto" or int, default="auto"
        Number of hash tables, 1 to 255.
    n_hash_bits : "auto" or int, default="auto"
        Bits of a hash value, 1 to 16. A table has ``2 ** n_hash_bits`` buckets.
    retrieval : {"auto", "estimate", "scan", "vanilla", "topk", "threshold", "rerank", "exact", \
"lists", "none"}, default="auto"
        How sparse hidden layers find their neurons, and how the output layer finds its hardest
        wrong classes. "Both" means that a policy works in hidden layers and in the output:

        - "auto" (hidden layers): "estimate", or "scan" if a sparse input makes that cheap.
        - "auto" (output): "lists" if every row has one label, else "none".
        - "estimate" (both): neurons with the largest pre-activations according to SimHash codes;
          above 32,768 neurons, only among candidates from hash tables.
        - "scan" (both): neurons with the largest pre-activations under the weights of the last
          rebuild.
        - "exact" (both): neurons with the largest pre-activations; computes all pre-activations.
        - "vanilla" (both): first neurons found in the input's hash buckets.
        - "topk" (both): neurons that share most buckets with the input.
        - "threshold" (both): neurons that share at least two buckets with the input.
        - "rerank" (both): neurons with the largest inner products among many "topk" neurons.
        - "lists" (output): searches for the hardest wrong classes of every row with one-bit codes,
          once, a quarter of the way through `fit`. Hidden layers use "auto".
        - "none": random neurons (hidden layers), no hard classes (output).
    tail_size : "auto" or int, default="auto"
        Number of output neurons that a micro-batch draws uniformly from the neurons that it has not
        chosen otherwise.
    rehash_every : "auto" or int, default="auto"
        Samples before the first rebuild of codes and tables. Each gap is 1.5 times the previous
        one. With sparse hidden layers it grows until every neuron is active some 600 times
        between two rebuilds and rebuilds cost at most a tenth of the training.
    solver : {"adam", "sgd", "adagrad"}, default="adam"
        Adam, SGD with momentum, or Adagrad. All of them update only weights that had a gradient.
        Adam and Adagrad keep one second moment per row of weights.
    alpha : float, default=0.0
        Strength of the L2 penalty on the weights that are updated.
    dropout : "auto" or float, default="auto"
        Share of the hidden neurons that training leaves out, in [0, 1). Dense layers of at least
        128 neurons leave out blocks of 16 for a whole micro-batch, which saves their computation
        [6]_. "auto" leaves about 256 neurons of a dense layer, and is 0 for sparse layers.
    batch_size : "auto" or int, default="auto"
        Samples per micro-batch. They share the active output neurons and make one update.
    learning_rate : {"constant", "linear"}, default="linear"
        With "linear" the step size falls to a hundredth over `max_iter` epochs. `partial_fit`
        always uses "constant".
    learning_rate_init : float, default=0.001
        Step size at the start.
    momentum : float, default=0.9
        Momentum of SGD, in [0, 1).
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decay of Adam's first and second moments, in [0, 1).
    epsilon : float, default=1e-8
        Number that keeps Adam from dividing by zero.
    max_iter : "auto" or int, default="auto"
        Maximum number of epochs of `fit`.
    prototypes : {"auto"} or bool, default="auto"
        Whether `fit` can make a prototype of every class, its mean training row [5]_, and a linear
        SVM [7]_ that tells the class from those that the network confuses it with. The cosine of a
        row and the prototype and the margin of the SVM are then added to the score of the class. At
        most 2,000 rows come late in training. They decide the two weights, which can be 0, and
        scale the scores for more honest probabilities. "auto" is True for sparse X with at least
        100 classes, 1,000 rows and more features than hidden neurons. `partial_fit` makes none.
    shuffle : bool, default=True
        Whether every epoch takes the samples in a new order.
    tol : float, default=1e-4
        An epoch that improves by less than this makes no progress; see `n_iter_no_change`.
    n_iter_no_change : int, default=10
        `fit` stops after more than this many epochs in a row in which the training loss (with
        `early_stopping`: the validation score) makes no progress.
    early_stopping : bool, default=False
        Hold rows out, stop when their score stops improving, and return to the best weights.
    validation_fraction : float, default=0.1
        Share of rows that `early_stopping` holds out, stratified if possible.
    warm_start : bool, default=False
        Whether `fit` continues with the present network. Its classes, its features and the
        parameters that define it must then stay the same.
    random_state : int, RandomState instance or None, default=None
        Seed of all random numbers. With one thread, the same seed gives the same bits on
        processors with the same instruction set, whatever the threads of BLAS.
    n_jobs : int or None, default=None
        Threads; None is 1, -1 all processors. Any number gives the same bits if all output neurons
        are computed, else several are not reproducible to the bit. If OpenMP had several threads
        before a fork, the child process uses one thread and warns.
    weight_dtype : {"float32", "bfloat16"}, default="float32"
        Type of the stored weights and first moments. "bfloat16" halves their memory and is faster
        with very many classes. It rounds each update up or down at random, so that small updates
        are not lost. Biases and sums are always float32.
    predict_mode : {"exact", "lsh"}, default="exact"
        "exact": `predict` and `predict_topk` score every class. "lsh": they score only the classes
        that SimHash codes rank highest; see `predict_topk`. With fewer than 16,384 classes both are
        exact. The mode can change after `fit`.
    verbose : bool or int, default=False
        Whether to print a line per epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels; column numbers for a multilabel target.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had names.
    n_outputs_ : int
        Number of output neurons, which is the number of classes.
    prototypes_ : sparse array of shape (`n_outputs_`, `n_features_in_`), dtype=float32, or None
        Prototype of every class, of length 1; with SVMs, what each feature adds to a score, before
        a row is scaled. None if neither gained anything.
    prototype_weight_, svm_weight_ : float
        Weights of the prototype's cosine and of the SVM's margin in a score; 0 without them.
    coefs_ : list of ndarray of shape (n_in, n_out), dtype=float32
        Weights of every layer: views, or copies if `weight_dtype` is "bfloat16". Columns of sparse
        X that never occurred have zeros in the first one, which is then a copy too.
    intercepts_ : list of ndarray of shape (n_out,), dtype=float32
        Biases of every layer, for X that is not centred.
    n_iter_ : int
        Number of all epochs and calls of `partial_fit`.
    t_ : int
        Number of samples that the engine has trained on, by its own count.
    loss_curve_ : list of float
        Training loss of every epoch, over the computed neurons and per unit of sample weight. Of
        earlier calls the last 99 values are exact; older ones are rounded to float32.
    history_ : list of dict
        Record of every epoch and call of `partial_fit`: "loss", "seconds", "n_samples",
        "n_rebuilds", "multiply_adds", "dense_multiply_adds" (those of a dense network) and
        "n_active", the mean number of neurons computed in every layer (in the output per
        micro-batch). "seconds_in" has the seconds of the "search" for neurons, of "forward", of
        "backward" with the updates and of the "rebuild" of codes and tables; the rest of "seconds"
        is other work. Of earlier calls the last 15 records are kept; older ones are replaced by
        their mean. `save` leaves `history_` out.
    loss_, best_loss_ : float
        Last and smallest value of `loss_curve_`; `best_loss_` is None with `early_stopping`.
    validation_scores_, best_validation_score_ : list of float and float, or None
        With `early_stopping`, the weighted `slide.metrics.ndcg_at_k` of the held-out rows, with k
        the rounded mean number of labels per row. With one label per row it is the accuracy.
    compute_fraction_ : float
        Multiply-adds of all training steps, hashing and rebuilds included, divided by the
        multiply-adds of a dense network on the same input. Both numbers are counted in the same
        way. A population count of 64 bits counts as one multiply-add.
    hash_params_ : dict
        The value of every "auto", the number of table rebuilds and the instruction set in use.

    Raises
    ------
    ValueError
        For a wrong parameter or wrong data. `fit` then leaves the estimator unfitted;
        `partial_fit` and `fit` with `warm_start` leave it as it was.
    FloatingPointError
        When training diverges. The estimator is then unfitted.
    RuntimeError
        When `fit` or `partial_fit` is called from within one of them, by a callback for example.
    MemoryError
        Before memory is taken, when the network or the centred copy of dense X needs more than the
        machine, the process's control group or its address-space limit allows. `fit` then leaves
        the estimator unfitted, `partial_fit` leaves it as it was.
    KeyboardInterrupt
        Soon after Ctrl-C. `fit` and a first `partial_fit` then leave the estimator unfitted. A
        later `partial_fit` leaves a usable network that has learnt from a part of the batch.

    References
    ----------
    .. [1] R. Spring, A. Shrivastava. "Scalable and Sustainable Deep Learning via Randomized
       Hashing." KDD 2017. arXiv:1602.08194
    .. [2] B. Chen et al. "SLIDE: In Defense of Smart Algorithms over Hardware Acceleration for
       Large-Scale Deep Learning Systems." MLSys 2020. arXiv:1903.03129
    .. [3] S. Mussmann, D. Levy, S. Ermon. "Fast Amortized Inference and Learning in Log-linear
       Models with Randomly Perturbed Nearest Neighbor Search." UAI 2017.
    .. [4] F. Niu et al. "HOGWILD!: A Lock-Free Approach to Parallelizing Stochastic Gradient
       Descent." NIPS 2011.
    .. [5] J. Rocchio. "Relevance Feedback in Information Retrieval." The SMART Retrieval System,
       1971. The weight: D. Wolpert. "Stacked Generalization." Neural Networks 5, 1992.
    .. [6] B. Graham, J. Reizenstein, L. Robinson. "Efficient Batchwise Dropout Training Using
       Submatrices." 2015. arXiv:1502.02478
    .. [7] C.-J. Hsieh et al. "A Dual Coordinate Descent Method for Large-scale Linear SVM." ICML
       2008.

    Examples
    --------
    >>> from slide import SparseMLPClassifier
    >>> from slide.datasets import make_extreme_classification
    >>> X, y = make_extreme_classification(3000, 2000, 100, random_state=0)
    >>> clf = SparseMLPClassifier(random_state=0).fit(X[:2500], y[:2500])
    >>> bool(clf.score(X[2500:], y[2500:]) > 0.7)
    True
    >>> clf.predict_topk(X[2500:], k=3)[0].shape
    (500, 3)
    """

    def __init__(
        self,
        hidden_layer_sizes: int | str | Sequence[int] = "auto",
        activation: str = "relu",
        *,
        loss: str = "auto",
        active_fraction: str | float | Sequence[float] = "auto",
        hash_family: str = "auto",
        n_tables: int | str = "auto",
        n_hash_bits: int | str = "auto",
        retrieval: str = "auto",
        tail_size: int | str = "auto",
        rehash_every: int | str = "auto",
        solver: str = "adam",
        alpha: float = 0.0,
        dropout: float | str = "auto",
        batch_size: int | str = "auto",
        learning_rate: str = "linear",
        learning_rate_init: float = 0.001,
        momentum: float = 0.9,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        max_iter: int | str = "auto",
        prototypes: bool | str = "auto",
        shuffle: bool = True,
        tol: float = 1e-4,
        n_iter_no_change: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        weight_dtype: str = "float32",
        predict_mode: str = "exact",
        verbose: bool | int = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.loss = loss
        self.active_fraction = active_fraction
        self.hash_family = hash_family
        self.n_tables = n_tables
        self.n_hash_bits = n_hash_bits
        self.retrieval = retrieval
        self.tail_size = tail_size
        self.rehash_every = rehash_every
        self.solver = solver
        self.alpha = alpha
        self.dropout = dropout
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.max_iter = max_iter
        self.prototypes = prototypes
        self.shuffle = shuffle
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.weight_dtype = weight_dtype
        self.predict_mode = predict_mode
        self.verbose = verbose

    # ------------------------------------------------------------ training --

    @one_at_a_time
    @with_callbacks
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on X and y.

        Ctrl-C ends `fit` within about a second. After Ctrl-C or an error the estimator is unfitted.
        If only the last checkpoint cannot be written, it stays fitted. Calls in other threads wait;
        a call from within `fit` is refused. `slide.callback.Checkpoint` keeps long trainings.

        Parameters
        ----------
        X : {array-like, sparse} of shape (n_samples, n_features)
            Features. CSR of float32 values and int32 indices is read in place, also from
            memory-mapped files. Everything else is copied. If `early_stopping` or weights of 0 take
            rows out, the remaining rows are copied. Centring copies dense features.
        y : array-like of shape (n_samples,) or {array-like, sparse} of shape (n_samples, n_classes)
            One label per row, of any one type that sorts, or an indicator of zeros and ones (a
            sparse one is never made dense). One dense column is one label per row.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of every row in the loss, >= 0. A row of weight 0 is left out.

        Returns
        -------
        self : SparseMLPClassifier
            The same estimator, fitted.

        Examples
        --------
        >>> from slide import SparseMLPClassifier
        >>> X = [[0.0, 1.0], [1.0, 0.0], [0.1, 0.9], [0.9, 0.2]]
        >>> clf = SparseMLPClassifier((16,), random_state=0).fit(X, ["up", "right", "up", "right"])
        >>> clf.classes_.tolist()
        ['right', 'up']
        """
        before = self._fitted if is_true(self.warm_start) else None
        if before is None:
            self._forget()
        params, coder, data, names = self._check(X, y, sample_weight, before, LabelCoder.from_y)
        rng = check_random_state(self.random_state)
        file = self._checkpoint_file(params, coder, data, rng, before, names)
        kept = file.read() if file else None
        if kept:
            rng = kept.generator(rng)
        task = Task.of(params, coder, data, rng, resolve_n_jobs(self.n_jobs), before, names)
        del data  # the task has the rows that are trained on, centred
        if kept:
            kept.check(task.network_settings, task.data.x.shape[1], coder.classes)
        elif task.before is None:
            task.check_memory()
        observers = Observers(self, task.settings.max_iter, X, y, sample_weight, file)
        # Until here nothing was changed: what an error leaves is the result of the last fit.
        try:
            fitted = train(task, observers, kept)
            self._fitted = fitted
            observers.after_fit(fitted)
        except BaseException:
            self._forget()
            raise
        if file and not (kept and kept.done):
            file.write(fitted, None)
        return self

    @one_at_a_time
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train on another batch: one pass over it, at a constant learning rate.

        The first batch decides the values of "auto", so it should be a representative sample. Early
        batches correct the mean and the scale of X; see the user guide. No prototypes are made and
        no hard classes are found. Use `fit` if all rows fit in memory.

        Parameters
        ----------
        X : {array-like, sparse} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or {array-like, sparse} of shape (n_samples, n_classes)
            Labels, as in `fit`.
        classes : array-like or set of shape (n_classes,), default=None
            All labels that will ever come. The first call needs them if y is one-dimensional.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of every row in the loss, >= 0.

        Returns
        -------
        self : SparseMLPClassifier
            The same estimator, which has learnt from the batch.

        Examples
        --------
        >>> from slide import SparseMLPClassifier
        >>> from slide.datasets import make_extreme_classification
        >>> X, y = make_extreme_classification(300, 200, 20, random_state=0)
        >>> clf = SparseMLPClassifier(random_state=0)
        >>> for start in range(0, 300, 100):
        ...     batch = slice(start, start + 100)
        ...     _ = clf.partial_fit(X[batch], y[batch], classes=range(20))
        >>> clf.n_iter_
        3
        """
        before = self._fitted
        try:
            self._fitted = self._partial_fit(X, y, classes, sample_weight, before)
        except BaseException as error:
            if before is None or isinstance(error, FloatingPointError):
                self._forget()
            raise
        return self

    def _partial_fit(
        self, X: Any, y: Any, classes: Any, sample_weight: Any, before: Fitted | None
    ) -> Fitted:
        if is_true(self.early_stopping):
            raise ValueError("early_stopping must be False for partial_fit; got True")
        params, coder, data, names = self._check(
            X, y, sample_weight, before, lambda y: LabelCoder.from_first_batch(y, classes)
        )
        coder.check_classes(classes)
        rng = check_random_state(self.random_state) if before is None else before.rng
        n_threads = resolve_n_jobs(self.n_jobs)
        is_new = before is None or needs_new_network(before.network, data.x)
        # This frees the rows as they came.
        data, x_mean = as_inputs(params, data, None if is_new else before, last=False)
        if before is not None and not is_new:
            # At once: Ctrl-C may end the training in the middle of the batch.
            self._fitted = before = adapted(before, data, n_threads)
        return train_batch(params, coder, data, x_mean, rng, n_threads, before, is_new, names)

    def _check(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        before: Fitted | None,
        make_coder: Callable[[Any], LabelCoder],
    ) -> tuple[Params, LabelCoder, TrainingRows, Array | None]:
        """Check everything the user passed: parameters, the coder of y, the rows that count.

        The last is the names of the columns of X.
        """
        params = check_params(self.get_params(deep=False))
        if before is not None:
            params = check_same_network(before.params, params)
        (X, y), names = check_features(self, before, X, y)
        coder = make_coder(y) if before is None else before.coder
        labels = coder.encode(y)
        weights = check_weights(sample_weight, len(labels))
        data = TrainingRows(X, labels, weights).without_zero_weights()
        return with_widths(params, data.labels), coder, data, names

    def _checkpoint_file(
        self,
        params: Params,
        coder: LabelCoder,
        data: TrainingRows,
        rng: np.random.RandomState,
        before: Fitted | None,
        names: Array | None,
    ) -> CheckpointFile | None:
        # scikit-learn keeps the callbacks in this attribute, and a clone copies only this
        # attribute.
        checkpoint = the_checkpoint(getattr(self, "_skl_callbacks", ()))
        if checkpoint is None:
            return None
        n_before = 0 if before is None else before.network.tally.n_samples
        identity = identity_of(params, coder.classes, data, rng, n_before)
        return CheckpointFile(checkpoint, identity, self.get_params(deep=False), names)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        tags.non_deterministic = is_parallel(self.n_jobs)
        return tags
