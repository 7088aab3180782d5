"""Prediction by lists of promising neurons against exact prediction: time, recall, memory.

    python bench/predict.py --threads 2
    python bench/predict.py --problems 100000 --train-rows 20000 --rows 256     # a trial

The problems are planted ones, given by their number of classes (five labels per row, Zipf exponent
1/2, so that nearly all classes are seen; 135,909 features, 128 hidden neurons), or real data sets,
given by name. Both ways predict the top 5 of the same test rows with the same threads, in turns;
figures are medians. Recall is the share of the exact top 1 and top 5 that the lists find.
"""

import argparse
import statistics
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
from common.data import load
from common.engine import default_candidates, make_shortlist, uses_shortlist
from common.run import RESULTS, origin, positive, write

import slide
from slide import SparseMLPClassifier
from slide.datasets import make_extreme_classification

K = 5
N_FEATURES = 135_909
CANDIDATES = ("auto", 64, 128, 512, 1024, 2048)


def main():
    args = parse_arguments()
    result = {
        "benchmark": "predict",
        "slide": slide.__version__,
        "rows": args.rows,
        "train_rows": args.train_rows,
        "repeats": args.repeats,
        **origin(args.threads),
        "problems": [],
    }
    print(f"top {K}, {args.threads} threads; medians of {args.repeats} runs")
    print(
        f"{'classes':>9}{'hidden':>7}{'candidates':>11}{'ms a row':>10}{'× exact':>9}"
        f"{'recall@1':>10}{'recall@5':>10}{'index MiB':>11}{'build s':>9}"
    )
    for name in args.problems:
        problem = measure(name, args)
        result["problems"].append(problem)
        print_problem(problem)
    write(result, args.out)


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--problems", nargs="+", default=["10000", "100000", "670091"], metavar="CLASSES|NAME",
        help="numbers of classes, oewn, or a path",
    )  # fmt: skip
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--train-rows", type=positive, default=200_000)
    parser.add_argument("--rows", type=positive, default=1024, help="test rows")
    parser.add_argument("--hidden", type=positive, default=None, help="128, or 256 for real data")
    parser.add_argument("--repeats", type=positive, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "predict.json")
    return parser.parse_args()


def measure(name, args):
    """Train once, then predict both ways in turns."""
    if name.isdigit():
        X, Y = make_extreme_classification(
            args.train_rows + args.rows, N_FEATURES, int(name), n_labels=5, zipf_exponent=0.5,
            random_state=0,
        )  # fmt: skip
        X, X_test, Y = X[: args.train_rows], X[args.train_rows :], Y[: args.train_rows]
        hidden = args.hidden or 128
    else:
        X, Y, X_test, _ = load(name)
        X_test, hidden = X_test[: args.rows], args.hidden or 256
    model = SparseMLPClassifier((hidden,), n_jobs=args.threads, random_state=0)
    start = perf_counter()
    model.fit(X, Y)
    train_s = perf_counter() - start

    build_s, index_bytes = [], 0
    for _ in range(args.repeats if uses_shortlist(model, 1) else 0):
        start = perf_counter()
        index_bytes = make_shortlist(model, args.threads)
        build_s.append(perf_counter() - start)

    best, exact_s = None, []
    found, seconds = {}, {n: [] for n in CANDIDATES}
    for _ in range(args.repeats):
        best = timed(model.set_params(predict_mode="exact"), X_test, "auto", exact_s)
        model.set_params(predict_mode="lsh")
        for n in CANDIDATES:
            found[n] = timed(model, X_test, n, seconds[n])
    exact_ms = 1e3 * statistics.median(exact_s) / len(best)
    rows = []
    for n in CANDIDATES:
        ms = 1e3 * statistics.median(seconds[n]) / len(best)
        rows.append(
            {
                "n_candidates": n,
                "is_exact": not uses_shortlist(model, default_candidates(K) if n == "auto" else n),
                "ms_per_row": ms,
                "speedup": exact_ms / ms,
                "recall_at_1": float((found[n][:, 0] == best[:, 0]).mean()),
                "recall_at_5": recall(found[n], best),
            }
        )
    return {
        "name": name,
        "classes": model.n_outputs_,
        "hidden": hidden,
        "train_s": train_s,
        "exact_ms_per_row": exact_ms,
        "index_mib": index_bytes / 2**20,
        "build_s": statistics.median(build_s) if build_s else 0.0,
        "lsh": rows,
    }


def timed(model, X, n_candidates, seconds):
    """Predict the best labels, and append the time that it took to `seconds`."""
    start = perf_counter()
    labels, _ = model.predict_topk(X, K, n_candidates=n_candidates)
    seconds.append(perf_counter() - start)
    return labels


def recall(found, best):
    """Share of the exact best labels that were found, over all rows."""
    hits = [np.isin(ours, theirs).sum() for ours, theirs in zip(found, best, strict=True)]
    return float(np.sum(hits) / best.size)


def print_problem(problem):
    start = f"{problem['classes']:>9,}{problem['hidden']:>7}"
    print(f"{start}{'exact':>11}{problem['exact_ms_per_row']:>10.4f}{1:>9.1f}")
    for row in problem["lsh"]:
        print(
            f"{start}{row['n_candidates']:>11}{row['ms_per_row']:>10.4f}{row['speedup']:>9.1f}"
            f"{row['recall_at_1']:>10.4f}{row['recall_at_5']:>10.4f}{problem['index_mib']:>11.1f}"
            f"{problem['build_s']:>9.2f}" + ("  (exact)" if row["is_exact"] else ""),
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
