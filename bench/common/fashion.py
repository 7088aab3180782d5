"""Runs on Fashion-MNIST: what `headline`, `widths` and `hash_ablation` share."""

import argparse
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import slide
from common import table
from common.data import load_fashion_mnist
from common.run import RESULTS, positive, run_child, save, summary

# Medians over the seeds; a measure that a system does not report is left out.
MEASURES = (
    "accuracy",
    "s_per_epoch",
    "compute_fraction",
    "multiply_adds",
    "dense_multiply_adds",
    "us_per_sample",
    "fit_us_per_sample",
    "predict_s",
    "peak_mb",
)


@dataclass(frozen=True)
class System:
    """One row of a table: a child script, its parameters and its settings."""

    name: str
    script: str = "slide"
    params: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)  # internal settings of slide
    peer: bool = False  # lives in the peers' environment


def parser(doc, result, epochs=5, seeds=3):
    """An argument parser with the options that all three benchmarks have."""
    out = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    out.add_argument("--data", type=Path, help="folder of the idx files (see bench/README.md)")
    out.add_argument("--threads", type=positive, default=2)
    out.add_argument("--epochs", type=positive, default=epochs)
    out.add_argument("--seeds", type=positive, default=seeds, help="runs of every system")
    out.add_argument("--rows", type=positive, help="of the training set, for a trial")
    out.add_argument("--out", type=Path, default=RESULTS / result, help="JSON file")
    return out


@contextmanager
def prepared(args):
    """Yield a function `fit(system, seed)` over the data of the command line.

    `args.rows` becomes the number of training rows.
    """
    X_train, y_train, X_test, y_test = load_fashion_mnist(args.data)
    X_train, y_train = X_train[: args.rows], y_train[: args.rows]
    args.rows = len(y_train)
    with TemporaryDirectory() as folder:
        folder = Path(folder)
        save(folder, X_train=X_train, Y_train=y_train, X_test=X_test)
        del X_train, X_test

        def fit(system, seed):
            print(f"running {system.name}, seed {seed} ...", file=sys.stderr, flush=True)
            params = {
                **system.params,
                "random_state": seed,
                # Exactly this number of epochs.
                "max_iter": args.epochs,
                "n_iter_no_change": args.epochs,
                "tol": 0.0,
            }
            python = args.peers_python if system.peer else sys.executable
            report = run_child(system.script, python, folder, args.threads, params, system.settings)
            return measured(report, seed, y_test, args)

        yield fit


def measured(report, seed, y_test, args):
    """A child's report -> a run: its accuracy, costs and settings."""
    if report["status"] != "ok":
        return report
    settings, epochs = report["settings"], args.epochs
    if settings["n_iter_"] != epochs:
        return {"status": f"failed: {settings['n_iter_']} epochs instead of {epochs}"}
    run = {
        **{name: report[name] for name in ("status", "train_s", "predict_s", "peak_mb")},
        "seed": seed,
        "accuracy": float(np.mean(report["top"][:, 0] == y_test)),
        "s_per_epoch": report["train_s"] / epochs,
        "fit_us_per_sample": 1e6 * report["train_s"] / (epochs * args.rows),
        "settings": settings,
        "versions": report["versions"],
    }
    if "tally" in settings:
        tally = settings["tally"]
        n_samples = tally["n_samples"]
        run["compute_fraction"] = settings["compute_fraction_"]
        run["multiply_adds"] = tally["multiply_adds"] / n_samples
        run["dense_multiply_adds"] = tally["dense_multiply_adds"] / n_samples
        run["us_per_sample"] = 1e6 * settings["epochs_s"] / n_samples
    return run


def summarize(runs):
    return summary(runs, MEASURES, ("seed", *MEASURES))


def describe(args):
    return {
        "dataset": "fashion-mnist",
        "slide": slide.__version__,
        "rows": args.rows,
        "epochs": args.epochs,
        "seeds": args.seeds,
    }


def title(result):
    return (
        f"Fashion-MNIST, {result['rows']} training rows, {result['epochs']} epochs, "
        f"{result['threads']} threads, median of {result['seeds']}; {result['processor']}"
    )


def titles(columns, width=10):
    """The header of the lines that `cells` makes."""
    return f"{table.titles(columns, width)}  accuracy of each seed"


def cells(row, columns, width=10):
    """A line of a table: the row's measures, then the accuracy of every seed."""
    each = " ".join(f"{run['accuracy']:.4f}" for run in row.get("runs", []))
    return f"{table.cells(row, columns, width)}  {each}{table.note(row)}"
