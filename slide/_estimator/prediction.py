"""Prediction methods of the estimator, and the steps that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from slide._base.arrays import Array, Floats, Matrix
from slide._base.limits import check_topk
from slide._base.n_jobs import resolve_n_jobs
from slide._data.checks import read_weights
from slide._data.labels import LabelRows, single_rows
from slide._data.target import read_target
from slide._engine import predict
from slide._estimator.features import check_features
from slide._estimator.fitted import FittedAttributes
from slide._prediction import lookup
from slide._prediction.decisions import log_probabilities, predict_label_rows
from slide._settings.rules import capped_k, check_n_candidates, check_predict_mode, check_scores_fit

if TYPE_CHECKING:
    from slide._base.rows import InputRows
    from slide._network.fitted import Fitted

_BELOW_1 = np.nextafter(np.float32(1), np.float32(0))


class Prediction(FittedAttributes):
    """Mixin of an estimator that predicts classes."""

    n_jobs: int | None
    predict_mode: str

    def predict(self, X: Any) -> Any:
        """Predict labels.

        With a multilabel target a row gets every class whose probability is above 1/2 (sigmoid
        loss) or above 1 / (1 + mean number of labels of a training row) (softmax loss). With
        `predict_mode` "lsh" only the classes that codes rank highest are scored, see
        `predict_topk`. There is one exception: a multilabel target with the softmax loss needs the
        scores of all classes.

        Parameters
        ----------
        X : {array-like, sparse} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        y : ndarray of shape (n_samples,) or {ndarray, sparse} of shape (n_samples, n_classes)
            The best class of every row, or an indicator, which is sparse if y was sparse in `fit`.

        Examples
        --------
        >>> from slide import SparseMLPClassifier
        >>> X = [[0.0, 1.0], [1.0, 0.0], [0.1, 0.9], [0.9, 0.2]]
        >>> clf = SparseMLPClassifier((16,), random_state=0).fit(X, ["up", "right", "up", "right"])
        >>> clf.predict([[0.2, 0.8]]).tolist()
        ['up']
        """
        fitted = self._result()
        return fitted.coder.labels_of(self._predicted(X, fitted))

    def predict_proba(self, X: Any) -> Floats:
        """Predict probabilities.

        The probabilities of a row sum to 1. The exception is a multilabel target with the sigmoid
        loss, whose probabilities are independent. `fit` calibrates them on rows that it leaves out
        of the first nine tenths of the epochs, or on those that `early_stopping` holds out: of the
        rows whose best class has a probability of about .7, about seven tenths are right. With one
        label per row this supposes that the true label is one of `classes_`. Calibration does not
        change the ranking.

        Not calibrated are: `partial_fit` without `fit`; the softmax loss of a multilabel target,
        whose probabilities are shares of a row; the softmax loss over all classes without
        `early_stopping`; fewer than 1,000 rows without prototypes and `early_stopping`. A
        `partial_fit` or `warm_start` after `fit` keeps the calibration of `fit`, which fits the
        changed network less and less. With an explicit ``loss="softmax"`` and very many classes it
        is rough: the expected calibration error is .12 with 10,000 of them.

        All classes are computed, whatever `predict_mode` is. A table of more than 8 GiB is refused;
        `predict_topk` makes no table.

        Parameters
        ----------
        X : {array-like, sparse} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes), dtype=float32
            In the order of `classes_`.

        Examples
        --------
        >>> from slide import SparseMLPClassifier
        >>> X = [[0.0, 1.0], [1.0, 0.0], [0.1, 0.9], [0.9, 0.2]]
        >>> clf = SparseMLPClassifier((16,), random_state=0).fit(X, ["up", "right", "up", "right"])
        >>> p = clf.predict_proba([[0.2, 0.8]])
        >>> bool(abs(p.sum() - 1) < 1e-6 and p[0, 1] > p[0, 0])
        True
        """
        fitted = self._result()
        result = self._log_probabilities(X, fitted)
        with np.errstate(under="ignore"):
            np.exp(result, out=result)
        # Probabilities of several labels do not sum to 1, so one can round up to 1: keep it below.
        return np.minimum(result, _BELOW_1, out=result) if fitted.coder.multilabel else result

    def predict_log_proba(self, X: Any) -> Floats:
        """Predict logarithms of the probabilities.

        Parameters
        ----------
        X : {array-like, sparse} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes), dtype=float32
            In the order of `classes_`.

        Examples
        --------
        >>> from slide import SparseMLPClassifier
        >>> X = [[0.0, 1.0], [1.0, 0.0], [0.1, 0.9], [0.9, 0.2]]
        >>> clf = SparseMLPClassifier((16,), random_state=0).fit(X, ["up", "right", "up", "right"])
        >>> bool((clf.predict_log_proba(X) <= 0).all())
        True
        """
        return self._log_probabilities(X, self._result())

    def decision_function(self, X: Any) -> Floats:
        """Compute the pre-activations of the output neurons, which rank the classes.

        `predict_proba` makes probabilities of them, with its calibration.

        All classes are computed, whatever `predict_mode` is. A table of more than 8 GiB is refused.

        Parameters
        ----------
        X : {array-like, sparse} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes) or (n_samples,), dtype=float32
            In the order of `classes_`. With two classes and one label per row, the score of the
            second class minus that of the first.

        Examples
        --------
        >>> from slide import SparseMLPClassifier
        >>> X = [[0.0, 1.0], [1.0, 0.0], [0.1, 0.9], [0.9, 0.2]]
        >>> clf = SparseMLPClassifier((16,), random_state=0).fit(X, ["up", "right", "up", "right"])
        >>> (clf.decision_function(X) > 0).tolist()
        [True, False, True, False]
        """
        fitted = self._result()
        scores = self._all_scores(X, fitted)
        if fitted.coder.multilabel or fitted.coder.n_classes != 2:
            return scores
        return scores[:, 1] - scores[:, 0]

    def predict_topk(
        self, X: Any, k: int = 5, *, n_candidates: int | str = "auto"
    ) -> tuple[Array, Floats]:
        """Rank the best classes of every row.

        It makes no table of all classes, so it needs memory only for the result.

        With `predict_mode` "lsh" it first estimates the scores of all classes from one-bit codes.
        The code of a neuron is the signs of its randomly rotated weights [1]_; the hidden vector of
        the row is rotated too but keeps its values [2]_ [3]_. Then it computes exact scores of the
        `n_candidates` classes with the highest estimates. It misses one of the best k classes if
        the estimate for this class is too low; `slide.inspection.prediction_recall` measures how
        often. Scores are the same as in the exact mode, and rows do not depend on each other.

        The first such call after training hashes the output layer, which takes as long as the exact
        prediction of some hundred rows. The codes stay in memory and are not saved. With 128 hidden
        neurons they take up to 38 bytes per class (the weights take 512), with 256 hidden neurons
        up to 59 bytes (the weights take 1,024).

        In these cases exact prediction is as fast and is used instead:

        - there are fewer than 16,384 classes, or fewer than 16 times `n_candidates`;
        - there are fewer than 1,048,576 output weights;
        - the last hidden layer is sparse or has more than 1,024 neurons.

        Parameters
        ----------
        X : {array-like, sparse} of shape (n_samples, n_features)
            Features.
        k : int, default=5
            Number of classes per row. If there are fewer classes, every row gets all of them.
        n_candidates : "auto" or int, default="auto"
            With `predict_mode` "lsh", number of classes that are scored exactly per row, at least
            k. More candidates miss fewer of the best classes but take longer. "auto" is
            ``192 + 16 * k``.

        Returns
        -------
        labels : ndarray of shape (n_samples, min(k, n_classes))
            Labels, best first; column numbers (int64) for a multilabel target.
        scores : ndarray of shape (n_samples, min(k, n_classes)), dtype=float32
            Pre-activations of these labels.

        References
        ----------
        .. [1] M. Charikar. "Similarity Estimation Techniques from Rounding Algorithms." STOC 2002.
        .. [2] W. Dong, M. Charikar, K. Li. "Asymmetric Distance Estimation with Sketches for
           Similarity Search in High-Dimensional Spaces." SIGIR 2008.
        .. [3] J. Gao, C. Long. "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical
           Error Bound for Approximate Nearest Neighbor Search." SIGMOD 2024.

        Examples
        --------
        >>> from slide import SparseMLPClassifier
        >>> from slide.datasets import make_extreme_classification
        >>> X, y = make_extreme_classification(1000, 500, 50, random_state=0)
        >>> clf = SparseMLPClassifier(random_state=0).fit(X[:900], y[:900])
        >>> labels, scores = clf.predict_topk(X[900:], k=3)
        >>> labels.shape, bool((scores[:, 0] >= scores[:, 1]).all())
        ((100, 3), True)
        """
        fitted = self._result()
        x = self._input_rows(X, fitted)
        k = capped_k(k, fitted.coder.n_classes)
        n_candidates = check_n_candidates(n_candidates, k)
        check_topk(x.n_rows, k)
        mode = check_predict_mode(self.predict_mode)
        n_threads = resolve_n_jobs(self.n_jobs)
        ids, scores = lookup.topk(fitted.network, x, k, n_threads, mode, n_candidates)
        return fitted.coder.decode(ids), scores

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute the share of rows whose predicted labels are exactly the true labels.

        A label that `fit` has not seen counts as wrong.

        Parameters
        ----------
        X : {array-like, sparse} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or {array-like, sparse} of shape (n_samples, n_classes)
            Labels, as in `fit`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of every row.

        Returns
        -------
        accuracy : float
            Accuracy, in [0, 1].

        Examples
        --------
        >>> from slide import SparseMLPClassifier
        >>> X = [[0.0, 1.0], [1.0, 0.0], [0.1, 0.9], [0.9, 0.2]]
        >>> y = ["up", "right", "up", "right"]
        >>> SparseMLPClassifier((16,), random_state=0).fit(X, y).score(X, y)
        1.0
        """
        fitted = self._result()
        right = fitted.coder.right(read_target(y), self._predicted(X, fitted))
        if sample_weight is None:
            return float(np.mean(right))
        weights = read_weights(sample_weight, len(right), np.float64)
        return float(np.average(right, weights=weights / weights.max()))  # their sum is finite

    def _predicted(self, X: Any, fitted: Fitted) -> LabelRows:
        """The labels that every row gets."""
        x, n_threads = self._input_rows(X, fitted), resolve_n_jobs(self.n_jobs)
        mode, network, coder = check_predict_mode(self.predict_mode), fitted.network, fitted.coder
        if coder.multilabel:
            return predict_label_rows(network, x, fitted.labels_per_row, n_threads, mode)
        ids, _ = lookup.topk(network, x, 1, n_threads, mode)
        return single_rows(ids[:, 0], coder.n_classes)

    def _input_rows(self, X: Any, fitted: Fitted) -> InputRows:
        return fitted.network.rows(self._inputs(X, fitted))

    def _inputs(self, X: Any, fitted: Fitted) -> Matrix:
        """X checked against `fitted`, as inputs of its network."""
        return fitted.network.inputs(check_features(self, fitted, X)[0])

    def _all_scores(self, X: Any, fitted: Fitted) -> Floats:
        x, network = self._input_rows(X, fitted), fitted.network
        check_scores_fit(x.n_rows, fitted.coder.n_classes)
        n_threads = resolve_n_jobs(self.n_jobs)
        with network.guard.reading():
            return predict.scores(network.model(), x, 0, x.n_rows, n_threads)

    def _log_probabilities(self, X: Any, fitted: Fitted) -> Floats:
        scores = self._all_scores(X, fitted)
        return log_probabilities(scores, fitted.network, fitted.coder.multilabel)
