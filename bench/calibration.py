"""Whether probabilities of rows with one label are honest, on planted problems.

    python bench/calibration.py
    python bench/calibration.py --classes 400 --seeds 1     # a trial

Prints the accuracy, the mean probability of the best class, the expected calibration error in 15
bins (of equal width, and of equal mass), and how far the log loss is above that of the best
temperature for the test rows. Test rows of classes that training never saw are left out.
"""

import argparse

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from slide import SparseMLPClassifier
from slide.datasets import make_extreme_classification

N_ROWS, N_TEST, N_BINS = 12_000, 4_000, 15
SETTINGS = {
    "default": {},
    "no prototypes": {"prototypes": False},
    "early stopping": {"early_stopping": True},
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", type=int, nargs="+", default=[400, 1_000, 2_400, 10_000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    print("classes  settings        seed  accuracy  mean p  ECE width  ECE mass  log loss above")
    for n_classes in args.classes:
        for name, params in SETTINGS.items():
            for seed in range(args.seeds):
                figures = measure(n_classes, params, seed, args.threads)
                print(f"{n_classes:>7}  {name:<14}  {seed:>4}  " + "  ".join(figures), flush=True)


def measure(n_classes, params, seed, n_threads):
    """The figures of one training, as text."""
    X, y = make_extreme_classification(
        N_ROWS + N_TEST, 20_000, n_classes, n_nonzero=12, n_informative=4,
        n_siblings=min(10, n_classes), zipf_exponent=0.8, random_state=seed,
    )  # fmt: skip
    clf = SparseMLPClassifier(n_jobs=n_threads, random_state=seed, **params)
    clf.fit(X[:N_ROWS], y[:N_ROWS])
    rows = N_ROWS + np.flatnonzero(np.isin(y[N_ROWS:], clf.classes_))
    log_p, labels = clf.predict_log_proba(X[rows]), np.searchsorted(clf.classes_, y[rows])
    sure, right = np.exp(log_p.max(axis=1)), log_p.argmax(axis=1) == labels
    found = minimize_scalar(
        lambda slope: log_loss(slope * log_p, labels), bounds=(0.3, 3), method="bounded"
    )
    excess = log_loss(log_p, labels) / found.fun - 1
    widths, masses = np.linspace(0, 1, N_BINS + 1), np.quantile(sure, np.linspace(0, 1, N_BINS + 1))
    return (
        f"{right.mean():8.3f}", f"{sure.mean():6.3f}", f"{ece(sure, right, widths):9.3f}",
        f"{ece(sure, right, masses):8.3f}", f"{100 * excess:13.1f}%",
    )  # fmt: skip


def log_loss(logits, labels):
    return float((logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]).mean())


def ece(sure, right, edges):
    """Expected calibration error: mean difference of probability and correctness over bins."""
    bins = np.digitize(sure, edges[1:-1])
    return sum(abs((sure - right)[bins == i].sum()) for i in range(N_BINS)) / len(sure)


if __name__ == "__main__":
    main()
