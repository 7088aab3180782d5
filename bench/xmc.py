"""Extreme classification: ours against linear trees and PyTorch: quality, time, memory.

    python bench/xmc.py --dataset oewn --peers-python ../peers/bin/python \\
        --torch-python ../peers/bin/python --threads 2
    python bench/xmc.py --dataset oewn --systems tail lsh+tail lsh exact --epochs 4 --out FILE

Every system runs in a child process of its own (``child_<system>.py``), one after the other, in
turns; the tables and ``bench/results/xmc-<dataset>.json`` hold the medians over the repeats.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from common.data import DATASETS, load
from common.run import RESULTS, any_failed, origin, positive, run_child, save, summary, write
from common.table import print_table

from slide.metrics import label_propensities, ndcg_at_k, precision_at_k, psp_at_k, recall_at_k

# slide with its defaults, and variants that mostly differ in the output neurons that are computed.
OURS = {
    "slide": ("slide", {}),
    "tail": ("slide, tail alone", {"retrieval": "none"}),
    "lsh+tail": ("slide, LSH lists + tail", {"retrieval": "lists"}),
    "lsh": ("slide, LSH lists alone", {"retrieval": "lists", "tail_size": 0}),
    "tables+tail": ("slide, LSH tables + tail", {"retrieval": "rerank"}),
    "network": ("slide, without prototypes", {"prototypes": False}),
    "bfloat16": ("slide, bfloat16", {"weight_dtype": "bfloat16"}),
    "exact": ("slide, every neuron", {"active_fraction": 1.0, "loss": "sigmoid"}),
}
# The child script, the name and the parameters of every rival.
PEERS = {
    "pecos": ("pecos", "PECOS XR-Linear", {}),
    "omikuji": ("omikuji", "Omikuji, 3 Parabel trees", {"kind": "parabel"}),
    "bonsai": ("omikuji", "Omikuji, 3 Bonsai trees", {"kind": "bonsai"}),
    "napkinxc": ("napkinxc", "napkinXC PLT", {}),
}
TORCH = {
    "torch": ("PyTorch, dense", {}),
    "torch-bf16": ("PyTorch, dense bf16", {"bf16": True}),
    "torch-sampled": ("PyTorch, sampled", {"sampled": True}),
}
SYSTEMS = {
    **{key: name for key, (name, _) in OURS.items()},
    **{key: name for key, (_, name, _) in PEERS.items()},
    **{key: name for key, (name, _) in TORCH.items()},
}
GROUPS = ("head", "torso", "tail")
MEASURES = {
    **{f"{name}@{k}": ".4f" for name in ("P", "PSP") for k in (1, 3, 5)},
    "nDCG@5": ".4f",
    "train_s": ".2f",
    "predict_s": ".2f",
    "peak_mb": ".0f",
    "model_mb": ".1f",
}
RECALLS = {f"R@5 {group}": ".4f" for group in GROUPS}
EACH = (*MEASURES, *RECALLS, "reload_s")


def main():
    args = parse_arguments()
    try:
        matrices = load(args.dataset)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"xmc.py: {error}")
    X_train, Y_train, X_test, Y_test = matrices
    runs = {system: [] for system in args.systems}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        save(folder, X_train=X_train, Y_train=Y_train, X_test=X_test)
        for _ in range(args.repeats):
            for system in args.systems:
                report = run(system, folder, args)
                top = report.pop("top", None)
                runs[system].append(
                    report if top is None else {**report, **quality(Y_train, Y_test, top)}
                )

    measures = (*MEASURES, *RECALLS)
    result = {
        "benchmark": "xmc",
        "dataset": describe(args.dataset, matrices),
        "repeats": args.repeats,
        **origin(args.threads),
        "systems": {system: summary(runs[system], measures, EACH) for system in args.systems},
    }
    print_tables(result)
    write(result, args.out or RESULTS / f"xmc-{result['dataset']['name']}.json")
    return any_failed(result["systems"].values())


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ", ".join(DATASETS)
    parser.add_argument(
        "--dataset",
        default="oewn",
        help=f"{names}, a file in the XMC format or a folder with one for train and one for test",
    )
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=["slide", *PEERS, *TORCH])
    parser.add_argument("--epochs", type=positive, help="of ours, instead of the default")
    parser.add_argument("--torch-epochs", type=positive, default=5)
    parser.add_argument("--peers-python", help="python of the environment made from peers.txt")
    parser.add_argument("--torch-python", help="python of an environment with torch and SciPy")
    parser.add_argument("--repeats", type=positive, default=3)
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--out", type=Path, help="JSON file, instead of the one in bench/results")
    return parser.parse_args()


def run(system, folder, args):
    """One fit and prediction -> the child's report, or a status that says why there is none."""
    print(f"running {SYSTEMS[system]} ...", file=sys.stderr, flush=True)
    if system in OURS:
        params = OURS[system][1] | ({"max_iter": args.epochs} if args.epochs else {})
        return run_child("slide", sys.executable, folder, args.threads, params)
    if system in TORCH:
        params = TORCH[system][1] | {"max_iter": args.torch_epochs}
        return run_child(
            "torch_xmc", args.torch_python, folder, args.threads, params, option="--torch-python"
        )
    script, _, params = PEERS[system]
    return run_child(script, args.peers_python, folder, args.threads, params)


# ---------------------------------------------------------------- quality --


def quality(Y_train, Y_test, top):
    """P, PSP, nDCG and recall by label frequency of the ranked labels `top`.

    A missing label (-1), where a system ranked too few, counts as a wrong one.
    """
    n_rows, n_labels = Y_test.shape
    n_spare = top.shape[1]
    propensities = np.concatenate([label_propensities(Y_train), np.ones(n_spare)])
    groups = label_groups(Y_train)
    Y_test = Y_test.copy()
    Y_test.resize(n_rows, n_labels + n_spare)
    top = np.where(top < 0, n_labels + np.arange(n_spare), top)
    return {
        **{f"P@{k}": precision_at_k(Y_test, top, k) for k in (1, 3, 5)},
        **{f"PSP@{k}": psp_at_k(Y_test, top, propensities, k) for k in (1, 3, 5)},
        "nDCG@5": ndcg_at_k(Y_test, top, 5),
        **{
            f"R@5 {group}": recall
            for number, group in enumerate(GROUPS)
            if (recall := recall_of(Y_test, top, groups == number)) is not None
        },
    }


def label_groups(Y_train):
    """The group of each label, 0 to 2: frequent labels, medium ones, rare ones.

    Each group has about a third of the label entries in training. Labels are sorted by frequency; a
    label whose entries cross a border is in the group where they start.
    """
    counts = np.bincount(Y_train.indices, minlength=Y_train.shape[1])
    order = np.argsort(-counts, kind="stable")
    starts = np.cumsum(counts[order]) - counts[order]
    groups = np.empty(len(counts), dtype=np.int64)
    groups[order] = np.minimum(3 * starts // max(counts.sum(), 1), 2)
    return groups


def recall_of(Y_test, top, wanted):
    """Recall at 5 of the `wanted` labels, over the rows that have any; None if no row has."""
    columns = np.flatnonzero(wanted)
    kept = Y_test.copy()
    kept.data[~np.isin(kept.indices, columns)] = 0
    kept.eliminate_zeros()
    rows = np.flatnonzero(np.diff(kept.indptr))
    return recall_at_k(kept[rows], top[rows], 5) if len(rows) else None


# ----------------------------------------------------------------- tables --


def print_tables(result):
    data = result["dataset"]
    print(
        f"{data['name']}: {data['n_train']} train, {data['n_test']} test rows, "
        f"{data['n_features']} features, {data['n_labels']} labels; {result['threads']} threads, "
        f"median of {result['repeats']}; {result['processor']}"
    )
    rows = {SYSTEMS[system]: row for system, row in result["systems"].items()}
    print_table("", rows, {name: (name, form) for name, form in MEASURES.items()}, (20, 10))
    print("\nrecall at 5 of the labels that make up a third of the training entries each")
    sizes = ", ".join(f"{data['groups'][group]} {group}" for group in GROUPS)
    print(f"labels: {sizes}")
    print_table("", rows, {name: (name, form) for name, form in RECALLS.items()}, (20, 10))


def describe(name, matrices):
    X_train, Y_train, X_test, _ = matrices
    in_group = np.bincount(label_groups(Y_train), minlength=len(GROUPS))
    return {
        "name": Path(name).resolve().name.split(".")[0],
        "n_train": X_train.shape[0],
        "n_test": X_test.shape[0],
        "n_features": X_train.shape[1],
        "n_labels": Y_train.shape[1],
        "groups": dict(zip(GROUPS, in_group.tolist(), strict=True)),
    }


if __name__ == "__main__":
    sys.exit(main())
