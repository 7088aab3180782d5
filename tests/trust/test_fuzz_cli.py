"""The command line under hostile arguments and files: an exit code and a line, no traceback."""

import gzip
import io
import sys
import tempfile
from contextlib import chdir, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path

import numpy as np
from helpers.hostile import fuzz
from helpers.hostile_files import (
    MANY_LABELS,
    SVMLIGHT,
    XMC,
    damaged_bytes,
    maybe_compressed,
    wrong_models,
)
from hypothesis import strategies as st

from slide import SparseMLPClassifier
from slide._cli.commands import main

FILES = {"xmc": XMC, "svm": SVMLIGHT, "many": MANY_LABELS, "zip": gzip.compress(XMC), "empty": b""}
PATHS = [*FILES, "single", "several", "nothing", "no/folder", ".", "", "-", "new", "new.gz",
         "\udcff", "a\0b", "x" * 300, "--"]  # fmt: skip
NUMBERS = ["0", "1", "2", "3", "-1", "7", "2147483648", "9" * 30, "9" * 5000, "1.5", "nan", "inf",
           "1e-400", "1e400", "", "x", "0x1", "\u0663", "1_0", "-0", "0.5", "\ud800"]  # fmt: skip
OPTIONS = {
    "train": ["--hidden", "--loss", "--active-fraction", "--retrieval", "--features", "--labels",
              "--learning-rate", "--seed", "--weight-dtype", "--early-stopping",
              "--validation-fraction", "--validation", "--format", "--threads"],
    "predict": ["--k", "--output", "--mode", "--format", "--threads"],
    "evaluate": ["--k", "--train", "--json", "--mode", "--format", "--threads"],
}  # fmt: skip
WORDS = ["auto", "softmax", "sigmoid", "rerank", "lists", "none", "bfloat16", "lsh", "exact", "xmc",
         "svmlight", "--help", "--unknown", "train"]  # fmt: skip


@cache
def model_file(name):
    """The bytes of a model with one label per row, or with several."""
    x = np.eye(9, dtype=np.float32)
    y = [7, 9, -3, 7, 9, 7, 9, 9, 7]
    if name == "several":
        y = np.eye(5, dtype=int)[[0, 1, 2, 3, 4, 0, 1, 2, 3]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        SparseMLPClassifier((4,), max_iter=2, random_state=0).fit(x, y).save(path)
        return path.read_bytes()


def run(arguments, files):
    """Run a command in a folder with these files; returns exit code, stdout and stderr."""
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", "strict", newline="", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        for name, content in files.items():
            Path(name).write_bytes(content)
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = main(arguments)
            except SystemExit as end:
                code = end.code
                assert code in (0, 2)
            sys.stdout.flush()
        left = [path.name for path in Path(folder).iterdir() if path.name.startswith(".")]
        assert not left, left
    return code, *(stream.buffer.getvalue().decode() for stream in (out, err))


def assert_told(code, out, err, command):
    """Check that the exit code is 0 without errors, 1 with one line, or argparse's 2."""
    assert code in (0, 1, 2)
    assert "Traceback" not in out + err
    if code == 0:
        assert err == ""
    if code == 1:
        assert err.startswith(f"slide {command}: error: ") and err.count("\n") == 1
        assert len(err) < 2000


@st.composite
def command_lines(draw):
    command = draw(st.sampled_from(sorted(OPTIONS)))
    paths = st.sampled_from([*FILES, "single", "several", "new"]) | st.sampled_from(PATHS)
    words = [command, draw(paths), draw(paths)]
    if command == "train":
        words += ["--epochs", draw(st.sampled_from(["1", "1", "1", "2", "0", "-1", "x", "9" * 30]))]
        words += ["--hidden", "2"]
    for name in draw(st.lists(st.sampled_from(OPTIONS[command]), max_size=4)):
        words.append(name)
        some = st.sampled_from(NUMBERS) | st.sampled_from(WORDS) | paths
        words += draw(st.lists(some, max_size=2))
    return words


@fuzz(30, 1500, words=command_lines())
def test_arguments(words):
    files = {**FILES, "single": model_file("single"), "several": model_file("several")}
    assert_told(*run(words, files), words[0])


@fuzz(
    30, 1500,
    command=st.sampled_from(
        ["train {} new --epochs 1 --hidden 2",
         "train xmc new --epochs 1 --hidden 2 --validation {}",
         "predict several {} --k 2", "predict single {}", "evaluate several {} --train xmc",
         "evaluate single {} --train {}", "evaluate single svm --train {}"]
    ),
    content=maybe_compressed(damaged_bytes(st.sampled_from([XMC, SVMLIGHT, MANY_LABELS]))),
)  # fmt: skip
def test_contents(command, content):
    files = {"xmc": XMC, "svm": SVMLIGHT, "damaged": content}
    files.update(single=model_file("single"), several=model_file("several"))
    words = command.format("damaged", "damaged").split()
    assert_told(*run(words, files), words[0])


@fuzz(
    20, 500,
    command=st.sampled_from(
        ["predict damaged xmc", "evaluate damaged svm", "evaluate damaged xmc"]
    ),
    content=wrong_models(st.sampled_from(["single", "several"]).map(model_file)),
)  # fmt: skip
def test_models(command, content):
    with np.errstate(all="ignore"):
        code, out, err = run(command.split(), {"xmc": XMC, "svm": SVMLIGHT, "damaged": content})
    assert_told(code, out, err, command.split()[0])
