"""Files that appear whole or not at all, and files that may be compressed."""

import gzip
import io
import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn

from slide._base.guard import TemporaryFolder, in_steps, sync_folder

DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error)  # errors from reading a broken gzip file
_GZIP_MAGIC = b"\x1f\x8b"
# A line may have 1 MiB plus 20 times the size of its file.
_LINE = 1 << 20
_MOST_COMPRESSED = 20


def as_path(path: Any) -> str:
    """A path of any type as a plain str; TypeError for anything else."""
    return str.__str__(os.fsdecode(path))


@in_steps
def replacing(path: str) -> Iterator[str]:
    """Context manager: a new, empty file that replaces `path` if the block succeeds.

    If the block fails, `path` stays as it was and nothing else is left behind. A killed process
    leaves a folder `.NAME.HEX.tmp` with the new file, which can be deleted. The new file is written
    through to the disk before it replaces `path`.

    Parameters
    ----------
    path : str
        A file, or a name in a folder that exists. A link is followed.

    Yields
    ------
    temporary : str
        Path to write to, in the same folder.

    Raises
    ------
    OSError
        When the folder does not exist, is not writable, or the device is full.
    ValueError
        When `path` is a folder, a device or a pipe.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from slide._base.files import replacing
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "notes.txt"
    ...     with replacing(path) as temporary:
    ...         _ = Path(temporary).write_text("whole")
    ...     path.read_text()
    'whole'
    """
    check_replaceable(path)
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    # The folder's name contains the file's name, or the first part of a long one.
    own = os.path.join(folder, f".{name[:50]}.{secrets.token_hex(8)}.tmp")
    temporary = os.path.join(own, "new")
    kept = TemporaryFolder(own, 0o777)  # a folder: a killed writer may leave several files
    try:
        # Not by tempfile, whose files have other permissions than a usual new file.
        with open(temporary, "xb"):
            pass
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = path  # the error of a full device names no file
        raise
    finally:
        kept.remove()
    sync_folder(folder)


def check_replaceable(path: str) -> None:
    """Raise the errors of `replacing` now, before hours of work."""
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {folder}")
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"{path} cannot be written: it is not a plain file")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{path} cannot be written: no right to write into {folder}")


class Lines:
    """The lines of an `opened` file, for parsers that iterate over files.

    Text compresses to about a tenth. A small file with an endless line is an attempt to fill the
    memory; a line that is too long for the size of its file raises a ValueError.

    Parameters
    ----------
    stream : binary file
    size : int
        Bytes of the file on the disk, compressed or not.

    Attributes
    ----------
    n_lines : int
        Lines read so far.
    """

    def __init__(self, stream: io.BufferedIOBase, size: int) -> None:
        self.stream = stream
        self.n_lines = 0
        self.limit = _LINE + _MOST_COMPRESSED * size

    def read(self) -> NoReturn:
        """Never called: `load_svmlight_file` only asks whether a file has it, and then iterates."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[bytes]:
        for line in iter(partial(self.stream.readline, self.limit), b""):
            self.n_lines += 1
            if len(line) == self.limit:
                raise ValueError(
                    f"a line has {self.limit} bytes or more, too many for so small a file"
                )
            yield line


@contextmanager
def opened(path: str) -> Iterator[io.BufferedIOBase]:
    """Open a binary file to read; decompress it if its content (not its name) is gzip."""
    with open(path, "rb") as raw:
        is_gzip = raw.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
        yield gzip.GzipFile(fileobj=raw) if is_gzip else raw
