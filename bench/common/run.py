"""Systems in child processes, medians over runs, and the origin of a figure."""

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

import numpy as np
from scipy import sparse

from common.engine import dispatch

BENCH = Path(__file__).resolve().parents[1]
RESULTS = BENCH / "results"
# With this variable PyTorch's large tensors lie in huge pages. NumPy's arrays, and so slide's
# weights, lie there without it.
HUGE_PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {number}")
    return number


# --------------------------------------------------------------- children --


def save(folder, **matrices):
    """Write matrices to a folder, from which the children read them."""
    for name, matrix in matrices.items():
        if sparse.issparse(matrix):
            sparse.save_npz(folder / f"{name}.npz", matrix, compressed=False)
        else:
            np.save(folder / f"{name}.npy", matrix)


def run_child(
    script,
    python,
    data,
    threads,
    params=None,
    settings=None,
    option="--peers-python",
    variables=None,
):
    """One fit and prediction in a process of its own.

    Parameters
    ----------
    script : str
        "slide", or a rival: ``peers/child_<script>.py`` is run. `common.child` tells what it reads
        and writes.
    python : path, or None where the user named no environment for the system
    data : Path
        Folder with what `save` wrote.
    threads : int
    params : dict, optional
        Parameters of the system; the child gets them in SLIDE_BENCH_PARAMS.
    settings : dict, optional
        Internal settings of slide to replace; the child gets them in SLIDE_BENCH_SETTINGS.
    option : str
        The command-line option that sets `python`, for the message that it is missing.
    variables : dict, optional
        More environment variables of the child.

    Returns
    -------
    dict
        The child's report, with its labels under "top" and "ok" under "status". If the child
        failed or was not run: only a "status" that says why.
    """
    if python is None:
        return {"status": f"not run: no {option}"}
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "SLIDE_BENCH_PARAMS": json.dumps(params or {}),
        "SLIDE_BENCH_SETTINGS": json.dumps(settings or {}),
        **import_path(*([os.environ.get("PYTHONPATH")] if python == sys.executable else [])),
        **(variables or {}),
    }
    with tempfile.TemporaryDirectory() as out:
        out = Path(out)
        folder = BENCH / ("common" if script == "slide" else "peers")
        command = [python, folder / f"child_{script}.py", data, out, str(threads)]
        try:
            child = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
        except OSError as error:
            return {"status": f"failed: {error}"}
        if child.returncode != 0:
            return {"status": failure(child)}
        report = json.loads((out / "report.json").read_text())
        return {"status": "ok", "top": np.load(out / "top.npy"), **report}


def import_path(*folders):
    """The environment variable that lets a child import from `folders` and from bench/."""
    return {"PYTHONPATH": os.pathsep.join([*filter(None, map(str, folders)), str(BENCH)])}


def failure(child):
    """Why a child ended without a report, in one line."""
    lines = child.stderr.strip().splitlines() or [f"exit status {child.returncode}"]
    if lines[-1].startswith("ModuleNotFoundError"):
        return f"not installed: {lines[-1].removeprefix('ModuleNotFoundError: ')}"
    print(child.stderr, file=sys.stderr)
    return f"failed: {lines[-1]}"


# ---------------------------------------------------------------- results --


def summary(runs, measures, each):
    """Medians of `measures` over the runs that succeeded, and `each` of every such run.

    A measure that the system does not have is left out.
    """
    good = [run for run in runs if run["status"] == "ok"]
    bad = [run["status"] for run in runs if run["status"] != "ok"]
    if not good:
        return {"status": bad[0]}
    medians = {
        name: statistics.median(run[name] for run in good) for name in measures if name in good[0]
    }
    shared = {name: good[-1][name] for name in ("settings", "versions")}
    rows = [{name: run[name] for name in each if name in run} for run in good]
    return {"status": bad[0] if bad else "ok", **medians, **shared, "runs": rows}


def origin(threads):
    """The origin of a result: its date, machine, number of threads and code."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "instruction_set": dispatch.instruction_set(),
        "threads": threads,
        "platform": platform.platform(),
        "commit": commit(),
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
    git = ["git", "-C", BENCH, "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def write(result, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwritten to {path}")


def any_failed(systems):
    """Whether a system failed; a system that is not installed does not count as failed."""
    return any(system["status"].startswith("failed") for system in systems)
