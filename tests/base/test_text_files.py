"""Tests of text files of any origin: compressed, from pipes, endless, or no text at all."""

import bz2
import gzip
import importlib.util
import io
import lzma
import os
import pickle
import threading
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from slide._base.text_files import text_lines

TEXT = b"1 1:1\n2 2:1\n"
PACKED = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


def lines_of(path, file=None):
    with text_lines(str(path), file) as lines:
        return list(lines)


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "file"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("kind", PACKED)
def test_compression_is_told_by_content(kind, write):
    packed = PACKED[kind](TEXT)
    assert lines_of(write(packed)) == TEXT.splitlines(True)
    assert lines_of(write(packed + packed)) == TEXT.splitlines(True) * 2
    assert lines_of(write(packed + b"\0" * 4)) == TEXT.splitlines(True)
    assert lines_of(write(PACKED[kind](b"\xef\xbb\xbf" + TEXT))) == TEXT.splitlines(True)


@pytest.mark.parametrize("kind", PACKED)
def test_damage_is_named(kind, write):
    text = b"".join(b"%d 1:1\n" % i for i in np.random.default_rng(0).integers(0, 2**40, 5000))
    packed = PACKED[kind](text)
    half = len(packed) // 2
    damaged = packed[:half] + bytes(40) + packed[half + 40 :]
    for content in (packed[:7], packed[:half], packed[:-1], damaged, packed + b"rubbish"):
        path = write(content)
        with pytest.raises(ValueError, match=f"damaged or truncated {kind} file: ") as error:
            lines_of(path)
        assert str(error.value).startswith(str(path))


def test_what_this_python_cannot_decompress(write):
    if importlib.util.find_spec("compression"):
        pytest.skip("this Python has zstd")
    with pytest.raises(ValueError, match=r"compressed with zstd, which .*; decompress it first"):
        lines_of(write(b"\x28\xb5\x2f\xfd rest"))


def zip_of(text):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("rows.txt", text)
    return file.getvalue()


def npy_of(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (TEXT.decode().encode("utf-16"), "UTF-16 or UTF-32 text; save it as UTF-8"),
        (TEXT.decode().encode("utf-16-le"), "binary data, or text that is not UTF-8"),
        (zip_of(TEXT), "a zip archive; unpack it first"),
        (b"\x04\x22\x4d\x18 lz4", "compressed data of a format that is not read"),
        (gzip.compress(gzip.compress(TEXT, mtime=0), mtime=0), "compressed twice"),
        (bz2.compress(lzma.compress(TEXT)), "compressed twice"),
        (pickle.dumps([1]), "a pickle"),
        (npy_of(np.eye(2)), "a NumPy array"),
        (b"PAR1 rest", "a Parquet file"),
        (b"ARROW1\0\0", "an Arrow file"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        ((100).to_bytes(8, "little") + b'{"a":', "a safetensors file"),
        (gzip.compress(b"a.txt" + bytes(100), mtime=0), "binary data"),
    ],
)
def test_what_is_no_text_is_named(content, what, write):
    path = write(content)
    with pytest.raises(ValueError, match="it must be text, plain or compressed once; it is") as e:
        lines_of(path)
    assert what in str(e.value) and str(e.value).startswith(f"{path}: ")


def test_errors_of_the_block_get_path_and_line(write):
    path = write(TEXT)
    with (
        pytest.raises(ValueError, match="file, line 2: the reason"),
        text_lines(str(path)) as lines,
    ):
        list(lines)
        raise ValueError("the reason")
    with pytest.raises(ValueError, match="name, line 1: why"), text_lines("name", io.BytesIO(TEXT)):
        raise ValueError("why")


def test_the_first_line_is_seen_and_still_read(write):
    for content in (TEXT, b"only", b""):
        with text_lines(str(write(content))) as lines:
            assert lines.first() == (content.splitlines(True) or [b""])[0]
            assert list(lines) == content.splitlines(True)


@pytest.mark.parametrize("content", [TEXT, bz2.compress(TEXT), b"\xef\xbb\xbf" + TEXT])
def test_a_pipe_may_give_one_byte_at_a_time(content, tmp_path):
    os.mkfifo(tmp_path / "pipe")

    def feed():
        with open(tmp_path / "pipe", "wb", buffering=0) as file:
            for i in range(len(content)):
                file.write(content[i : i + 1])

    thread = threading.Thread(target=feed)
    thread.start()
    assert lines_of(tmp_path / "pipe") == TEXT.splitlines(True)
    thread.join()


class Endless(io.RawIOBase):
    """A file without an end, of which only this is known: how much was read."""

    def __init__(self, piece):
        self.piece, self.n_read = piece, 0

    def read(self, size=-1):
        self.n_read += size
        return (self.piece * (size // len(self.piece) + 1))[:size]


def test_an_endless_line_of_a_pipe_is_refused():
    file = Endless(b"1:1 ")
    with pytest.raises(ValueError, match="line 1: a line has more than 268435456 bytes"):
        lines_of("pipe", file)
    assert file.n_read < 300e6


@pytest.mark.parametrize("kind", ["bzip2", "xz"])
def test_bombs_are_refused_early(kind, write):
    """These formats pack a million times, gzip a thousand times."""
    path = write(PACKED[kind]((b" " * 9_999 + b"\n") * 4_000))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="it unpacks to more than 1100 times its size"):
            with text_lines(str(path)) as lines:
                for _ in lines:
                    pass
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_a_dictionary_of_gigabytes_is_refused(write):
    packed = bytearray(lzma.compress(TEXT))
    # In the header of the block: the filter (0x21), the size of its parameters, the dictionary.
    start = packed.index(bytes([0x21, 1]), 12)
    packed[start + 2] = 37  # 1.5 GiB
    end = 12 + 4 * packed[12]
    packed[end : end + 4] = zlib.crc32(packed[12:end]).to_bytes(4, "little")
    with pytest.raises(ValueError, match="damaged or truncated xz file: Memory usage limit"):
        lines_of(write(bytes(packed)))
