"""One process at a time tracks a run folder.

Covers :func:`only_one`. A folder that is not local has no lock: there, what two processes send at
once is kept apart by the keys of the runs alone.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec.core
from filelock import FileLock, Timeout
from fsspec.implementations.local import LocalFileSystem

from daskcast.errors import TrackingError
from daskcast.tracking.uris import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = ".tracking.lock"
WAIT_S = 60.0


@contextlib.contextmanager
def only_one(url: str) -> Iterator[None]:
    """Be the only process of this machine that tracks a run folder.

    Parameters
    ----------
    url : str
        A path or an fsspec URL.

    Raises
    ------
    TrackingError
        Where another process still tracks it after ``WAIT_S`` seconds.
    """
    fs, root = fsspec.core.url_to_fs(url)
    if not isinstance(fs, LocalFileSystem) or not os.access(root, os.W_OK):
        yield
        return
    lock = FileLock(Path(root) / NAME)
    try:
        lock.acquire(timeout=WAIT_S)
    except Timeout:
        raise TrackingError(
            f"another process has been tracking {redact(url)} for {WAIT_S:.0f} s; wait until it "
            "has ended"
        ) from None
    try:
        yield
    finally:
        lock.release()
