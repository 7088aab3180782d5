"""The best classes of rows, from all scores or from a short list, and the predicted labels.

Map of the package::

    lookup        the best classes of every row; when short lists pay
    decisions     probabilities and labels from scores
    shortlist     top k of a wide output layer by one-bit codes
    coding        these codes, made from the output's weights
    faint         output neurons that almost never reach a top k
"""
