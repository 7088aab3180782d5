"""Print what napkinXC's metrics say about a small problem, for tests/test_metrics.py.

    ../peers/bin/python bench/peers/napkinxc_metrics.py

The test makes the same problem and compares slide.metrics with what this script printed.
"""

from importlib.metadata import version

import numpy as np
from napkinxc import metrics

K = 5


def problem():
    """Indicators of training and test rows, bool, and the ranked labels of the test rows."""
    rng = np.random.default_rng(0)
    frequencies = 0.4 / np.arange(1, 41)
    Y_train = rng.random((300, 40)) < frequencies
    Y_test = rng.random((200, 40)) < frequencies
    return Y_train, Y_test, np.argsort(-(Y_test + 2 * rng.random((200, 40))), axis=1)


def main():
    Y_train, Y_test, ranked = problem()
    truth, ranked = [row.nonzero()[0].tolist() for row in Y_test], ranked.tolist()
    inverse = metrics.Jain_et_al_inverse_propensity(Y_train)
    values = {
        "precision": metrics.precision_at_k(truth, ranked, k=K),
        "recall": metrics.recall_at_k(truth, ranked, k=K),
        "ndcg": metrics.ndcg_at_k(truth, ranked, k=K),
        "psp": metrics.psprecision_at_k(truth, ranked, inverse, k=K),
        "propensities": metrics.Jain_et_al_propensity(Y_train)[::8],
        "other propensities": metrics.Jain_et_al_propensity(Y_train, A=0.6, B=2.6)[::8],
    }
    print(f"napkinXC {version('napkinxc')}; rows without labels: {truth.count([])}")
    for name, row in values.items():
        print(f'"{name}": {[round(float(value), 9) for value in row]},')


if __name__ == "__main__":
    main()
