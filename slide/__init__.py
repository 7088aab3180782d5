"""slide: wide neural networks, trained by computing only the neurons that matter.

In a sparse hidden layer each sample computes only the neurons with the largest pre-activations,
which locality-sensitive hashing finds. In a wide output layer it computes only its labels and a
small uniform sample of the other neurons. Forward pass, back-propagation and update touch nothing
else. So the cost of a sample grows with the number of active neurons, not with the width.

    from slide import SparseMLPClassifier       the estimator
    from slide.metrics import ...               metrics on ranked labels
    from slide.datasets import ...              planted problems, the XMC text format
    from slide.inspection import ...            recall of the hashing, plots of a training
    from slide.callback import Checkpoint       trainings that survive a kill
    python -m slide --help                      train, predict and evaluate from files

Map of the package. A room is a module or a subpackage. It imports only from the rooms below it
(tests/test_layout.py checks this). The docstring of each room is its own map::

    __main__       python -m slide
    _cli           the command line: arguments, files in, lines and files out
    inspection     recall of the hashing, plots of a training
    _versions      show_versions
    _estimator     SparseMLPClassifier: parameters, methods, fitted attributes. No numerics
    _training      the course of a training: epochs, hard neurons, when to stop
    _saving        models and trainings as files
    _prediction    the best classes of a row, and the labels it gets
    _network       the network: its arrays, their initial values, one pass over the rows
    metrics, datasets, callback     public modules that stand alone
    _settings      checks parameters, resolves "auto", compares the network with the memory
    _core          the engine: the only parallel loop over training samples
    _engine        a micro-batch in one thread: forward, active set, loss, backward, update
    _hashing       which neurons to compute: hash families, tables, estimates, policies
    _prototypes    mean training rows and SVMs of the labels, scored from an inverted index
    _data          checks and centres X, y and sample weights, puts them into the engine's form
    _simd          vector kernels for each instruction set behind one table
    _base          types, threads, scratch, files and values that all rooms share
"""

from slide._estimator.classifier import SparseMLPClassifier
from slide._versions import show_versions

__all__ = ["SparseMLPClassifier", "__version__", "show_versions"]
__version__ = "0.1.0"
