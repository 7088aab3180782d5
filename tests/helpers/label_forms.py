"""The same sixty labels, and the same indicator, in every form that y may have."""

import datetime
import decimal
import uuid
import warnings

import numpy as np
import pandas as pd
from scipy import sparse

IDS = np.arange(60) % 3
BIG = 2**60 + np.arange(1, 4)  # one number in float64
TRUTH = np.random.RandomState(1).uniform(size=(60, 5)) < 0.3
TRUTH[:, 0] = True
INDICATOR = TRUTH.astype(int)
TEXTS = np.array(["ant", "bee", "cat"])
DATES = [datetime.date(2020, 1, day) for day in (1, 2, 3)]
STAMPS = pd.to_datetime(["2020", "2021", "2022"]).as_unit("us")


def objects(values):
    """An object array of the values that IDS choose."""
    chosen = np.empty(len(IDS), object)
    chosen[:] = [values[i] for i in IDS]
    return chosen


def listed(values):
    return [values[i] for i in IDS]


def matrix(values):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return np.matrix(values)


# Every form of one label a row: (y, the classes as Python's own values).
SINGLE = {
    "list": (IDS.tolist(), [0, 1, 2]),
    "tuple": (tuple(IDS.tolist()), [0, 1, 2]),
    "range": (range(60), list(range(60))),
    "column": (IDS[:, np.newaxis], [0, 1, 2]),
    "list of columns": (IDS[:, np.newaxis].tolist(), [0, 1, 2]),
    "column of a matrix": (matrix(IDS).T, [0, 1, 2]),
    "frame": (pd.DataFrame({"y": IDS}), [0, 1, 2]),
    "series with an index": (pd.Series(IDS, index=range(100, 160)), [0, 1, 2]),
    "Int64": (pd.Series(BIG[IDS], dtype="Int64"), BIG.tolist()),
    "UInt64": (pd.Series(BIG[IDS], dtype="UInt64"), BIG.tolist()),
    "Int64 array": (pd.array(BIG[IDS], dtype="Int64"), BIG.tolist()),
    "Int64 frame": (pd.DataFrame({"y": pd.Series(BIG[IDS], dtype="Int64")}), BIG.tolist()),
    "boolean": (pd.Series(IDS == 0, dtype="boolean"), [False, True]),
    "categories of texts": (pd.Series(pd.Categorical.from_codes(IDS, TEXTS)), TEXTS.tolist()),
    "categories of ints": (pd.Series(BIG[IDS]).astype("category"), BIG.tolist()),
    "categorical": (pd.Categorical.from_codes(IDS, TEXTS), TEXTS.tolist()),
    "index": (pd.Index(BIG[IDS]), BIG.tolist()),
    "string": (pd.Series(TEXTS[IDS], dtype="string"), TEXTS.tolist()),
    "sparse series": (pd.Series(IDS, dtype=pd.SparseDtype("int64", 0)), [0, 1, 2]),
    "objects that are ints": (IDS.astype(object), [0, 1, 2]),
    "objects that are bools": ((IDS == 0).astype(object), [False, True]),
    "objects that are floats": (IDS.astype(float).astype(object), [0, 1, 2]),
    "texts": (TEXTS[IDS], TEXTS.tolist()),
    "list of texts": (TEXTS[IDS].tolist(), TEXTS.tolist()),
    "objects that are texts": (TEXTS[IDS].astype(object), TEXTS.tolist()),
    "texts that end with zero": (listed(["a", "a\0", "b"]), ["a", "a\0", "b"]),
    "bytes": (np.array([b"a", b"b", b"c"])[IDS], [b"a", b"b", b"c"]),
    "list of bytes": (listed([b"a", b"a\0", b"b"]), [b"a", b"a\0", b"b"]),
    "datetime64": (np.array(DATES, "M8[D]")[IDS], DATES),
    "dates": (objects(DATES), DATES),
    "list of dates": (listed(DATES), DATES),
    "time stamps": (pd.Series(STAMPS)[IDS], STAMPS.to_pydatetime().tolist()),
    "stamps of a zone": (pd.Series(STAMPS.tz_localize("UTC"))[IDS], [*STAMPS.tz_localize("UTC")]),
    "periods": (pd.Series(STAMPS.to_period("Y"))[IDS], [*STAMPS.to_period("Y")]),
    "decimals": (objects([decimal.Decimal(i) for i in range(3)]), [0, 1, 2]),
    "UUIDs": (objects([uuid.UUID(int=i) for i in range(3)]), [uuid.UUID(int=i) for i in range(3)]),
    "bools": (IDS == 0, [False, True]),
    "floats": (IDS * 1.0, [0, 1, 2]),
    "half floats": (IDS.astype("f2"), [0, 1, 2]),
    "other byte order": (IDS.astype(">i4"), [0, 1, 2]),
    "texts in other byte order": (TEXTS[IDS].astype(">U3"), TEXTS.tolist()),
    "ints of 64 bits": (listed([5, 2**63 + 1, 2**63 + 2]), [5, 2**63 + 1, 2**63 + 2]),
    "ints of both signs": (listed([-2, 2**63 + 1, 2**63 + 2]), [-2, 2**63 + 1, 2**63 + 2]),
    "ints of 70 bits": (listed([5, 2**70, 2**70 + 1]), [5, 2**70, 2**70 + 1]),
    "ints of NumPy": (listed([np.int8(-2), np.int64(3), np.uint64(2**63 + 1)]), [-2, 3, 2**63 + 1]),
    "ints and floats": (listed([1, 2.0, 3]), [1, 2, 3]),
    "masked without a mask": (np.ma.array(IDS, mask=False), [0, 1, 2]),
}

if hasattr(np.dtypes, "StringDType"):  # from NumPy 2 on
    SINGLE["texts of any width"] = (TEXTS[IDS].astype(np.dtypes.StringDType()), TEXTS.tolist())

# Every form of an indicator that means TRUTH.
SEVERAL = {
    "array": INDICATOR,
    "list of lists": INDICATOR.tolist(),
    "tuple of tuples": tuple(map(tuple, INDICATOR.tolist())),
    "bools": TRUTH,
    "floats": INDICATOR * 1.0,
    "matrix": matrix(INDICATOR),
    "objects that are ints": INDICATOR.astype(object),
    "objects that are bools": TRUTH.astype(object),
    "masked without a mask": np.ma.array(INDICATOR, mask=False),
    "frame": pd.DataFrame(INDICATOR),
    "frame of bools": pd.DataFrame(TRUTH),
    "frame of two types": pd.DataFrame(INDICATOR).astype({0: "float64", 1: "bool"}),
    "nullable frame": pd.DataFrame(INDICATOR).astype("Int64"),
    "sparse frame": pd.DataFrame.sparse.from_spmatrix(sparse.csr_matrix(INDICATOR)),
    "sparse frame of bools": pd.DataFrame(TRUTH).astype(pd.SparseDtype(bool)),
    "labels twice in coordinates": sparse.coo_array(
        (np.ones(2 * TRUTH.sum(), "i1"), np.tile(np.nonzero(TRUTH), 2)), shape=TRUTH.shape
    ),
    "stored zeros": sparse.csr_array(
        (INDICATOR.ravel(), np.tile(np.arange(5), 60), np.arange(61) * 5), shape=(60, 5)
    ),
    **{
        f"{form}_{kind} of {np.dtype(dtype)}": getattr(sparse, f"{form}_{kind}")(
            INDICATOR.astype(dtype)
        )
        for form in ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")
        for kind, dtype in (("array", bool), ("array", np.float32), ("matrix", np.int8))
    },
}


def of_arrow():
    """Forms of Arrow, as in SINGLE."""
    import pyarrow as pa

    texts = pa.array(TEXTS[IDS].tolist())
    codes = pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))
    return {
        "int64[pyarrow]": (pd.Series(BIG[IDS], dtype="int64[pyarrow]"), BIG.tolist()),
        "uint64[pyarrow]": (pd.Series(BIG[IDS], dtype="uint64[pyarrow]"), BIG.tolist()),
        "string[pyarrow]": (pd.Series(TEXTS[IDS], dtype="string[pyarrow]"), TEXTS.tolist()),
        "texts": (pd.Series(TEXTS[IDS], dtype=pd.ArrowDtype(pa.string())), TEXTS.tolist()),
        "dictionary": (pd.Series(TEXTS[IDS].tolist(), dtype=codes), TEXTS.tolist()),
        "array": (pa.array(BIG[IDS]), BIG.tolist()),
        "chunks": (pa.chunked_array([BIG[IDS][:30], BIG[IDS][30:]]), BIG.tolist()),
        "array of texts": (texts, TEXTS.tolist()),
        "array of codes": (texts.dictionary_encode(), TEXTS.tolist()),
        "array of dates": (pa.array(listed(DATES)), DATES),
        "table": (pa.table({"y": BIG[IDS]}), BIG.tolist()),
        "indicator": (pa.table({str(i): column for i, column in enumerate(INDICATOR.T)}), None),
    }


def of_polars():
    """Forms of polars, as in SINGLE."""
    import polars as pl

    decimals = [decimal.Decimal(i) for i in range(3)]
    return {
        "series": (pl.Series(BIG[IDS]), BIG.tolist()),
        "texts": (pl.Series(TEXTS[IDS].tolist()), TEXTS.tolist()),
        "categories": (pl.Series(TEXTS[IDS].tolist(), dtype=pl.Categorical), TEXTS.tolist()),
        "dates": (pl.Series(listed(DATES)), DATES),
        "decimals": (pl.Series(listed(decimals)), decimals),
        "frame": (pl.DataFrame({"y": BIG[IDS]}), BIG.tolist()),
        "indicator": (pl.DataFrame(INDICATOR), None),
    }
