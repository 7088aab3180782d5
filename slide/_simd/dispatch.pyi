from typing import Any

import numpy as np

from slide._base.arrays import Array, Bytes, Floats, Halves, Ids, Ints, Words, Words32

def available() -> tuple[str, ...]: ...
def instruction_set() -> str: ...
def dots(
    name: str,
    rows: Floats,
    ldr: int,
    ids: Ids | None,
    bias: Floats | None,
    n_rows: int,
    x: Floats,
    ldx: int,
    n_x: int,
    d: int,
    out: Floats,
    ldo: int,
) -> None: ...
def accumulate(
    name: str,
    coef: Floats,
    si: int,
    sk: int,
    rows: Floats,
    ldr: int,
    ids: Ids | None,
    n_rows: int,
    out: Floats,
    ldo: int,
    n_out: int,
    d: int,
) -> None: ...
def spread(name: str, row: Floats, coef: Floats, ids: Ids, out: Floats, ldo: int) -> None: ...
def gather_sum(name: str, coef: Floats, rows: Floats, ldr: int, ids: Ids, out: Floats) -> None: ...
def square_sum(name: str, x: Floats) -> float: ...
def momentum(name: str, w: Floats, m: Floats, g: Floats, step: float, b1: float) -> None: ...
def momentum_some(name: str, w: Floats, m: Floats, g: Floats, step: float, b1: float) -> int: ...
def rising_keys(name: str, x: Floats, keys: Ids) -> None: ...
def reaching(name: str, keys: Ids, least: int) -> int: ...
def take(
    name: str,
    rows: Floats,
    ldr: int,
    ids: Ids | None,
    n_rows: int,
    starts: Ids,
    d: int,
    out: Floats,
) -> None: ...
def spread_blocks(
    name: str, row: Floats, starts: Ids, coef: Floats, ids: Ids, out: Floats, ldo: int, d: int
) -> None: ...
def momentum_blocks(
    name: str, w: Floats, m: Floats, starts: Ids, g: Floats, step: float, b1: float
) -> None: ...
def unpack(
    name: str, rows: Halves, ldr: int, ids: Ids | None, n_rows: int, d: int, out: Floats
) -> None: ...
def momentum_half(
    name: str, w: Halves, m: Halves, g: Floats, step: float, b1: float, seed: int
) -> None: ...
def take_half(
    name: str,
    rows: Halves,
    ldr: int,
    ids: Ids | None,
    n_rows: int,
    starts: Ids,
    d: int,
    out: Floats,
) -> None: ...
def momentum_half_blocks(
    name: str, w: Halves, m: Halves, starts: Ids, g: Floats, step: float, b1: float, seed: int
) -> None: ...
def half_to_float(half: int) -> float: ...
def float_to_half(x: float, noise: int) -> int: ...
def noise(place: int) -> int: ...
def multiplies_bfloat16(name: str) -> bool: ...
def pair_dots(
    name: str,
    rows: Halves,
    ldr: int,
    ids: Ids | None,
    bias: Floats,
    n_rows: int,
    x: Halves,
    ldx: int,
    n_x: int,
    d: int,
    out: Floats,
    ldo: int,
) -> None: ...
def pair_accumulate(
    name: str,
    coef: Words32,
    si: int,
    sk: int,
    pairs: Words32,
    out: Floats,
    ldo: int,
    n_out: int,
    d: int,
) -> None: ...
def to_halves(name: str, x: Floats, d: int, out: Halves) -> None: ...
def pair_rows(name: str, x: Floats, d: int, out: Words32) -> None: ...
def pair_halves(
    name: str, rows: Halves, ids: Ids | None, n_rows: int, d: int, out: Words32
) -> None: ...
def take_halves(
    name: str,
    rows: Halves,
    ldr: int,
    ids: Ids | None,
    n_rows: int,
    starts: Ids,
    d: int,
    out: Halves,
) -> None: ...
def hadamard(name: str, x: Floats) -> None: ...
def sign_bits(name: str, x: Floats, out: Words) -> None: ...
def simhash(
    name: str,
    parameters: dict[str, Any],
    n_in: int,
    n_tables: int,
    n_bits: int,
    rows: Floats,
    ldr: int,
    ids: Ids | None,
    n_rows: int,
    extra_0: Floats | None,
    extra_1: Floats | None,
    scratch: Floats,
    codes: Halves,
) -> None: ...
def statistics(
    name: str,
    rows: Floats,
    ldr: int,
    bias: Floats,
    n_rows: int,
    mean: Floats,
    along: Floats,
    norm2: Floats,
) -> None: ...
def exp_sum(name: str, z: Floats, shift: float) -> float: ...
def vector_max(name: str, z: Floats) -> float: ...
def sigmoid(name: str, z: Floats) -> float: ...
def gather_dot(name: str, row: Floats, ids: Ids, values: Floats) -> float: ...
def code_scores(
    name: str,
    codes: Words,
    n_words: int,
    ids: Ids | None,
    query: Words,
    curve: Floats,
    norm: Floats,
    bias: Floats,
    out: Floats,
) -> None: ...
def entry_bits(name: str) -> int: ...
def shortlist(
    name: str,
    codes: Bytes,
    scale: Floats,
    bias: Floats,
    coarse: Array | None,
    units: tuple[np.float32, ...],
    first: int,
    n: int,
    lut: Bytes,
    step: float,
    low: float,
    threshold: float,
    ids: Ids,
    z: Floats,
) -> int: ...
def multiplies_bytes(name: str) -> bool: ...
def sift(
    name: str,
    rows: dict[str, Array],
    first: int,
    n: int,
    x: dict[str, Array | None],
    ids: Ids,
    most: Floats,
    least: Floats,
    counts: Ints,
) -> None: ...
