"""How many threads the linear algebra takes.

Covers holding BLAS at one thread. Does not cover who holds it: executors for as long as they are
open (``cluster``), and each task while it works (``task``), because a model of the user may bring
another BLAS library that was not there yet when the executor was opened.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any

from threadpoolctl import threadpool_limits


def blas_at_one() -> Any:
    """Limit BLAS to one thread: workers already use every core, and sums keep their order."""
    return threadpool_limits(limits=1, user_api="blas")


class _OneThread:
    """A limit that the tasks of a process share: the first sets it, the last lets it go.

    Each with a limit of its own, a task that ends would lift it under the others: it belongs to the
    process, not to a thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n = 0
        self._held = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._n:
                self._held.enter_context(blas_at_one())
            self._n += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n -= 1
            if not self._n:
                self._held.close()


one_thread = _OneThread()
"""Context in which this process works with one BLAS thread; reentrant, shared by threads."""
