"""Prototypes: every label's mean training row in X's own features, scored from an index.

Map of the package::

    prototypes    Prototypes: made, cut to size, saved as arrays
    means         mean rows of labels, as an inverted index
    index         scores of the prototypes from their inverted index
"""
