"""Data frames in memory: pandas, polars, pyarrow, Dask, and all that speak Arrow.

Covers taking three columns out of a frame as Arrow, without changing it. Does not cover files
(``readers``) or checking the columns (``columns``).

A Dask DataFrame is computed here, its three columns alone, and so goes through the client; a
folder of Parquet files does not.
"""

from __future__ import annotations

import math
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from daskcast.errors import DataError
from daskcast.panel.columns import missing_columns, quote, tell_unread
from daskcast.panel.memory import RawTable
from daskcast.panel.times import zoned_problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daskcast.records import Columns


def read(data: Any, columns: Columns) -> RawTable:
    """Take the user's three columns out of a frame.

    Parameters
    ----------
    data : data frame
        Of pandas, polars, pyarrow or Dask, or anything with ``__arrow_c_stream__``.
    columns : Columns

    Raises
    ------
    DataError
        Where it is no frame, or columns are missing or of mixed types.
    """
    names = [columns.entity, columns.time, columns.target]
    if isinstance(data, pd.DataFrame):
        return _read_pandas(data, columns, "pandas")
    if hasattr(data, "dask") and hasattr(data, "compute") and hasattr(data, "columns"):
        _check(list(data.columns), columns)
        return _read_pandas(data[names].compute(), columns, "dask")
    kind = type(data).__module__.partition(".")[0]
    if hasattr(data, "collect") and hasattr(data, "collect_schema"):  # a lazy frame of polars
        _check(data.collect_schema().names(), columns)
        data = data.select(names).collect()
    if isinstance(data, pa.Table | pa.RecordBatch) or hasattr(data, "__arrow_c_stream__"):
        table = data if isinstance(data, pa.Table) else _as_table(data)
        _check(table.column_names, columns)
        return RawTable(kind, *(table[name] for name in names))
    raise DataError(_no_table(data))


def _as_table(data: Any) -> pa.Table:
    try:
        return pa.table(data)
    except pa.ArrowInvalid as error:  # one column, for example
        raise DataError(f"{_no_table(data)} ({error})") from error


def _no_table(data: object) -> str:
    return (
        f"cannot read data of type {type(data).__module__}.{type(data).__qualname__}; expected a "
        "path, or a data frame of pandas, polars, pyarrow or Dask"
    )


def _check(found: Sequence[Any], columns: Columns, index: Sequence[Any] = ()) -> None:
    problems = missing_columns(found, columns)
    hidden = [name for name in index if name in (columns.entity, columns.time, columns.target)]
    if problems and hidden:
        problems.append(f"{quote(hidden)[1:-1]} is in the index; reset_index() makes it a column")
    if problems:
        raise DataError(*problems)
    tell_unread(found, columns)


def _read_pandas(data: pd.DataFrame, columns: Columns, kind: str) -> RawTable:
    _check(data.columns.to_list(), columns, data.index.names)
    arrays: list[Any] = []
    problems: list[str] = []
    for name, expected in (
        (columns.entity, "ids of one type"),
        (columns.time, "times of one type"),
        (columns.target, "numbers"),
    ):
        series = data[name]
        if isinstance(series.dtype, pd.DatetimeTZDtype):  # Arrow would warn about its zone
            arrays.append(None)
            problems.append(_zoned(name, series.dtype, is_time=name == columns.time))
            continue
        if isinstance(series.dtype, pd.PeriodDtype):
            series = series.dt.to_timestamp()
        try:
            array = None if _mixed(series) else pa.array(series, from_pandas=True)
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            array = None
        if array is None:
            array, found = _array_of_objects(series, name, expected)
            problems += found
        arrays.append(pa.chunked_array([array]) if isinstance(array, pa.Array) else array)
    return RawTable(kind, arrays[0], arrays[1], arrays[2], tuple(problems))


def _zoned(name: str, dtype: pd.DatetimeTZDtype, *, is_time: bool) -> str:
    if is_time:
        return zoned_problem(name, f"times in the zone {dtype.tz}")
    return f"column {name!r} must hold ids or numbers, found {dtype}"


def _mixed(series: Any) -> bool:
    """Tell whether dates, times or truth values stand beside others, which Arrow would read alike.

    Where a date comes first, it takes 7 for the eighth day of 1970, and a time for its day.
    """
    if series.dtype != object:
        return False
    kinds = set(map(type, series))
    if len(kinds) == 1 or not any(issubclass(kind, date | bool | np.bool_) for kind in kinds):
        return False
    known = {type(value) for value in series if not _is_missing(value)}
    return len({datetime if issubclass(kind, datetime) else kind for kind in known}) > 1


def _array_of_objects(series: Any, name: str, expected: str) -> tuple[Any, list[str]]:
    """Convert a column of Python objects that Arrow refuses, or say which value is odd."""
    values = series.to_list()
    known = [value for value in values if not _is_missing(value)]
    if known and all(isinstance(value, pd.Period) for value in known):
        return pa.array([_start(value) for value in values], from_pandas=True), []
    if all(isinstance(x, int | float | Decimal) and not isinstance(x, bool) for x in known):
        floats = [None if _is_missing(value) else _float(value) for value in values]
        return pa.array(floats, pa.float64()), []
    others = (
        (row, value)
        for row, value in enumerate(values, 1)
        if not _is_missing(value) and type(value) is not type(known[0])
    )
    row, odd = next(others, (0, None))
    if not row:
        found = (
            f"{type(known[0]).__name__} values that Arrow cannot hold, such as {quote(known[0])}"
        )
        return None, [f"column {name!r} must hold {expected}, found {found}; make them plain text"]
    return None, [
        f"column {name!r} must hold {expected}, found {type(known[0]).__name__} {quote(known[0])} "
        f"and {type(odd).__name__} {quote(odd)} first in row {row}; make them one type"
    ]


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NaT or value is pd.NA or value != value  # noqa: PLR0124


def _float(value: Any) -> float:
    """Give a number as a float; a whole number beyond all floats is infinite, as Arrow has it."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _start(value: object) -> pd.Timestamp | None:
    return value.to_timestamp() if isinstance(value, pd.Period) else None
