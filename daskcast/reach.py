"""What the workers of a cluster see of the files that the driver names.

Covers the run folder and the data. Does not cover who the workers are (``cluster``).
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from distributed import Client

from daskcast.errors import ClusterError, StoreError
from daskcast.panel import FolderBatch

if TYPE_CHECKING:
    from daskcast.engine import Scheduler
    from daskcast.panel import BatchData
    from daskcast.store import RunFolder


def shares(scheduler: Scheduler, folder: RunFolder) -> bool:
    """Tell whether all workers reach a run folder by its path: they read back a token of ours."""
    if not isinstance(scheduler, Client):
        return True
    name, token = f".token-{secrets.token_hex(8)}", secrets.token_bytes(16)
    folder.files.write(name, token)
    try:
        found = scheduler.run(_read_back, folder, name)
    finally:
        folder.files.remove(name)
    return all(read == token for read in found.values())


def check_reading(scheduler: Scheduler, data: BatchData) -> None:
    """Refuse files that workers of other machines do not see, before any work is done.

    Raises
    ------
    ClusterError
        Names the file, and what the worker said.
    """
    if not isinstance(scheduler, Client) or not isinstance(data, FolderBatch):
        return
    found = scheduler.run(_trouble, data)
    blind = {address: told for address, told in found.items() if told}
    if blind:
        raise ClusterError(
            f"{len(blind)} of {len(found)} workers cannot read the data that they are to forecast "
            f"({next(iter(blind.values()))}): put it where all of them can, such as s3://, or give "
            f"a single file or a table, which is read here"
        )


def _trouble(data: FolderBatch) -> str:
    return data.trouble()


def _read_back(folder: RunFolder, name: str) -> bytes:
    try:
        return folder.files.read(name)
    except (OSError, StoreError):  # StoreError: what opens such a place is not installed there
        return b""
