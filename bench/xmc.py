"""Extreme classification: ours against PECOS and napkinXC, quality, time and memory in one run.

    python bench/xmc.py --dataset oewn --peers-python ../peers/bin/python --threads 2
    python bench/xmc.py --dataset oewn --systems tail lsh+tail lsh exact --epochs 4 --out FILE

Every system runs in a child process of its own (``_child_<system>.py``), one after the other, in
turns; the table and ``bench/results/xmc-<dataset>.json`` hold the medians over the repeats.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import _data
import numpy as np
from _run import RESULTS, any_failed, origin, positive, run_child, save, summary, write

from slide.metrics import precision_at_k

PEERS = {"pecos": "PECOS XR-Linear", "napkinxc": "napkinXC PLT"}
# Ours with defaults, and what it is made of: which output neurons a micro-batch computes.
OURS = {
    "slide": ("slide", {}),
    "tail": ("slide, tail alone", {"retrieval": "none"}),
    "lsh+tail": ("slide, LSH + tail", {"retrieval": "rerank"}),
    "lsh": ("slide, LSH alone", {"retrieval": "rerank", "tail_size": 0}),
    "exact": ("slide, every neuron", {"active_fraction": 1.0, "loss": "sigmoid"}),
}
SYSTEMS = {**{key: name for key, (name, _) in OURS.items()}, **PEERS}
MEASURES = {
    "P@1": ".4f",
    "P@3": ".4f",
    "P@5": ".4f",
    "train_s": ".2f",
    "predict_s": ".2f",
    "peak_mb": ".0f",
}
EACH = (*MEASURES, "reload_s")


def main():
    args = parse_arguments()
    matrices = _data.load(args.dataset)
    runs = {system: [] for system in args.systems}
    X_train, Y_train, X_test, Y_test = matrices
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        save(folder, X_train=X_train, Y_train=Y_train, X_test=X_test)
        for _ in range(args.repeats):
            for system in args.systems:
                runs[system].append(run(system, folder, Y_test, args))

    result = {
        "benchmark": "xmc",
        "dataset": describe(args.dataset, matrices),
        "threads": args.threads,
        "repeats": args.repeats,
        **origin(),
        "systems": {system: summary(runs[system], MEASURES, EACH) for system in args.systems},
    }
    print_table(result)
    write(result, args.out or RESULTS / f"xmc-{args.dataset}.json")
    return any_failed(result["systems"].values())


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", choices=_data.DATASETS, default="oewn")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=["slide", *PEERS])
    parser.add_argument("--epochs", type=positive, help="of ours, instead of the default")
    parser.add_argument("--peers-python", help="python of the environment made from peers.txt")
    parser.add_argument("--repeats", type=positive, default=2)
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--out", type=Path, help="JSON file, instead of the one in bench/results")
    return parser.parse_args()


def run(system, folder, Y_test, args):
    """One fit and prediction -> the child's report and P@k, or a status that says why not."""
    print(f"running {SYSTEMS[system]} ...", file=sys.stderr, flush=True)
    script, python, params = system, args.peers_python, {}
    if system in OURS:
        script, python = "slide", sys.executable
        params = OURS[system][1] | ({"max_iter": args.epochs} if args.epochs else {})
    report = run_child(script, python, folder, args.threads, params)
    top = report.pop("top", None)
    return report if top is None else {**report, **precisions(Y_test, top)}


def precisions(Y_test, top):
    """P@1, P@3 and P@5; where a system ranked too few labels (-1) it gets columns that all miss."""
    n_rows, n_labels = Y_test.shape
    Y_test = Y_test.copy()
    Y_test.resize(n_rows, n_labels + top.shape[1])
    top = np.where(top < 0, n_labels + np.arange(top.shape[1]), top)
    return {f"P@{k}": float(precision_at_k(Y_test, top, k)) for k in (1, 3, 5)}


def print_table(result):
    data = result["dataset"]
    print(
        f"{data['name']}: {data['n_train']} train, {data['n_test']} test rows, "
        f"{data['n_features']} features, {data['n_labels']} labels; {result['threads']} threads, "
        f"median of {result['repeats']}; {result['processor']}"
    )
    print(f"{'':<16}" + "".join(f"{name:>11}" for name in MEASURES))
    for system, row in result["systems"].items():
        cells = [f"{row[name]:>11{form}}" for name, form in MEASURES.items() if name in row]
        note = [] if row["status"] == "ok" else [f"  {row['status']}"]
        print(f"{SYSTEMS[system]:<16}" + "".join(cells + note))


def describe(name, matrices):
    X_train, Y_train, X_test, _ = matrices
    return {
        "name": name,
        "n_train": X_train.shape[0],
        "n_test": X_test.shape[0],
        "n_features": X_train.shape[1],
        "n_labels": Y_train.shape[1],
    }


if __name__ == "__main__":
    sys.exit(main())
