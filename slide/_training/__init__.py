"""The course of a training: epochs, hard neurons, the prototypes' weight, when to stop.

Map of the package::

    task          Task: rows, parameters and settings of a training
    begin         start of a training: new, warm, or from a checkpoint
    course        Course: epochs, learning rate, validation, when to stop
    batch         one batch of `partial_fit`
    mining        hard neurons of every training row
    stacking      prototypes, SVMs and calibration, made and found on late rows
    weighing      the weights of prototypes and SVMs in a score
    unseen        judging rows as rows after training would be
    calibration   scale of the scores, and confidence of one label's probabilities
    divergence    detection of a diverged training, and its error
"""
