"""The gain of a second thread, and of more: time of the passes over the rows, and accuracy.

    python bench/threads.py
    python bench/threads.py --problems layers --rows 5000 --epochs 1 --repeats 1     # a trial

"classes": 670,091 classes, hidden 128, 200,000 planted rows. "layers": Fashion-MNIST, three hidden
layers of 1,000, 5 % of each computed. "layer" and "dense": one such layer, and three dense ones.
"popular": 10,000 classes and a hundred extra features that most rows share, so that all threads
change the same weights all the time. Thread counts take turns within a repeat, which has a seed of
its own; every run is a child process, figures are medians.

"lines" counts, for 2, 4, 8 and 16 threads, the cache lines of "layers" that more than one thread
writes in a step: if each thread raced through a micro-batch of its own, and with an owner for every
row of weights, as it is. It is counted from the active sets of a trained network.
"""

import argparse
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from common.data import load_fashion_mnist
from common.lines import written_by_several
from common.planted import HIDDEN, planted, popular_columns
from common.run import RESULTS, any_failed, origin, positive, run_child, save, summary, write
from common.table import conditions, print_table, print_verdicts, verdict

import slide
from slide.metrics import precision_at_k

WIDE = 670_091
# name -> what it is, parameters, epochs
PROBLEMS = {
    "classes": (f"{WIDE:,} classes", {"hidden_layer_sizes": [HIDDEN]}, 3),
    "layers": (
        "3 × 1,000 neurons, 5 %",
        {"hidden_layer_sizes": [1000] * 3, "active_fraction": [0.05] * 3 + [1.0]},
        5,
    ),
    "layer": (
        "1,000 neurons, 5 %",
        {"hidden_layer_sizes": [1000], "active_fraction": [0.05, 1.0]},
        5,
    ),
    "dense": (
        "3 × 1,000 neurons, dense",
        {"hidden_layer_sizes": [1000] * 3, "active_fraction": 1.0},
        5,
    ),
    "popular": ("popular features", {"hidden_layer_sizes": [HIDDEN]}, 3),
}
ON_IMAGES = ("layers", "layer", "dense")
KINDS = [*PROBLEMS, "lines"]
MEASURES = ("pass_s", "train_s", "us_per_sample", "accuracy", "peak_mb")
MIN_SPEED_UP = 1.85  # of two threads
MAX_GAP = 0.5  # points of accuracy
MAX_LINES = 0.1  # share of the lines that threads which race write together


def main():
    args = parse_arguments()
    result = {
        "benchmark": "threads",
        "slide": slide.__version__,
        "repeats": args.repeats,
        **origin(args.threads),
        "problems": {name: measure(name, args) for name in args.problems if name in PROBLEMS},
    }
    if "lines" in args.problems:
        result["lines"] = count_lines(args)
    result["verdicts"] = verdicts(result["problems"], result.get("lines", {}))
    print_tables(result)
    write(result, args.out)
    return any_failed(row for rows in result["problems"].values() for row in rows.values())


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problems", nargs="+", choices=KINDS, default=KINDS)
    usual = [n for n in (1, 2, 4, 8, 16) if n <= (os.cpu_count() or 1)]
    parser.add_argument("--threads", nargs="+", type=positive, default=usual)
    parser.add_argument("--rows", type=positive, help="of training, for a trial")
    parser.add_argument("--epochs", type=positive, help="instead of 3, of the layers 5")
    parser.add_argument("--repeats", type=positive, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "threads.json", help="JSON file")
    return parser.parse_args()


# ----------------------------------------------------------------- running --


def measure(problem, args):
    """Run one problem with every number of threads; returns {number as text: row}."""
    name, params, epochs = PROBLEMS[problem]
    epochs = args.epochs or epochs
    runs = {n: [] for n in args.threads}
    with prepared(problem, args) as (folder, accuracy):
        for seed in range(args.repeats):
            for n in args.threads:
                print(f"running {name}, threads: {n} ...", file=sys.stderr, flush=True)
                fixed = {"max_iter": epochs, "n_iter_no_change": epochs, "tol": 0.0}
                seeded = {**params, **fixed, "random_state": seed}
                report = run_child("slide", sys.executable, folder, n, seeded)
                runs[n].append(measured(report, accuracy))
    rows = {str(n): summary(runs[n], MEASURES, MEASURES) for n in args.threads}
    one = rows.get("1", {})
    for row in rows.values():
        if "pass_s" in row and "pass_s" in one:
            row["speed_up"] = one["pass_s"] / row["pass_s"]
            row["fit_speed_up"] = one["train_s"] / row["train_s"]
            row["gap"] = round(100 * (row["accuracy"] - one["accuracy"]), 6)
    return rows


@contextmanager
def prepared(problem, args):
    """Yield a problem's folder, and a function that gives the accuracy of ranked labels."""
    if problem in ON_IMAGES:
        X, y, X_test, y_test = load_fashion_mnist()
        with tempfile.TemporaryDirectory() as folder:
            save(Path(folder), X_train=X[: args.rows], Y_train=y[: args.rows], X_test=X_test)
            yield Path(folder), lambda top: float(np.mean(top[:, 0] == y_test))
        return
    n_classes, popular = (WIDE, None) if problem == "classes" else (10_000, popular_columns)
    with planted(n_classes, args.rows or 200_000, 5_000, popular) as (folder, Y_test):
        yield folder, lambda top: precision_at_k(Y_test, top, 1)


def count_lines(args):
    """Lines that several threads write in a step: {number of threads as text: counts}."""
    X, y, *_ = load_fashion_mnist()
    _, params, _ = PROBLEMS["layers"]
    clf = slide.SparseMLPClassifier(**params, max_iter=1, random_state=0, n_jobs=2)
    clf.fit(X[: args.rows], y[: args.rows])
    return {str(n): written_by_several(clf, X, n) for n in (2, 4, 8, 16)}


def measured(report, accuracy):
    if report["status"] != "ok":
        return report
    settings = report["settings"]
    return {
        **report,
        "pass_s": settings["epochs_s"],
        "us_per_sample": 1e6 * settings["epochs_s"] / settings["tally"]["n_samples"],
        "accuracy": accuracy(report["top"]),
    }


# ---------------------------------------------------------------- verdicts --


def verdicts(problems, lines):
    out = []
    for n, counts in lines.items():
        bar = f"lines written by several of {n} threads, to those of threads that race"
        out.append(verdict(bar, counts["owned"] / counts["raced"], MAX_LINES, ".5f"))
    for problem, (name, _, _) in PROBLEMS.items():
        two = problems.get(problem, {}).get("2", {})
        bar = f"{name}: two threads at least {MIN_SPEED_UP} times as fast as one"
        out.append(verdict(bar, two.get("speed_up"), MIN_SPEED_UP, ".2f", at_least=True))
        gap = two.get("gap")
        bar = f"{name}: accuracy within {MAX_GAP} point of one thread's"
        out.append(verdict(bar, None if gap is None else abs(gap), MAX_GAP, ".2f"))
    return out


COLUMNS = {
    "us_per_sample": ("µs, passes", ".1f"),
    "pass_s": ("s, passes", ".2f"),
    "speed_up": ("speed-up", ".2f"),
    "train_s": ("s, fit", ".2f"),
    "fit_speed_up": ("speed-up", ".2f"),
    "accuracy": ("accuracy", ".4f"),
    "gap": ("gap", "+.2f"),
    "peak_mb": ("peak MB", ".0f"),
}


def print_tables(result):
    print(conditions(result))
    for problem, rows in result["problems"].items():
        named = {f"threads: {n}": row for n, row in rows.items()}
        print_table(PROBLEMS[problem][0], named, COLUMNS, (24, 11))
    for n, counts in result.get("lines", {}).items():
        print(f"\nlines written by several of {n} threads: {counts['owned']:,}", end="")
        print(f"; if they raced: {counts['raced']:,}", end="")
    print_verdicts(result["verdicts"])


if __name__ == "__main__":
    sys.exit(main())
