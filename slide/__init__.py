"""slide: wide neural networks, trained by computing only the neurons that matter.

Of a wide output layer only the samples' labels, a small uniform sample of the other neurons and,
with ``retrieval="rerank"``, the hardest of those that hash tables return are computed and updated.
The cost of a sample grows with the number of active neurons, not with the width of the layer.

    from slide import SparseMLPClassifier       the estimator
    from slide.metrics import ...               metrics on ranked labels
    from slide.datasets import ...              planted problems, the XMC text format

Map of the package; an arrow points downward only::

    _estimator      SparseMLPClassifier: parameters, methods, fitted attributes. No numerics
      _validation   parameters, X and sample weights, checked and in the engine's form
      _labels       y <-> CSR of int32 class ids; never a dense indicator
      _epochs       the course of a training: its start, the epochs, when to stop
      _decisions    from scores to probabilities and labels
      _auto         what "auto" becomes, from the data's shape
      _parallel     n_jobs -> thread count            (_threads: what OpenMP says)
    _network        the arrays of a model, how they start, one pass of training
      _centroids    output rows from the centroids of their labels
      _memory       arrays that start on a cache line
    _core           the engine: the only parallel loop over training samples
    _predict        exact prediction: all scores, top k
    _model          views of the arrays, hidden layers forward
    _tables         flat hash tables of the output neurons, and retrieval from them
    _layers         rows forward, backward and updated; losses
    _hash           SimHash by randomised Walsh-Hadamard transforms
    _simd           vector kernels for each instruction set behind one table
    _reference      a plain NumPy twin of every kernel, for the tests
"""

from slide._estimator import SparseMLPClassifier

__all__ = ["SparseMLPClassifier", "__version__"]
__version__ = "0.1.0"
