"""New rows of some entities in a batch that is durable.

Covers taking the old rows out, the new ones in, keeping the order, and writing all of it again.
Does not cover which entities are done again (``remaining``).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daskcast.errors import StoreError
from daskcast.store.commit import commit
from daskcast.store.layout import check_name, part_name, verified, what_is_damaged
from daskcast.store.marker import Marker, Part, began_of
from daskcast.store.schema import TABLES, tables_of, time_kind, to_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daskcast.records import EntityResult
    from daskcast.store.folder import RunFolder

#: Waits for another task that writes the same batch at this moment.
_WAITS_S = (0.1, 0.5, 2.0)


def amend_batch(
    folder: RunFolder, batch: str, results: Sequence[EntityResult], log: bytes, began_ms: int
) -> Marker:
    """See :meth:`RunFolder.amend_batch`; ``log`` is the text of the new records."""
    check_name(batch)
    old = _marker(folder, batch)
    before = {str(name): folder.read(name, [batch]) for name in TABLES}
    times = folder.times or time_kind(results) or "timestamp"
    new = tables_of(batch, results, folder.levels, times, actual=folder.actual)
    tables = amended(before, new)
    contents = {name: (to_bytes(table), len(table)) for name, table in tables.items()}
    if "logs" in old.parts:
        log = folder.files.read(part_name("logs", batch)) + log
    if log:
        contents["logs"] = log, log.count(b"\n")
    parts = {name: (content, Part.of(content, n)) for name, (content, n) in contents.items()}
    described = {name: part for name, (_, part) in parts.items()}
    began = {**began_of(results, began_ms), **old.began}
    marker = Marker.of_table(batch, tables["entities"], described, began)
    if marker.ids != old.ids:
        raise StoreError(
            f"batch {batch} of the run folder {folder.place} has not all of the entities that are "
            "to be done again"
        )
    return old if marker.same_work(old) else commit(folder.files, parts, marker, folder.place)


def amended(old: Mapping[str, pa.Table], new: Mapping[Any, pa.Table]) -> dict[str, pa.Table]:
    """Replace the rows of the entities that are in ``new``; the order of entities stays.

    Parameters
    ----------
    old, new : mapping of str to pyarrow.Table
        By the name of the table, ``entities`` among them.
    """
    ids = old["entities"]["unique_id"].combine_chunks()
    again = new["entities"]["unique_id"].combine_chunks()
    tables = {}
    for name, table in old.items():
        stay = table.filter(pc.invert(pc.is_in(table["unique_id"], again)))
        joined = pa.concat_tables([stay, new[name].cast(table.schema)])
        place = np.asarray(pc.fill_null(pc.index_in(joined["unique_id"], ids), len(ids)))
        tables[name] = joined.take(pa.array(np.argsort(place, kind="stable")))
    return tables


def _marker(folder: RunFolder, batch: str) -> Marker:
    """Give the marker of the batch; where the batch does not count, wait and look again."""
    for wait_s in (*_WAITS_S, None):
        found = verified(folder.files, batch)
        if found is not None:
            return found
        if wait_s is not None:
            time.sleep(wait_s)
    raise StoreError(what_is_damaged(batch, folder.place))
