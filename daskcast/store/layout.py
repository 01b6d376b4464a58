"""Names of the files in a run folder, and which of them count.

Covers the layout (subfolders, names of parts and markers), finding and verifying the marker of a
batch, telling orphans. Does not cover writing or reading tables (``folder``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from daskcast.errors import StoreError
from daskcast.store.files import is_temporary
from daskcast.store.marker import Marker
from daskcast.store.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daskcast.store.files import Files

MANIFEST = "run.json"
DRIVER = ".driver"
"""Says which driver is at work, or was the last."""
FOLDERS = (*TABLES, "logs", "batches")
RUN_LOG = "run-"
"""What the name of a log begins with that belongs to no batch."""

_BATCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_NEEDED = {"entities", "trials"}
_OPTIONAL = {"forecasts", "logs"}


def part_name(table: str, batch: str) -> str:
    """Name the part of a batch in a table, or its log."""
    return f"{table}/part-{batch}.{'jsonl' if table == 'logs' else 'parquet'}"


def marker_name(batch: str) -> str:
    """Name the marker of a batch."""
    return f"batches/{batch}.json"


def check_name(batch: str) -> None:
    """Refuse a name of a batch that could not be a file's."""
    if not _BATCH.fullmatch(batch) or batch.startswith(RUN_LOG):
        raise StoreError(
            f"a batch's name must be letters, digits, - and _, at most 64, found {batch[:80]!r}"
        )


def batch_names(files: Files) -> list[str]:
    """Name the batches that have a marker, valid or not."""
    stems = [name.removesuffix(".json") for name in files.names("batches")]
    return [stem for stem in stems if _BATCH.fullmatch(stem)]


def is_orphan(folder: str, name: str, finished: Mapping[str, Marker]) -> bool:
    """Tell a file of ours that does not count; what is not ours stays."""
    if is_temporary(name):
        return True
    if folder == "batches":
        return name.endswith(".json") and name.removesuffix(".json") not in finished
    stem, found, end = name.removeprefix("part-").rpartition(".")
    ours = name.startswith("part-") and bool(found) and end in ("parquet", "jsonl")
    if not ours or (folder == "logs" and stem.startswith(RUN_LOG)):
        return False
    return stem not in finished or folder not in finished[stem].parts


def marker_of(files: Files, batch: str) -> Marker | None:
    """Give a batch's marker, None where it is damaged; FileNotFoundError where there is none."""
    marker = Marker.from_bytes(files.read(marker_name(batch)))
    if marker is None or marker.batch != batch:
        return None
    return marker if _NEEDED <= set(marker.parts) <= _NEEDED | _OPTIONAL else None


def verified(files: Files, batch: str) -> Marker | None:
    """Give a batch's marker where all its parts are as they were written."""
    try:
        marker = marker_of(files, batch)
        if marker is None:
            return None
        for table, part in marker.parts.items():
            if not part.matches(files.read(part_name(table, batch))):
                return None
    except FileNotFoundError:
        return None
    return marker


def refuse_used(files: Files, place: str) -> None:
    """Refuse a folder that holds a run, or files where a run has its own."""
    if files.exists(MANIFEST):
        raise StoreError(holds_a_run(place))
    used = [name for name in FOLDERS if files.names(name)]
    if used:
        raise StoreError(
            f"the folder {place} holds files under {', '.join(used)} but no {MANIFEST}; "
            "give another folder"
        )


def what_is_damaged(batch: str, place: str) -> str:
    """Say that a batch does not count, and what to do."""
    return (
        f"batch {batch} of the run folder {place} is unfinished or damaged; "
        "resume the run to do it again"
    )


def holds_a_run(place: str) -> str:
    """Say that a folder is taken."""
    return f"the folder {place} holds a run; give another one, or --resume to go on with it"
