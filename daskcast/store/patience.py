"""Doing an operation on a distant store again, where it failed and may yet go through.

Covers which errors pass, how often and after what waits. Does not cover the operations (``files``)
or what a filesystem of fsspec does again by itself, as those of the large stores do.
"""

from __future__ import annotations

import errno
import logging
import random
import time
from typing import TYPE_CHECKING, TypeVar

from daskcast.redact import redact_text

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

Given = TypeVar("Given")

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""What a place says that takes nothing more: full, over its quota, or read-only."""

_FINAL = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
)
_N_TRIES = 7
_FIRST_S, _LONGEST_S = 0.1, 5.0


def passes(error: OSError) -> bool:
    """Tell an error that may be gone the next time from one that stays.

    Examples
    --------
    >>> passes(TimeoutError("no answer")), passes(PermissionError("not yours"))
    (True, False)
    """
    return not isinstance(error, _FINAL) and error.errno not in NO_ROOM


def patiently(what: str, operation: Callable[[], Given]) -> Given:
    """Do something until it goes through, at most seven times, over some seconds.

    The waits double and are random within that, so that the workers of a run do not come back all
    at once.

    Parameters
    ----------
    what : str
        For the log, such as ``writing s3://bucket/run/run.json``.
    operation : callable
        May be done twice without harm.

    Raises
    ------
    OSError
        What stays, at once; what passes, after the last try.
    """
    for longest_s in (min(_FIRST_S * 2**n, _LONGEST_S) for n in range(_N_TRIES - 1)):
        try:
            return operation()
        except OSError as error:
            if not passes(error):
                raise
            logger.info("%s failed, once more: %s", what, redact_text(repr(error)))
            time.sleep(random.uniform(0, longest_s))
    return operation()
