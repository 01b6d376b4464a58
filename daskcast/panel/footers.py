"""What the client learns of a folder of Parquet files: footers and ids, no more.

Covers listing the files, checking their columns against each other, and indexing which entity is
in which row group. Does not cover reading times and values (``folder``).

Shapes: E entities, F row groups of all files.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from daskcast.errors import DataError
from daskcast.panel import frequency, limits
from daskcast.panel.columns import count_ids, missing_columns, quote, shorten, target_type_problems
from daskcast.panel.distant import found_in, last_bytes, opened_bytes
from daskcast.panel.rows import offsets_of
from daskcast.panel.times import (
    disguised_dates,
    holds_whole_numbers,
    is_text,
    is_whole,
    time_type_problems,
)
from daskcast.redact import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from daskcast.panel.rows import Ints
    from daskcast.records import Columns

#: What reading a damaged or vanished file may raise.
BROKEN = (OSError, EOFError, pa.ArrowException)

_SUFFIXES = (".parquet", ".parq", ".pq")
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_TAIL = 8  # bytes: the length of the footer, and the magic number


@dataclass(frozen=True, slots=True)
class File:
    """One file of the folder: its URL, its name in the folder, its size in bytes."""

    url: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class RowGroup:
    """One row group of one file.

    Parameters
    ----------
    url : str
        Of the file.
    number : int
    entity : str or None
        The id of all its rows, where the name of the folder around it tells.
    """

    url: str
    number: int
    entity: str | None


@dataclass(frozen=True, slots=True)
class Head:
    """What the footer of one file tells.

    Parameters
    ----------
    file : File
    n_rows : tuple of int
        Of each row group.
    entity : str or None
        As in :class:`RowGroup`.
    whole : bool
        Whether times are an index of whole numbers.
    digest : str
        Of the footer.
    """

    file: File
    n_rows: tuple[int, ...]
    entity: str | None
    whole: bool
    digest: str


@dataclass(frozen=True, slots=True)
class Index:
    """Who is where.

    Parameters
    ----------
    ids : tuple of str, length E
    sizes : ndarray of int64, shape [E]
    groups : tuple of RowGroup, length F
    entities : tuple of ndarray, length F
        Positions of the entities of each row group, ascending.
    """

    ids: tuple[str, ...]
    sizes: Ints
    groups: tuple[RowGroup, ...]
    entities: tuple[Ints, ...]

    def invert(self) -> tuple[Ints, Ints]:
        """Give offsets [E + 1] and, between them, the row groups of each entity."""
        who = np.concatenate(self.entities)
        where = np.repeat(np.arange(len(self.groups)), [len(x) for x in self.entities])
        counts = np.bincount(who, minlength=len(self.ids)).astype(np.int64)
        return offsets_of(counts), where[np.argsort(who, kind="stable")]


def is_parquet(name: str) -> bool:
    """Tell a Parquet file by its name."""
    return name.lower().endswith(_SUFFIXES)


@contextmanager
def opened(url: str, columns: Columns) -> Iterator[Any]:
    """Open a Parquet file of any filesystem.

    Ids and times that are text stay encoded as they are in the file: one text of a megabyte that
    stands in a million rows is one text in memory, too.

    Raises
    ------
    DataError
        Where opening it alone would take too much.
    """
    with opened_bytes(url) as file:
        limits.check_footer(file)
        with pq.ParquetFile(file) as parquet:
            limits.check_columns(parquet.metadata.num_columns)
            schema = parquet.schema_arrow
            texts = [
                name
                for name in (columns.entity, columns.time)
                if schema.names.count(name) == 1 and is_text(schema.field(name).type)
            ]
            yield (
                pq.ParquetFile(file, metadata=parquet.metadata, read_dictionary=texts)
                if texts
                else parquet
            )


def list_files(path: str) -> list[File]:
    """List the Parquet files of a folder and its folders; hidden ones (``.x``, ``_x``) are none.

    Raises
    ------
    DataError
        Where there are none, or the folder cannot be listed.
    """
    try:
        fs, root, infos = found_in(path)
    except (ImportError, OSError, ValueError) as error:
        raise DataError(f"cannot list {quote(path)}: {printable(error)}") from error
    found = {name[len(root) :].lstrip("/"): info for name, info in infos.items()}
    seen = {
        name: info
        for name, info in found.items()
        if not any(part.startswith((".", "_")) and "=" not in part for part in name.split("/"))
    }
    files = [
        File(fs.unstrip_protocol(info["name"]), name, int(info["size"]))
        for name, info in sorted(seen.items())
        if is_parquet(name)
    ]
    if not files:
        raise DataError(
            f"no Parquet files in the folder {quote(path)}: expected names that end in "
            f"{', '.join(_SUFFIXES)}, found {shorten(sorted(seen))}"
        )
    return files


def read_heads(files: Sequence[File], columns: Columns, freq: str | None) -> list[Head]:
    """Read every footer and check the columns.

    Raises
    ------
    DataError
        Names every problem found, each with its first file.
    """
    heads: list[Head] = []
    problems: dict[str, str] = {}
    for file in files:
        try:
            head, found = _head(file, columns, freq)
        except DataError as error:
            head, found = None, list(error.problems)
        except BROKEN as error:
            head, found = None, [f"cannot be read as Parquet: {printable(error)}"]
        for problem in found:
            problems.setdefault(problem, file.name)
        if head is not None:
            heads.append(head)
    if problems:
        raise DataError(*(f"{printable(name)}: {problem}" for problem, name in problems.items()))
    if len({head.whole for head in heads}) > 1:
        odd = next(head for head in heads if head.whole != heads[0].whole)
        names = f"{printable(heads[0].file.name)} and {printable(odd.file.name)}"
        raise DataError(
            f"column {columns.time!r} must be of one kind, found dates in some files and whole "
            f"numbers in others; {names} differ"
        )
    return heads


def _head(file: File, columns: Columns, freq: str | None) -> tuple[Head | None, list[str]]:
    with opened(file.url, columns) as parquet:
        schema, meta = parquet.schema_arrow, parquet.metadata
        entity = _hive_entity(file.name, columns.entity)
        names = list(schema.names) + ([] if entity is None else [columns.entity])
        problems = missing_columns(names, columns)
        if problems:
            return None, problems
        kind = schema.field(columns.time).type
        problems = time_type_problems(kind, columns.time)
        problems += target_type_problems(schema.field(columns.target).type, columns.target)
        if problems:
            return None, problems
        read = {columns.time, columns.target, *([] if entity is not None else [columns.entity])}
        for number in range(meta.num_row_groups):
            limits.check_promise(meta, read, limits.GROUP_SHARE, [number])
        n_rows = tuple(meta.row_group(i).num_rows for i in range(meta.num_row_groups))
        whole = _is_whole(parquet, kind, columns.time)
        dtype = np.dtype(np.int64 if whole else "M8[us]")
        problems = frequency.mismatch(freq, dtype, columns.time)
        if whole and is_whole(kind):
            problems += disguised_dates(_bounds(meta, columns.time), columns.time)
        return Head(file, n_rows, entity, whole, _footer(file)), problems


def _hive_entity(name: str, column: str) -> str | None:
    """Read the id in a folder name such as ``unique_id=JFK``."""
    for part in name.split("/")[:-1]:
        key, equals, value = part.partition("=")
        if equals and unquote(key) == column:
            return "" if value == _HIVE_NULL else unquote(value)
    return None


def _is_whole(parquet: Any, kind: Any, name: str) -> bool:
    """Tell whether times are whole numbers; of text, the first row group decides."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not is_text(kind):
        return is_whole(kind)
    if parquet.metadata.num_row_groups == 0:
        return False
    return holds_whole_numbers(parquet.read_row_group(0, columns=[name])[name])


def _bounds(meta: Any, name: str) -> Ints:
    """Collect the lowest and highest times that the footer tells."""
    bounds = []
    for i in range(meta.num_row_groups):
        group = meta.row_group(i)
        for j in range(group.num_columns):
            column = group.column(j)
            known = column.path_in_schema == name and column.is_stats_set
            if known and column.statistics.has_min_max:
                bounds += [column.statistics.min, column.statistics.max]
    return np.array([int(x) for x in bounds if isinstance(x, int)], np.int64)


def _footer(file: File) -> str:
    length = int.from_bytes(last_bytes(file.url, file.size, _TAIL)[:4], "little")
    footer = last_bytes(file.url, file.size, _TAIL + length)
    return hashlib.blake2b(footer, digest_size=16).hexdigest()


def fingerprint(heads: Sequence[Head]) -> str:
    """Digest of the names, sizes and footers of the files."""
    digest = hashlib.blake2b(digest_size=16)
    for head in heads:
        digest.update(repr((head.file.name, head.file.size, head.digest)).encode())
    return digest.hexdigest()


def index_ids(heads: Sequence[Head], columns: Columns) -> Index:
    """Read the id column of every file.

    Raises
    ------
    DataError
        Where ids are missing, or there are no rows at all.
    """
    groups: list[RowGroup] = []
    parts: list[pa.Array] = []
    counts: list[Ints] = []
    problems: list[str] = []
    for head in heads:
        for number, (ids, sizes, found) in enumerate(_ids(head, columns)):
            problems += [f"{printable(head.file.name)}, row group {number}: {x}" for x in found]
            if len(ids):
                groups.append(RowGroup(head.file.url, number, head.entity))
                parts.append(ids)
                counts.append(sizes)
        pa.default_memory_pool().release_unused()  # else the rows of many files add up
    if problems:
        raise DataError(*problems)
    if not groups:
        raise DataError("the table has no rows; expected at least one")
    # Arrow holds ids in a third of the memory of Python's texts, and sorts them as Python does.
    whole = pa.concat_arrays(parts).dictionary_encode()
    order = pc.sort_indices(whole.dictionary).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    who = rank[whole.indices.to_numpy()]
    sizes = np.bincount(who, weights=np.concatenate(counts)).astype(np.int64)
    members = np.split(who, np.cumsum([len(part) for part in parts])[:-1])
    ids = tuple(whole.dictionary.take(pa.array(order)).to_pylist())
    return Index(ids, sizes, tuple(groups), tuple(np.unique(x) for x in members))


def _ids(head: Head, columns: Columns) -> Iterator[tuple[pa.Array, Ints, list[str]]]:
    """Give ids and their rows of each row group of a file."""
    name = columns.entity
    if head.entity is not None:
        for n_rows in head.n_rows:
            missing = [] if head.entity else [f"the folder's name gives no {name!r}"]
            ids = [head.entity] if n_rows and head.entity else []
            yield pa.array(ids, pa.large_string()), np.array([n_rows]), missing
        return
    try:
        with opened(head.file.url, columns) as parquet:
            for number in range(len(head.n_rows)):
                column = parquet.read_row_group(number, columns=[name], use_threads=False)[name]
                yield count_ids(column, name)
    except BROKEN as error:
        raise DataError(
            f"{printable(head.file.name)} cannot be read as Parquet: {printable(error)}"
        ) from error
