"""The course of a training: epochs, hard neurons, the prototypes' weight, when to stop.

Map of the package::

    task          Task: rows, parameters and settings of a training
    begin         start of a training: new, warm, or from a checkpoint
    course        Course: epochs, learning rate, validation, when to stop
    batch         one batch of `partial_fit`
    mining        hard neurons of every training row
    stacking      weight of the prototypes and calibration, found on late rows
    unseen        judging rows as rows after training would be
    calibration   scale of the scores, and confidence of one label's probabilities
    divergence    detection of a diverged training, and its error
"""
