"""The lines of a text file of any origin: a pipe, compressed, endless, or no text at all."""

from __future__ import annotations

import importlib
import io
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, BinaryIO, NoReturn

from slide._base.handlers import raise_from_handler

_HEAD = 512  # bytes that are looked at to tell what a file holds
_PIECE = 1 << 18  # compressed bytes that are read at a time
_BUFFER = 1 << 17
# A line may have 1 MiB plus 20 times what was read of its file.
_LINE = 1 << 20
_MOST_COMPRESSED = 20
_ENDLESS = 1 << 28  # the longest line of a pipe, which has no size
# gzip packs a thousand times at most, other formats a million times. So all are held to this.
_MOST_UNPACKED = 1100
_FREE = 1 << 24  # unpacked bytes that are not compared with the size
_XZ_MEMORY = 1 << 28  # files of `xz -9` need a quarter of this

# Bytes at the start, the name of the compression, the module and the class that decompress it.
_COMPRESSIONS = (
    (b"\x1f\x8b", "gzip", "zlib", ""),
    (b"BZh", "bzip2", "bz2", "BZ2Decompressor"),
    (b"\xfd7zXZ\x00", "xz", "lzma", "LZMADecompressor"),
    (b"\x28\xb5\x2f\xfd", "zstd", "compression.zstd", "ZstdDecompressor"),
)
_COMPRESSED = tuple(start for start, *_ in _COMPRESSIONS)
_OTHER_COMPRESSION = "compressed data of a format that is not read; decompress it first"
# Patterns of a file's start, and what they tell.
_NO_TEXT = (
    (rb"\xff\xfe|\xfe\xff", "UTF-16 or UTF-32 text; save it as UTF-8"),
    (rb"PK\x03\x04", "a zip archive; unpack it first"),
    (rb"7z\xbc\xaf|\x1f\x9d|\x04\x22\x4d\x18|LZIP", _OTHER_COMPRESSION),
    (rb"\x80[\x02-\x05]", "a pickle"),
    (rb"\x93NUMPY", "a NumPy array"),
    (rb"PAR1", "a Parquet file"),
    (rb"ARROW1|FEA1", "an Arrow file"),
    (rb"\x89HDF", "an HDF5 file"),
    (rb"(?s).{6}\x00\x00\{", "a safetensors file, such as a model of slide"),
)
_BOM = b"\xef\xbb\xbf"
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r"))


class Lines:
    """The lines of a text file, for parsers that iterate over files.

    Text compresses to about a tenth. A small file with an endless line is an attempt to fill the
    memory; a line that is too long for the size of its file raises a ValueError.

    Parameters
    ----------
    text : io.BufferedReader
        The file, decompressed.
    raw : _Source
        What it is read from.
    is_endless : bool
        Whether the file has no size, as a pipe.

    Attributes
    ----------
    at : int
        The line that was read last. A ValueError names it; set it to blame another line.
    """

    def __init__(self, text: io.BufferedReader, raw: _Source, is_endless: bool) -> None:
        self._text, self._raw, self._is_endless = text, raw, is_endless
        self._first: bytes | None = None
        self.at = 0

    def first(self) -> bytes:
        """The first line, which the iteration returns again; b"" if there is none."""
        if self._first is None:
            self._first = self._line()
        return self._first

    def read(self) -> NoReturn:
        """Never called: `load_svmlight_file` only asks whether a file has it, and then iterates."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[bytes]:
        if self._first is not None:
            line, self._first = self._first, None
            if line:
                self.at += 1
                yield line
        for line in iter(self._line, b""):
            self.at += 1
            yield line

    def block(self) -> bytes:
        """The next bytes, of any number of lines, which are not counted; b"" at the end."""
        return self._text.read(_LINE)

    def _line(self) -> bytes:
        line = self._text.readline(_LINE)
        return line if len(line) < _LINE else self._long_line(line)

    def _long_line(self, start: bytes) -> bytes:
        pieces, size = [start], len(start)
        while pieces[-1] and not pieces[-1].endswith(b"\n"):
            most = _LINE + _MOST_COMPRESSED * self._raw.n_read
            most = min(most, _ENDLESS) if self._is_endless else most
            if size > most:
                self.at += 1
                raise ValueError(f"a line has more than {most} bytes, too many for such a file")
            pieces.append(self._text.readline(_LINE))
            size += len(pieces[-1])
        return b"".join(pieces)


@contextmanager
def text_lines(path: str, file: BinaryIO | None = None) -> Iterator[Lines]:
    """Open a file as `Lines`; the path and the line are put before every ValueError of the block.

    The file is read once from start to end, so it can be a pipe. It is decompressed if its content,
    not its name, is of gzip, bzip2, xz or (where Python has it) zstd. A UTF-8 byte order mark is
    left out.

    Parameters
    ----------
    path : str
        The file, or only its name in messages if `file` is given.
    file : binary file or None
        An open file to read instead, which stays open.

    Raises
    ------
    OSError
        When the file cannot be read.
    ValueError
        When its first bytes are no text.
    """
    with ExitStack() as stack:
        if file is None:
            file = stack.enter_context(open(path, "rb"))
        raw = _Source(file)
        lines = None
        try:
            lines = Lines(_text_of(raw), raw, is_endless=not _is_plain(file))
            yield lines
        except (ValueError, OverflowError) as error:
            raise_from_handler(error)
            place = path if lines is None else f"{path}, line {max(1, lines.at)}"
            raise ValueError(f"{place}: {error}") from error


def _is_plain(file: BinaryIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (AttributeError, OSError):
        return False


def _text_of(raw: _Source) -> io.BufferedReader:
    """The text that a file holds, decompressed and without a byte order mark."""
    source = raw
    for start, name, *library in _COMPRESSIONS:
        if raw.head.startswith(start):
            unpacked = _Unpacked(raw, name, start, _decompressor(name, *library))
            source = _Source(io.BufferedReader(unpacked, _BUFFER))
    what = _no_text(source.head, is_unpacked=source is not raw)
    if what:
        raise ValueError(f"it must be text, plain or compressed once; it is {what}")
    source.head = source.head.removeprefix(_BOM)
    return io.BufferedReader(source, _BUFFER)


def content_of(head: bytes) -> str:
    """What a file is, by its first bytes."""
    for start, name, *_ in _COMPRESSIONS:
        if head.startswith(start):
            return f"compressed with {name}; decompress it first"
    return _no_text(head, is_unpacked=False) or ("text" if head else "empty")


def _no_text(head: bytes, is_unpacked: bool) -> str:
    """What a file that is no text holds; "" if it is text, for all that can be seen."""
    if is_unpacked and head.startswith(_COMPRESSED):
        return "compressed twice; decompress it once"
    for pattern, what in _NO_TEXT:
        if re.match(pattern, head):
            return what
    line = head.split(b"\n", 1)[0]
    is_binary = len(line) != len(line.translate(None, _CONTROLS))
    return "binary data, or text that is not UTF-8" if is_binary else ""


class _Source(io.RawIOBase):
    """A file whose first bytes can be looked at, and which counts what was read.

    A pipe gives one byte or many at a time, and never gives them again.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.n_read = 0
        self.head = self._read(_HEAD)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part, self.head = self.head[: len(buffer)], self.head[len(buffer) :]
        part = part or self._read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def _read(self, size: int) -> bytes:
        part = self._file.read(size)
        if part is None:
            raise OSError("the pipe has nothing to read yet, and does not wait (O_NONBLOCK)")
        self.n_read += len(part)
        return part


class _Unpacked(io.RawIOBase):
    """A compressed file, decompressed. Any fault of its content raises a ValueError."""

    def __init__(
        self, source: _Source, name: str, start: bytes, decompressor: Callable[[], Any]
    ) -> None:
        self._source, self._name, self._start = source, name, start
        self._make = decompressor
        self._decompressor = decompressor()
        self._rest = b""  # read, and not yet taken by the decompressor
        self._n_unpacked = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = b""
        while not part and self._goes_on():
            part = self._unpack(len(buffer))
        self._n_unpacked += len(part)
        if self._n_unpacked > _FREE + _MOST_UNPACKED * self._source.n_read:
            raise ValueError(f"it unpacks to more than {_MOST_UNPACKED} times its size")
        buffer[: len(part)] = part
        return len(part)

    def _unpack(self, size: int) -> bytes:
        """At most `size` bytes; none if the decompressor needs more input first."""
        if self._decompressor.needs_input and not self._rest:
            self._rest = self._read()
            if not self._rest:
                raise self._damaged("it ends early")
        rest, self._rest = self._rest, b""
        try:
            part: bytes = self._decompressor.decompress(rest, size)
            return part
        except MemoryError:
            raise
        except Exception as error:  # every library has its own
            raise_from_handler(error)
            raise self._damaged(str(error)) from error

    def _goes_on(self) -> bool:
        """Whether there is more to unpack; begins the next of several streams in a row."""
        if not self._decompressor.eof:
            return True
        rest = self._decompressor.unused_data
        while not (rest := rest.lstrip(b"\0")):  # padding
            if not (rest := self._read()):
                return False
        if len(rest) < len(self._start):
            rest += self._read()
        if not rest.startswith(self._start):
            raise self._damaged("other data follows the compressed data")
        self._rest, self._decompressor = rest, self._make()
        return True

    def _read(self) -> bytes:
        return self._source.read(_PIECE) or b""

    def _damaged(self, reason: str) -> ValueError:
        return ValueError(f"damaged or truncated {self._name} file: {reason}")


class _Inflater:
    """A decompressor of gzip with the interface of the other ones."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, size: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, size)


def _decompressor(name: str, module: str, kind: str) -> Callable[[], Any]:
    """A maker of decompressors, which a Python may lack."""
    if name == "gzip":
        return _Inflater
    try:
        maker: Callable[..., Any] = getattr(importlib.import_module(module), kind)
    except ImportError as error:
        raise ValueError(
            f"it is compressed with {name}, which this Python cannot read; decompress it first"
        ) from error
    return partial(maker, memlimit=_XZ_MEMORY) if name == "xz" else maker
