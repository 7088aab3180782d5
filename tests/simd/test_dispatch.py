"""Tests of the choice of an instruction set."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from slide._simd import dispatch

NAMES = dispatch.available()


def import_simd(forced):
    """Import slide._simd.dispatch in a fresh process under SLIDE_SIMD=forced (None: unset)."""
    environment = {k: v for k, v in os.environ.items() if k != "SLIDE_SIMD"}
    if forced is not None:
        environment["SLIDE_SIMD"] = forced
    root = Path(dispatch.__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", "import slide._simd.dispatch as s; print(s.instruction_set())"],
        cwd=root, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_every_machine_has_scalar():
    assert NAMES[-1] == "scalar"
    assert set(NAMES) <= {"avx512", "avx2", "scalar"}
    assert dispatch.instruction_set() in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_instruction_set_can_be_forced(name):
    done = import_simd(name)
    assert (done.returncode, done.stdout.strip()) == (0, name), done.stderr


def test_without_force_the_widest_is_taken():
    assert import_simd(None).stdout.strip() == NAMES[0]


def test_a_forced_name_that_nobody_knows_fails_on_import():
    done = import_simd("nonsense")
    assert done.returncode != 0
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("ValueError") and "SLIDE_SIMD='nonsense'" in message
    assert all(name in message for name in NAMES)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"nonsense.*scalar"):
        dispatch.hadamard("nonsense", np.zeros(4, np.float32))
