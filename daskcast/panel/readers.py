"""Where a table may come from: files and data frames.

Covers choosing a reader and reading the user's three columns as Arrow, types not yet checked. Does
not cover checking them (``columns``) or folders of Parquet files, read on the workers
(``folder``).
"""

from __future__ import annotations

import csv
import io
import os
import zlib
from typing import TYPE_CHECKING, Any

import fsspec
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from daskcast.errors import DataError
from daskcast.panel import frames
from daskcast.panel.columns import missing_columns, quote
from daskcast.panel.folder import FolderSource
from daskcast.panel.footers import is_parquet
from daskcast.panel.memory import MemorySource, RawTable
from daskcast.redact import printable

if TYPE_CHECKING:
    from daskcast.config import ForecastConfig
    from daskcast.panel.rows import Source
    from daskcast.records import Columns

#: What counts as a missing target in a CSV; in an id these are text like any other.
NULLS = ("", "NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "-nan", "NULL", "null", "None", "n/a")

_TEXT = pa.dictionary(pa.int32(), pa.string())
_BROKEN = (OSError, EOFError, zlib.error, csv.Error, UnicodeError, pa.ArrowException)


def open_source(data: object, config: ForecastConfig) -> Source:
    """Open the user's data and check it.

    Parameters
    ----------
    data : path, URL or data frame
        A ``.csv``, ``.csv.gz`` or ``.parquet`` file, a folder of Parquet files, or a table of
        pandas, polars, pyarrow or Dask. It is not changed. What is an open source in memory
        stays as it is.
    config : ForecastConfig
        Names the columns and, where the user gave it, the frequency.

    Returns
    -------
    Source

    Raises
    ------
    DataError
        Where the table cannot be used: names every problem found.

    Examples
    --------
    >>> import pandas as pd
    >>> from daskcast.config import ForecastConfig
    >>> df = pd.DataFrame({"unique_id": ["NA", "NA"], "ds": ["2024-01", "2024-02"], "y": [1, 2]})
    >>> open_source(df, ForecastConfig(h=1)).ids
    ('NA',)
    """
    columns = config.columns
    if isinstance(data, MemorySource):
        return data
    if isinstance(data, str | os.PathLike):
        return _open_path(os.fspath(data), config)
    return MemorySource.of(frames.read(data, columns), columns, config.freq)


def _open_path(path: str, config: ForecastConfig) -> Source:
    try:
        fs, inner = fsspec.core.url_to_fs(path)
        is_folder, is_file = fs.isdir(inner), fs.isfile(inner)
    except (ImportError, OSError, ValueError) as error:
        raise DataError(f"cannot open {quote(path)}: {printable(error)}") from error
    if is_folder:
        return FolderSource.of(path, config)
    if not is_file:
        raise DataError(f"no file or folder {quote(path)}; check the path")
    if inner.lower().endswith((".csv", ".csv.gz")):
        raw = _read_csv(path, config.columns)
    elif is_parquet(inner):
        raw = _read_parquet(path, config.columns)
    else:
        raise DataError(
            f"cannot tell what {quote(path)} is: expected a name that ends in .csv, .csv.gz or "
            ".parquet, or a folder of Parquet files"
        )
    return MemorySource.of(raw, config.columns, config.freq)


def _read_parquet(path: str, columns: Columns) -> RawTable:
    try:
        with fsspec.open(path, "rb") as file:
            parquet = pq.ParquetFile(file)
            problems = missing_columns(parquet.schema_arrow.names, columns)
            if problems:
                raise DataError(*problems)
            names = [columns.entity, columns.time, columns.target]
            table = parquet.read(columns=names)
    except _BROKEN as error:
        raise DataError(f"cannot read {quote(path)} as Parquet: {printable(error)}") from error
    return RawTable("parquet", *(table[name] for name in names))


def _read_csv(path: str, columns: Columns) -> RawTable:
    try:
        header = _header(path)
        problems = missing_columns(header, columns)
        if problems:
            raise DataError(*problems)
        try:
            table = _parse_csv(path, columns, target=pa.float64())
        except pa.ArrowInvalid:  # mostly a target that is no number: find it
            table = _parse_csv(path, columns, target=pa.string())
    except _BROKEN as error:
        raise DataError(
            f"cannot read {quote(path)} as CSV (comma-separated, UTF-8): {printable(error)}"
        ) from error
    target = table[columns.target]
    problems = [] if pa.types.is_floating(target.type) else [_not_numeric(target, columns.target)]
    return RawTable(
        "csv",
        table[columns.entity],
        table[columns.time],
        None if problems else target,
        tuple(problems),
    )


def _header(path: str) -> list[str]:
    with (
        fsspec.open(path, "rb", compression="infer") as file,
        io.TextIOWrapper(file, "utf-8-sig", newline="") as text,
    ):
        return next(csv.reader(text), [])


def _parse_csv(path: str, columns: Columns, *, target: Any) -> Any:
    """Read three columns; names repeat only among the others, and those are not read."""
    names = [columns.entity, columns.time, columns.target]
    types = {columns.entity: _TEXT, columns.time: _TEXT, columns.target: target}
    convert = pcsv.ConvertOptions(
        include_columns=names, column_types=types, strings_can_be_null=False, null_values=NULLS
    )
    parse = pcsv.ParseOptions(newlines_in_values=True)
    with fsspec.open(path, "rb", compression="infer") as file:
        return pcsv.read_csv(file, parse_options=parse, convert_options=convert)


def _not_numeric(texts: Any, name: str) -> str:
    """Name the first value of a CSV column that is no number."""
    for row, text in enumerate(texts.to_pylist(), 1):
        if text not in NULLS and not _is_number(text):
            return (
                f"column {name!r} must be numeric, found {quote(text)} first in row {row}; correct "
                "it, or leave it empty to count as missing"
            )
    return f"column {name!r} must be numeric, and some value in it is not; correct it"


def _is_number(text: str) -> bool:
    try:
        float(text.strip())
    except ValueError:
        return False
    return "_" not in text and text.isascii()  # Arrow reads plain digits alone
