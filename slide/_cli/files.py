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
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from itertools import combinations, product
from typing import TextIO

from slide._base.files import check_replaceable, replacing
from slide._base.handlers import raise_from_handler
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
    read = [_Use(name, path, _status(path)) for name, path in inputs.items() if path is not None]
    written = [_Use(name, path, _status_of_output(path)) for name, path in outputs.items()]
    stdout = _Use("stdout", "-", _status_of_output("-"))
    for one in written:
        if not is_open_file(one.path) and one.is_file_of(stdout):
            raise ValueError(f"{one} and stdout are one file; write to another")
    for one, other in product(read, [*written, stdout]):
        if one.is_file_of(other) or one.is_pipe_of(other):
            raise ValueError(
                f"{one} and {other} are one file; write to another, or what is read would be lost"
            )
    for one, other in combinations(read, 2):
        if one.is_pipe_of(other) or one.path == other.path == "-":
            raise ValueError(f"{one} and {other} are one pipe, which can be read only once")


@dataclass(frozen=True)
class _Use:
    """The file of an argument, and what the system says of it, or None if there is no file."""

    name: str
    path: str
    status: os.stat_result | None

    def __str__(self) -> str:
        return self.name if self.path == "-" else f"{self.name} ({self.path})"

    def is_file_of(self, other: _Use) -> bool:
        return self._is_of(other, stat.S_ISREG)

    def is_pipe_of(self, other: _Use) -> bool:
        return self._is_of(other, stat.S_ISFIFO)

    def _is_of(self, other: _Use, is_kind: Callable[[int], bool]) -> bool:
        if self.status is None or other.status is None:
            return False
        return os.path.samestat(self.status, other.status) and is_kind(self.status.st_mode)


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


def is_open_file(path: str) -> bool:
    """Whether a path stands for an open file of the process, such as "-" for stdout."""
    return _descriptor(path) is not None


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
        with ExitStack() as stack:
            source = stdin() if path == "-" else stack.enter_context(open(path, "rb"))
            shutil.copyfileobj(source, stack.enter_context(open(copied, "wb")))
        try:
            yield copied
        except ValueError as error:
            raise_from_handler(error)
            raise ValueError(str(error).replace(copied, name)) from error


@contextmanager
def output(path: str) -> Iterator[Callable[[str], object]]:
    """Yield a function that writes text: to a file that appears whole, a pipe, or a device.

    "-" is stdout. Text for a name that ends in .gz is compressed.
    """
    number = _descriptor(path)
    with naming("stdout" if path == "-" else path):
        if number == _STDOUT:
            yield sys.stdout.write
            sys.stdout.flush()
        elif number is not None:
            with os.fdopen(os.dup(number), "w", encoding="utf-8") as file:
                yield file.write
        elif _is_stream(path):
            with _opened(path, path) as file:
                yield file.write
        else:
            with replacing(path) as temporary, _opened(temporary, path) as file:
                yield file.write


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Name a file in an error of the system that names none, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = path
        raise


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
        with naming("stdout"):
            raise patient.error


class _Patient(io.TextIOBase):
    """Text that goes to a stream until the first error, which is kept."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

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


def flush_stdout() -> None:
    """Write what stdout still holds."""
    if sys.stdout is not None:
        with naming("stdout"):
            sys.stdout.flush()


def drop_unwritten() -> None:
    """Leave nothing in stdout that cannot be written: Python tries once more on its way out."""
    try:
        flush_stdout()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
