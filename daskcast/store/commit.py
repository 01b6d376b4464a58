"""Writing the files of a batch so that it counts whole or not at all.

Covers the order of the writes, the marker last, and reading all of it back. Does not cover what
the files hold (``schema``, ``marker``) or which batches count (``layout``).
"""

from __future__ import annotations

import errno
import logging
import random
import time
from typing import TYPE_CHECKING

from daskcast.errors import StoreError
from daskcast.store.layout import marker_name, part_name, verified

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daskcast.store.files import Files
    from daskcast.store.marker import Marker, Part

logger = logging.getLogger(__name__)

_N_WRITES = 7


def commit(
    files: Files, parts: Mapping[str, tuple[bytes, Part]], marker: Marker, place: str
) -> Marker:
    """Write parts and marker until they read back; give the marker that stands for this work.

    Where the same task runs twice at once, on two workers, their files may mix: then both write
    again, after waits that differ.

    Raises
    ------
    StoreError
        The folder is not there.
    OSError
        The place takes no more, or does not give back what it took.
    """
    for attempt in range(_N_WRITES):
        _write(files, parts, marker, place)
        if (found := _settled(files, marker, patience_s=0.02 * 2**attempt)) is not None:
            return found
        logger.info("batch %s does not read back as written; once more", marker.batch)
    raise OSError(
        errno.EIO, "what was written does not read back", f"{place}/{marker_name(marker.batch)}"
    )


def _write(
    files: Files, parts: Mapping[str, tuple[bytes, Part]], marker: Marker, place: str
) -> None:
    try:
        for table, (content, _) in parts.items():
            files.write(part_name(table, marker.batch), content)
        files.write(marker_name(marker.batch), marker.to_bytes())
    except FileNotFoundError as error:
        raise StoreError(
            f"the run folder {place} is not there; every worker must reach it by this path"
        ) from error


def _settled(files: Files, marker: Marker, *, patience_s: float) -> Marker | None:
    """Give the marker that stands for this work, as soon as it does; else wait and look again.

    The wait is random: two that write the same batch at once would go on mixing their files if
    they stayed in step.
    """
    for wait_s in (random.uniform(0, patience_s), None):
        found = verified(files, marker.batch)
        if found is not None and found.same_work(marker):
            return found
        if wait_s is not None:
            time.sleep(wait_s)
    return None
