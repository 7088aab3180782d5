"""The cost of a training sample with very many classes, against PyTorch, and how it grows.

    python bench/scale.py --torch-python ../peers/bin/python --threads 2
    python bench/scale.py --width 20000 --classes 1000 20000 --rows 20000 --repeats 1     # a trial
    python bench/scale.py --plot-only       # draws the figure of an earlier run again

Planted problems: 135,909 features, 75 non-zeros per row, five labels per row on average, Zipf
exponent 1/2; one hidden layer of 128. First every system at 670,091 classes, then the growth from
10,000 to 1,000,000 classes at equal rows. For slide, `us_per_sample` is the time of all of `fit`
(start, rebuilds and prototypes included), divided by epochs times rows; `pass_us` is that of the
passes over the rows alone. For PyTorch, `us_per_sample` is the median time of a step, from a
batch's rows to the update, divided by the batch size. Every run is a child process; in a repeat the
systems take turns, and figures are medians over the repeats.
"""

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

from common.figure import log_log, save_figure
from common.planted import HIDDEN, planted
from common.run import (
    HUGE_PAGES,
    RESULTS,
    any_failed,
    origin,
    positive,
    run_child,
    summary,
    write,
)
from common.table import conditions, print_table, print_verdicts, verdict

import slide
from slide.metrics import precision_at_k

SAMPLED_STEPS = 300
MEASURES = (
    "us_per_sample",
    "pass_us",
    "peak_mb",
    "train_s",
    "predict_s",
    "P@1",
    "P@5",
    "compute_fraction",
    "n_rebuilds",
)


@dataclass(frozen=True)
class System:
    name: str
    params: dict = field(default_factory=dict)
    torch: bool = False
    variables: dict = field(default_factory=dict)


SYSTEMS = {
    "default": System("slide"),
    "bfloat16": System("slide, bfloat16", {"weight_dtype": "bfloat16"}),
    "tables": System("slide, LSH tables", {"retrieval": "rerank"}),
    "lists": System("slide, LSH lists", {"retrieval": "lists"}),
    "none": System("slide, no LSH", {"retrieval": "none"}),
    "torch": System("PyTorch, dense", {}, True),
    "torch-bf16": System("PyTorch, bf16", {"bf16": True}, True),
    "torch-huge": System("PyTorch, huge pages", {}, True, HUGE_PAGES),
    "torch-bf16-huge": System("PyTorch, bf16, huge", {"bf16": True}, True, HUGE_PAGES),
    "torch-sampled": System("PyTorch, sampled", {"sampled": True}, True, HUGE_PAGES),
}
GROWTH = ("default", "torch-huge", "torch-bf16-huge")  # systems whose growth is measured
# way of PyTorch -> slide must be at least so many times as fast
FASTER = {
    "torch-bf16": 150,
    "torch": 250,
    "torch-sampled": 4,
    "torch-bf16-huge": 150,
    "torch-huge": 250,
}
PEAKS = {"default": 2.0, "bfloat16": 1.2}  # GB of 10⁹ bytes, data included
MAX_LSH = 2.0  # of the time without LSH
MAX_BFLOAT16 = 0.75  # of float32's time
MAX_GROWTH = 3.0


def main():
    args = parse_arguments()
    if args.plot_only:
        plot(json.loads(args.out.read_text()), args.out.with_suffix(".png"))
        return False
    growing = [system for system in GROWTH if system in args.systems]
    result = {
        "benchmark": "scale",
        "slide": slide.__version__,
        "rows": args.rows,
        "test_rows": args.test_rows,
        "repeats": args.repeats,
        **origin(args.threads),
        "width": args.width,
        "systems": measure(args.width, args.systems, args),
        "classes": {str(n): measure(n, growing, args) for n in args.classes},
    }
    result["verdicts"] = verdicts(result)
    print_tables(result)
    write(result, args.out)
    plot(result, args.out.with_suffix(".png"))
    tables = [result["systems"], *result["classes"].values()]
    return any_failed(row for table in tables for row in table.values())


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--width", type=positive, default=670_091, help="classes of the first part")
    parser.add_argument(
        "--classes", nargs="*", type=positive, default=[10_000, 100_000, 1_000_000],
        help="of the second part; none: leave it out",
    )  # fmt: skip
    parser.add_argument("--rows", type=positive, default=200_000, help="of training")
    parser.add_argument("--test-rows", type=positive, default=5_000)
    parser.add_argument("--epochs", type=positive, help="of ours, instead of the default")
    parser.add_argument("--dense-steps", type=positive, default=10, help="timed, of PyTorch")
    parser.add_argument(
        "--sampled-epochs", type=positive, metavar="N",
        help=f"train PyTorch's sampled softmax so long, for its quality, not {SAMPLED_STEPS} steps",
    )  # fmt: skip
    parser.add_argument("--torch-python", help="python of an environment with torch and SciPy")
    parser.add_argument("--repeats", type=positive, default=3)
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "scale.json", help="JSON file")
    parser.add_argument("--plot-only", action="store_true", help="of the JSON file that is there")
    return parser.parse_args()


# ----------------------------------------------------------------- running --


def measure(n_classes, systems, args):
    """Run every system on one problem; returns a row for each."""
    runs = {system: [] for system in systems}
    with planted(n_classes, args.rows, args.test_rows) as (folder, Y_test):
        for _ in range(args.repeats):
            for system in systems:
                what = f"{SYSTEMS[system].name}, {n_classes} classes"
                print(f"running {what} ...", file=sys.stderr, flush=True)
                report = run(SYSTEMS[system], folder, args)
                runs[system].append(measured(report, Y_test, args))
    return {system: summary(runs[system], MEASURES, MEASURES) for system in systems}


def run(system, folder, args):
    """Run a system in a child process; returns its report."""
    params = {"hidden_layer_sizes": [HIDDEN], **system.params}
    if not system.torch:
        params |= {"max_iter": args.epochs} if args.epochs else {}
        return run_child("slide", sys.executable, folder, args.threads, params)
    if not params.get("sampled"):
        params["steps"] = args.dense_steps
    elif args.sampled_epochs:
        params["max_iter"] = args.sampled_epochs
    else:
        params["steps"] = SAMPLED_STEPS
    return run_child(
        "torch_xmc",
        args.torch_python,
        folder,
        args.threads,
        params,
        option="--torch-python",
        variables=system.variables,
    )


def measured(report, Y_test, args):
    """A child's report -> a run: its time per sample and its quality."""
    if report["status"] != "ok":
        return report
    top, settings = report.pop("top"), report["settings"]
    out = dict(report)
    if "step_s" in settings:
        out["us_per_sample"] = 1e6 * settings["step_s"] / settings["batch_size"]
    else:
        tally = settings["tally"]
        out["us_per_sample"] = 1e6 * report["train_s"] / (settings["n_iter_"] * args.rows)
        out["pass_us"] = 1e6 * settings["epochs_s"] / tally["n_samples"]
        out["compute_fraction"] = settings["compute_fraction_"]
        out["n_rebuilds"] = tally["n_rebuilds"]
    if len(top):
        out |= {f"P@{k}": precision_at_k(Y_test, top, k) for k in (1, 5)}
    return out


# ---------------------------------------------------------------- verdicts --


def verdicts(result):
    rows = result["systems"]
    out = []
    for peer, times in FASTER.items():
        bar = f"at least {times} times as fast as {SYSTEMS[peer].name}"
        out.append(verdict(bar, ratio(rows, peer, "default"), times, ".1f", at_least=True))
    for system, limit in PEAKS.items():
        peak = rows.get(system, {}).get("peak_mb")
        bar = f"{SYSTEMS[system].name}: peak at most {limit} GB"
        out.append(verdict(bar, peak and peak * 2**20 / 1e9, limit, ".2f"))
    bar = f"LSH tables cost at most {MAX_LSH} times as much as no LSH"
    out.append(verdict(bar, ratio(rows, "tables", "none"), MAX_LSH, ".2f"))
    for name, what in (("us_per_sample", "all of fit"), ("pass_us", "the passes alone")):
        bar = f"bfloat16: at most {MAX_BFLOAT16} of float32's time, {what}"
        out.append(verdict(bar, ratio(rows, "bfloat16", "default", name), MAX_BFLOAT16, ".2f"))
    growth = growth_of(result, "default")
    bar = f"time per sample grows at most {MAX_GROWTH} times from the fewest to the most classes"
    out.append(verdict(bar, growth[-1][1] if len(growth) > 1 else None, MAX_GROWTH, ".2f"))
    return out


def ratio(rows, above, below, name="us_per_sample"):
    """Cost of system `above` divided by that of `below`, or None where either was not run."""
    costs = [rows.get(system, {}).get(name) for system in (above, below)]
    return None if None in costs else costs[0] / costs[1]


def growth_of(result, system):
    """Pairs (classes, time per sample relative to that at the fewest classes), classes rising."""
    times = sorted(
        (int(n), rows[system]["us_per_sample"])
        for n, rows in result["classes"].items()
        if "us_per_sample" in rows.get(system, {})
    )
    return [(n, time / times[0][1]) for n, time in times]


# ------------------------------------------------------------------ tables --

COLUMNS = {
    "us_per_sample": ("µs", ",.1f"),
    "pass_us": ("µs, passes", ",.1f"),
    "gain": ("× slide", ",.1f"),
    "peak_mb": ("peak MB", ",.0f"),
    "P@1": ("P@1", ".4f"),
    "P@5": ("P@5", ".4f"),
    "compute_fraction": ("compute", ".5f"),
    "n_rebuilds": ("rebuilds", ".0f"),
}


def print_tables(result):
    print(conditions(result, f"{result['rows']:,} rows", f"{result['threads']} threads"))
    for n, rows in [(result["width"], result["systems"]), *result["classes"].items()]:
        named = {
            SYSTEMS[system].name: {**row, "gain": ratio(rows, system, "default")}
            for system, row in rows.items()
        }
        print_table(f"{int(n):,} classes", named, COLUMNS, (22, 12))
    if result["classes"]:
        print("\ntime per sample, its growth from the fewest classes")
    for system in GROWTH:
        growth = "".join(f"  {n:,}: {times:.2f}" for n, times in growth_of(result, system))
        if growth:
            print(f"{SYSTEMS[system].name:<22}{growth}")
    print_verdicts(result["verdicts"])


# -------------------------------------------------------------------- plot --


def plot(result, path):
    """Two panels against the number of classes: time per sample and peak memory, log-log."""
    lines = {system: [n for n, _ in growth_of(result, system)] for system in GROWTH}
    if len(lines["default"]) < 2:
        print("no plot: it takes two numbers of classes")
        return

    def draw(times, peaks):
        for system, classes in lines.items():
            rows = [result["classes"][str(n)][system] for n in classes]
            style = "o-" if system == "default" else "s--"
            for axes, name in ((times, "us_per_sample"), (peaks, "peak_mb")):
                axes.plot(
                    classes, [row[name] for row in rows], style, label=SYSTEMS[system].name
                )  # fmt: skip
        title = f"Time of a training sample, {result['threads']} threads"
        times.set(title=title, ylabel="microseconds")
        peaks.set(title="Peak memory, data included", ylabel="MB")
        for axes in (times, peaks):
            log_log(axes, "classes", lines["default"])

    save_figure(path, draw, n_panels=2)


if __name__ == "__main__":
    sys.exit(main())
