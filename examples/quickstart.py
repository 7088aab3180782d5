"""Train on 100,000 classes and on handwritten digits; print quality, seconds and cost.

python examples/quickstart.py
"""

import time

import numpy as np
from scipy.sparse import csr_array
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from slide import SparseMLPClassifier
from slide.datasets import make_extreme_classification
from slide.metrics import precision_at_k

N_CLASSES = 100_000
N_FEATURES = 50_000
N_TRAIN, N_TEST = 100_000, 10_000


def main():
    many_classes()
    digits()


def many_classes():
    """A planted problem: sparse rows with one of 100,000 classes each; most classes are rare."""
    X, y = make_extreme_classification(
        N_TRAIN + N_TEST, N_FEATURES, N_CLASSES, n_informative=3, random_state=0
    )
    # A sparse indicator has a column for each class, so the network has an output for each class,
    # even for classes without training rows.
    Y = csr_array((np.ones(len(y), np.int8), (np.arange(len(y)), y)), shape=(len(y), N_CLASSES))
    print(f"{N_CLASSES:,} classes, {N_TRAIN:,} training rows with {N_FEATURES:,} features")

    model, seconds = train(X[:N_TRAIN], Y[:N_TRAIN])
    top, _ = model.predict_topk(X[N_TRAIN:], k=5)
    y_train, y_test = y[:N_TRAIN], y[N_TRAIN:]
    seen = np.isin(y_test, y_train)
    report(model, seconds, y_test, top)
    print(
        f"  P@1 on the {seen.mean():.0%} of the held-out rows whose class has a training row: "
        f"{precision_at_k(y_test[seen], top[seen], k=1):.3f}\n"
    )


def digits():
    """scikit-learn's digits: ten classes, 8 x 8 pixels."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
    print(f"digits: 10 classes, {len(X_train):,} training rows with {X.shape[1]} features")

    model, seconds = train(X_train, y_train)
    top, _ = model.predict_topk(X_test, k=5)
    report(model, seconds, y_test, top)


def train(X, y):
    start = time.perf_counter()
    model = SparseMLPClassifier(n_jobs=2, random_state=0).fit(X, y)
    return model, time.perf_counter() - start


def report(model, seconds, y_test, top):
    """Print the figures. A row has one label and five predictions, so P@5 is at most 0.2."""
    print(f"  trained {model.n_iter_} epochs in {seconds:.1f} s")
    print(
        f"  {model.compute_fraction_:.1%} of a dense network's multiplications (counted)\n"
        f"  {len(y_test):,} held-out rows: "
        f"P@1 {precision_at_k(y_test, top, k=1):.3f} (the accuracy), "
        f"P@5 {precision_at_k(y_test, top, k=5):.3f} (at most 0.200)"
    )


if __name__ == "__main__":
    main()
