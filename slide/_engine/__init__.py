"""One micro-batch through the network: forward, active set, loss, backward and update.

Every function works in one thread. `slide._core` runs them in many threads.

Map of the package::

    layer         a layer as kernels see it (.pxd)
    model         a network's arrays as kernels see them
    workspace     data, settings and scratch memory of a training run
    forward       forward pass of the hidden layers
    hidden        hidden layers in training: dropout, activations backward
    team          micro-batches that all threads train together
    bag           dense first layer on rows of X: an embedding bag
    blocks        blocks of hidden neurons that a micro-batch leaves out
    dense         dense layers: forward, backward, update
    sparse        sparse layers: only the active neurons of each sample
    activations   activation functions and their derivatives
    active        the active output neurons of a micro-batch
    output        output layer in training: scores, loss, backward, update
    pruning       small gradients of sparse layers, pruned at random
    losses        losses and their gradients
    optimizer     lazy solvers: Adam, SGD, Adagrad
    predict       exact prediction: hidden activations, scores, top k
    initial       random initial weights, by a counter-based generator
    cost          cost of a dense network, to compare with
    centroids     initial output rows from the labels' centroids
    entry_points  Python entry points to kernels, for tests and benchmarks
"""
