"""The commands of ``python -m slide``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from slide import SparseMLPClassifier, __version__
from slide._base.arrays import Array, Floats, Matrix
from slide._base.files import check_replaceable
from slide._base.n_jobs import resolve_n_jobs
from slide._base.values import MAX_INT, shown
from slide._cli.evaluation import evaluate_ranked, table_of
from slide._cli.files import (
    check_files,
    check_output,
    check_stdout,
    drop_unwritten,
    flush_stdout,
    is_open_file,
    model_file,
    output,
    patient_stdout,
)
from slide._cli.reading import FORMATS, read_rows
from slide._data.text_rows import ROW
from slide._engine.losses import LOSSES
from slide._hashing.retrieval import LOOKUPS
from slide._settings.rules import check_k, check_params

if TYPE_CHECKING:
    from slide._cli.reading import LabelledRows

_BLOCK = 4096  # rows per call of predict_topk
_KS = (1, 3, 5)
_INTERRUPTED = 130  # 128 and the signal's number, as shells report it
_BROKEN_PIPE = 141

_FILES = """\
files:
  DATA is text, plain or compressed (gzip, bzip2, xz, zstd), in one of two formats:
    xmc       first line "n_rows n_features n_labels", then one row per line,
              "label,label feature:value ..."
    svmlight  one row per line, "label feature:value ..." or "label,label feature:value ...";
              feature j is column j
  "auto" reads a file whose first line is three words without a colon as xmc, other files as
  svmlight. Every file that is read may be a pipe, and one of them - for stdin. A file that is read
  is never written.
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command and return the exit code.

    0: success. 1: wrong files or values; a line on stderr explains. 130: interrupted. 141: the
    reader of the output has closed it. For wrong options argparse itself exits with 2.

    Parameters
    ----------
    argv : list of str or None
        Arguments; None means the arguments of the process.
    """
    command = ""
    try:
        try:
            args = _parser().parse_args(argv)
        finally:
            flush_stdout()  # of --help
        command = f" {args.command}"
        args.run(args)
        flush_stdout()
        return 0
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except BrokenPipeError:
        code = _BROKEN_PIPE
    except (OSError, ValueError, ArithmeticError, MemoryError) as error:
        code = 1
        line = " ".join(str(error).split()) or type(error).__name__
        if sys.stderr is not None:  # else `print` would take stdout
            print(f"slide{command}: error: {line}", file=sys.stderr)
    drop_unwritten()
    return code


# --------------------------------------------------------------- commands --


def train(args: argparse.Namespace) -> None:
    """Fit an estimator to a file and save it."""
    shares = args.active_fraction
    model = SparseMLPClassifier(
        hidden_layer_sizes="auto" if args.hidden is None else tuple(args.hidden),
        loss=args.loss,
        active_fraction=shares[0] if len(shares) == 1 else shares,
        retrieval=args.retrieval,
        learning_rate_init=args.learning_rate,
        max_iter="auto" if args.epochs is None else args.epochs,
        weight_dtype=args.weight_dtype,
        early_stopping=args.early_stopping,
        validation_fraction=args.validation_fraction,
        random_state=args.seed,
        n_jobs=args.threads,
        verbose=True,
    )
    # Find all mistakes that can be found before the work starts.
    check_params(model.get_params())
    resolve_n_jobs(args.threads)
    _check_size("--features", args.features)
    _check_size("--labels", args.labels)
    check_stdout()
    if is_open_file(args.model):
        raise ValueError(
            f"MODEL must be a file; got {args.model}. It appears whole, so it cannot be stdout or "
            "another open file"
        )
    check_files({"DATA": args.data, "--validation": args.validation}, {"MODEL": args.model})
    check_replaceable(args.model)
    held_out = None if args.validation is None else read_rows(args.validation, args.format)
    rows = read_rows(args.data, args.format)
    if not rows.x.nnz:
        raise ValueError(f"{rows.path} has no features: {ROW}")
    x = rows.features(rows.x.shape[1] if args.features is None else args.features)
    y = rows.target(args.labels)
    if held_out is not None:
        held_out.features(x.shape[1])
        held_out.target_for(y.ndim == 2, y.shape[-1])
    with patient_stdout():
        start = perf_counter()
        model.fit(x, y)
        seconds = perf_counter() - start
        model.set_params(verbose=False).save(args.model)
        if held_out is not None:
            figures, _ = _evaluate(model, held_out, None)
            words = ", ".join(f"{name} {figures[name]:.4f}" for name in figures if name[:2] == "P@")
            print(f"{_printable(held_out.path)}: {words}")
        rate = model.t_ / seconds
        print(f"{seconds:.1f} s, {rate:.0f} samples/s, model in {_printable(args.model)}")


def predict(args: argparse.Namespace) -> None:
    """Write the best labels of every row and their scores."""
    check_files({"MODEL": args.model, "DATA": args.data}, {"--output": args.output})
    check_output(args.output)
    model = _load(args)
    k = _known_k(args.k, model)
    rows = read_rows(args.data, args.format)
    with output(args.output) as write:
        for labels, scores in _ranked(model, rows.features(model.n_features_in_), k):
            ranked = zip(labels.tolist(), scores.tolist(), strict=True)
            write("".join(map(_line, ranked)))


def evaluate(args: argparse.Namespace) -> None:
    """Print how good the best labels of every row are."""
    check_stdout()
    check_files({"MODEL": args.model, "DATA": args.data, "--train": args.train}, {})
    model = _load(args)
    for k in args.k or ():
        check_k(k, model.n_outputs_)
    trained_on = None if args.train is None else read_rows(args.train, args.format)
    rows = read_rows(args.data, args.format)
    figures, seconds = _evaluate(model, rows, args.k, trained_on)
    n_rows = len(rows.counts)
    with output("-") as write:
        if args.json:
            write(json.dumps({**figures, "n_rows": n_rows, "seconds": round(seconds, 3)}) + "\n")
        else:
            write(f"{table_of(figures)}\n{n_rows} rows, {seconds:.1f} s\n")


def _check_size(name: str, n: int | None) -> None:
    if n is not None and not 1 <= n <= MAX_INT:
        raise ValueError(f"{name} must be between 1 and {MAX_INT}; got {shown(n)}")


def _printable(path: str) -> str:
    """Convert a path for stdout: the name of a file may hold bytes that are not text."""
    encoding = sys.stdout.encoding or "utf-8"
    return path.encode(encoding, "backslashreplace").decode(encoding)


def _load(args: argparse.Namespace) -> SparseMLPClassifier:
    given = {"n_jobs": args.threads, "predict_mode": args.mode}
    given = {name: value for name, value in given.items() if value is not None}
    with model_file(args.model) as path:
        model = SparseMLPClassifier.load(path)
    model.set_params(**given)
    return model


def _known_k(k: int | None, model: SparseMLPClassifier) -> int:
    """Return `k` if it is given, else 5, or the number of classes if that is smaller."""
    if k is None:
        return min(5, model.n_outputs_)
    check_k(k, model.n_outputs_)
    return k


def _evaluate(
    model: SparseMLPClassifier,
    rows: LabelledRows,
    ks: list[int] | None,
    trained_on: LabelledRows | None = None,
) -> tuple[dict[str, float], float]:
    """Compute figures by name and the seconds of prediction; ks=None means the default ks."""
    x = rows.features(model.n_features_in_)
    shape = model._result().coder.multilabel, model.n_outputs_
    y = rows.target_for(*shape)
    y_train = None if trained_on is None else trained_on.target_for(*shape)
    ks = ks or [k for k in _KS if k <= model.n_outputs_]
    start = perf_counter()
    ranked = np.concatenate([labels for labels, _ in _ranked(model, x, max(ks))])
    seconds = perf_counter() - start
    return evaluate_ranked(y, ranked, ks, y_train), seconds


def _ranked(model: SparseMLPClassifier, x: Matrix, k: int) -> Iterator[tuple[Array, Floats]]:
    """Call `predict_topk` for a block of rows at a time, which limits the memory."""
    for start in range(0, x.shape[0], _BLOCK):
        yield model.predict_topk(x[start : start + _BLOCK], k)


def _line(ranked: Any) -> str:
    pairs = zip(*ranked, strict=True)
    return " ".join(f"{label}:{score:.6g}" for label, score in pairs) + "\n"


# -------------------------------------------------------------- arguments --


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m slide",
        description="Train a wide sparse network on a file, predict labels with it or evaluate it.",
    )
    parser.add_argument("--version", action="version", version=f"slide {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_predict(commands)
    _add_evaluate(commands)
    return parser


def _add(
    commands: Any, run: Callable[[argparse.Namespace], None], does: str, example: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        run.__name__,
        help=does,
        description=f"{does[0].upper()}{does[1:]}.",
        epilog=f"{_FILES}\nexample:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=FORMATS, default="auto", help="format of the data (default: auto)"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="number of threads; -1 uses all processors"
    )


def _add_mode(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mode", choices=("exact", "lsh"),
        help="exact scores every label; lsh scores only the labels that hash codes rank highest, "
        "and misses some of the best (default: the model's own mode, which is exact unless set)",
    )  # fmt: skip


def _add_train(commands: Any) -> None:
    parser = _add(
        commands,
        train,
        "train a model on DATA and write it to MODEL",
        "python -m slide train train.txt.gz model.safetensors --threads -1 --seed 0",
    )
    parser.add_argument("data", metavar="DATA", help="file of rows and their labels")
    parser.add_argument("model", metavar="MODEL", help="file to write, in safetensors format")
    parser.add_argument(
        "--hidden", type=int, nargs="+", metavar="WIDTH",
        help="widths of the hidden layers (default: one layer of 256 to 1024)",
    )  # fmt: skip
    parser.add_argument(
        "--loss", choices=("auto", *LOSSES), default="auto",
        help="one cross-entropy over all labels, or one per label (default: chosen from the data)",
    )  # fmt: skip
    parser.add_argument(
        "--active-fraction", type=float, nargs="+", default=["auto"], metavar="SHARE",
        help="share of a layer's neurons that are computed for a sample: one number for all "
        "layers, or one number per layer with the output last (default: chosen from the data)",
    )  # fmt: skip
    parser.add_argument(
        "--retrieval", default="auto", metavar="POLICY",
        help=f"how the neurons of sparse layers are found: auto, {', '.join(LOOKUPS)}, exact, "
        "lists or none (default: auto)",
    )  # fmt: skip
    parser.add_argument(
        "--features", type=int, metavar="N",
        help="number of features, if later files have more than DATA (default: those of DATA)",
    )  # fmt: skip
    parser.add_argument(
        "--labels", type=int, metavar="N",
        help="number of labels, if rows have several and most labels do not occur in DATA "
        "(default: those of DATA)",
    )  # fmt: skip
    parser.add_argument(
        "--epochs", type=int, metavar="N",
        help="maximum number of epochs (default: chosen from the data)",
    )  # fmt: skip
    parser.add_argument(
        "--learning-rate", type=float, default=0.001, metavar="RATE",
        help="step size at the start (default: 0.001)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, metavar="SEED",
        help="seed of all random numbers; one thread and the same seed give the same model",
    )  # fmt: skip
    parser.add_argument(
        "--weight-dtype", choices=("float32", "bfloat16"), default="float32",
        help="type of the stored weights; bfloat16 takes half the memory (default: float32)",
    )  # fmt: skip
    parser.add_argument(
        "--early-stopping", action="store_true",
        help="hold rows of DATA out, stop when their score stops improving, keep the best epoch",
    )  # fmt: skip
    parser.add_argument(
        "--validation-fraction", type=float, default=0.1, metavar="SHARE",
        help="share of the rows that --early-stopping holds out (default: 0.1)",
    )  # fmt: skip
    parser.add_argument(
        "--validation", metavar="FILE", help="rows to evaluate the trained model on"
    )
    _add_shared(parser)


def _add_predict(commands: Any) -> None:
    parser = _add(
        commands,
        predict,
        "write the best labels of every row of DATA, best first, as 'label:score label:score ...'",
        "python -m slide predict model.safetensors test.txt.gz --k 3 --output ranked.txt.gz",
    )
    parser.add_argument("model", metavar="MODEL", help="file that train or save wrote")
    parser.add_argument("data", metavar="DATA", help="file of rows; their labels are not used")
    parser.add_argument(
        "--k", type=int, metavar="K", help="labels per row (default: 5, or all if there are fewer)"
    )
    parser.add_argument(
        "--output", default="-", metavar="FILE",
        help="file, pipe or device to write, compressed when its name ends in .gz (default: -, "
        "stdout)",
    )  # fmt: skip
    _add_mode(parser)
    _add_shared(parser)


def _add_evaluate(commands: Any) -> None:
    parser = _add(
        commands,
        evaluate,
        "print precision, recall, nDCG and (with --train) PSP of the k best labels of a row",
        "python -m slide evaluate model.safetensors test.txt.gz --k 1 5 --train train.txt.gz",
    )
    parser.add_argument("model", metavar="MODEL", help="file that train or save wrote")
    parser.add_argument("data", metavar="DATA", help="file of rows and their labels")
    parser.add_argument(
        "--k", type=int, nargs="+", metavar="K",
        help="numbers of labels to evaluate (default: 1 3 5, up to the number of labels)",
    )  # fmt: skip
    parser.add_argument(
        "--train", metavar="FILE",
        help="the rows that MODEL was trained on; their label frequencies give the propensities of "
        "PSP, the propensity scored precision",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    _add_mode(parser)
    _add_shared(parser)
