"""The headline: layers of 1,000 neurons, 5 % of them computed, against dense training.

    python bench/headline.py --peers-python ../peers/bin/python --threads 2
    python bench/headline.py --rows 2000 --epochs 1 --seeds 1 --systems dense lsh --depths 1

Fashion-MNIST, one to seven hidden layers, the same epochs for all. slide centres dense features
itself, so PyTorch is run on raw and on centred features. It is also run with the batch and the type
of products that are fastest on this processor, whatever the accuracy: the time to beat. Every run
is a child process; within a seed the systems take turns, so that they share the machine's noise.
Figures are medians over the seeds. A gap is the accuracy minus that of a dense network, in points:
a negative gap is worse.
"""

import sys

from common import fashion
from common.fashion import System
from common.run import any_failed, origin, positive, write
from common.table import print_verdicts, verdict

WIDTH = 1000
SHARE = 0.05
FASTEST = {"batch_size": 1024, "dtype": "bfloat16"}  # of 64 to 4,096 and two types, AMD and Intel
# The bars of the medians.
MAX_GAP = {1: 0.5, 3: 0.5, 5: 1.0, 7: 1.0}  # points of accuracy, by depth
MAX_COMPUTE = {1: 0.05, 3: 0.05}  # share of the dense multiply-adds, by depth
MAX_TIME = 1 / 6  # of a dense peer's seconds per epoch, at depth 3


def systems(depth):
    """slide, its floor and its ceiling, and the dense peers, with `depth` hidden layers."""
    hidden = {"hidden_layer_sizes": [WIDTH] * depth}
    sparse = {**hidden, "active_fraction": [SHARE] * depth + [1.0]}
    adam = {"batch_size": 64, "learning_rate_init": 1e-3}
    return {
        "dense": System("slide, dense", params={**hidden, "active_fraction": 1.0}),
        "lsh": System("slide, LSH 5 %", params=sparse),
        "exact": System("slide, exact top 5 %", params={**sparse, "retrieval": "exact"}),
        "random": System("slide, random 5 %", params={**sparse, "retrieval": "none"}),
        "pytorch": System("PyTorch, dense", "torch", {**hidden, **adam}, peer=True),
        "centred": System(
            "PyTorch, centred X", "torch", {**hidden, **adam, "center": True}, peer=True
        ),
        "fastest": System(
            "PyTorch, fastest",
            "torch",
            {**hidden, **adam, **FASTEST, "center": True},
            peer=True,
        ),
        "sklearn": System("scikit-learn, dense", "sklearn", {**hidden, **adam, "solver": "adam"}),
    }


def main():
    args = parse_arguments()
    runs = {depth: {key: [] for key in args.systems} for depth in args.depths}
    with fashion.prepared(args) as fit:
        for seed in range(args.seeds):
            for depth in args.depths:
                for key in args.systems:
                    runs[depth][key].append(fit(systems(depth)[key], seed))

    result = {
        "benchmark": "headline",
        **fashion.describe(args),
        **origin(args.threads),
        "depths": {},
    }
    for depth in args.depths:
        rows = {key: fashion.summarize(each) for key, each in runs[depth].items()}
        compare(rows)
        result["depths"][str(depth)] = rows
    result["verdicts"] = verdicts(result["depths"])
    print_tables(result)
    write(result, args.out)
    return any_failed(row for rows in result["depths"].values() for row in rows.values())


def parse_arguments():
    parser = fashion.parser(__doc__, "headline.json")
    parser.add_argument("--systems", nargs="+", choices=systems(1), default=list(systems(1)))
    parser.add_argument("--depths", nargs="+", type=positive, default=[1, 3, 5, 7])
    parser.add_argument("--peers-python", help="python of an environment with torch")
    return parser.parse_args()


def compare(rows):
    """Compare every row with the dense ones: `gap_to_…` and `time_to_…`."""
    for row in rows.values():
        for key in ("dense", "pytorch", "centred"):
            gap = difference(row, rows.get(key))
            if gap is not None:
                row[f"gap_to_{key}"] = gap
        for key in ("pytorch", "fastest", "sklearn"):
            if has(row) and has(rows.get(key)):
                row[f"time_to_{key}"] = row["s_per_epoch"] / rows[key]["s_per_epoch"]


def has(row):
    """Whether a system has at least one run that succeeded."""
    return row is not None and "accuracy" in row


def difference(row, dense):
    """Points of accuracy above a dense network, or None where one of them has none."""
    if not (has(row) and has(dense)):
        return None
    return round(100 * (row["accuracy"] - dense["accuracy"]), 6)  # so that one point is exactly 1.0


def verdicts(depths):
    """The verdicts on all bars, measured or not."""
    out = []
    for depth, rows in depths.items():
        lsh, most = rows.get("lsh", {}), MAX_GAP.get(int(depth), 1.0)
        for key, name in (("dense", "ours dense"), ("centred", "PyTorch dense, centred X")):
            bar = f"depth {depth}: accuracy within {most:.1f} point of {name}"
            out.append(verdict(bar, lsh.get(f"gap_to_{key}"), -most, "+.2f", at_least=True))
        limit = MAX_COMPUTE.get(int(depth))
        if limit is not None:
            bar = f"depth {depth}: compute_fraction_ at most {limit:.2f}"
            out.append(verdict(bar, lsh.get("compute_fraction"), limit, ".4f"))
        if depth == "3":
            for key, name in (("fastest", "PyTorch's fastest"), ("sklearn", "scikit-learn's")):
                bar = f"depth {depth}: seconds an epoch at most {MAX_TIME:.2f} of {name}"
                out.append(verdict(bar, lsh.get(f"time_to_{key}"), MAX_TIME, ".3f"))
    return out


# ------------------------------------------------------------------ table --

COLUMNS = {
    "accuracy": ("accuracy", ".4f"),
    "gap_to_dense": ("gap dense", "+.2f"),
    "gap_to_centred": ("gap torch", "+.2f"),
    "compute_fraction": ("compute", ".4f"),
    "s_per_epoch": ("s/epoch", ".2f"),
    "time_to_pytorch": ("/ torch", ".2f"),
    "time_to_fastest": ("/ fastest", ".2f"),
    "time_to_sklearn": ("/ sklearn", ".2f"),
}


def print_tables(result):
    print(fashion.title(result))
    for depth, rows in result["depths"].items():
        print(f"\n{'hidden ' + ' × '.join([str(WIDTH)] * int(depth)):<27}", end="")
        print(fashion.titles(COLUMNS))
        for key, row in rows.items():
            print(f"{systems(int(depth))[key].name:<27}" + fashion.cells(row, COLUMNS))
    print_verdicts(result["verdicts"])


if __name__ == "__main__":
    sys.exit(main())
