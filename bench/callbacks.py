"""The cost of callbacks: `fit` with none, with a progress bar, and with a checkpoint per epoch.

    python bench/callbacks.py [--rows 30000] [--classes 20000] [--repeats 25]

The three kinds of `fit` take turns. The table has the median time of a whole `fit`, in seconds of
the clock and in processor seconds, summed over the threads. The ratios are medians too: each `fit`
is divided by the `fit` without callbacks of the same turn.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from pathlib import Path

from common.run import RESULTS, origin, positive, write
from sklearn.callback import ProgressBar

from slide import SparseMLPClassifier
from slide.callback import Checkpoint
from slide.datasets import make_extreme_classification


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=positive, default=30_000)
    parser.add_argument("--classes", type=positive, default=20_000)
    parser.add_argument("--repeats", type=positive, default=25)
    parser.add_argument("--out", type=Path, default=RESULTS / "callbacks.json")
    args = parser.parse_args()
    X, y = make_extreme_classification(args.rows, 50_000, args.classes, random_state=0)
    seconds = {"none": [], "progress bar": [], "checkpoint": []}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(args.repeats):
            for name, times in seconds.items():
                callbacks = {
                    "none": [],
                    "progress bar": [ProgressBar()],
                    "checkpoint": [Checkpoint(Path(folder) / str(repeat))],
                }[name]
                clf = SparseMLPClassifier((128,), random_state=0).set_callbacks(*callbacks)
                began = time.perf_counter(), time.process_time()
                with contextlib.redirect_stdout(io.StringIO()):
                    clf.fit(X, y)
                times.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    report = {}
    print(f"{'':14} {'s':>7} {'ratio':>6}   {'processor s':>11} {'ratio':>6}")
    for name, times in seconds.items():
        report[name] = {}
        for i, clock in enumerate(("seconds", "processor seconds")):
            own = [both[i] for both in times]
            ratios = [a / b[i] for a, b in zip(own, seconds["none"], strict=True)]
            report[name][clock] = statistics.median(own)
            report[name][f"{clock}, ratio"] = statistics.median(ratios)
        print("{:14} {:7.2f} {:6.3f}   {:11.2f} {:6.3f}".format(name, *report[name].values()))
    result = {"benchmark": "callbacks", "rows": args.rows, "classes": args.classes}
    result |= {"repeats": args.repeats, "epochs": clf.n_iter_, **origin(1), "callbacks": report}
    write(result, args.out)


if __name__ == "__main__":
    main()
