"""Work of tracking beside the thread that sends.

Covers a call in a thread of its own (:func:`aside`), and the next batch made ready while the one
before is on its way (:func:`made_ahead`). Does not cover what is made or sent (``writer``).
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from concurrent.futures import Future, wait
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_T = TypeVar("_T")
_Last = TypeVar("_Last")


def aside(call: Callable[[], _T]) -> Future[_T]:
    """Start a call in a thread of its own.

    The thread is a daemon, of no pool: a pool's are waited for when the process ends, and a store
    that hangs must not keep it from ending.

    Parameters
    ----------
    call : callable

    Returns
    -------
    concurrent.futures.Future

    Examples
    --------
    >>> aside(lambda: 6 * 7).result()
    42
    """
    found: Future[_T] = Future()
    # A thread starts without context variables: with those of here, what is logged in it is in the
    # log of the run.
    here = copy_context()

    def work() -> None:
        try:
            found.set_result(here.run(call))
        except BaseException as error:  # noqa: BLE001 - whose result it is meets it there
            found.set_exception(error)

    threading.Thread(target=work, name="daskcast-aside", daemon=True).start()
    return found


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

    def made(name: str, before: list[Future[_T]]) -> _T:
        wait(before)  # one at a time
        return make(name)

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
        waiting.append(aside(partial(made, item, list(waiting))))
        if len(waiting) > 1:
            yield waiting.popleft()
