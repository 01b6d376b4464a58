"""Worker processes of this machine that survive the death of one of them.

Covers a pool that is replaced whole when it breaks. Does not cover how its processes are prepared
(``cluster``) or which work is done again (``engine``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ProcessPoolExecutor


class ProcessPool:
    """A pool of processes, and how to get another one.

    Python's own gives up for good when one of its processes dies.

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
        """End the processes after the batches at hand."""
        self.executor.shutdown(cancel_futures=True)
