"""Comparison of hash families and retrieval policies, with or without inner-product transform.

    python bench/hash_ablation.py --epochs 5 --seeds 3 --threads 2
    python bench/hash_ablation.py --families simhash dwta --policies rerank --seeds 1

Fashion-MNIST, one hidden layer of 1,000 neurons, 5 % of them computed. "exact" and "none" are the
ceiling and the floor of any retrieval. With --jobs above 1 runs share the machine: accuracies and
multiply-adds stay comparable, seconds do not.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

from common import fashion
from common.fashion import System
from common.run import any_failed, origin, positive, write

HIDDEN = {"hidden_layer_sizes": [1000], "active_fraction": [0.05, 1.0]}
FAMILIES = ("simhash", "wta", "dwta", "minhash")
POLICIES = ("vanilla", "topk", "threshold", "rerank")  # of hash tables, for every family
SCAN = "estimate"  # codes, not tables: SimHash alone estimates inner products
BOUNDS = ("exact", "none")
COLUMNS = {
    "accuracy": ("accuracy", ".4f"),
    "compute_fraction": ("compute", ".4f"),
    "s_per_epoch": ("s/epoch", ".2f"),
}


def variants(families, policies):
    """Every row of the table."""
    out = [System(policy, params={**HIDDEN, "retrieval": policy}) for policy in BOUNDS]
    for family in families:
        for policy in policies:
            if policy == SCAN and family != "simhash":
                continue
            for transform in (True, False):
                out.append(
                    System(
                        f"{family}, {policy}{'' if transform else ', no transform'}",
                        params={**HIDDEN, "retrieval": policy, "hash_family": family},
                        settings={"transform": transform},
                    )
                )
    return out


def main():
    args = parse_arguments()
    rows = variants(args.families, args.policies)
    runs = {row.name: [] for row in rows}
    with fashion.prepared(args) as fit, ThreadPoolExecutor(args.jobs) as pool:
        tasks = [(row, seed) for seed in range(args.seeds) for row in rows]
        for (row, _), run in zip(tasks, pool.map(lambda task: fit(*task), tasks), strict=True):
            runs[row.name].append(run)

    result = {"benchmark": "hash-ablation", **fashion.describe(args), "jobs": args.jobs}
    result |= origin(args.threads)
    result["variants"] = [about(row) | fashion.summarize(runs[row.name]) for row in rows]
    result["variants"].sort(key=lambda row: row.get("accuracy", -1.0), reverse=True)
    print_table(result)
    write(result, args.out)
    return any_failed(result["variants"])


def parse_arguments():
    parser = fashion.parser(__doc__, "hash-ablation.json")
    parser.add_argument("--jobs", type=positive, default=1, help="runs at a time")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES)
    policies = (*POLICIES, SCAN)
    parser.add_argument("--policies", nargs="+", choices=policies, default=policies)
    return parser.parse_args()


def about(row):
    return {
        "name": row.name,
        "hash_family": row.params.get("hash_family"),
        "retrieval": row.params["retrieval"],
        "transform": row.settings.get("transform"),
    }


def print_table(result):
    print(fashion.title(result))
    print(f"{'':<33}" + fashion.titles(COLUMNS))
    for row in result["variants"]:
        print(f"{row['name']:<33}" + fashion.cells(row, COLUMNS))


if __name__ == "__main__":
    sys.exit(main())
