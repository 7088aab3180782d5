"""What callbacks cost: `fit` without, with a progress bar, and with a checkpoint after every epoch.

    python bench/callbacks.py [--rows 200000] [--classes 50000] [--repeats 5]

They take turns; the table has medians of the whole `fit`, and of its ratio to the one without in
the same turn.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from pathlib import Path

from _run import origin, positive, write
from sklearn.callback import ProgressBar

from slide import SparseMLPClassifier
from slide.callback import Checkpoint
from slide.datasets import make_extreme_classification

HERE = Path(__file__).parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=positive, default=200_000)
    parser.add_argument("--classes", type=positive, default=50_000)
    parser.add_argument("--repeats", type=positive, default=5)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "callbacks.json")
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
                began = time.perf_counter()
                with contextlib.redirect_stdout(io.StringIO()):
                    clf.fit(X, y)
                times.append(time.perf_counter() - began)
    report = {}
    for name, times in seconds.items():
        ratios = [time / base for time, base in zip(times, seconds["none"], strict=True)]
        report[name] = {"seconds": statistics.median(times), "ratio": statistics.median(ratios)}
        print(f"{name:14} {report[name]['seconds']:7.2f} s  {report[name]['ratio']:6.3f}")
    result = {"benchmark": "callbacks", "rows": args.rows, "classes": args.classes}
    result |= {"repeats": args.repeats, "epochs": clf.n_iter_, **origin(1), "callbacks": report}
    write(result, args.out)


if __name__ == "__main__":
    main()
