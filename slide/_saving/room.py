"""The memory that a file may take: no more than its size explains.

Every number that a file only says is compared with this room before memory is taken for it.
"""

import json
import os
import re
from typing import Any

from slide._base.text_files import content_of

_TIMES, _ALWAYS = 4, 64 << 20  # a file may take so many times its size, and so many bytes
# Bytes that the Python objects of JSON take: an item of a list or dict, a key, a list, a dict. Some
# lists and dicts are copied once.
_ITEM, _NAME, _LIST, _DICT = 72, 120, 130, 400
# Bytes for each character: texts are copied to be decoded, parsed and compared. A single character
# that is not ASCII makes every character of a text take 3 bytes more.
_COPIES, _WIDE = 5, 3
_START = 512  # bytes that tell what a file is
_LONGEST_HEAD = 100_000_000  # safetensors refuses longer ones
_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u")


def room_of(size: int) -> int:
    """Bytes of memory that a file of `size` bytes may take."""
    return _TIMES * size + _ALWAYS


def parsed(text: bytes, size: int) -> Any:
    """The value of JSON, a part of a file of `size` bytes.

    JSON of two characters may become an object of 64 bytes. So the characters that begin values are
    counted before the JSON is parsed.
    """
    _check_json(text, size)
    return json.loads(text)


def check_head(path: str) -> None:
    """Refuse a file that is no safetensors file, or whose head exceeds the room.

    The head is JSON with the names of the arrays.
    """
    size = os.stat(path).st_size
    with open(path, "rb") as file:
        start = file.read(_START)
        length = int.from_bytes(start[:8], "little")
        if start[8:9] != b"{" or length > _LONGEST_HEAD:
            raise ValueError(f"it must be a safetensors file; it is {content_of(start)}")
        if length > size:
            return  # safetensors refuses the file
        file.seek(8)
        text = file.read(length)
    _check_json(text, size)
    if b"\\u" in text and _ESCAPE.search(text):
        raise ValueError("its head must be ASCII, as save writes it")


def _check_json(text: bytes, size: int) -> None:
    if not text.isascii():
        raise ValueError("its JSON must be ASCII, as save writes it")
    cost = (_COPIES + (_WIDE if b"\\u" in text else 0)) * len(text)
    cost += _ITEM * text.count(b",") + _NAME * text.count(b":")
    cost += _LIST * text.count(b"[") + _DICT * text.count(b"{")
    if cost > room_of(size):
        raise ValueError(
            f"its JSON of {len(text)} characters could take {cost} bytes of memory; a file of "
            f"{size} bytes may take {room_of(size)}"
        )
