"""One process at a time works on a run folder.

Covers :func:`only_one`. A folder that is not local has no lock: there, checksums tell what counts
of what two runs wrote, and the keys of the runs keep apart what two processes send to MLflow.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from daskcast.errors import StoreError
from daskcast.store.files import absolute, is_local

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def only_one(url: str, work: str, *, wait_s: float) -> Iterator[None]:
    """Be the only process of this machine that does one kind of work on a run folder.

    The lock ends with the process that holds it, however that ends.

    Parameters
    ----------
    url : str
        A path or an fsspec URL.
    work : {"forecasting", "tracking"}
        The one does not wait for the other.
    wait_s : float
        How long to wait for another process.

    Raises
    ------
    StoreError
        Where another process still works on it after that time.
    """
    if not is_local(url) or not os.access(absolute(url), os.W_OK):
        yield
        return
    path = Path(absolute(url)) / f".{work}.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=wait_s)
    except Timeout:
        raise StoreError(
            f"another process is {work} the run in {absolute(url)}; wait until it has ended, or "
            "stop it"
        ) from None
    except OSError as error:
        raise StoreError(
            f"cannot lock {path}: {error.strerror}; remove that file if nobody is {work} the run"
        ) from error
    try:
        yield
    finally:
        lock.release()
