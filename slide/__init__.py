"""slide: wide neural networks, trained by computing only the neurons that matter.

A sparse hidden layer computes, for each sample, the neurons of the largest pre-activation, which
locality-sensitive hashing finds; of a wide output layer only the samples' labels and a small
uniform sample of the other neurons are computed. Forward pass, back-propagation and update touch
nothing else, so the cost of a sample grows with the number of active neurons, not with the width.

    from slide import SparseMLPClassifier       the estimator
    from slide.metrics import ...               metrics on ranked labels
    from slide.datasets import ...              planted problems, the XMC text format
    from slide.inspection import ...            recall of the hashing, pictures of a training
    from slide.callback import Checkpoint       trainings that survive a kill
    python -m slide --help                      train, predict and evaluate from files

Map of the package; an arrow points downward only::

    __main__        python -m slide
      _cli          its commands: arguments, files in, lines and files out
      _reading      labelled rows from XMC and svmlight files
      _evaluation   figures of ranked labels, and their table
    _estimator      SparseMLPClassifier: parameters, methods, fitted attributes. No numerics
      _validation   parameters, X and sample weights, checked and in the engine's form
      _labels       y <-> CSR of int32 class ids; never a dense indicator
      _start        held-out rows, a new network's initial weights
      _epochs       the course of a training: epochs, when to stop
      _divergence   when a training has diverged
      _observers    callbacks and the checkpoint, told how a training goes on
      _checkpoint   the file of a training: whose it is, when to write it, how to go on
        callback, _course_state   Checkpoint, as users set it; a course as values and arrays
      _prediction   the methods that predict
      _decisions    from scores to probabilities and labels
      _auto, _auto_search   what "auto" becomes, from the data's shape
      _fitted       fitted attributes, set or read off the network
      _html         what a notebook shows of the network
      _saving       save and load: the estimator as JSON and arrays
        _json, _tensors, _files   JSON of parameters, arrays with checksums, files that appear whole
        _network_state            the network as plain values and arrays, and back, checked
      _budget       what a network needs of memory, and what there is
      _parallel     n_jobs -> thread count            (_threads: what OpenMP says)
      _guard        what keeps apart threads that use one estimator
    inspection      diagnostics of a fitted network (_recall), pictures (_curve, _time, _tables,
                    _cost; _axes)
    _versions       show_versions
    _mining         hard neurons of every training row, found once by hash codes
    _stacking       how much the prototypes count, found on rows that come late
    _network        the arrays of a model, how they start, one pass of training
      _centroids    output rows from the centroids of their labels
      _prototypes   what the rows of a label have in common, in X's own features
        _label_means   their making: means of rows, written into an inverted index
      _memory       arrays that start on a cache line
      _typing         types that signatures share
    _plain        single values: numbers as Python's own, and what messages show of them
    _core           the engine: the only parallel loop over training samples
      _active       the output layer's active set: labels, hard neurons, tail
    _lookup         top k from all scores or from a short list
      _shortlist    the neurons that their one-bit codes promise most of
      _faint        the neurons that hardly ever are among the best
    _predict        prediction: all scores, top k
    _forward        the hidden layers' forward pass, dense and sparse
    _model          views of the arrays
    _postings       scores of the prototypes from their inverted index
    _sparse         sparse layers: pairs of samples and neurons, forward and back
    _input          a dense first layer: rows of features, forward and back
    _layers         dense rows forward and back; activations, dropout, losses
    _optimizer      lazy Adam, SGD and Adagrad on rows, elements and biases
    _retrieval      which neurons to compute: the retrieval policies
      _directions   the leading directions of its inputs, along which estimates are exact
      _selection    the k largest of many scores
    _tables         flat hash tables of a layer's neurons
    _hash           hash functions of four families behind one door
      _families     their kernels: SimHash, WTA, DWTA, MinHash
      _state        the state of these structures, as arrays by name
    _scratch        memory that a thread works in   (_signals: Ctrl-C in a parallel loop)
    _weights        rows of weights, in float32 or bfloat16, and how they are read
    _simd           vector kernels for each instruction set behind one table
    _reference      a plain NumPy twin of every kernel, for the tests
      _reference_hash, _reference_half, _reference_sparse, _reference_prototypes, _reference_lookup
                    those of the hash families, of bfloat16, of sparse layers, prototypes and lists
"""

from slide._estimator import SparseMLPClassifier
from slide._versions import show_versions

__all__ = ["SparseMLPClassifier", "__version__", "show_versions"]
__version__ = "0.1.0"
