"""The network: its arrays, their initial values, one pass over the rows, rebuilds of hashes.

Map of the package::

    network       Network: all arrays of a model, and views for kernels
    layer         Layer: the arrays of one layer
    losses        losses: prior, probabilities, threshold, calibration
    confidence    how sure probabilities of one label are, fitted
    start         initial weights of a new network
    directions    directions along which vectors vary most
    draws         random weights of hidden layers
    growth        inputs for columns that had not occurred before
    early         corrections by the first rows of `partial_fit`
    older         what is kept of calls long ago
    passes        one training pass over the rows
    rehash        rebuilds of codes and tables, and their schedule
    input_stats   mean and length of each layer's inputs
    tally         counts over a whole training
    fitted        Fitted: the immutable result of fitting
"""
