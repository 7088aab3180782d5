"""Hostile files for the fuzz tests: bytes that are damaged, and models with wrong parts."""

import bz2
import gzip
import json
import lzma
import re
import zlib
from copy import deepcopy

import numpy as np
from helpers.hostile import item_of
from hypothesis import strategies as st
from ml_dtypes import bfloat16
from safetensors.numpy import save

# Pieces that replace a part of a file, or are put into it.
TOKENS = [
    b"", b"\n", b"\n\n\n", b" ", b":", b",", b"0", b"-1", b"1e999", b"nan", b"inf", b"-inf",
    b"1e-50", b"2147483647", b"2147483648", b"4294967296", b"9223372036854775807",
    b"1000000000000000000", b"9" * 30, b"9" * 5000, b"0x10", b"1_0", b"\x00", b"\xff\xfe",
    b"\xef\xbb\xbf", b"#",
    b"qid:3 ", b"\xed\xa0\x80", b"1:1:1", b"+1", b".", b"e", b"\r", b"\t", b"\x0b",
    b"1,", b",1", b"0:0 " * 300,
]  # fmt: skip


@st.composite
def damaged_bytes(draw, contents):
    """One of the contents with some random damage."""
    content = bytearray(draw(contents))
    for _ in range(draw(st.integers(1, 3))):
        n = len(content)
        start, size = draw(st.integers(0, n)), draw(st.sampled_from([1, 1, 4, 40, 400]))
        block = content[start : start + size]
        kind = draw(st.sampled_from("cut flip remove repeat exchange token number".split()))
        if kind == "cut":
            del content[start:]
        elif kind == "flip" and start < n:
            content[start] ^= 1 << draw(st.integers(0, 7))
        elif kind == "remove":
            del content[start : start + size]
        elif kind == "repeat":
            content[start:start] = block * draw(st.sampled_from([1, 2, 50]))
        elif kind == "exchange":
            other = draw(st.integers(0, n))
            content[start : start + size] = content[other : other + size]
            content[other : other + size] = block
        elif kind == "token":
            content[start : start + draw(st.sampled_from([0, 1]))] = draw(st.sampled_from(TOKENS))
        elif kind == "number":
            numbers = list(re.finditer(rb"\d+", content))
            if numbers:
                one = numbers[draw(st.integers(0, len(numbers) - 1))]
                content[one.start() : one.end()] = draw(st.sampled_from(TOKENS))
    return bytes(content)


def _xz(content):
    """Compressed as xz for little memory: usually a reader needs 8 MB."""
    return lzma.compress(content, preset=0)


@st.composite
def maybe_compressed(draw, contents):
    """One of the contents as it is, compressed, or compressed and damaged."""
    content = draw(contents)
    kind = draw(st.sampled_from("plain plain packed damaged twice trailing".split()))
    if kind == "plain":
        return content
    content = draw(st.sampled_from([gzip.compress, bz2.compress, _xz]))(content)
    if kind == "damaged":
        return draw(damaged_bytes(st.just(content)))
    if kind == "twice":
        return content + gzip.compress(b"1 0:1\n")
    return content + b"rubbish" if kind == "trailing" else content


XMC = b"6 9 5\n0,2 1:0.5 3:1\n 0:2 8:-1e-3\n\n4 7:3\n1\n3,0 0:1 1:1 2:1\n"
SVMLIGHT = b"7 1:0.5 3:1\n9 0:2\n-3 2:1e-3 5:7 # text\n7 4:1\n9\n"
MANY_LABELS = b"1,3 1:1\n 2:2\n0 0:1 4:1\n"


# ------------------------------------------------------------------- models --

DTYPES = {
    "F32": np.float32, "BF16": bfloat16, "I32": np.int32, "I64": np.int64, "U64": np.uint64,
    "U8": np.uint8, "U16": np.uint16,
}  # fmt: skip
# Placeholders for values that Python's json does not write.
RAW = {
    "@NaN": "NaN", "@Infinity": "Infinity", "@deep": "[" * 100_000, "@deep dict": '{"a":' * 100_000,
    "@nested": "[" * 500 + "]" * 500, "@digits": "9" * 10_000, "@exponent": "1e999",
    "@surrogate": '"\\ud800"', "@twice": '{"a": 1, "a": 2}', "@text": '"' + "x" * 10_000 + '"',
}  # fmt: skip
JSON_VALUES = [
    None, True, False, 0, 1, -1, 2, 16, 255, 256, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 10**18,
    10**40, 0.0, 0.5, -0.5, 1.5, 1e-300, 1e300, "", "auto", "adam", "none", "<i8", "<M8[s]", "O",
    "V0", [], [1], [[]], {}, {"tuple": [1]}, {"numpy": {"dtype": "<f8", "values": 1}},
    {"numpy": {"dtype": "<i8", "values": [1]}}, {"random_state": {}}, {"a": 1}, *RAW,
]  # fmt: skip


def places(value, path=()):
    """The paths of all values within dicts and lists, without those in long lists of numbers."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:8])
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))


def parts_of(content):
    """The JSON and the arrays of a model's file."""
    size = 8 + int.from_bytes(content[:8], "little")
    header, arrays = json.loads(content[8:size]), {}
    plain = json.loads(header.pop("__metadata__")["slide"])
    for name, form in header.items():
        start, stop = (size + offset for offset in form["data_offsets"])
        array = np.frombuffer(content[start:stop], DTYPES[form["dtype"]])
        arrays[name] = array.reshape(form["shape"]).copy()
    return plain, arrays


def model_of(plain, arrays):
    """A file of these parts in the old format: checksums would hide the other faults."""
    plain = {name: plain[name] for name in plain if name not in ("checksum", "checksums")}
    if plain.get("format") in (2, 3):
        plain["format"] = 1
    text = json.dumps(plain)
    for name, raw in RAW.items():
        text = text.replace(json.dumps(name), raw)
    return save(arrays, {"slide": text})


@st.composite
def wrong_models(draw, contents):
    """A model's file with wrong values or arrays."""
    plain, arrays = parts_of(draw(contents))
    for _ in range(draw(st.integers(1, 2))):
        if draw(st.integers(0, 2)):
            change_json(plain, draw)
        else:
            change_array(arrays, draw)
    return model_of(plain, arrays)


def change_json(plain, draw):
    *path, last = draw(item_of(list(places(plain))))
    parent = plain
    for key in path:
        parent = parent[key]
    kind = draw(st.sampled_from("value value value remove sibling near".split()))
    if kind == "remove":
        del parent[last]
    elif kind == "sibling":
        siblings = list(parent.values()) if isinstance(parent, dict) else parent
        parent[last] = deepcopy(draw(item_of(siblings)))
    elif kind == "near" and isinstance(parent[last], int | float):
        value = parent[last]
        near = [value + 1, value - 1, -value, 2 * value, value / 2, float(value), str(value)]
        parent[last] = draw(item_of(near))
    else:
        parent[last] = deepcopy(draw(item_of(JSON_VALUES)))


def change_array(arrays, draw):
    name = draw(st.sampled_from(sorted(arrays)))
    array = arrays[name]
    kind = draw(st.sampled_from("element element some remove add type shape reverse text".split()))
    if kind in ("element", "some") and array.size:
        values = [0, 1, -1, 255]
        if array.dtype.kind in "iu":
            values = [np.iinfo(array.dtype).min, np.iinfo(array.dtype).max, 0, 1, 2**15]
        elif array.dtype.kind == "f" or array.dtype.name == "bfloat16":
            values = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 0, 1e20]
        with np.errstate(all="ignore"):
            value = np.array(draw(item_of(values))).astype(array.dtype)
        flat = array.reshape(-1)
        place = draw(st.integers(0, array.size - 1))
        flat[slice(place, None, 3) if kind == "some" else place] = value
    elif kind == "remove":
        del arrays[name]
    elif kind == "add":
        arrays[draw(st.sampled_from(["more", "layers.9.w", "prototypes.values", "center"]))] = array
    elif kind == "type":
        dtype = draw(st.sampled_from(["f4", "f8", "i4", "i8", "u1", "?", "f2"]))
        with np.errstate(all="ignore"):
            arrays[name] = array.astype(dtype)
    elif kind == "shape":
        shapes = [
            array[:0],
            array[..., :-1],
            array.reshape(-1),
            array[None],
            np.repeat(array, 2, 0),
        ]
        arrays[name] = np.ascontiguousarray(draw(item_of(shapes)))
    elif kind == "reverse":
        arrays[name] = array[::-1].copy()
    else:
        texts = [b"[]", b'["a"]', b"[1]", b'["b", "a"]', b"[" * 100_000, b"\xff", b'["\\ud800"]']
        texts += [b'["' + b"x" * 10_000 + b'"]', b"null", b"9" * 10_000, b""]
        arrays[name] = np.array(list(draw(st.sampled_from(texts))), np.uint8)


@st.composite
def wrong_headers(draw, contents):
    """A model's file whose header does not match its content."""
    content = draw(contents)
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    if draw(st.integers(0, 5)) == 0:
        length = draw(
            st.sampled_from([0, 1, 2, size - 1, size + 1, 2**31, 2**40, 2**63, 2**64 - 1])
        )
        return length.to_bytes(8, "little") + content[8:]
    for _ in range(draw(st.integers(1, 2))):
        change_json(header, draw)
    text = json.dumps(header)
    for name, raw in RAW.items():
        text = text.replace(json.dumps(name), raw)
    return len(text).to_bytes(8, "little") + text.encode() + content[8 + size :]


def bomb(line, n, head=b""):
    """Gzip of `head` and n times `line`, about a thousandth of the size."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(head)]
    many = line * max(1, (1 << 20) // len(line))
    for start in range(0, n * len(line), len(many)):
        parts.append(packer.compress(many[: n * len(line) - start]))
    return b"".join([*parts, packer.flush()])
