"""Growth of a sample's cost with the width of a layer that always computes 50 neurons.

    python bench/widths.py --threads 2
    python bench/widths.py --plot-only      # draws the figure of an earlier run again

Fashion-MNIST, one hidden layer of 1,000 to 100,000 neurons, and a dense one of 1,000. Multiply-adds
are the engine's count over the whole training, hashing included; seconds are those of the passes
over the rows (`us_per_sample`) and of all of `fit`, whose start touches every weight
(`fit_us_per_sample`).
"""

import json
import sys

from common import fashion
from common.fashion import System
from common.figure import log_log, save_figure
from common.run import any_failed, origin, positive, write

ACTIVE = 50
DENSE_WIDTH = 1000
GROWING = ("multiply_adds", "us_per_sample", "fit_us_per_sample")
COLUMNS = {
    "accuracy": ("accuracy", ".4f"),
    "compute_fraction": ("compute", ".5f"),
    "multiply_adds": ("madds", ".3e"),
    "multiply_adds_growth": ("growth", ".2f"),
    "us_per_sample": ("µs", ".1f"),
    "us_per_sample_growth": ("growth", ".2f"),
    "fit_us_per_sample": ("µs, fit", ".1f"),
    "fit_us_per_sample_growth": ("growth", ".2f"),
}


def main():
    args = parse_arguments()
    if args.plot_only:
        plot(json.loads(args.out.read_text()), args.out.with_suffix(".png"))
        return False
    nets = [sparse_network(width) for width in args.widths] + [dense_network()]
    runs = {net.name: [] for net in nets}
    with fashion.prepared(args) as fit:
        for seed in range(args.seeds):
            for net in nets:
                runs[net.name].append(fit(net, seed))

    rows = []
    for net in nets:
        (width,) = net.params["hidden_layer_sizes"]
        about = {"name": net.name, "width": width, "dense": net.name.startswith("dense")}
        rows.append({**about, **fashion.summarize(runs[net.name])})
    compare(rows)
    result = {
        "benchmark": "widths",
        "active": ACTIVE,
        **fashion.describe(args),
        **origin(args.threads),
    }
    result["networks"] = rows
    print_table(result)
    write(result, args.out)
    plot(result, args.out.with_suffix(".png"))
    return any_failed(rows)


def parse_arguments():
    parser = fashion.parser(__doc__, "widths.json")
    parser.add_argument("--widths", nargs="+", type=width, default=[1000, 10_000, 100_000])
    parser.add_argument("--plot-only", action="store_true", help="of the JSON file that is there")
    return parser.parse_args()


def width(text):
    return max(positive(text), ACTIVE)


def sparse_network(width):
    params = {"hidden_layer_sizes": [width], "active_fraction": [ACTIVE / width, 1.0]}
    return System(f"{ACTIVE} of {width:,}", params=params)


def dense_network():
    params = {"hidden_layer_sizes": [DENSE_WIDTH], "active_fraction": 1.0}
    return System(f"dense {DENSE_WIDTH:,}", params=params)


def compare(rows):
    """Growth of every cost relative to the narrowest sparse network that has a figure."""
    sparse = [row for row in rows if not row["dense"] and "accuracy" in row]
    if not sparse:
        return
    base = min(sparse, key=lambda row: row["width"])
    for row in sparse:
        row["width_growth"] = row["width"] / base["width"]
        for name in GROWING:
            row[f"{name}_growth"] = row[name] / base[name]


def print_table(result):
    print(fashion.title(result))
    print("a sample's multiply-adds and microseconds, their growth from the first width\n")
    print(f"{'computed':<15}" + fashion.titles(COLUMNS, width=11))
    for row in result["networks"]:
        print(f"{row['name']:<15}" + fashion.cells(row, COLUMNS, width=11))


# ------------------------------------------------------------------- plot --


def plot(result, path):
    """Two panels: multiply-adds and microseconds of a sample against the width, log-log."""
    good = [row for row in result["networks"] if "accuracy" in row]
    sparse = sorted((row for row in good if not row["dense"]), key=lambda row: row["width"])
    dense = next((row for row in good if row["dense"]), None)
    if not sparse:
        print("no plot: no run succeeded")
        return
    widths = [row["width"] for row in sparse]
    label = f"slide, {result['active']} neurons computed"

    def draw(counts, times):
        counts.plot(widths, [row["multiply_adds"] for row in sparse], "o-", label=label)
        counts.plot(
            widths, [row["dense_multiply_adds"] for row in sparse], "s--", label="dense, computed"
        )
        counts.set(title="Multiply-adds of a training sample", ylabel="multiply-adds")
        times.plot(widths, [row["us_per_sample"] for row in sparse], "o-", label=label)
        whole = [row["fit_us_per_sample"] for row in sparse]
        times.plot(
            widths, whole, "o:", color="C0", alpha=0.6, label="the same with the start of fit"
        )
        if dense:
            # One dense network was timed; times of the others are estimated by multiply-adds.
            rate = dense["us_per_sample"] / dense["dense_multiply_adds"]
            estimates = [rate * row["dense_multiply_adds"] for row in sparse]
            times.plot(widths, estimates, "--", color="C1", label="dense, extrapolated")
            point = [dense["width"]], [dense["us_per_sample"]]
            times.plot(*point, "s", color="C1", label="dense, measured")
        title = f"Time of a training sample, {result['threads']} threads"
        times.set(title=title, ylabel="microseconds")
        for axes in (counts, times):
            log_log(axes, "neurons in the hidden layer", widths)

    save_figure(path, draw, n_panels=2)


if __name__ == "__main__":
    sys.exit(main())
