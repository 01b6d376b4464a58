"""A table in memory: the source behind CSV, a Parquet file and every kind of data frame.

Covers checking the three columns together and handing out the rows of some entities. Does not
cover reading files (``readers``) or folders too large for the client (``folder``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from daskcast.errors import DataError
from daskcast.panel import frequency
from daskcast.panel.columns import plain_ids, plain_values
from daskcast.panel.rows import sort_rows
from daskcast.panel.times import plain_times

if TYPE_CHECKING:
    from daskcast.panel.rows import BatchData, Ints, Rows
    from daskcast.records import Columns, Times


@dataclass(frozen=True)
class RawTable:
    """What a reader found: the user's three columns as Arrow, not yet checked.

    Parameters
    ----------
    kind : str
        Where they come from, such as ``csv`` or ``pandas``.
    entity, time, target : pyarrow.ChunkedArray or None, shape [N]
        None where the reader could not make an array of it; ``problems`` then says why.
    problems : tuple of str
        What the reader itself found wrong.
    """

    kind: str
    entity: Any
    time: Any
    target: Any
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class MemorySource:
    """All rows, in memory and sorted; see :class:`daskcast.panel.Source`."""

    rows: Rows
    kind: str
    columns: Columns

    @classmethod
    def of(cls, raw: RawTable, columns: Columns, freq: str | None) -> MemorySource:
        """Check the columns and sort the rows.

        Raises
        ------
        DataError
            Names every problem of the table.
        """
        if not raw.problems and len(raw.entity) == 0:
            raise DataError("the table has no rows; expected at least one")
        problems = list(raw.problems)
        codes, ids = np.empty(0, np.int64), tuple[str, ...]()
        times: Times = np.empty(0, np.int64)
        values = np.empty(0)
        if raw.entity is not None:
            codes, ids, found = plain_ids(raw.entity, columns.entity)
            problems += found
        if raw.time is not None:
            times, found = plain_times(raw.time, columns.time)
            problems += found or frequency.mismatch(freq, times.dtype, columns.time)
        if raw.target is not None:
            values, found = plain_values(raw.target, columns.target)
            problems += found
        if problems:
            raise DataError(*problems)
        return cls(sort_rows(codes, ids, times, values), raw.kind, columns)

    @property
    def ids(self) -> tuple[str, ...]:
        """Every entity once, ascending."""
        return self.rows.ids

    @cached_property
    def sizes(self) -> Ints:
        """Rows of each entity, shape [E]."""
        return np.diff(self.rows.offsets)

    @property
    def n_rows(self) -> int:
        """Rows in all."""
        return len(self.rows.values)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the sorted rows, the same for the same data in any container."""
        return self.rows.digest()

    def describe(self) -> dict[str, Any]:
        """Kind, rows, entities, fingerprint, columns: JSON-ready."""
        return describe(self, kind=self.kind, columns=self.columns)

    def select(self, positions: Ints) -> BatchData:
        """Point at the rows of the entities at some positions of ``ids``."""
        return RowsOf(self.rows, positions)


@dataclass(frozen=True, slots=True)
class RowsOf:
    """Some entities of rows in memory: nothing is copied before it travels or is loaded.

    Parameters
    ----------
    rows : Rows
        Of all entities.
    positions : ndarray of int64
    """

    rows: Rows
    positions: Ints

    def load(self) -> Rows:
        """Copy the rows."""
        return self.rows.take(self.positions)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the rows of these entities travel, and no others."""
        rows = self.load()
        return RowsOf, (rows, np.arange(len(rows.ids)))


def describe(source: Any, *, kind: str, columns: Columns) -> dict[str, Any]:
    """Describe a source as plain JSON values."""
    return {
        "kind": kind,
        "rows": source.n_rows,
        "entities": len(source.ids),
        "fingerprint": source.fingerprint,
        "columns": {
            "entity": columns.entity,
            "time": columns.time,
            "target": columns.target,
        },
    }
