"""Worker processes of this machine that survive the death of one of them.

Covers a pool that is replaced whole when it breaks, and ending it whatever its processes are at.
Does not cover how its processes are prepared (``cluster``) or which work is done again
(``engine``).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ProcessPoolExecutor

PATIENCE_S = 5.0
"""What a batch at hand gets to be finished in when the pool is closed."""


class ProcessPool:
    """A pool of processes, and how to get another one.

    Python's own gives up for good when one of its processes dies, and waits for ever for one that
    never ends.

    Parameters
    ----------
    make : callable
        Makes a pool that is ready to work.
    """

    def __init__(self, make: Callable[[], ProcessPoolExecutor]) -> None:
        self._make = make
        self.executor = make()

    @property
    def n_workers(self) -> int:
        """How many processes there are."""
        n: int = getattr(self.executor, "_max_workers", 1)  # as Dask itself asks
        return n

    def renew(self) -> None:
        """Take new processes in place of those that are left of a broken pool."""
        self.close()
        self.executor = self._make()

    def close(self) -> None:
        """End the processes: after the batches at hand, or when those take too long."""
        processes = list((getattr(self.executor, "_processes", None) or {}).values())
        self.executor.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + PATIENCE_S
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
