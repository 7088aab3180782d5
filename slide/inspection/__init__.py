"""Diagnostics of a fitted network: how well its neurons are found, and pictures of its training.

Pictures need matplotlib (``pip install matplotlib``) and follow scikit-learn's convention: a
``Display`` is made `from_estimator` and holds the numbers, `plot` draws them once more.
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
