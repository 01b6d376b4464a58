"""The claim of the driver that works on a run folder, and what comes too late for it.

Covers the file that says which driver is at work, refusing a batch of an earlier one, and taking
batches back. Does not cover that one driver at a time is at work (``lock``, ``lease``).

Dask cannot stop a task that is under way, so one of a driver that is gone may end at any time. Its
batch counts, until another driver has begun: that one does the same entities in other batches.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from daskcast.errors import StoreError
from daskcast.store.layout import DRIVER, marker_name, part_name
from daskcast.store.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daskcast.store.files import Files
    from daskcast.store.folder import RunFolder


def claim(files: Files) -> str:
    """Write a new claim in place of an older one, and give it."""
    driver = secrets.token_hex(8)
    files.write(DRIVER, driver.encode())
    return driver


def refuse_late(folder: RunFolder, batch: str) -> None:
    """Refuse a batch of a driver that another one has followed.

    Raises
    ------
    StoreError
    """
    if not folder.driver:
        return
    try:
        at_work = folder.files.read(DRIVER)
    except FileNotFoundError:  # where the whole folder is missing, the write says so
        return
    if at_work != folder.driver.encode():
        raise StoreError(
            f"batch {batch} comes too late: another driver goes on with the run folder "
            f"{folder.place}, and does this work itself"
        )


def drop(files: Files, batches: Iterable[str]) -> None:
    """Take batches back: first they do not count any more, then their parts are removed."""
    for batch in batches:
        files.remove(marker_name(batch))
        for table in (*TABLES, "logs"):
            files.remove(part_name(table, batch))
