"""The files of a command: what it reads is never written, and pipes will do where files do."""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from itertools import combinations
from typing import TextIO

from slide._base.files import check_replaceable, replacing
from slide._cli.reading import stdin

_STDOUT = 1
_NUMBERED = re.compile(r"/+(?:dev|proc/self)/fd/(\d{1,9})")
_NAMED = {"-": _STDOUT, "/dev/stdout": _STDOUT, "/dev/stderr": 2}


# ------------------------------------------------------------------ checks --


def check_files(inputs: Mapping[str, str | None], outputs: Mapping[str, str]) -> None:
    """Refuse to write to what is read, and to read a pipe twice; by the files, not their names.

    Parameters
    ----------
    inputs, outputs : dict of str to str
        Paths by the names of their arguments; the path None means that an argument is not given.
    """
    read = {name: (path, _status(path)) for name, path in inputs.items() if path is not None}
    written = {name: (path, _status_of_output(path)) for name, path in outputs.items()}
    written["stdout"] = ("-", _status_of_output("-"))
    for name, (path, status) in read.items():
        for other, (_, its_status) in written.items():
            if _are_one(status, its_status, stat.S_ISREG):
                raise ValueError(
                    f"{name} and {other} are one file, {path}; write to another one, or what is "
                    "read would be lost"
                )
    for (name, (path, status)), (other, (its_path, its_status)) in combinations(read.items(), 2):
        is_pipe = _are_one(status, its_status, stat.S_ISFIFO)
        if is_pipe or path == its_path == "-":
            raise ValueError(
                f"{name} and {other} are one pipe, {path}, which can be read only once"
            )


def check_stdout() -> None:
    """Refuse to work for a closed stdout."""
    if sys.stdout is None:
        raise ValueError("stdout is closed, so nothing can be printed")


def check_output(path: str) -> None:
    """Raise the errors of `output` now, before the work."""
    number = _descriptor(path)
    if number == _STDOUT:
        check_stdout()
    elif number is not None:
        try:
            os.fstat(number)
        except OSError:
            raise ValueError(f"--output {path} must be an open file descriptor") from None
    elif not _is_stream(path):
        check_replaceable(path)


def _status(path: str) -> os.stat_result | None:
    with suppress(OSError, ValueError):
        return os.fstat(stdin().fileno()) if path == "-" else os.stat(path)
    return None


def _status_of_output(path: str) -> os.stat_result | None:
    number = _descriptor(path)
    with suppress(OSError, ValueError):
        if number == _STDOUT:
            return None if sys.stdout is None else os.fstat(sys.stdout.fileno())
        return os.stat(path) if number is None else os.fstat(number)
    return None


def _are_one(
    one: os.stat_result | None, other: os.stat_result | None, is_kind: Callable[[int], bool]
) -> bool:
    """Whether both are the same file, of a kind such as `stat.S_ISREG`."""
    if one is None or other is None:
        return False
    return os.path.samestat(one, other) and is_kind(one.st_mode)


def _descriptor(path: str) -> int | None:
    """The number of the open file that a path such as /dev/fd/3 stands for, else None."""
    match = _NUMBERED.fullmatch(path)
    return int(match[1]) if match else _NAMED.get(path)


def _is_stream(path: str) -> bool:
    """Whether a path is of a pipe or a device, to which text is written as it comes."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


# --------------------------------------------------------- reading, writing --


@contextmanager
def model_file(path: str) -> Iterator[str]:
    """Yield the path of a plain file: `path` itself, or a copy of what a pipe or "-" gives."""
    status = _status(path)
    if path != "-" and not (status and stat.S_ISFIFO(status.st_mode)):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        name = "stdin" if path == "-" else path
        copied = os.path.join(folder, "model")
        source = stdin() if path == "-" else open(path, "rb")
        with open(copied, "wb") as file:
            shutil.copyfileobj(source, file)
        try:
            yield copied
        except ValueError as error:
            raise ValueError(str(error).replace(copied, name)) from error


@contextmanager
def output(path: str) -> Iterator[Callable[[str], object]]:
    """Yield a function that writes text: to a file that appears whole, a pipe, or a device.

    "-" is stdout. Text for a name that ends in .gz is compressed.
    """
    number = _descriptor(path)
    if number == _STDOUT:
        yield sys.stdout.write
    elif number is not None:
        with os.fdopen(os.dup(number), "w", encoding="utf-8") as file:
            yield file.write
    elif _is_stream(path):
        with _opened(path, path) as file:
            yield file.write
    else:
        with replacing(path) as temporary, _opened(temporary, path) as file:
            yield file.write


def _opened(path: str, name: str) -> TextIO:
    """A file to write text to, compressed if its name ends in .gz."""
    if name.endswith(".gz"):
        return io.TextIOWrapper(gzip.open(path, "wb"), encoding="utf-8")
    return open(path, "w", encoding="utf-8")


@contextmanager
def patient_stdout() -> Iterator[None]:
    """Context manager: what cannot be printed is an error only at the end of the block.

    So a full disk does not end a training whose model can still be saved.
    """
    patient = _Patient(sys.stdout)
    with redirect_stdout(patient):
        yield
    if patient.error is not None:
        raise patient.error


class _Patient(io.TextIOBase):
    """Text that goes to a stream until the first error, which is kept."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        if self.error is None:
            try:
                self._stream.write(text)
            except OSError as error:
                self.error = error
        return len(text)

    def flush(self) -> None:
        if self.error is None:
            try:
                self._stream.flush()
            except OSError as error:
                self.error = error


def drop_unwritten() -> None:
    """Leave nothing in stdout that cannot be written: Python tries once more on its way out."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
