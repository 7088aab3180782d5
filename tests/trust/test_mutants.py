"""Mutants of model and checkpoint files: a right result or a ValueError, and bounded memory.

Every mutant has right lengths, offsets and checksums, so that only the checks of its content can
find what is wrong. The numbers of mutants that get past the checksums are printed.
"""

import faulthandler
import random
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from helpers.hostile import memory_limit
from helpers.mutants import mutant, parts_of
from helpers.small_files import CHECKPOINTS, MODELS, checkpoint_file, make, model_file, rows_of
from safetensors import SafetensorError

from slide import SparseMLPClassifier
from slide.callback import Checkpoint

TIMES, ALWAYS = 4, 64 << 20  # bytes that a file may take, as SECURITY.md says
TOGETHER, HANG = 50, 120  # no 50 mutants take so many seconds, even on a busy processor
ALLOWED = (ValueError, FloatingPointError)
SANITIZED = 1 << 40  # bytes of address space that only a sanitizer takes


def efforts(quick, slow):
    return pytest.mark.parametrize(
        "n_mutants",
        [pytest.param(quick, id="quick"), pytest.param(slow, id="slow", marks=pytest.mark.slow)],
    )


# The slow ones are 107,300.
@efforts(60, 4400)
@pytest.mark.parametrize("kind", MODELS)
def test_models(kind, n_mutants, tmp_path):
    run(model_file(kind), try_model, kind, n_mutants, tmp_path)


@efforts(60, 1500)
@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_checkpoints(kind, n_mutants, tmp_path):
    run(checkpoint_file(kind), try_checkpoint, kind, n_mutants, tmp_path)


def run(content, attempt, kind, n_mutants, folder):
    """Try mutants of a file; each must get its verdict within the limits of time and memory."""
    rows, parts, path = rows_of(kind), parts_of(content), folder / "mutant"
    path.write_bytes(content)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        assert attempt(path, kind, rows, random.Random(0)) == "taken"
        before, largest, seen = peak(), 0, {"taken": 0, "refused": 0, "no file": 0}
        for i in range(n_mutants):
            draw = random.Random(f"{kind} {n_mutants} {i}")
            content = mutant(*parts, draw)
            path.write_bytes(content)
            largest = max(largest, len(content))
            if i % TOGETHER == 0:
                faulthandler.dump_traceback_later(HANG, exit=True)
            try:
                with limit(TIMES * len(content) + ALWAYS):
                    seen[attempt(path, kind, rows, draw)] += 1
            except BaseException:
                print(f"{kind}: mutant {i} is in {path}")
                faulthandler.cancel_dump_traceback_later()
                raise
        faulthandler.cancel_dump_traceback_later()
    print(f"{kind}: {seen}, memory grew by {(peak() - before) / 1e6:.1f} MB")
    assert peak() - before < TIMES * largest + ALWAYS
    assert seen["taken"] + seen["refused"] > 0.9 * n_mutants
    assert min(seen["taken"], seen["refused"]) > 0.02 * n_mutants


def limit(n_bytes):
    return nullcontext() if address_space() > SANITIZED else memory_limit(n_bytes)


def address_space():
    try:
        return 4096 * int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 0


def peak():
    """The most memory that this process has ever used, in bytes; 0 if the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def verdict_of(error):
    """Whether the content was refused, or the bytes were no file with right checksums."""
    while error is not None:
        if isinstance(error, SafetensorError) or "checksum is" in str(error):
            return "no file"
        error = error.__cause__
    return "refused"


def try_model(path, kind, rows, draw):
    try:
        model = SparseMLPClassifier.load(path)
    except ValueError as error:
        assert str(path) in str(error), error
        assert len(str(error)) < 2000
        return verdict_of(error)
    use(model, rows, path.with_name("again"), draw)
    return "taken"


def use(model, rows, path, draw):
    """Predict, train and save: any result is fine, and an error in words too."""
    x, y = rows
    calls = [
        lambda: model.predict_topk(x, 1),
        lambda: model.predict_proba(x),
        lambda: model.set_params(predict_mode="lsh").predict(x),
        lambda: model.hash_params_ and model.compute_fraction_,
        lambda: model.partial_fit(x, y),
        lambda: model.predict_topk(x, 1),
    ]
    if draw.random() < 0.1:
        calls.append(lambda: SparseMLPClassifier.load(model.save(path) or path))
    for call in calls:
        try:
            call()
        except ALLOWED:
            pass


def try_checkpoint(path, kind, rows, draw):
    if draw.random() < 0.1:
        try_model(path, kind, rows, draw)
    before = path.read_bytes()
    clf = make(CHECKPOINTS[kind][0]).set_callbacks(Checkpoint(path))
    try:
        clf.fit(*rows)
    except FloatingPointError:
        return "taken"
    except ValueError as error:
        if path.read_bytes() != before:
            return "taken"  # it went on training for an epoch at least
        assert "Checkpoint" in str(error) or str(path) in str(error), error
        return verdict_of(error)
    clf.predict_topk(rows[0], 1)
    return "taken"
