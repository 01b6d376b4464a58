"""Where a table may come from: files and data frames.

Covers choosing a reader and reading the user's three columns as Arrow, types not yet checked. Does
not cover checking them (``columns``) or folders of Parquet files, read on the workers
(``folder``).
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import threading
import time
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv as pcsv

from daskcast.errors import DataError
from daskcast.panel import frames, limits
from daskcast.panel.columns import missing_columns, quote, tell_unread
from daskcast.panel.distant import opened_bytes, path_here, what_is_at
from daskcast.panel.folder import FolderSource
from daskcast.panel.footers import is_parquet, opened
from daskcast.panel.memory import MemorySource, RawTable
from daskcast.redact import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from daskcast.config import ForecastConfig
    from daskcast.panel.rows import Source
    from daskcast.records import Columns

#: What counts as a missing target in a CSV; in an id these are text like any other.
NULLS = ("", "NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "-nan", "NULL", "null", "None", "n/a")

_TEXT = pa.dictionary(pa.int32(), pa.string())
#: What Arrow says of a line that is longer than the blocks that it parses.
_STRADDLES = "straddl"

_NOTICE_S = 0.1
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
        kind, inner = what_is_at(path)
    except (ImportError, OSError, ValueError) as error:
        raise DataError(f"cannot open {quote(path)}: {printable(error)}") from error
    if kind == "folder":
        return FolderSource.of(path, config)
    if not kind:
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


def _require(found: Sequence[str], columns: Columns) -> None:
    if problems := missing_columns(found, columns):
        raise DataError(*problems)
    tell_unread(found, columns)


def _read_parquet(path: str, columns: Columns) -> RawTable:
    try:
        with opened(path, columns) as parquet:
            _require(parquet.schema_arrow.names, columns)
            names = [columns.entity, columns.time, columns.target]
            limits.check_promise(parquet.metadata, names, limits.TABLE_SHARE)
            table = parquet.read(columns=names)
    except DataError as error:
        raise DataError(*(f"{quote(path)}: {problem}" for problem in error.problems)) from error
    except _BROKEN as error:
        raise DataError(f"cannot read {quote(path)} as Parquet: {printable(error)}") from error
    return RawTable("parquet", *(table[name] for name in names))


def _read_csv(path: str, columns: Columns) -> RawTable:
    try:
        header = _header(path)
        limits.check_columns(len(header))
        _require(header, columns)
        try:
            table = _parse_csv(path, columns, target=pa.float64())
        except pa.ArrowInvalid as error:  # mostly a target that is no number: find it
            if _STRADDLES in str(error):
                raise DataError(limits.long_line()) from error
            table = _parse_csv(path, columns, target=pa.string())
    except DataError as error:
        raise DataError(*(f"{quote(path)}: {problem}" for problem in error.problems)) from error
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
    with opened_bytes(path, compression="infer") as file:
        start = file.read(limits.LONGEST_LINE)
    if len(start) == limits.LONGEST_LINE and not re.search(rb"[\r\n]", start):
        raise DataError(limits.long_line())
    text = codecs.getincrementaldecoder("utf-8-sig")().decode(start)
    return next(csv.reader(io.StringIO(text, newline="")), [])


def _parse_csv(path: str, columns: Columns, *, target: Any) -> Any:
    """Read three columns; names repeat only among the others, and those are not read.

    As a stream: a few kilobytes of gzip may hold rows without end.
    """
    names = [columns.entity, columns.time, columns.target]
    types = {columns.entity: _TEXT, columns.time: _TEXT, columns.target: target}
    convert = pcsv.ConvertOptions(
        include_columns=names, column_types=types, strings_can_be_null=False, null_values=NULLS
    )
    parse = pcsv.ParseOptions(newlines_in_values=True)
    with _stream(path) as file:
        reader = pcsv.open_csv(file, parse_options=parse, convert_options=convert)
        batches, n_rows, n_bytes = [], 0, 0
        for batch in reader:
            batches.append(batch)
            n_rows, n_bytes = n_rows + len(batch), n_bytes + batch.nbytes
            limits.check_rows(n_rows, n_bytes, limits.TABLE_SHARE, "it holds more than")
        return pa.Table.from_batches(batches, schema=reader.schema)


@contextmanager
def _stream(path: str) -> Iterator[Any]:
    """Open a file for Arrow to read ahead in it; one of this machine without Python's help."""
    if (inner := path_here(path)) is not None:
        kind = "gzip" if inner.lower().endswith(".gz") else None
        with pa.input_stream(inner, compression=kind) as file:
            yield file
    else:
        with opened_bytes(path, compression="infer") as file, _Tap(file) as tap:
            yield tap


class _Tap(io.RawIOBase):
    """A distant file that gives no more once it is left.

    Arrow reads ahead in a thread of its own. That of a table which was refused would go on, and
    abort the process where it ends meanwhile: it gets a moment to notice.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._open = True

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        with self._lock:
            return bytes(self._file.read(size)) if self._open else b""

    def __exit__(self, kind: object, *_error: object) -> None:
        with self._lock:
            self._open = False
        if kind is not None:
            time.sleep(_NOTICE_S)


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
