"""The three columns of a panel, as any type that may hold them.

Covers ids, times and targets in the types of numpy, pandas, pyarrow and Python, and tables of
polars and pyarrow. Does not cover what the columns say (``panel_strategies``).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from hypothesis import strategies as st

LOWEST = np.iinfo(np.int64).min
NASTY = (
    "JFK", "NA", "null", "nan", "None", "007", " x", " ", "x ", "a\nb", "a\r\nb", "\t", "\x00",
    "a\x00", "../../etc/passwd", "C:\\con", "/", ".", "..", "a/b", "%s", "{0}", "{{7*7}}",
    "<script>x</script>", "'; DROP TABLE x;--", "\u00e9", "e\u0301", "\u202eabc", "\U0001f6eb",
    "\ufeff", "x" * 5000, "True", "1e5",
)  # fmt: skip
PERIODS = {"MS": "M", "QS": "Q-DEC", "YS": "Y-DEC", "D": "D", "h": "h", "s": "s"}
WIDTHS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


@dataclass(frozen=True)
class Ids:
    """Ids of a panel: as text, and how a column of them is made."""

    texts: tuple[str, ...]
    kind: str

    def column(self, owners: Any) -> Any:
        """Make the column, from the position of each row's id."""
        if self.kind == "category":
            return pd.Categorical.from_codes(owners, categories=[*self.texts, "unused id"])
        texts = np.array(self.texts, object)[owners]
        if self.kind == "object":
            return texts
        if self.kind in ("string", "string[pyarrow]"):
            return pd.array(texts, dtype=self.kind)
        if self.kind == "arrow":
            return pd.array(texts, dtype=pd.ArrowDtype(pa.large_string()))
        return pd.array([int(text) for text in texts], dtype=self.kind)


@st.composite
def ids(draw: Any, max_size: int) -> Ids:
    """Draw the ids of a panel."""
    texts = st.one_of(
        st.sampled_from(NASTY),
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    )
    kind = draw(
        st.sampled_from(
            [
                *["object", "object", "string", "string[pyarrow]", "arrow", "category"],
                *["int8", "int64", "uint64", "Int64", "Int16"],
            ]
        )
    )
    if kind.lower().startswith(("int", "uint")):
        low = 0 if kind == "uint64" else -128
        texts = st.integers(low, 127).map(str)
    found = draw(st.lists(texts, min_size=1, max_size=max_size, unique=True))
    return Ids(tuple(found), kind)


def targets(values: Any) -> Any:
    """Draw a column of values, with the floats that it holds; rounded where its type needs it."""
    return st.sampled_from(
        ["float64"] * 6 + ["float32", "float16", "Float64", "Float32", "object", "decimal", "mixed"]
        + ["arrow double", "arrow decimal", "Int64", "UInt8", "arrow int32", *WIDTHS]
    ).map(lambda kind: _target(kind, values))  # fmt: skip


def _target(kind: str, values: Any) -> tuple[Any, Any]:
    if kind in ("float64", "float32", "float16"):
        with np.errstate(over="ignore", under="ignore"):
            plain = values.astype(kind)
        return plain, plain.astype(float)
    listed = [None if np.isnan(x) else float(x) for x in values]
    if kind == "object":
        return np.array(listed, object), values
    if kind == "mixed":
        some = [int(x) if x is not None and abs(x) < 1e6 and x == int(x) else x for x in listed]
        return np.array([*some, None], object)[:-1], values
    if kind in ("Float64", "Float32", "arrow double"):
        with np.errstate(over="ignore", under="ignore"):
            column = pd.array(
                values if kind == "Float64" else values.astype(kind.lower().split()[-1]),
                dtype=pd.ArrowDtype(pa.float64()) if kind == "arrow double" else kind,
            )
        return column, column.to_numpy(float, na_value=np.nan)
    if kind in ("decimal", "arrow decimal"):
        return _decimals(kind, values)
    return _whole(kind, values)


def _decimals(kind: str, values: Any) -> tuple[Any, Any]:
    """Make decimals with two places; the infinite and the huge are bounded."""
    bounded = np.round(np.clip(values, -1e12, 1e12), 2)
    listed = [None if np.isnan(x) else Decimal(f"{x:.2f}") for x in bounded]
    floats = np.array([np.nan if x is None else float(x) for x in listed])
    if kind == "decimal":
        return np.array([*listed, None], object)[:-1], floats
    return pd.array(listed, dtype=pd.ArrowDtype(pa.decimal128(20, 2))), floats


def _whole(kind: str, values: Any) -> tuple[Any, Any]:
    """Make whole numbers; where the type knows none that is missing, zero stands for it."""
    width = kind.lower().removeprefix("arrow ")
    bounds = np.iinfo(width)
    missing = np.isnan(values)
    bounded = np.clip(np.where(missing, 0.0, values), float(bounds.min), float(bounds.max))
    listed = [min(max(int(x), bounds.min), bounds.max) for x in np.rint(bounded)]
    floats = np.array([float(x) for x in listed])
    if kind in WIDTHS:
        return np.array(listed, width), floats
    with_holes = [None if hole else x for x, hole in zip(listed, missing, strict=True)]
    dtype = pd.ArrowDtype(pa.int32()) if kind == "arrow int32" else kind
    return pd.array(with_holes, dtype=dtype), np.where(missing, np.nan, floats)


def times(plain: Any, freq: str) -> Any:
    """Draw a column of times from datetime64[us] or int64, the lowest number where missing."""
    if plain.dtype.kind != "M":
        kinds = ["plain", "Int64", "text", "object", "arrow", "int32", "float"]
        return st.sampled_from(kinds).map(lambda kind: _whole_times(kind, plain))
    kinds = ["ns", "us", "us", "ms", "s", "text", "text", "category", "object", "arrow", "datetime"]
    kinds += ["date", "date32", "period", "nonsense"]
    return st.sampled_from(kinds).map(lambda kind: _dates(kind, plain, freq))


def _whole_times(kind: str, plain: Any) -> Any:
    missing = plain == LOWEST
    known = plain[~missing]
    listed = [None if hole else int(x) for x, hole in zip(plain, missing, strict=True)]
    small = len(known) > 0 and bool(np.all(np.abs(known.astype(float)) < 2**31))
    if kind == "text" and all(x is None or abs(x) < 10**17 for x in listed):
        return np.array(["" if x is None else str(x) for x in listed], object)
    if kind == "float" and small:
        return np.array([np.nan if x is None else float(x) for x in listed])
    if kind == "int32" and small and not missing.any():
        return plain.astype(np.int32)
    if kind == "object":
        return np.array([*listed, None], object)[:-1]
    if kind == "arrow":
        return pd.array(listed, dtype=pd.ArrowDtype(pa.int64()))
    return plain if kind == "plain" and not missing.any() else pd.array(listed, dtype="Int64")


def _dates(kind: str, plain: Any, freq: str) -> Any:  # noqa: PLR0911 - one for each type
    """Write dates in a type, or leave them where that cannot hold them."""
    missing = np.isnat(plain)
    known = plain[~missing]
    python = bool(np.all((known > np.datetime64("0001-02")) & (known < np.datetime64("9999-11"))))
    midnight = bool(np.all(known == known.astype("M8[D]")))
    if kind in ("ms", "s") and bool(np.all(known == known.astype(f"M8[{kind}]"))):
        return plain.astype(f"M8[{kind}]")
    if kind == "ns" and bool(np.all(np.abs(known.astype(np.int64)) < 9 * 10**15)):
        return plain.astype("M8[ns]")
    if kind == "arrow":
        return pd.array(pd.Series(plain), dtype=pd.ArrowDtype(pa.timestamp("us")))
    if kind == "period" and freq in PERIODS and python:
        return _periods(plain, PERIODS[freq])
    if kind in ("date", "date32") and midnight and python:
        days = np.array([*plain.astype("M8[D]").astype(object), None], object)[:-1]
        return days if kind == "date" else pd.array(days, dtype=pd.ArrowDtype(pa.date32()))
    if kind in ("datetime", "object") and python:
        listed = [None if hole else x for x, hole in zip(plain.tolist(), missing, strict=True)]
        wrap = pd.Timestamp if kind == "object" else (lambda x: x)
        return np.array([x if x is None else wrap(x) for x in listed] + [None], object)[:-1]
    if kind in ("text", "category", "nonsense") and python:
        none = "13/13/2020" if kind == "nonsense" else None
        texts = [none if hole else _text(x) for x, hole in zip(plain, missing, strict=True)]
        return pd.Categorical(texts) if kind == "category" else np.array([*texts, 0], object)[:-1]
    return plain


def _text(time: Any) -> str:
    """Write a date alone where it is midnight."""
    day = time.astype("M8[D]")
    return str(day) if day == time else str(time).replace("T", " ")


def _periods(plain: Any, period: str) -> Any:
    """Make periods, unless a time is not the start of one."""
    made = pd.PeriodIndex(pd.DatetimeIndex(plain), freq=period)
    return made if made.to_timestamp().equals(pd.DatetimeIndex(plain)) else plain


def contained(frame: pd.DataFrame, kind: str) -> Any:
    """Give the frame, or a table of polars or pyarrow of it where that can hold it."""
    periods = any(isinstance(dtype, pd.PeriodDtype) for dtype in frame.dtypes)
    if kind == "pandas" or periods:  # of pandas alone
        return frame
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        return pl.from_arrow(table) if kind == "polars" else table
    except (pa.ArrowException, pl.exceptions.PolarsError, TypeError, ValueError):
        return frame
