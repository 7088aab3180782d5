"""The cost of a pass of a wide hidden layer that leaves out three quarters of its neurons.

    python bench/blocks.py
    python bench/blocks.py --problems oewn --repeats 1     # a trial

"256": a layer of 256 neurons without dropout; "1024": one of 1,024 with a dropout of .75, so that
a micro-batch computes as many. Both take turns; every run is a child process, figures are medians.
The first pass is apart from the later ones, because it is the first to touch the memory.
"classes" is a planted problem of 670,091 classes and five labels a row.
"""

import argparse
import statistics
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from common.data import load
from common.planted import planted
from common.run import RESULTS, any_failed, origin, positive, run_child, save, summary, write
from common.table import conditions, print_table, print_verdicts, verdict

import slide

PROBLEMS = {"oewn": "OEWN", "eurlex57k-dev": "EURLEX57K", "classes": "670,091 classes"}
LAYERS = {"256": (256, 0.0), "1024": (1024, 0.75)}
EPOCHS = 5
MEASURES = ("us_per_sample", "first_us_per_sample", "train_s", "peak_mb")
MOST = 1.3  # times the pass of 256 neurons
COLUMNS = {
    "first_us_per_sample": ("µs, first", ".2f"),
    "us_per_sample": ("µs, later", ".2f"),
    "ratio": ("ratio", ".2f"),
    "train_s": ("s, fit", ".1f"),
    "peak_mb": ("peak MB", ".0f"),
}


def main():
    args = parse_arguments()
    result = {
        "benchmark": "blocks",
        "slide": slide.__version__,
        "repeats": args.repeats,
        **origin(args.threads),
        "problems": {problem: measure(problem, args) for problem in args.problems},
    }
    result["verdicts"] = [
        verdict(
            f"{name}: 1,024 neurons at a dropout of .75 cost at most {MOST} times 256",
            result["problems"].get(problem, {}).get("1024", {}).get("ratio"),
            MOST,
            ".2f",
        )
        for problem, name in PROBLEMS.items()
    ]
    print(conditions(result, f"{args.threads} threads"))
    for problem, rows in result["problems"].items():
        print_table(PROBLEMS[problem], rows, COLUMNS, (8, 12))
    print_verdicts(result["verdicts"])
    write(result, args.out)
    return any_failed(row for rows in result["problems"].values() for row in rows.values())


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--repeats", type=positive, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "blocks.json", help="JSON file")
    return parser.parse_args()


def measure(problem, args):
    """Run both layers on one problem in turns; returns {layer: row}."""
    runs = {layer: [] for layer in LAYERS}
    with prepared(problem) as folder:
        for seed in range(args.repeats):
            for layer, (width, dropout) in LAYERS.items():
                print(f"running {PROBLEMS[problem]}, {layer} ...", file=sys.stderr, flush=True)
                params = {
                    "hidden_layer_sizes": [width], "dropout": dropout, "max_iter": EPOCHS,
                    "tol": 0.0, "prototypes": False, "random_state": seed,
                }  # fmt: skip
                report = run_child("slide", sys.executable, folder, args.threads, params)
                runs[layer].append(measured(report))
    rows = {layer: summary(runs[layer], MEASURES, MEASURES) for layer in LAYERS}
    if all(row["status"] == "ok" for row in rows.values()):
        rows["1024"]["ratio"] = rows["1024"]["us_per_sample"] / rows["256"]["us_per_sample"]
    return rows


@contextmanager
def prepared(problem):
    """Yield the folder of a problem's matrices; few rows are predicted."""
    if problem == "classes":
        with planted(670_091, 100_000, 100) as (folder, _):
            yield folder
        return
    X_train, Y_train, X_test, _ = load(problem)
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), X_train=X_train, Y_train=Y_train, X_test=X_test[:100])
        yield Path(folder)


def measured(report):
    if report["status"] != "ok":
        return report
    settings = report["settings"]
    passes, n_rows = settings["passes_s"], settings["tally"]["n_samples"] / EPOCHS
    # The first pass also touches new memory.
    later = 1e6 * statistics.median(passes[1:]) / n_rows
    return {**report, "us_per_sample": later, "first_us_per_sample": 1e6 * passes[0] / n_rows}


if __name__ == "__main__":
    sys.exit(main())
