"""The scikit-learn estimator and what its methods share."""

from slide._estimator.classifier import SparseMLPClassifier

__all__ = ["SparseMLPClassifier"]
