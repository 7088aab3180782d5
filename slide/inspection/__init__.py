"""Diagnostics of a fitted network: the recall of its hashing, and plots of its training.

Plots need matplotlib (``pip install matplotlib``). They follow scikit-learn's convention:
`from_estimator` makes a ``Display``, which keeps the numbers, and `plot` draws them again.

All of them take a fitted `SparseMLPClassifier` or an estimator that wraps one: pipelines (also
imbalanced-learn's), searches, RFE, and frozen, threshold and self-training classifiers, in any
nesting. X is what the outermost estimator takes.
"""

from slide.inspection._cost import CostDisplay
from slide.inspection._curve import TrainingCurveDisplay
from slide.inspection._recall import prediction_recall, retrieval_recall
from slide.inspection._tables import HashTablesDisplay
from slide.inspection._time import TimeSpentDisplay

__all__ = [
    "CostDisplay",
    "HashTablesDisplay",
    "TimeSpentDisplay",
    "TrainingCurveDisplay",
    "prediction_recall",
    "retrieval_recall",
]
