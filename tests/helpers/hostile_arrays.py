"""Hostile arrays for the fuzz tests: features, labels and weights, valid ones and any."""

import tempfile

import numpy as np
import pandas as pd
from helpers.hostile import NoComparison, NoRepr, item_of, values
from hypothesis import strategies as st
from scipy import sparse

# ----------------------------------------------------------------- features --

DTYPES = ["f4", "f8", "f2", "g", ">f4", ">f8", "i1", "u1", "i4", ">i2", "u8", "i8", "?"]
STRANGE_DTYPES = ["c8", "c16", "O", "U3", "S3", "M8[s]", "m8[s]", "V4"]
SPICES = [np.nan, np.inf, -np.inf, 1e-45, -1e-45, 1e-38, 1e16, 2e16, 1e38, -1e38, 1e39, 1e300, 0.0]
FORMATS = ["csr", "csc", "coo", "bsr", "dok", "lil", "dia"]


def matrix(seed, n_rows, n_columns, density=1.0, scale="one"):
    """float64 numbers, of which a share `density` is non-zero; columns may differ in scale."""
    rng = np.random.RandomState(seed)
    x = rng.standard_normal((n_rows, n_columns)) * (rng.uniform(size=(n_rows, n_columns)) < density)
    if scale == "columns":
        return x * 10.0 ** rng.randint(-38, 16, n_columns)
    return x * {"one": 1.0, "tiny": 1e-13, "large": 1e15, "counts": 3.0}[scale]


@st.composite
def right_features(draw, n_rows=None, n_columns=None, with_frames=True):
    """X that must be accepted: finite, in any container."""
    n = n_rows or draw(st.integers(1, 40))
    p = n_columns or draw(st.integers(1, 40))
    scale = draw(st.sampled_from(["one", "one", "counts", "columns", "large", "tiny"]))
    density = draw(st.sampled_from([1.0, 1.0, 0.2, 0.05, 0.0]))
    x = matrix(draw(st.integers(0, 2**16)), n, p, density, scale)
    if draw(st.booleans()):
        x[draw(st.integers(0, n - 1))] = 0
    if draw(st.integers(0, 3)) == 0:
        x[:] = x[:1]
    kinds = ["C", "F", "strided", "backward", "list", "read-only", "memmap", "ints", *FORMATS]
    kind = draw(st.sampled_from(kinds + ["frame"] * with_frames))
    x = np.clip(x, -1e16, 1e16)
    return in_container(x, kind, draw)


def in_container(x, kind, draw):
    """`x` as an array of another layout, a list, a frame or a sparse matrix."""
    if kind == "F":
        return np.asfortranarray(x)
    if kind == "strided":
        return np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3]
    if kind == "backward":
        return x[::-1, ::-1].copy()[::-1, ::-1]
    if kind == "list":
        return x.tolist()
    if kind == "read-only":
        x.flags.writeable = False
        return x
    if kind == "memmap":
        with tempfile.TemporaryFile() as file:
            copy = np.memmap(file, np.float32, "w+", shape=x.shape)
        copy[...] = x
        return copy
    if kind == "ints":
        return np.clip(np.round(x), -100, 100).astype(draw(st.sampled_from(["i1", "i8", "f2"])))
    if kind == "frame":
        return pd.DataFrame(x)
    if kind not in FORMATS:
        return np.ascontiguousarray(x)
    x = getattr(sparse, f"{kind}_{draw(st.sampled_from(['array', 'matrix']))}")(x)
    if kind in ("csr", "csc", "bsr") and draw(st.booleans()):
        x.indices, x.indptr = x.indices.astype(np.int64), x.indptr.astype(np.int64)
    return untidy(x) if kind == "csr" and draw(st.booleans()) else x


def untidy(x):
    """The same CSR matrix with every entry split in two, unsorted, and with stored zeros."""
    indptr = 2 * x.indptr
    order = np.argsort(np.repeat(np.arange(x.shape[0]), 2 * np.diff(x.indptr)), kind="stable")
    rows = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
    places = np.argsort(np.tile(rows, 2), kind="stable")
    data = np.tile(x.data / 2, 2)[places][order]
    return type(x)((data, np.tile(x.indices, 2)[places][order], indptr), shape=x.shape)


@st.composite
def any_features(draw):
    """X of any kind, valid or not."""
    kind = draw(
        st.sampled_from("spiced dtype strange empty damaged wide value frame masked deep".split())
    )
    seed, n, p = draw(st.integers(0, 99)), draw(st.integers(1, 40)), draw(st.integers(1, 40))
    x = matrix(seed, n, p, draw(st.sampled_from([1.0, 0.1])))
    if kind == "spiced":
        for _ in range(draw(st.integers(1, 3))):
            place = draw(st.integers(0, n - 1)), draw(st.integers(0, p - 1))
            x[place] = draw(st.sampled_from(SPICES))
        return in_container(x, draw(st.sampled_from(["C", "F", "list", "frame", *FORMATS])), draw)
    if kind == "dtype":
        with np.errstate(all="ignore"):
            return (10 * np.abs(x)).astype(draw(st.sampled_from(DTYPES)))
    if kind == "strange":
        dtype = draw(st.sampled_from(STRANGE_DTYPES))
        if dtype == "V4":
            return np.zeros((n, p), "V4")
        x = (10 * x).astype("i8").astype(dtype)
        if dtype == "O":
            x[0, 0] = draw(values)
        return x
    if kind == "empty":
        shape = draw(
            st.sampled_from([(0, p), (n, 0), (0, 0), (0,), (n,), (n, p, 1), (), (1, n, p)])
        )
        return np.zeros(shape) if draw(st.booleans()) else sparse.coo_array(np.zeros(shape or (0,)))
    if kind == "damaged":
        return damaged(sparse.csr_matrix(x), draw)
    if kind == "wide":
        width = draw(st.sampled_from([10**6, 2**31 - 1, 2**31, 2**40, 2**62]))
        return sparse.csr_array((n, width), dtype=np.float32)
    if kind == "masked":
        return np.ma.array(x, mask=draw(st.booleans()))
    if kind == "deep":
        x = [1.0]
        for _ in range(draw(st.sampled_from([3, 40, 100, 5000]))):
            x = [x]
        return x
    if kind == "frame":
        return strange_frame(x, draw)
    return draw(values)


def damaged(x, draw):
    """A sparse matrix whose arrays contradict each other, made from a valid CSR matrix."""
    if x.nnz == 0:
        return x
    place, n = draw(st.integers(0, x.nnz - 1)), x.shape[0]
    wrong = draw(st.sampled_from([-1, 10**6, 2**31 - 1, -(2**31), x.shape[1]]))
    form = draw(st.sampled_from(["csr", "csr", "csr", "csc", "coo", "lil"]))
    if form == "coo":
        x = x.tocoo()
        draw(item_of([x.row, x.col]))[place] = wrong
        return x
    if form == "lil":
        x = x.tolil()
        row = draw(st.integers(0, n - 1))
        x.rows[row] = [*x.rows[row], wrong]
        x.data[row] = [*x.data[row], *draw(st.sampled_from([[], [1]]))]
        return x
    x = x.asformat(form)
    n = len(x.indptr) - 1
    what = draw(st.sampled_from("indices indptr data falling 64 short type".split()))
    if what == "indices":
        x.indices[place] = wrong
    elif what == "indptr":
        x.indptr[draw(st.integers(0, n))] = wrong
    elif what == "data":
        x.data = x.data[:place]
    elif what == "falling":
        x.indptr = x.indptr[::-1].copy()
    elif what == "64":
        x.indices = x.indices.astype(np.int64)
        x.indices[place] = draw(st.sampled_from([2**32, 2**62, -(2**62)]))
    elif what == "short":
        x.indptr = x.indptr[: draw(st.integers(0, n))]
    else:
        x.indices = x.indices.astype(draw(st.sampled_from(["f8", "u1", "O", "?"])))
    return x


def strange_frame(x, draw):
    frame = pd.DataFrame(x[:, :5])
    kind = draw(
        st.sampled_from(
            "names mixed-names duplicates category string na sparse dates index".split()
        )
    )
    if kind == "names":
        frame.columns = [f"\ud800 {i}" for i in frame]
    elif kind == "mixed-names":
        frame.columns = [*map(str, frame.columns[:-1]), 7]
    elif kind == "duplicates":
        frame.columns = ["a"] * frame.shape[1]
    elif kind == "category":
        frame[0] = pd.Categorical(["a"] * len(frame))
    elif kind == "string":
        frame[0] = "text"
    elif kind == "na":
        frame = frame.astype("Float64")
        frame.iloc[0, 0] = pd.NA
    elif kind == "sparse":
        frame = pd.DataFrame.sparse.from_spmatrix(sparse.csr_matrix(x))
    elif kind == "dates":
        frame[0] = pd.Timestamp("2020-01-01")
    else:
        frame.index = [object() for _ in range(len(frame))]
    return frame


# ------------------------------------------------------------------- labels --


@st.composite
def right_labels(draw, n, single=None):
    """y of n rows that must be accepted: labels of any type, or an indicator."""
    seed, n_classes = draw(st.integers(0, 2**16)), draw(st.integers(1, 20))
    rng = np.random.RandomState(seed)
    single = draw(st.booleans()) if single is None else single
    if not single:
        y = (rng.uniform(size=(n, max(2, n_classes))) < 0.2).astype(
            draw(st.sampled_from(["i8", "i1", "u1", "?", "f4", "f8", "i4"]))
        )
        if draw(st.booleans()):
            return y
        # Not dok, which cannot hold bools.
        kind = draw(st.sampled_from(["csr", "csc", "coo", "lil"]))
        return getattr(sparse, f"{kind}_{draw(st.sampled_from(['array', 'matrix']))}")(y)
    ids = rng.randint(n_classes, size=n)
    kind = draw(
        st.sampled_from("i8 i1 u8 low high U O f4 f8 ? list M8 m8 series long index".split())
    )
    if kind == "low":
        return ids + np.int64(-(2**63))
    if kind == "high":
        return np.int64(2**63 - 1) - ids
    if kind == "U":
        return np.array(["", "a", "\u4e2d", "\U0001f600", " "])[ids % 5]
    if kind == "long":
        return np.array([10_000 * "x" + str(i) for i in range(20)])[ids]
    if kind == "O":
        return np.array([f"label {i}" for i in range(20)], object)[ids]
    if kind == "list":
        return [str(i) for i in ids]
    if kind in ("M8", "m8"):
        return ids.astype(f"{kind}[s]")
    if kind == "series":
        return pd.Series(ids, dtype="Int64")
    if kind == "index":
        return pd.Index([str(i) for i in ids])
    return ids.astype(kind)


@st.composite
def any_labels(draw, n):
    """y of any kind, for about n rows."""
    kind = draw(
        st.sampled_from("floats spiced mixed strange shape ragged twos sparse value short".split())
    )
    ids = np.random.RandomState(draw(st.integers(0, 99))).randint(5, size=n)
    if kind == "floats":
        return ids * draw(st.sampled_from([0.5, 1e300, 2.0**53, 1e18, 1e-45]))
    if kind == "spiced":
        y = ids.astype(float)
        y[draw(st.integers(0, n - 1))] = draw(st.sampled_from([*SPICES, 2.0**63, -(2.0**63)]))
        return y
    if kind == "mixed":
        items = [1, "a", None, 1.5, b"a", np.nan, pd.NA, (1, 2), [1], 2**70, -1, True, "1"]
        items += [np.str_("b"), np.datetime64("2020-01-01"), object(), NoComparison(1), NoRepr()]
        some = draw(st.lists(item_of(items), min_size=1, max_size=3))
        y = np.empty(n, object)
        for i in range(n):
            y[i] = some[i % len(some)]
        return y if draw(st.booleans()) else y.tolist()
    if kind == "strange":
        dtype = draw(st.sampled_from(["S3", "c8", "V4", "g", "f2", "M8[ns]", [("a", "i4")]]))
        return ids.astype("S3" if dtype == "V4" else "i4").astype(dtype)
    if kind == "shape":
        shape = draw(
            st.sampled_from([(n, 1), (1, n), (n, 0), (0,), (), (n, 2, 2), (n, 1, 1), (0, 3)])
        )
        return np.ones(shape, draw(st.sampled_from(["i8", "f8", "U1", "O"])))
    if kind == "ragged":
        return [[1] * (i % 3) for i in ids]
    if kind == "twos":
        y = np.random.RandomState(0).randint(2, size=(n, 4)).astype(float)
        y[0, 0] = draw(st.sampled_from([2, -1, 0.5, np.nan, np.inf, 1e-300]))
        return y if draw(st.booleans()) else sparse.csr_array(y)
    if kind == "sparse":
        if draw(st.booleans()):
            return damaged(sparse.csr_matrix(matrix(0, n, 4, 0.5) > 0).astype("i8"), draw)
        shape = draw(st.sampled_from([(n, 0), (0, 3), (n, 2**31), (n, 1), (n, 10**6)]))
        return sparse.csr_array(shape, dtype=draw(st.sampled_from(["i8", "f4", "?", "c8"])))
    if kind == "short":
        return ids[: draw(st.integers(0, n - 1))]
    return draw(values)


# ------------------------------------------------------------------ weights --


@st.composite
def right_weights(draw, n):
    """None, or weights that must be accepted."""
    kind = draw(st.sampled_from("none ones mixed extreme some ints list".split()))
    rng = np.random.RandomState(draw(st.integers(0, 99)))
    if kind == "none":
        return None
    if kind == "ones":
        return np.ones(n)
    if kind == "mixed":
        return rng.uniform(0.5, 2, n)
    if kind == "extreme":
        return 10.0 ** rng.uniform(-38, 38, n)
    if kind == "some":
        weights = rng.randint(2, size=n)
        weights[rng.randint(n)] = 1
        return weights
    weights = rng.randint(1, 5, size=n)
    return weights.tolist() if kind == "list" else weights.astype("i1")


@st.composite
def any_weights(draw, n):
    weights = np.ones(n)
    kind = draw(st.sampled_from("spiced shape type value".split()))
    if kind == "spiced":
        weights[draw(st.integers(0, n - 1))] = draw(st.sampled_from([*SPICES, -1, 1e-310]))
        with np.errstate(all="ignore"):
            return weights / draw(st.sampled_from([1.0, 1.0, 1e45, 1e-38]))
    if kind == "shape":
        return np.ones(draw(st.sampled_from([(n, 1), (n + 1,), (0,), (), (1, n)])))
    if kind == "type":
        return weights.astype(draw(st.sampled_from(["O", "U1", "c8", "?", "g", "M8[s]", "f2"])))
    return draw(values)
