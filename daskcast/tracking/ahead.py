"""The next batch made ready while the one before is on its way.

Covers :func:`made_ahead`. Does not cover what is made or sent (``writer``).
"""

from __future__ import annotations

import queue
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_T = TypeVar("_T")
_Last = TypeVar("_Last")


def made_ahead(
    items: queue.SimpleQueue[str | _Last], make: Callable[[str], _T]
) -> Iterator[Future[_T] | _Last]:
    """Make what is in a queue, in its order, each while its user is busy with the one before.

    Parameters
    ----------
    items : queue.SimpleQueue
        Names; the first thing that is none is the last.
    make : callable
        Takes a name; called from a thread of its own.

    Yields
    ------
    concurrent.futures.Future or the last thing
        What was made of each name, then the last thing as it is.

    Examples
    --------
    >>> items = queue.SimpleQueue()
    >>> for item in ("ab", "cde", None):
    ...     items.put(item)
    >>> [made.result() if made else made for made in made_ahead(items, len)]
    [2, 3, None]
    """
    waiting: deque[Future[_T]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="daskcast-ahead") as pool:
        while True:
            try:
                item = items.get(block=not waiting)
            except queue.Empty:
                yield waiting.popleft()
                continue
            if not isinstance(item, str):
                yield from waiting
                yield item
                return
            # A thread starts without context variables: with those of here, what is logged in it
            # is in the log of the run.
            waiting.append(pool.submit(copy_context().run, make, item))
            if len(waiting) > 1:
                yield waiting.popleft()
