"""X, y and sample weights: checked, centred and in the engine's form.

Map of the package::

    checks        checks of X, y and sample weights, and their conversion
    features      what is wrong with an X that cannot be taken
    target        the one reading of y
    coder         labels to class ids and back
    labels        rows of class ids
    label_values  labels compared, sorted and shown
    exact         values as arrays that hold them exactly
    structure     sparse matrices judged by their indices
    rows          training and validation rows, and the split into both
    columns       the columns of X that occur
    centering     subtraction of the mean row from dense X
    gains         nDCG of ranked labels
    xmc           files of the Extreme Classification Repository
    text_rows     rows of text files: features, labels, and what is wrong
"""
