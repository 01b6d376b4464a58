"""Doing an operation on a distant store again, where it failed and may yet go through.

Covers which errors pass, how often and after what waits. Does not cover the operations (``files``)
or what a filesystem of fsspec does again by itself, as those of the large stores do.
"""

from __future__ import annotations

import errno
import itertools
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
_WITHIN_S = 60.0

#: Places whose last word was an error, after all patience.
_given_up: set[str] = set()


def passes(error: OSError) -> bool:
    """Tell an error that may be gone the next time from one that stays.

    Examples
    --------
    >>> passes(TimeoutError("no answer")), passes(PermissionError("not yours"))
    (True, False)
    """
    return not isinstance(error, _FINAL) and error.errno not in NO_ROOM


def patiently(
    what: str, operation: Callable[[], Given], *, place: str = "", within_s: float = _WITHIN_S
) -> Given:
    """Do something until it goes through, at most seven times, over some seconds.

    The waits double and are random within that, so that the workers of a run do not come back all
    at once. A filesystem that tries for long by itself is not asked for that seven times. What was
    given up is asked once each time, until it answers: a run that ends because of it has more to
    write, and should end.

    Parameters
    ----------
    what : str
        For the log, such as ``writing s3://bucket/run/run.json``.
    operation : callable
        May be done twice without harm.
    place : str
        What is given up as a whole; none where it is empty.
    within_s : float
        After so many seconds nothing is tried once more.

    Raises
    ------
    OSError
        What stays, at once; what passes, after the last try.
    """
    until = time.monotonic() + within_s
    for n in itertools.count(1):
        try:
            given = operation()
        except OSError as error:
            if not passes(error):
                raise
            if n == _N_TRIES or time.monotonic() > until or place in _given_up:
                _given_up.update({place} - {""})
                raise
            logger.info("%s failed, once more: %s", redact_text(what), redact_text(repr(error)))
            time.sleep(random.uniform(0, min(_FIRST_S * 2 ** (n - 1), _LONGEST_S)))
        else:
            _given_up.discard(place)
            return given
    raise AssertionError("the last try returns or raises")
