"""The only reader of data: from what the user has to regular series, all validation on the way.

Covers :func:`open_source` (on the client) and :func:`regularise` (on a worker, batch by batch).
Does not cover packing entities into batches (``partition``) or modelling them (``task``).

::

    readers, frames      a path or a data frame
    folder, footers      a folder of Parquet files, read on the workers
    columns, times       the three columns, checked, as plain arrays
    rows, memory         the panel as flat arrays with offsets
    known, grow          a panel that was fitted before; its history with new rows
    duplicates, infer    repeated times; the step of each entity
    grid, future, back   regular series; the times to forecast; past times in words
    frequency, dates     aliases; arithmetic of the calendar
    troubles             what is wrong with an entity, in words
"""

from __future__ import annotations

from daskcast.panel.folder import FolderBatch
from daskcast.panel.grid import GridRules, regularise
from daskcast.panel.grow import grow
from daskcast.panel.known import KnownSource, kept_of
from daskcast.panel.readers import open_source
from daskcast.panel.rows import BatchData, Rows, Source

__all__ = [
    "BatchData",
    "FolderBatch",
    "GridRules",
    "KnownSource",
    "Rows",
    "Source",
    "grow",
    "kept_of",
    "open_source",
    "regularise",
]
