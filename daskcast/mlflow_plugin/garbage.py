"""The garbage collector of Python, out of the way of much plain data.

Covers :func:`uncollected`. Imports nothing but Python.
"""

from __future__ import annotations

import gc
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock = threading.Lock()
_users = 0
_was_on = False


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no cycles while a block of a fraction of a second makes very many tuples.

    They are in no cycle and go as soon as nobody needs them; but with each hundred thousand of
    them the collector would walk through all that the process has imported.
    """
    global _users, _was_on  # noqa: PLW0603 - of the process, as the collector is
    with _lock:
        if _users == 0:
            _was_on = gc.isenabled()
            gc.disable()
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0 and _was_on:
                gc.enable()
