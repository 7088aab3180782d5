"""Whether HEAD is slower than BASE: two revisions of this repository, built and run in turns.

    python bench/compare.py main HEAD
    python bench/compare.py v0.1.0 HEAD --workloads "predict, exact" --repeats 3

Both are checked out and built into a temporary folder. They use the dependencies of the running
environment, which must also have the build requirements of the package. Every run is a child
process; a workload's runs alternate between the revisions, and its medians are compared. The exit
status is 1 if HEAD is slower by more than 15 % and by more than 0.05 s, or if it fails in a
workload that BASE can run. A workload that BASE cannot run is not compared.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from textwrap import shorten

from common.child_compare import WORKLOADS, write_data
from common.run import BENCH, failure, import_path, origin, positive, save, write

MAX_SHARE = 0.15
MAX_SECONDS = 0.05
GIT = ["git", "-C", BENCH]


def main():
    args = parse_arguments()
    commits = {"base": resolve(args.base), "head": resolve(args.head)}
    with tempfile.TemporaryDirectory() as folder:
        folder, packages = Path(folder), {}
        for commit in dict.fromkeys(commits.values()):
            with checkout(commit, folder / "tree") as tree:
                packages[commit] = build(tree, folder / commit)
        data = folder / "data"
        data.mkdir()
        write_data(partial(save, data))
        rows = {}
        for workload in args.workloads:
            runs = {side: [] for side in commits}
            for _ in range(args.repeats):
                for side, commit in commits.items():
                    print(f"running {workload}, {side} ...", file=sys.stderr, flush=True)
                    runs[side].append(run(workload, packages[commit], data, args.threads))
            rows[workload] = compared(runs)
    result = {
        "benchmark": "compare",
        "repeats": args.repeats,
        **origin(args.threads),
        **commits,
        "workloads": rows,
    }
    print_table(result, args)
    if args.out:
        write(result, args.out)
    return any(row["verdict"] in ("slower", "failed") for row in rows.values())


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", metavar="BASE", help="revision to compare with")
    parser.add_argument("head", metavar="HEAD", help="revision that must not be slower")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--repeats", type=positive, default=5)
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--out", type=Path, help="JSON file")
    return parser.parse_args()


# --------------------------------------------------------------- revisions --


def resolve(revision):
    """The commit of a revision."""
    git = [*GIT, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"compare.py: {revision} is not a revision of this repository")
    return done.stdout.strip()


@contextmanager
def checkout(commit, tree):
    """Yield a work tree of that commit; git forgets it afterwards."""
    subprocess.run([*GIT, "worktree", "add", "--quiet", "--detach", tree, commit], check=True)
    try:
        yield tree
    finally:
        subprocess.run([*GIT, "worktree", "remove", "--force", tree], check=True)


def build(tree, target):
    """Install the package of a work tree, and nothing else, into a folder of its own."""
    print(f"building {target.name[:10]} ...", file=sys.stderr, flush=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*pip, "--no-index", "--target", target, tree], capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
        sys.exit(f"compare.py: {target.name} does not build")
    return target


# ----------------------------------------------------------------- running --


def run(workload, package, data, threads):
    """Seconds of one run, or why there are none."""
    environment = {**os.environ, **import_path(package), "OMP_NUM_THREADS": str(threads)}
    child = BENCH / "common" / "child_compare.py"
    command = [sys.executable, child, workload, data, str(threads)]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if child.returncode:
        return failure(child)
    report = json.loads(child.stdout)
    if package not in Path(report["package"]).parents:
        sys.exit(f"compare.py: a child ran {report['package']}, not what was built")
    return report["seconds"]


def compared(runs):
    """Medians of both revisions, and the verdict on them."""
    row = {"runs": runs}
    for side, seconds in runs.items():
        failures = [one for one in seconds if isinstance(one, str)]
        if failures:
            done = "failed" if side == "head" else "not compared"
            return {**row, "verdict": done, "status": failures[0]}
        row[side] = statistics.median(seconds)
    row["ratio"] = row["head"] / row["base"]
    excess = row["head"] - row["base"]
    slower = excess > MAX_SECONDS and excess > MAX_SHARE * row["base"]
    return {**row, "verdict": "slower" if slower else "ok"}


def print_table(result, args):
    print(f"{result['threads']} threads, median of {result['repeats']}; {result['processor']}")
    print(f"base: {args.base} ({result['base'][:10]}), head: {args.head} ({result['head'][:10]})")
    print(f"\n{'seconds':<26}{'base':>9}{'head':>9}{'head/base':>11}")
    for workload, row in result["workloads"].items():
        cells = f"{'–':>9}{'–':>9}{'–':>11}"
        if "ratio" in row:
            cells = f"{row['base']:>9.3f}{row['head']:>9.3f}{row['ratio']:>11.2f}"
        status = shorten(row.get("status", ""), 80)
        print(f"{workload:<26}{cells}  {row['verdict']}  {status}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
