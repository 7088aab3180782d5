"""Twin of `_prediction.sieve`: vectors in bytes, and bounds of their products."""

import numpy as np


def byte_rows(w, bias):
    """The arrays of slide_bytes for rows w (n, d)."""
    w = np.asarray(w, np.float64)
    n, d = w.shape
    blocks, fours = -(-n // 64), -(-d // 4)
    scale = np.float32(np.abs(w).max(axis=1) / 127)
    steps = np.where(scale > 0, scale, 1).astype(np.float64)[:, np.newaxis]
    codes = np.clip(np.rint(w / steps), -127, 127)
    rest = w - scale[:, np.newaxis].astype(np.float64) * codes
    padded = np.zeros((blocks * 64, fours * 4), np.int8)
    padded[:n, :d] = codes
    found = {
        "scale": scale,
        "sum": w.sum(axis=1),
        "bias": bias,
        "error": 1.000001 * np.linalg.norm(rest, axis=1),
        "length": 1.000001 * np.linalg.norm(w, axis=1),
    }
    rows = {name: np.zeros(blocks * 64, np.float32) for name in found}
    for name, values in found.items():
        rows[name][:n] = values
    codes = padded.reshape(blocks, 64, fours, 4).transpose(0, 2, 1, 3)
    return {**rows, "codes": np.ascontiguousarray(codes)}


def byte_vectors(h):
    """The values of slide_sifter for vectors h (n, d), without thresholds."""
    h = np.asarray(h, np.float64)
    n, d = h.shape
    low = np.float32(h.min(axis=1)).astype(np.float64)[:, np.newaxis]
    scale = np.float32((h.max(axis=1, keepdims=True) - low) / 255).astype(np.float64)
    codes = np.clip(np.rint((h - low) / np.where(scale > 0, scale, 1)), 0, 255)
    coded = np.linalg.norm(scale * codes, axis=1)
    rest = np.linalg.norm(h - low - scale * codes, axis=1)
    rounded = np.linalg.norm(h, axis=1) + coded + np.abs(low[:, 0]) * np.sqrt(d)
    padded = np.zeros((n, -(-d // 4) * 4), np.uint8)
    padded[:, :d] = codes
    return {
        "codes": padded,
        "scale": np.float32(scale[:, 0]),
        "low": np.float32(low[:, 0]),
        "length": np.float32(1.000001 * coded),
        "error": np.float32(1.000001 * rest + 1.2e-7 * (d + 64) * rounded),
    }


def bounds(rows, x, first, n, more):
    """Upper and lower bounds of the products (n_x, n)."""
    blocks, fours = rows["codes"].shape[:2]
    codes = rows["codes"].transpose(0, 2, 1, 3).reshape(blocks * 64, fours * 4)
    at = slice(first, first + n)
    part = {name: rows[name][at].astype(np.float64) for name in rows if name != "codes"}
    products = x["codes"].astype(np.int64) @ codes[at].T.astype(np.int64)
    column = {name: x[name].astype(np.float64)[:, np.newaxis] for name in x if name != "codes"}
    z = part["scale"] * column["scale"] * products + part["sum"] * column["low"] + part["bias"]
    z = z if more is None else z + more
    size = np.abs(part["bias"]) + (0 if more is None else np.abs(more))
    bound = part["error"] * column["length"] + part["length"] * column["error"] + 4e-6 * size
    return z + bound, z - bound
