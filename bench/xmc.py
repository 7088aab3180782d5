"""Extreme classification: ours against PECOS and napkinXC, quality, time and memory in one run.

    python bench/xmc.py --dataset oewn --peers-python ../peers/bin/python --threads 2
    python bench/xmc.py --dataset oewn --systems tail lsh+tail lsh exact --epochs 4 --out FILE

Every system runs in a child process of its own (``_child_<system>.py``), one after the other, in
turns; the table and ``bench/results/xmc-<dataset>.json`` hold the medians over the repeats.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import _data
import numpy as np
from scipy import sparse

from slide.metrics import precision_at_k

HERE = Path(__file__).resolve().parent
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


def main():
    args = parse_arguments()
    matrices = _data.load(args.dataset)
    runs = {system: [] for system in args.systems}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        save(folder, matrices)
        for _ in range(args.repeats):
            for system in args.systems:
                runs[system].append(run_child(system, folder, matrices[3], args))

    result = {
        "benchmark": "xmc",
        "dataset": describe(args.dataset, matrices),
        "threads": args.threads,
        "repeats": args.repeats,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "platform": platform.platform(),
        "commit": commit(),
        "systems": {system: summary(runs[system]) for system in args.systems},
    }
    print_table(result)
    path = args.out or HERE / "results" / f"xmc-{args.dataset}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwritten to {path}")
    return any(s["status"].startswith("failed") for s in result["systems"].values())


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


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {number}")
    return number


def save(folder, matrices):
    """Hand the data to the children; the test labels stay here."""
    for name, matrix in zip(("X_train", "Y_train", "X_test"), matrices[:3], strict=True):
        sparse.save_npz(folder / f"{name}.npz", matrix, compressed=False)


def run_child(system, folder, Y_test, args):
    """One fit and prediction -> the child's report and P@k, or a status that says why not."""
    script, python = system, args.peers_python
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    if system in OURS:
        script, python = "slide", sys.executable
        params = OURS[system][1] | ({"max_iter": args.epochs} if args.epochs else {})
        environment["SLIDE_BENCH_PARAMS"] = json.dumps(params)
    else:
        environment.pop("PYTHONPATH", None)
    if python is None:
        return {"status": "not run: no --peers-python"}

    with tempfile.TemporaryDirectory() as out:
        out = Path(out)
        command = [python, HERE / f"_child_{script}.py", folder, out, str(args.threads)]
        print(f"running {SYSTEMS[system]} ...", file=sys.stderr, flush=True)
        try:
            child = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
        except OSError as error:
            return {"status": f"failed: {error}"}
        if child.returncode != 0:
            return {"status": failure(child)}
        report = json.loads((out / "report.json").read_text())
        top = np.load(out / "top.npy")
    return {"status": "ok", **precisions(Y_test, top), **report}


def failure(child):
    """Why a child ended without a report, in a line."""
    lines = child.stderr.strip().splitlines() or [f"exit status {child.returncode}"]
    if lines[-1].startswith("ModuleNotFoundError"):
        return f"not installed: {lines[-1].removeprefix('ModuleNotFoundError: ')}"
    print(child.stderr, file=sys.stderr)
    return f"failed: {lines[-1]}"


def precisions(Y_test, top):
    """P@1, P@3 and P@5; where a system ranked too few labels (-1) it gets columns that all miss."""
    n_rows, n_labels = Y_test.shape
    Y_test = Y_test.copy()
    Y_test.resize(n_rows, n_labels + top.shape[1])
    top = np.where(top < 0, n_labels + np.arange(top.shape[1]), top)
    return {f"P@{k}": float(precision_at_k(Y_test, top, k)) for k in (1, 3, 5)}


def summary(runs):
    """Medians over the repeats that succeeded, beside the runs themselves."""
    good = [run for run in runs if run["status"] == "ok"]
    bad = [run["status"] for run in runs if run["status"] != "ok"]
    if not good:
        return {"status": bad[0]}
    medians = {name: statistics.median(run[name] for run in good) for name in MEASURES}
    shared = {name: good[-1][name] for name in ("settings", "versions")}
    each = [{name: run[name] for name in (*MEASURES, "reload_s")} for run in good]
    return {"status": bad[0] if bad else "ok", **medians, **shared, "runs": each}


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


def processor():
    """The processor's name, as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def commit():
    """The repository's state, or None outside a git checkout."""
    git = ["git", "-C", HERE, "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


if __name__ == "__main__":
    sys.exit(main())
