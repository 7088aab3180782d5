"""The scikit-learn estimator and the mixins of its methods.

Map of the package::

    classifier    SparseMLPClassifier: parameters, methods and their documentation
    fitted        fitted attributes, read from the result of fitting
    features      the check of X against the features of what is fitted
    prediction    the methods that predict
    saving        the methods `save` and `load`
    observers     callbacks and checkpoint of a `fit`
    callbacks     scikit-learn's support of callbacks, or a stand-in
    html          table of the network in a notebook
"""

from slide._estimator.classifier import SparseMLPClassifier

__all__ = ["SparseMLPClassifier"]
