"""Mutants of model and checkpoint files: whole files with right checksums and wrong content.

A mutant of a file has other JSON values or other arrays than the file. Then lengths, offsets and
checksums are computed again, so that only the checks of the content itself can find what is wrong.
"""

import json
import struct
import zlib
from copy import deepcopy
from dataclasses import dataclass
from math import prod

import numpy as np
from helpers.hostile_files import JSON_VALUES, RAW

from slide._saving import model_file
from slide._saving.tensors import _NAMES

SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 63, 64, 65, 255, 256, 257, 4096, 65_536, 10**6,
         2**24, 2**31 - 1, 2**31, 2**33, 2**62, 2**63 - 1, 2**64]  # fmt: skip
NAMES = ["none", "exact", "scan", "vanilla", "topk", "threshold", "rerank", "estimate", "lists",
         "simhash", "wta", "dwta", "minhash", "softmax", "sigmoid", "relu", "sgd", "adagrad",
         "bfloat16", "float32", "ndarray", "csr_array", "csr_matrix", "<U1", "<U1000", "<U99999999",
         "<f8", ">i8", "|b1", "<M8[D]", "<f16"]  # fmt: skip
ITEM = {"BOOL": 1, "I8": 1, "U8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4,
        "F32": 4, "I64": 8, "U64": 8, "F64": 8, "F8_E4M3": 1, "C64": 8}  # fmt: skip
KINDS = ["element", "element", "element", "some", "shape", "shape", "zero", "type", "remove", "add",
         "rename", "swap", "text", "move"]  # fmt: skip
TEXTS = [b"[]", b'["a"]', b"[1]", b'["b","a"]', b"[" * 5000, b"\xff", b'["\\ud800"]', b"null",
         b"9" * 5000, b"", b'["a","b","c","d","e"]', b'["' + b"x" * 5000 + b'"]']  # fmt: skip
_MOST = 1 << 20  # bytes of an array of a mutant


@dataclass
class Tensor:
    """An array of a file: dtype as safetensors names it, shape, bytes."""

    dtype: str
    shape: list
    data: bytes


def parts_of(content):
    """The JSON, as text without its checksums, and the arrays of a file."""
    size = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:size])
    plain = json.loads(header.pop("__metadata__")["slide"])
    del plain["checksum"], plain["checksums"]
    tensors = {
        name: Tensor(
            form["dtype"],
            form["shape"],
            content[size + form["data_offsets"][0] : size + form["data_offsets"][1]],
        )
        for name, form in header.items()
    }
    return json.dumps(plain), tensors


def file_of(plain, tensors):
    """The bytes of a file with this content."""
    checksums = {name: _checksum(name, tensor) for name, tensor in tensors.items()}
    if isinstance(plain, dict) and plain.get("format") != 1:
        plain = {**plain, "checksums": checksums}
    text = json.dumps(plain)
    for name, raw in RAW.items():
        text = text.replace(json.dumps(name), raw)
    if "checksums" in plain and text.endswith("}"):
        try:
            found = model_file._text_checksum(json.loads(text))
            text = f'{text[:-1]}, "checksum": "{found}"}}'
        except (ValueError, RecursionError):
            pass  # no JSON, which is refused before checksums are compared
    header, start = {"__metadata__": {"slide": text}}, 0
    for name, tensor in tensors.items():
        offsets = [start, start + len(tensor.data)]
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": offsets}
        start = offsets[1]
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return b"".join([struct.pack("<Q", len(head)), head, *(t.data for t in tensors.values())])


def _checksum(name, tensor):
    form = f"{name} {_NAMES.get(tensor.dtype)} {list(tensor.shape)}".encode()
    return f"{zlib.crc32(tensor.data, zlib.crc32(form)):08x}"


def mutant(text, tensors, draw):
    """The bytes of a mutant of the content `text` and `tensors`; `draw` is a random.Random."""
    plain = json.loads(text)
    tensors = {name: Tensor(t.dtype, list(t.shape), t.data) for name, t in tensors.items()}
    for _ in range(draw.choice([1, 1, 1, 2, 2, 3])):
        kind = draw.random()
        if kind < 0.55:
            _change_json(plain, draw)
        elif kind < 0.9:
            _change_tensor(tensors, draw)
        else:
            _resize(plain, tensors, draw)
    return file_of(plain, tensors)


# --------------------------------------------------------------------- JSON --


def _places(value, found):
    """Add (parent, key) of all values to `found`, of long lists only the first ones."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:6])
    for key, item in items:
        found.append((value, key))
        if isinstance(item, dict | list):
            _places(item, found)
    return found


def _change_json(plain, draw):
    found = _places(plain, [])
    # A place near the root holds a large part; all parts get the same chance.
    parent, key = draw.choice(found)
    kind = draw.choice(
        ["value", "value", "size", "size", "name", "near", "remove", "swap", "copy", "wrap", "list"]
    )
    old = parent[key]
    if kind == "remove":
        del parent[key]
    elif kind == "size":
        parent[key] = draw.choice(SIZES)
    elif kind == "name":
        parent[key] = draw.choice(NAMES)
    elif kind == "near" and isinstance(old, int | float):
        parent[key] = draw.choice(
            [old + 1, old - 1, -old, 2 * old, old / 2, old * 1e30, float(old), str(old), [old]]
        )
    elif kind == "swap":
        other, place = draw.choice(found)
        parent[key], other[place] = deepcopy(other[place]), deepcopy(old)
    elif kind == "copy":
        other, place = draw.choice(found)
        name = draw.choice([place, key, "more"])
        if isinstance(parent, dict):
            parent[str(name)] = deepcopy(other[place])
        else:
            parent.append(deepcopy(other[place]))
    elif kind == "wrap":
        parent[key] = draw.choice([[old], {"tuple": [old]}, {"a": old}, [old] * 3])
    elif kind == "list" and isinstance(old, list) and old:
        parent[key] = draw.choice([old[:-1], old + old[:1], old[::-1], old[:1] * 300, []])
    else:
        parent[key] = deepcopy(draw.choice(JSON_VALUES))


# ------------------------------------------------------------------- arrays --


def _change_tensor(tensors, draw):
    name = draw.choice(list(tensors))
    tensor = tensors[name]
    kind = draw.choice(KINDS)
    if kind in ("element", "some"):
        _set_elements(tensor, draw, everywhere=kind == "some")
    elif kind == "shape":
        _reshape(tensor, draw)
    elif kind == "zero":
        sides = [draw.choice(SIZES), 0]
        draw.shuffle(sides)
        tensor.shape, tensor.data = sides, b""
    elif kind == "type":
        tensor.dtype = draw.choice(list(ITEM))
        if draw.random() < 0.5:
            _fit_data(tensor)
        else:
            tensor.shape = [len(tensor.data) // ITEM[tensor.dtype]]
            _fit_data(tensor)
    elif kind == "remove":
        del tensors[name]
    elif kind in ("add", "rename"):
        other = draw.choice([f"{name}.more", "center", "prototypes.values", "training.more",
                             "layers.9.w", "feature_names", "classes"])  # fmt: skip
        tensors[other] = Tensor(tensor.dtype, list(tensor.shape), tensor.data)
        if kind == "rename" and other != name:
            del tensors[name]
    elif kind == "swap":
        other = draw.choice(list(tensors))
        tensors[name], tensors[other] = tensors[other], tensors[name]
    elif kind == "text":
        text = draw.choice(TEXTS)
        tensors[name] = Tensor("U8", [len(text)], text)
    else:  # another place in the file
        tensors[name] = tensors.pop(name)


def _set_elements(tensor, draw, everywhere):
    size = ITEM.get(tensor.dtype, 1)
    n = len(tensor.data) // size
    if not n:
        return
    floats = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 0.0, 1.0, -1.0, 1e20]
    if tensor.dtype in ("F32", "F64", "F16"):
        with np.errstate(all="ignore"):
            value = np.array(draw.choice(floats), f"f{size}").tobytes()
    elif tensor.dtype == "BF16":
        value = np.array(draw.choice(floats), "f4").tobytes()[2:]
    else:
        high = 1 << (8 * size - 1)
        number = draw.choice([0, 1, 2, high - 1, high, 2 * high - 1, 5, 40, draw.randrange(high)])
        value = (number % (2 * high)).to_bytes(size, "little")
    data, place = bytearray(tensor.data), draw.randrange(n)
    step = draw.choice([1, 2, 3]) if everywhere else n
    for i in range(place, n, step):
        data[i * size : (i + 1) * size] = value
    tensor.data = bytes(data)


def _reshape(tensor, draw):
    shape, kind = tensor.shape, draw.choice(["side", "side", "flat", "more", "turn", "huge"])
    if kind == "side" and shape:
        i = draw.randrange(len(shape))
        shape[i] = max(0, draw.choice([shape[i] - 1, shape[i] + 1, 2 * shape[i], 0, 1]))
    elif kind == "flat":
        tensor.shape = [prod(shape)]
    elif kind == "more":
        shape.insert(draw.randrange(len(shape) + 1), 1)
    elif kind == "turn":
        shape.reverse()
    else:
        shape.insert(0, draw.choice(SIZES))
    _fit_data(tensor)


def _fit_data(tensor):
    """Cut or repeat the data to the length that dtype and shape ask for, if that is not too much.

    Otherwise the format itself refuses the file.
    """
    n_bytes = prod(tensor.shape) * ITEM[tensor.dtype]
    if n_bytes <= _MOST:
        data = tensor.data or b"\0"
        tensor.data = (data * (n_bytes // len(data) + 1))[:n_bytes]


def _resize(plain, tensors, draw):
    """Replace a size by another one wherever it stands, in the JSON and in the shapes."""
    sizes = sorted({side for tensor in tensors.values() for side in tensor.shape if side})
    old, new = draw.choice(sizes), draw.choice([1, 2, 3, 6, 17, 64, 300, 1000])
    for parent, key in _places(plain, []):
        if parent[key] == old and type(parent[key]) is int:
            parent[key] = new
    where = draw.choice(["shapes", "shapes", "JSON"])
    for tensor in tensors.values():
        if where == "shapes" and old in tensor.shape:
            tensor.shape = [new if side == old else side for side in tensor.shape]
            _fit_data(tensor)
