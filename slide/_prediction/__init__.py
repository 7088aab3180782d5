"""The best classes of rows, exactly or from a short list, and the predicted labels.

Map of the package::

    lookup        the best classes of every row; when a sieve or short lists pay
    decisions     probabilities and labels from scores
    sieve         exact top k of a wide output layer: products of bytes rule neurons out
    shortlist     top k of a wide output layer by one-bit codes
    coding        these codes, made from the output's weights
    faint         output neurons that almost never reach a top k
"""
