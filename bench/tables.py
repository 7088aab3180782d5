"""How long one rebuild of an output layer's hash tables takes.

    python bench/tables.py
    python bench/tables.py --neurons 100000 --repeats 3     # a trial

50 SimHash tables of random weights, 670,091 neurons of 128 inputs; with one thread and with two.
"angles only" leaves out the inner-product transform, whose statistics are a pass of their own over
the weights.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from common.engine import HashTables
from common.run import RESULTS, origin, positive, write

BAR_S = 0.4
BAR_SHAPE = {"neurons": 670_091, "inputs": 128, "tables": 50}
BAR_THREADS = 2


def main():
    args = parse_arguments()
    shape = {name: getattr(args, name) for name in ("neurons", "inputs", "tables", "bits")}
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((args.neurons, args.inputs), dtype=np.float32)
    biases = rng.standard_normal(args.neurons, dtype=np.float32)
    mean = rng.standard_normal(args.inputs, dtype=np.float32)
    seconds, memory = {}, {}
    for name, transform in (("rebuild", True), ("angles only", False)):
        tables = HashTables(
            args.neurons, args.inputs, args.tables, args.bits, np.random.RandomState(0),
            transform=transform,
        )  # fmt: skip
        memory[name] = tables.ids.nbytes + tables.offsets.nbytes
        seconds[name] = {}
        for n in args.threads:
            times = []
            for _ in range(args.repeats + 1):
                start = time.perf_counter()
                tables.rebuild(weights, biases, mean, 1.0, n)
                times.append(time.perf_counter() - start)
            # The first rebuild is left out: it touches new memory and starts the threads.
            seconds[name][n] = statistics.median(times[1:])
    result = {"benchmark": "tables", **shape, "repeats": args.repeats}
    result |= origin(max(args.threads))
    result |= {"tables_mb": memory["rebuild"] / 2**20, "seconds": seconds}
    result["bar"] = bar(shape, seconds["rebuild"].get(BAR_THREADS))
    print_table(result)
    write(result, args.out)


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (*BAR_SHAPE.items(), ("bits", 14)):
        parser.add_argument(f"--{name}", type=positive, default=default)
    parser.add_argument("--threads", nargs="+", type=positive, default=[1, BAR_THREADS])
    parser.add_argument("--repeats", type=positive, default=9)
    parser.add_argument("--out", type=Path, default=RESULTS / "tables.json", help="JSON file")
    return parser.parse_args()


def bar(shape, seconds):
    text = f"rebuild <= {BAR_S} s on {BAR_THREADS} threads"
    if seconds is None or any(shape[name] != value for name, value in BAR_SHAPE.items()):
        return {"bar": text, "status": "not measured"}
    return {"bar": text, "value": seconds, "status": "met" if seconds <= BAR_S else "missed"}


def print_table(result):
    print(
        f"{result['tables']} tables x {result['bits']} bits, {result['neurons']:,} neurons x "
        f"{result['inputs']}, {result['instruction_set']}, {result['tables_mb']:.0f} MB; "
        f"medians of {result['repeats']}, seconds"
    )
    for name, times in result["seconds"].items():
        cells = "".join(f"   {n} thread{'s'[: n - 1]} {s:.3f}" for n, s in times.items())
        print(f"{name:<12}{cells}")
    print(f"{result['bar']['bar']}: {result['bar']['status']}")


if __name__ == "__main__":
    sys.exit(main())
