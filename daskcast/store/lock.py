"""One process at a time works on a run folder.

Covers :func:`only_one` and the lock of a local folder. Does not cover the lease of a folder that is
not local (``lease``). Nothing keeps two processes from sending the same such folder to MLflow at
once: ids that follow from the keys keep apart what they send in bulk, and nothing does what they
send run by run.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from daskcast.errors import StoreError
from daskcast.redact import redact_uri
from daskcast.store.files import RemoteFiles, absolute, files_at, is_local
from daskcast.store.lease import Hold, leased

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def only_one(url: str, work: str, *, wait_s: float) -> Iterator[Hold]:
    """Be the only process that does one kind of work on a run folder.

    The lock of a local folder keeps out others of this machine, and ends with the process that
    holds it, however that ends. Elsewhere a lease keeps out all others that forecast.

    Parameters
    ----------
    url : str
        A path or an fsspec URL.
    work : {"forecasting", "tracking"}
        The one does not wait for the other.
    wait_s : float
        How long to wait for another process; for a lease, its own time counts.

    Yields
    ------
    Hold
        To be checked now and then: a lease may be lost.

    Raises
    ------
    StoreError
        Where another process still works on it after that time (``may_pass``), or it cannot be
        locked.
    """
    files = files_at(url)
    if isinstance(files, RemoteFiles) and work == "forecasting":
        with leased(*files.reached(f".{work}.lease"), place=redact_uri(url)) as hold:
            yield hold
        return
    if not is_local(url) or not os.access(absolute(url), os.W_OK):
        yield Hold()
        return
    path = Path(absolute(url)) / f".{work}.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=wait_s)
    except Timeout:
        raise StoreError(
            f"another process is {work} the run in {absolute(url)}; wait until it has ended, or "
            "stop it",
            may_pass=True,
        ) from None
    except OSError as error:
        raise StoreError(
            f"cannot lock {path}: {error.strerror}; remove that file if nobody is {work} the run"
        ) from error
    try:
        yield Hold()
    finally:
        lock.release()
