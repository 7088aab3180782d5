"""Word -> the words around it: ours against PyTorch, time per sample and held-out loss.

    python bench/text.py --torch-python ../peers/bin/python --threads 2
    python bench/text.py --rows 50000 --test-rows 2000 --epochs 1 --torch-epochs .1 .2 --repeats 1
    python bench/text.py --plot-only        # draws the figure of an earlier run again

The sample of English Wikipedia: a row is one word of some 36,000, its labels are the words up to
two places before and after. One hidden layer of 200. The loss is the exact cross-entropy of the
softmax over all words, on windows of held-out articles; a target is spread evenly over the words of
a window. For a network trained with the sigmoid loss, the words' probabilities are scaled to sum to
1 and used as its softmax.

A point of a curve is a whole training from the start, over a given number of epochs, with a
learning rate that falls to a hundredth; less than one epoch is one pass over the first rows. The
seconds are those of the training alone. Every run is a child process.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from common.data import load_windows
from common.figure import save_figure
from common.run import (
    HUGE_PAGES,
    RESULTS,
    any_failed,
    origin,
    positive,
    run_child,
    save,
    summary,
    write,
)
from common.table import conditions, print_table, print_verdicts, verdict

import slide

HIDDEN = 200
BATCH = 512  # of PyTorch
TIMED_STEPS = 20
OURS = {
    "default": ("slide", {}),
    "softmax": ("slide, softmax", {"loss": "softmax"}),
}
TORCH = {
    "torch": ("PyTorch, dense", {"bf16": False}),
    "torch-bf16": ("PyTorch, dense bf16", {"bf16": True}),
}
NAMES = {key: name for key, (name, _) in {**OURS, **TORCH}.items()}
MEASURES = ("us_per_sample", "train_s", "peak_mb", "loss")
MIN_GAIN = 25.0  # times as fast as the faster PyTorch


def main():
    args = parse_arguments()
    if args.plot_only:
        plot(json.loads(args.out.read_text()), args.out.with_suffix(".png"))
        return False
    try:
        X, Y, X_test, Y_test = load_windows(args.rows, args.test_rows)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"text.py: {error}")
    with tempfile.TemporaryDirectory() as folder:
        folders = {}
        for rows in {rows_of(share, args) for share in (*args.epochs, *args.torch_epochs, 1)}:
            folders[rows] = Path(folder) / str(rows)
            folders[rows].mkdir()
            save(folders[rows], X_train=X[:rows], Y_train=Y[:rows], X_test=X_test, Y_test=Y_test)
        n_words = X.shape[1]
        del X, Y
        timed = time_torch(folders[args.rows], args)
        systems = {key: curve(key, args.epochs, args.repeats, folders, args) for key in OURS}
        for key, row in timed.items():
            systems[key] = row
        fastest = faster(timed)
        if fastest:
            # The curve times many more steps, so it replaces the time per sample from above.
            systems[fastest] = curve(fastest, args.torch_epochs, 1, folders, args)

    result = {
        "benchmark": "text",
        "slide": slide.__version__,
        "rows": args.rows,
        "test_rows": args.test_rows,
        "words": n_words,
        "hidden": HIDDEN,
        "repeats": args.repeats,
        **origin(args.threads),
        "fastest_peer": fastest,
        "systems": systems,
    }
    result["verdicts"] = verdicts(result)
    print_tables(result)
    write(result, args.out)
    plot(result, args.out.with_suffix(".png"))
    return any_failed(row for row in systems.values())


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=positive, default=1_000_000, help="windows to train on")
    parser.add_argument("--test-rows", type=positive, default=20_000)
    parser.add_argument(
        "--epochs", nargs="+", type=epochs, default=[1 / 16, 1 / 4, 1, 2, 5, 10],
        help="points of our curves; beyond 1 whole numbers",
    )  # fmt: skip
    parser.add_argument(
        "--torch-epochs", nargs="+", type=epochs, default=[1 / 64, 1 / 16, 1 / 4, 1]
    )
    parser.add_argument("--torch-rate", type=float, default=4e-3, help="its learning rate")
    parser.add_argument("--torch-python", help="python of an environment with torch and SciPy")
    parser.add_argument("--repeats", type=positive, default=3, help="of ours, and of PyTorch's µs")
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "text.json", help="JSON file")
    parser.add_argument("--plot-only", action="store_true", help="of the JSON file that is there")
    return parser.parse_args()


def epochs(text):
    number = float(text)
    if not 0 < number < 1 and (number < 1 or number != int(number)):
        raise argparse.ArgumentTypeError(f"must lie between 0 and 1 or be whole, got {text}")
    return number


def rows_of(n_epochs, args):
    """Rows that a point of a curve trains on."""
    return max(1, round(min(n_epochs, 1) * args.rows))


# ----------------------------------------------------------------- running --


def time_torch(folder, args):
    """Time some steps of both ways of PyTorch, in turns; returns a row for each way."""
    runs = {key: [] for key in TORCH}
    for _ in range(args.repeats):
        for key in TORCH:
            runs[key].append(run(key, folder, 1, args, {"steps": TIMED_STEPS}))
    names = ("us_per_sample", "peak_mb")
    return {key: summary(runs[key], names, names) for key in TORCH}


def faster(timed):
    """The faster of two ways, or None where neither ran."""
    good = {key: row["us_per_sample"] for key, row in timed.items() if "us_per_sample" in row}
    return min(good, key=good.get) if good else None


def curve(key, shares, repeats, folders, args):
    """A system's row: time per sample at its longest training, and a point for every length."""
    points = {share: [] for share in sorted(shares)}
    for _ in range(repeats):
        for share, runs in points.items():
            runs.append(run(key, folders[rows_of(share, args)], max(1, int(share)), args))
    points = {share: summary(runs, MEASURES, MEASURES) for share, runs in points.items()}
    longest = points[max(points)]
    return {
        **{name: longest[name] for name in ("status", *MEASURES) if name in longest},
        "curve": [{"epochs": share, **point} for share, point in points.items()],
    }


def run(key, folder, n_epochs, args, more=None):
    """One training -> the child's report with its time per sample."""
    print(f"running {NAMES[key]}, {folder.name} windows ...", file=sys.stderr, flush=True)
    params = {"hidden_layer_sizes": [HIDDEN], "max_iter": n_epochs, **(more or {})}
    if key in OURS:
        params |= OURS[key][1]
        report = run_child("slide", sys.executable, folder, args.threads, params)
    else:
        params |= {"batch_size": BATCH, "linear": True, "rate": args.torch_rate, **TORCH[key][1]}
        report = run_child(
            "torch_xmc",
            args.torch_python,
            folder,
            args.threads,
            params,
            option="--torch-python",
            variables=HUGE_PAGES,
        )
    report.pop("top", None)
    if report["status"] == "ok":
        seconds = report["settings"].get("step_s")
        n = BATCH if seconds else n_epochs * int(folder.name)
        report["us_per_sample"] = 1e6 * (seconds or report["train_s"]) / n
    return report


# ---------------------------------------------------------------- verdicts --


def verdicts(result):
    systems, out = result["systems"], []
    peer = systems.get(result["fastest_peer"], {})
    for key in OURS:
        ours, name = systems[key], NAMES[key]
        times = [row.get("us_per_sample") for row in (peer, ours)]
        gain = None if None in times else times[0] / times[1]
        bar = f"{name}: at least {MIN_GAIN:.0f} times as fast as the faster PyTorch"
        out.append(verdict(bar, gain, MIN_GAIN, ".1f", at_least=True))
        bar = f"{name}: held-out loss not above PyTorch's at equal seconds, at most by"
        out.append(verdict(bar, excess(ours, peer), 0.0, "+.4f"))
    return out


def excess(ours, peer):
    """The largest excess of our loss over PyTorch's, among the points of PyTorch's curve.

    Each point is compared with the best of our points that took no longer. None if PyTorch has no
    points, or if one of them took less time than all of ours.
    """
    gaps = []
    for point in known(peer):
        losses = [one["loss"] for one in known(ours) if one["train_s"] <= point["train_s"]]
        if not losses:
            return None
        gaps.append(min(losses) - point["loss"])
    return max(gaps, default=None)


def known(row):
    return [point for point in row.get("curve", []) if "loss" in point]


# ------------------------------------------------------------------ tables --


COLUMNS = {
    "us_per_sample": ("µs a sample", ".1f"),
    "gain": ("× slide", ".1f"),
    "peak_mb": ("peak MB", ".0f"),
}


def print_tables(result):
    facts = (
        f"{result['words']:,} words",
        f"hidden {result['hidden']}",
        f"{result['rows']:,} windows",
    )
    print(conditions(result, *facts, f"{result['threads']} threads"))
    base = result["systems"]["default"].get("us_per_sample")
    rows = {NAMES[key]: dict(row) for key, row in result["systems"].items()}
    for row in rows.values():
        if base and "us_per_sample" in row:
            row["gain"] = row["us_per_sample"] / base
    print_table("", rows, COLUMNS, (22, 12))
    for key, row in result["systems"].items():
        if known(row):
            print(f"\n{NAMES[key]:<22}{'epochs':>9}{'seconds':>10}{'loss':>10}")
        for point in known(row):
            print(f"{'':<22}{point['epochs']:>9.4g}{point['train_s']:>10.2f}{point['loss']:>10.4f}")
    print_verdicts(result["verdicts"])


# -------------------------------------------------------------------- plot --


def plot(result, path):
    """Held-out loss against the seconds of training."""

    def draw(axes):
        for key, row in result["systems"].items():
            points = known(row)
            if points:
                seconds = [point["train_s"] for point in points]
                style = "o-" if key in OURS else "s--"
                axes.plot(seconds, [point["loss"] for point in points], style, label=NAMES[key])
        axes.set(
            xscale="log",
            xlabel=f"seconds of training, {result['threads']} threads",
            ylabel="held-out loss",
            title=f"Word to context words, {result['words']:,} words",
        )

    save_figure(path, draw)


if __name__ == "__main__":
    sys.exit(main())
