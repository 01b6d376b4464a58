"""A folder of Parquet files, read where the work is done.

Covers the source that the client sees and the batches that workers read. Does not cover the index
that the client makes of footers and ids (``footers``), or single files (``readers``): those are
read whole.

An entity may be spread over several files. A batch reads the row groups in which its entities
are, so files sorted by entity, or one file for each (``unique_id=JFK/part-0.parquet``, as Hive
writes them), are read once; files by date are read by every batch.

What only the rows can tell, such as a time that is no date, is found on the worker and becomes
the problem of that entity.

Shapes: E entities, F row groups of all files, N rows of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daskcast.errors import DataError
from daskcast.panel import limits
from daskcast.panel.columns import encoded, plain_values, quote, shorten
from daskcast.panel.footers import (
    BROKEN,
    fingerprint,
    index_ids,
    list_files,
    opened,
    read_heads,
)
from daskcast.panel.memory import describe
from daskcast.panel.rows import sort_rows
from daskcast.panel.times import plain_times_or_missing
from daskcast.redact import printable

if TYPE_CHECKING:
    from daskcast.config import ForecastConfig
    from daskcast.panel.footers import RowGroup
    from daskcast.panel.rows import BatchData, Ints, Rows
    from daskcast.records import Columns, Floats


#: Rows of a file in memory at a time, however large its row groups are.
N_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class FolderBatch:
    """Some entities of a folder: names alone, until loaded on a worker.

    Parameters
    ----------
    ids : tuple of str
        Ascending.
    groups : tuple of RowGroup
        In which they are, in the order of the files.
    columns : Columns
    whole : bool
        Whether times are an index of whole numbers.
    """

    ids: tuple[str, ...]
    groups: tuple[RowGroup, ...]
    columns: Columns
    whole: bool

    def load(self) -> Rows:
        """Read the rows of these entities.

        Raises
        ------
        DataError
            Where a file has changed or cannot be read any more.
        """
        parts: list[tuple[Ints, Ints, Floats]] = []
        for url, members in groupby(self.groups, key=lambda group: group.url):
            try:
                with opened(url, self.columns) as parquet:
                    parts += [self._read(parquet, group) for group in members]
            except BROKEN as error:
                told = f"cannot read {quote(url)} any more: {printable(error)}"
                raise DataError(told) from error
        codes, bits, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        times = bits if self.whole else bits.view("M8[us]")
        return sort_rows(codes, self.ids, times, values)

    def trouble(self) -> str:
        """Say what keeps this process from the first of the files; nothing where all is well."""
        try:
            with opened(self.groups[0].url, self.columns):
                return ""
        except (*BROKEN, ImportError) as error:
            return f"{quote(self.groups[0].url)}: {printable(error)}"

    def _read(self, parquet: Any, group: RowGroup) -> tuple[Ints, Ints, Floats]:
        """Read this batch's rows of one row group: position of the entity, bits of time, value.

        One at a time: of files by date, every batch reads all of them.
        """
        time, target, entity = self.columns.time, self.columns.target, group.entity
        names = [time, target] if entity is not None else [self.columns.entity, time, target]
        limits.check_promise(parquet.metadata, names, limits.GROUP_SHARE, [group.number])
        if missing := set(names) - set(parquet.schema_arrow.names):
            lost = shorten(sorted(missing))
            raise DataError(f"{quote(group.url)} has changed: it has lost {lost}")
        codes, own = [], []
        for part in parquet.iter_batches(N_ROWS, row_groups=[group.number], columns=names):
            table = pa.Table.from_batches([part])
            found = self._codes(table, entity)
            rows = np.flatnonzero(found >= 0)
            codes.append(found[rows])
            own.append(table.take(pa.array(rows)))
        table = pa.concat_tables(own)
        times = plain_times_or_missing(table[time], whole=self.whole)
        values, problems = plain_values(table[target], target)
        if problems:
            changed = f"{quote(group.url)} has changed"
            raise DataError(*(f"{changed}: {problem}" for problem in problems))
        return np.concatenate(codes), times.view(np.int64), values

    def _codes(self, table: pa.Table, entity: str | None) -> Ints:
        """Give the position of each row's entity in ``ids``, -1 for those of other batches."""
        if entity is not None:
            return np.full(len(table), self.ids.index(entity), np.int64)
        ids = encoded(table[self.columns.entity])
        place = pc.index_in(
            ids.dictionary.cast(pa.large_string()), pa.array(self.ids, pa.large_string())
        )
        return np.asarray(pc.fill_null(place.take(ids.indices), -1), np.int64)


@dataclass(frozen=True)
class FolderSource:
    """A folder of Parquet files; see :class:`daskcast.panel.Source`.

    Parameters
    ----------
    ids : tuple of str, length E
    sizes : ndarray of int64, shape [E]
    groups : tuple of RowGroup, length F
    owners, members : ndarray of int64
        Entity ``i`` is in the row groups ``members[owners[i]:owners[i + 1]]``.
    fingerprint : str
        Digest of the names of the files, their sizes and footers.
    columns : Columns
    whole : bool
        Whether times are an index of whole numbers.
    """

    ids: tuple[str, ...]
    sizes: Ints
    groups: tuple[RowGroup, ...]
    owners: Ints
    members: Ints
    fingerprint: str
    columns: Columns
    whole: bool

    @classmethod
    def of(cls, path: str, config: ForecastConfig) -> FolderSource:
        """List the files, check their columns and index their ids.

        Raises
        ------
        DataError
            Names every problem of the table.
        """
        files = list_files(path)
        heads = read_heads(files, config.columns, config.freq)
        index = index_ids(heads, config.columns)
        owners, members = index.invert()
        pa.default_memory_pool().release_unused()
        return cls(
            index.ids,
            index.sizes,
            index.groups,
            owners,
            members,
            fingerprint(heads),
            config.columns,
            heads[0].whole,
        )

    @cached_property
    def n_rows(self) -> int:
        """Rows in all."""
        return int(self.sizes.sum())

    def describe(self) -> dict[str, Any]:
        """Kind, rows, entities, fingerprint, columns: JSON-ready."""
        return describe(self, kind="parquet-folder", columns=self.columns)

    def select(self, positions: Ints) -> BatchData:
        """Name the row groups of the entities at some positions of ``ids``."""
        chosen = np.unique(positions)
        parts = [self.members[self.owners[i] : self.owners[i + 1]] for i in chosen]
        groups = np.unique(np.concatenate(parts)).tolist() if parts else []
        return FolderBatch(
            tuple(self.ids[i] for i in chosen),
            tuple(self.groups[i] for i in groups),
            self.columns,
            self.whole,
        )
