"""Tables of a run folder, read back.

Covers reading parts, each checked against its marker, and joining them. Does not cover telling
which batches count (``folder``), reading batch after batch (``stream``) or one entity (``query``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from daskcast.errors import StoreError
from daskcast.store.layout import batch_names, check_name, marker_of, part_name, what_is_damaged
from daskcast.store.schema import from_bytes, schema_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from daskcast.store.folder import RunFolder
    from daskcast.store.marker import Marker
    from daskcast.store.schema import Table, TimeKind


def read(
    folder: RunFolder,
    table: Table,
    batches: Sequence[str] | None,
    columns: Sequence[str] | None,
) -> pa.Table:
    """See :meth:`RunFolder.read`."""
    parts = [
        from_bytes(_content(folder, table, batch, marker), columns)
        for batch, marker in _markers(folder, batches)
        if table in marker.parts
    ]
    schema = schema_of(table, folder.levels, _times_of(folder, parts), actual=folder.actual)
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns])
    return pa.concat_tables([schema.empty_table(), *parts])


def _markers(folder: RunFolder, batches: Sequence[str] | None) -> Iterator[tuple[str, Marker]]:
    files = folder.files
    for batch in batch_names(files) if batches is None else batches:
        check_name(batch)
        try:
            marker = marker_of(files, batch)
        except FileNotFoundError:
            marker = None
        if marker is not None:
            yield batch, marker
        elif batches is not None:
            raise StoreError(what_is_damaged(batch, folder.place))


def _content(folder: RunFolder, table: str, batch: str, marker: Marker) -> bytes:
    try:
        content = folder.files.read(part_name(table, batch))
    except FileNotFoundError as error:
        raise StoreError(what_is_damaged(batch, folder.place)) from error
    if not marker.parts[table].matches(content):
        raise StoreError(what_is_damaged(batch, folder.place))
    return content


def _times_of(folder: RunFolder, parts: Sequence[pa.Table]) -> TimeKind:
    if folder.times is not None:
        return folder.times
    found = [part.schema.field("ds").type for part in parts if "ds" in part.schema.names]
    return "integer" if found and pa.types.is_integer(found[0]) else "timestamp"
