"""Prototypes: every label's mean training row in X's own features, scored from an index.

Map of the package::

    prototypes    Prototypes: made, cut to size, saved as arrays
    means         mean rows of labels, as an inverted index
    label_svms    a linear SVM per label, added to the prototypes
    svms          dual coordinate descent
    index         scores of the prototypes from their inverted index
"""
