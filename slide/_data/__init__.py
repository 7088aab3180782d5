"""X, y and sample weights: checked, centred and in the engine's form.

Map of the package::

    checks        checks of X, y and sample weights, and their conversion
    labels        y as rows of class ids, and back to labels
    rows          training and validation rows, and the split into both
    columns       the columns of X that occur
    centering     subtraction of the mean row from dense X
    gains         nDCG of ranked labels
"""
