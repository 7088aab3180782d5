"""The row kernels' GB/s and GFLOP/s, compared with the limits of this machine.

    python bench/kernels.py --threads 2 --torch-python ../peers/bin/python
    python bench/kernels.py --vectors 1 8 64 --seconds .05 --repeats 1     # a trial

Rows of 128 floats, drawn at random, are combined with 1 to 64 vectors of a micro-batch: "memory"
draws them from 670,091 rows, "cache" from 512. The limits are measured in the same way with the
same number of threads. They are: compiled loops that only read rows, or read, change and write
them, with a prefetch at the best distance ahead; STREAM's triad; and a dense product of large
matrices. Threads are processes, each with rows of its own, since the kernels' Python entry points
hold the interpreter's lock. Only bytes of rows count, read and written; a multiply-add counts as
two FLOP. Rows of 16 bits are compared with the float32 product too: their arithmetic is in float32.
"""

import argparse
import ctypes
import itertools
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
from common.engine import Layer, Model, OutputRows, dispatch
from common.run import RESULTS, origin, positive, write
from common.table import conditions, print_verdicts, verdict
from ml_dtypes import bfloat16
from threadpoolctl import threadpool_limits

import slide

D = 128
SINGLE, HALF = 4 * D, 2 * D  # bytes of a row in float32 and in bfloat16
PLACES = {"memory": 670_091, "cache": 512}  # rows; those in memory are divided among the threads
SET = dispatch.instruction_set()
AHEAD = (0, 2, 4, 8, 16, 32)
MOVES = {"read": 1, "update": 4}  # weights read; weights and moments read and written
RUN = 256  # neighbouring rows of an update
N_BLOCKS = 32  # blocks of ids that calls take in turn
GEMM = 2048
FUSED = "backward and update"  # the engine's row kernel
MIN_BANDWIDTH = 0.75  # share of the limit, for updates of random rows in memory
MIN_ARITHMETIC = 0.40  # share of a dense product, for rows in cache
SOLVER = {
    "solver": "adam", "alpha": 0.0, "momentum": 0.9, "beta_1": 0.9, "beta_2": 0.999,
    "epsilon": 1e-8,
}  # fmt: skip
BF16_GEMM = """
import sys, time, torch
torch.set_num_threads(int(sys.argv[1]))
a = torch.randn(4096, 4096).bfloat16()
seconds = []
for _ in range(6):
    start = time.perf_counter()
    a @ a
    seconds.append(time.perf_counter() - start)
print(2e-9 * 4096**3 / sorted(seconds)[2])
"""


# ------------------------------------------------------------------- cases --
# Each function `prepare(w, m, n, block)` takes flat arrays of weights and moments and a number n of
# vectors. It returns the function to time, which takes `block` row ids and combines each of these
# rows with all n vectors.


def dots(w, m, n, block):
    x, out = vectors(n * D), np.empty(n * block, np.float32)
    return lambda ids: dispatch.dots(SET, w, D, ids, None, block, x, D, n, D, out, block)


def accumulate(w, m, n, block):
    coef, out = vectors(n * block), np.zeros(n * D, np.float32)
    return lambda ids: dispatch.accumulate(SET, coef, block, 1, w, D, ids, block, out, D, n, D)


def momentum(w, m, n, block):
    g = vectors(RUN * D)
    return in_runs(w, m, lambda w, m: dispatch.momentum(SET, w, m, g, 1e-3, 0.9))


def unpack(w, m, n, block):
    # Few enough rows at a time that the floats stay in cache.
    w, part, out = w.view(np.uint16), 1024, np.empty(1024 * D, np.float32)

    def call(ids):
        for start in range(0, block, part):
            dispatch.unpack(SET, w, D, ids[start : start + part], part, D, out)

    return call


def momentum_half(w, m, n, block):
    g, halves = vectors(RUN * D), (w.view(np.uint16), m.view(np.uint16))
    return in_runs(*halves, lambda w, m: dispatch.momentum_half(SET, w, m, g, 1e-3, 0.9, 1))


def backward(dtype, w, m, n, block):
    """Back-propagate through output rows and update them, all in one call as in training."""
    layers = [Layer.zeros(1, D, True), Layer.zeros(D, 1, False, dtype=dtype)]
    weights, moments = (array.view(dtype).reshape(-1, D) for array in (w, m))
    n_rows = len(weights)
    layers[1] = replace(Layer.zeros(0, n_rows, False, dtype=dtype), n_in=D, w=weights, w_m=moments)
    output = OutputRows(Model(layers, "relu", "sigmoid"), n, SOLVER)
    delta, x = 1e-3 * vectors(n * block).reshape(n, block), vectors(n * D).reshape(n, D)
    x_delta = np.zeros((n, D), np.float32)
    return lambda ids: output.update(ids, delta, x, x_delta, 1e-6)


def in_runs(w, m, update):
    """Make a function that calls `update` on runs of neighbouring rows, not on single rows."""
    last = len(w) // D - RUN

    def call(ids):
        for start in np.minimum(ids[::RUN], last).tolist():
            part = slice(start * D, (start + RUN) * D)
            update(w[part], m[part])

    return call


def vectors(size):
    return np.random.default_rng(1).standard_normal(size).astype(np.float32)


@dataclass(frozen=True)
class Case:
    name: str
    limit: str  # what the kernel does to rows: "read" or "update"
    row: int  # bytes of a row
    multiply_adds: int  # per row and vector; 0: the kernel takes no vectors
    prepare: callable


CASES = [
    Case("forward: dots", "read", SINGLE, D, dots),
    Case("backward: accumulate", "read", SINGLE, D, accumulate),
    Case("update: momentum", "update", SINGLE, 0, momentum),
    Case("bfloat16: unpack", "read", HALF, 0, unpack),
    Case("bfloat16: momentum", "update", HALF, 0, momentum_half),
    Case(FUSED, "update", SINGLE, 2 * D, partial(backward, np.dtype("float32"))),
    Case(f"bfloat16: {FUSED}", "update", HALF, 2 * D, partial(backward, np.dtype(bfloat16))),
]


def main():
    args = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        library = compile_limits(folder)
        limits = measure_limits(library, args)
    rows = []
    for case in CASES:
        for place in PLACES:
            for n in args.vectors if case.multiply_adds else args.vectors[:1]:
                print(f"running {case.name}, {place}, {n} ...", file=sys.stderr, flush=True)
                rows.append(measure(case, place, n, limits, args))
    result = {
        "benchmark": "kernels",
        "slide": slide.__version__,
        "repeats": args.repeats,
        **origin(args.threads),
        "limits": limits,
        "kernels": rows,
    }
    result["verdicts"] = verdicts(rows)
    print_tables(result)
    write(result, args.out)


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", nargs="+", type=positive, default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--seconds", type=float, default=0.2, help="that a measurement takes")
    parser.add_argument("--repeats", type=positive, default=5)
    parser.add_argument("--torch-python", help="python of an environment with torch, for bf16")
    parser.add_argument("--out", type=Path, default=RESULTS / "kernels.json", help="JSON file")
    return parser.parse_args()


# --------------------------------------------------------------- measuring --


def measure(case, place, n, limits, args):
    """A kernel's rates, and their share of the limits."""
    block = 1024 * max(1, 16 // n)  # enough rows to hide the cost of a call
    calls = rate(partial(kernel, case, place, n, block, args.threads), args)
    gb = 1e-9 * calls * block * case.row * MOVES[case.limit]
    out = {"kernel": case.name, "place": place, "n": n, "gb_s": gb}
    out["bandwidth"] = gb / limits[place][f"{case.limit} {case.row}"]["gb_s"]
    if case.multiply_adds:
        out["gflop_s"] = 2e-9 * calls * block * n * case.multiply_adds
        out["arithmetic"] = out["gflop_s"] / limits["sgemm_gflop_s"]
    return out


def kernel(case, place, n, block, threads):
    """Make the function to time, in a process of its own; call i takes the i-th block of ids."""
    w, m, n_rows = rows_of(place, threads)
    ids = np.random.default_rng(2).integers(n_rows, size=(N_BLOCKS, block), dtype=np.int32)
    call = case.prepare(w, m, n, block)
    return lambda i: call(ids[i % N_BLOCKS])


def rows_of(place, threads):
    """Weights and moments, flat, and their number of rows."""
    n_rows = PLACES[place] // (threads if place == "memory" else 1)
    # Not zeros, which would all lie in one page until they are written to.
    return np.ones(n_rows * D, np.float32), np.ones(n_rows * D, np.float32), n_rows


def rate(prepare, args):
    """Calls per second, summed over all processes; the median of the repeats."""
    context = multiprocessing.get_context("spawn")
    barrier, counts = context.Barrier(args.threads), context.SimpleQueue()
    job = (prepare, args.seconds, args.repeats, barrier, counts)
    workers = [context.Process(target=work, args=job) for _ in range(args.threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise SystemExit(f"kernels.py: a process ended with status {worker.exitcode}")
    return statistics.median(map(sum, zip(*[counts.get() for _ in workers], strict=True)))


def work(prepare, seconds, repeats, barrier, counts):
    """Run one process; put its calls per second, one number per repeat, into `counts`."""
    out = []
    try:
        with threadpool_limits(1):
            call = prepare()
            call(0)
            for _ in range(repeats):
                barrier.wait()
                start, i = perf_counter(), 0
                while (now := perf_counter()) < start + seconds or i == 0:
                    call(i)
                    i += 1
                out.append(i / (now - start))
    except BaseException:
        barrier.abort()
        raise
    counts.put(out)


# ------------------------------------------------------------------ limits --


def compile_limits(folder):
    """Compile limits.c; returns the path of the library."""
    path = Path(folder) / "limits.so"
    source = Path(__file__).parent / "common" / "limits.c"
    command = ["cc", "-O3", "-shared", "-fPIC", source, "-o", path]
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"kernels.py: the limits need a C compiler: {error}")
    return str(path)


def measure_limits(library, args):
    """GB/s of rows in each place, of the triad, and GFLOP/s of dense products."""
    print("running the limits ...", file=sys.stderr, flush=True)
    out, block = {}, 16384
    for place, move, row in itertools.product(PLACES, MOVES, (SINGLE, HALF)):
        speeds = {
            ahead: rate(partial(limit, library, move, row, place, ahead, block, args.threads), args)
            for ahead in AHEAD
        }
        ahead = max(speeds, key=speeds.get)
        gb = 1e-9 * speeds[ahead] * block * row * MOVES[move]
        out.setdefault(place, {})[f"{move} {row}"] = {"gb_s": gb, "ahead": ahead}
    n = 1 << 25
    out["triad_gb_s"] = 12e-9 * n * rate(partial(triad, library, n), args)
    out["sgemm_gflop_s"] = 2e-9 * GEMM**3 * sgemm_rate(args)
    out["bf16_gemm_gflop_s"] = bf16_gemm(args)
    return out


def limit(library, move, row, place, ahead, block, threads):
    """Make a function that calls `read_rows` or `update_rows` of limits.c on random rows."""
    w, m, n_rows = rows_of(place, threads)
    ids = np.random.default_rng(2).integers(n_rows, size=(N_BLOCKS, block), dtype=np.int32)
    library, out = ctypes.CDLL(library), np.zeros(16, np.float32)
    sizes = (ctypes.c_int64(block), ctypes.c_int64(row // 4), ctypes.c_int64(ahead))

    def call(i):
        rows = pointer(ids[i % N_BLOCKS])
        if move == "read":
            library.read_rows(pointer(w), rows, *sizes, pointer(out))
        else:
            library.update_rows(pointer(w), pointer(m), rows, *sizes)

    return call


def triad(library, n):
    a, b, c = (np.ones(n, np.float32) for _ in range(3))
    library, pointers = ctypes.CDLL(library), [pointer(array) for array in (a, b, c)]
    # The closure keeps the arrays alive.
    return lambda i, keep=(a, b, c): library.triad(
        *pointers, ctypes.c_float(0.5), ctypes.c_int64(n)
    )


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


def sgemm_rate(args):
    """Products per second, by the faster of OpenBLAS's own choice and its AVX-512 kernels.

    On processors newer than it knows, OpenBLAS chooses its AVX2 kernels.
    """
    usual = rate(sgemm, args)
    if SET != "avx512" or "OPENBLAS_CORETYPE" in os.environ:
        return usual
    os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"
    try:
        return max(usual, rate(sgemm, args))
    finally:
        del os.environ["OPENBLAS_CORETYPE"]


def sgemm():
    a, b = (vectors(GEMM * GEMM).reshape(GEMM, GEMM) for _ in range(2))
    out = np.empty_like(a)
    return lambda i: np.matmul(a, b, out=out)


def bf16_gemm(args):
    """GFLOP/s of a bfloat16 product by PyTorch, or None without PyTorch."""
    if args.torch_python is None:
        return None
    command = [args.torch_python, "-c", BF16_GEMM, str(args.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return None
    return float(done.stdout)


# ---------------------------------------------------------------- verdicts --


def verdicts(rows):
    """The bars of the fused kernel, at the number of vectors where it does best."""
    out = []
    for place, name, limit, what in (
        ("memory", "bandwidth", MIN_BANDWIDTH, "of the bandwidth of random rows, out of cache"),
        ("cache", "arithmetic", MIN_ARITHMETIC, "of a dense product's arithmetic, in cache"),
    ):
        best = max(
            (row[name] for row in rows if row["kernel"] == FUSED and row["place"] == place),
            default=None,
        )
        bar = f"{FUSED}: at least {limit:.0%} {what}"
        out.append(verdict(bar, best, limit, ".0%", at_least=True))
    return out


def print_tables(result):
    limits = result["limits"]
    print(conditions(result, f"{result['threads']} threads"))
    print("\nlimits")
    for place in PLACES:
        for key, one in limits[place].items():
            title = f"random rows in {place}, {key} bytes"
            print(f"{title:<40}{one['gb_s']:>9.1f} GB/s  (asked for {one['ahead']} ahead)")
    print(f"{'triad, 12 bytes an element':<40}{limits['triad_gb_s']:>9.1f} GB/s")
    print(f"{'float32 product':<40}{limits['sgemm_gflop_s']:>9.1f} GFLOP/s")
    if limits["bf16_gemm_gflop_s"]:
        print(f"{'bf16 product (PyTorch)':<40}{limits['bf16_gemm_gflop_s']:>9.1f} GFLOP/s")
    print(
        f"\n{'':<30}{'rows in':<9}{'vectors':>8}{'GB/s':>9}{'of limit':>10}{'GFLOP/s':>10}"
        f"{'of product':>12}"
    )
    for row in result["kernels"]:
        line = f"{row['kernel']:<30}{row['place']:<9}{row['n']:>8}{row['gb_s']:>9.1f}"
        line += f"{row['bandwidth']:>10.0%}"
        if "gflop_s" in row:
            line += f"{row['gflop_s']:>10.1f}{row['arithmetic']:>12.0%}"
        print(line)
    print_verdicts(result["verdicts"])


if __name__ == "__main__":
    sys.exit(main())
