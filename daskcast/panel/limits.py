"""How much a table may ask for: what no honest one does is refused before it is opened.

Covers the limits, what the footer of a Parquet file promises, and the words. Does not cover reading
(``readers``, ``footers``, ``folder``), which asks here first, and of a CSV as it goes on.

A few kilobytes of Parquet or of gzip can hold ten billion rows. What a footer promises is known
before any of it is read; a footer that lies costs a page, at most 2 GB.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from daskcast.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

TABLE_SHARE = 1 / 2
"""Of the memory of this machine or container, for a table that is read whole."""

GROUP_SHARE = 1 / 8
"""The same, for the row groups of one file that a worker reads at once."""

ROW_BYTES = 64
"""In memory, of one row with id, time and value, while it is read and sorted."""

MOST_COLUMNS = 100_000
LONGEST_ID = 65_536
"""In bytes of UTF-8."""

LONGEST_LINE = 1 << 20
"""Of a CSV, in bytes; Arrow parses blocks of this size, and a line must end within two."""

LARGEST_FOOTER = 128 << 20
"""Of a Parquet file, in bytes; opened it takes about six times as much."""

_TAIL = 8  # bytes: the length of the footer, and the magic number
_UNITS = ("bytes", "kB", "MB", "GB")


@functools.cache
def memory() -> int:
    """Give the bytes of memory that this process may use: of the machine, or of its container."""
    from distributed.system import MEMORY_LIMIT  # noqa: PLC0415 - heavy

    return int(MEMORY_LIMIT)


def check_rows(n_rows: int, n_bytes: int, share: float, what: str) -> None:
    """Refuse more rows, or larger ones, than fit into a share of the memory.

    Parameters
    ----------
    n_rows, n_bytes : int
        Promised, or read so far; the bytes as they are in memory or uncompressed.
    share : float
    what : str
        Such as ``it holds``.

    Raises
    ------
    DataError
    """
    needed, room = max(n_rows * ROW_BYTES, n_bytes), int(share * memory())
    if needed > room:
        raise DataError(
            f"{what} {n_rows:,} rows, which take {_size(needed)} in memory; at most {_size(room)}, "
            f"{share:.1%} of the memory here, may be read at once: {_way_out(share)}"
        )


def _way_out(share: float) -> str:
    if share == TABLE_SHARE:
        return "give a folder of Parquet files, which is read in parts, or more memory"
    return "write files with smaller row groups (a million rows is usual), or give more memory"


def check_columns(n_columns: int) -> None:
    """Refuse a table with more columns than anyone has."""
    if n_columns > MOST_COLUMNS:
        raise DataError(
            f"found {n_columns:,} columns, at most {MOST_COLUMNS:,} are read; expected a long "
            "table, with a column each for entity, time and target"
        )


def check_footer(file: Any) -> None:
    """Refuse a Parquet file whose footer alone would fill the memory; leaves the file at 0."""
    size = file.seek(0, 2)
    file.seek(max(size - _TAIL, 0))
    length = int.from_bytes(file.read(4), "little")
    file.seek(0)
    if length > LARGEST_FOOTER and size > length:  # a length beyond the file is for Arrow to tell
        raise DataError(
            f"its footer has {_size(length)}, at most {_size(LARGEST_FOOTER)} are read; write it "
            "with fewer columns, or with fewer and larger row groups"
        )


def check_promise(
    metadata: Any, names: Collection[str], share: float, groups: Iterable[int] | None = None
) -> None:
    """Refuse what the footer of a Parquet file promises to be too large.

    Parameters
    ----------
    metadata : pyarrow.parquet.FileMetaData
    names : collection of str
        Of the columns that are read.
    share : float
        Of the memory.
    groups : iterable of int, optional
        Numbers of the row groups that are read at once; None for all.
    """
    read = [j for j in range(metadata.num_columns) if _is_read(metadata, j, names)]
    n_rows = n_bytes = 0
    for number in range(metadata.num_row_groups) if groups is None else groups:
        group = metadata.row_group(number)
        n_rows += group.num_rows
        n_bytes += sum(group.column(j).total_uncompressed_size for j in read)
    what = "it promises" if groups is None else "row groups that are read at once promise"
    check_rows(n_rows, n_bytes, share, what)


def _is_read(metadata: Any, number: int, names: Collection[str]) -> bool:
    path = metadata.schema.column(number).path
    return path in names or path.partition(".")[0] in names


def long_ids(n_bytes: int, name: str) -> list[str]:
    """Say that an id is longer than any name."""
    if n_bytes <= LONGEST_ID:
        return []
    return [
        f"column {name!r} holds an id of {n_bytes:,} bytes, at most {LONGEST_ID:,} are taken; give "
        "the name or number of an entity"
    ]


def long_line() -> str:
    """Say that a line has no end."""
    return (
        f"a line of it has no end within {_size(LONGEST_LINE)}; expected one line for each row (is "
        "a quotation mark left open?)"
    )


def _size(n_bytes: int) -> str:
    """Write a number of bytes for people.

    Examples
    --------
    >>> _size(1536), _size(12_000_000_000)
    ('1.5 kB', '12.0 GB')
    """
    size, unit = float(n_bytes), 0
    while size >= 1000 and unit < len(_UNITS) - 1:  # noqa: PLR2004
        size, unit = size / 1000, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{n_bytes} bytes"
