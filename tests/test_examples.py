"""Tests that examples run as users run them, without a warning, and that each one draws."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import slide

FOLDER = Path(__file__).parents[1] / "examples"
DRAW = """
import runpy, sys
import matplotlib.pyplot as plt
plt.show = lambda: [plt.figure(number).canvas.draw() for number in plt.get_fignums()]
runpy.run_path(sys.argv[1], run_name="__main__")
sys.exit(0 if plt.get_fignums() else "no figure")
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.exists(), reason="the examples are not beside the tests"),
]


def run(tmp_path, *arguments):
    """Run an example in a fresh interpreter and an empty folder; returns its output."""
    path = os.pathsep.join([str(Path(slide.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-W", "error", *map(str, arguments)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8", "MPLBACKEND": "Agg"},
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not list(tmp_path.iterdir())
    return done.stdout


def test_there_are_examples():
    assert len(list(FOLDER.glob("plot_*.py"))) >= 8


@pytest.mark.parametrize("path", sorted(FOLDER.glob("plot_*.py")), ids=lambda path: path.stem)
def test_prints_and_draws(path, tmp_path):
    pytest.importorskip("matplotlib")
    assert run(tmp_path, "-c", DRAW, path)


def test_quickstart(tmp_path):
    output = run(tmp_path, FOLDER / "quickstart.py")
    assert output.count("held-out rows: P@1") == 2
