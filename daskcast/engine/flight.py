"""Batches computed on a Dask cluster.

Covers keeping a bounded number of batches on their way, settling those that come back, and doing
those again whose worker died. Does not cover opening a cluster (``cluster``).

Parts are computed many together: one call for each is quadratic in a large bag.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import time
from collections import Counter
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from dask import config
from dask.base import annotate

from daskcast.engine.graph import parts_of
from daskcast.errors import StoppedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distributed import Client

    from daskcast.engine.graph import Work
    from daskcast.engine.tally import Tally
    from daskcast.work import Batch

logger = logging.getLogger(__name__)

N_DEATHS = 10
"""How often workers may die of one batch: most of them apart, it is none of its entities."""

MOST_SILENT_S = 300.0
"""How long a cluster may be without any worker."""

TICK_S = 5.0
"""How often it is looked for workers while nothing comes back."""

LEAST_IN_FLIGHT = 16
"""Batches that are sent ahead, however few the workers."""


def run_on_cluster(batches: Sequence[Batch], work: Work, client: Client, tally: Tally) -> None:
    """Keep a bounded number of batches on their way: the scheduler never holds them all."""
    waiting, flight = iter(batches), _Flight(work, client, tally)
    n_left = len(batches)
    try:
        while n_left or len(flight):
            most = _most_in_flight(client) if n_left else 0
            some = list(islice(waiting, most - len(flight)))
            flight.launch(some)
            n_left -= len(some)
            while len(flight) > (most // 2 if n_left else 0):
                flight.land()
    except BaseException:
        flight.cancel()
        raise


def _most_in_flight(client: Client) -> int:
    """Give the number of batches that are sent ahead: when half of them are back, more follow."""
    threads: dict[str, int] = client.nthreads()
    return max(4 * sum(threads.values()), LEAST_IN_FLIGHT)


class _Flight:
    """The batches that are on a cluster, and what becomes of them."""

    def __init__(self, work: Work, client: Client, tally: Tally) -> None:
        self._work = work
        self._client = client
        self._tally = tally
        self._batches: dict[Any, Batch] = {}
        self._futures: dict[Any, Any] = {}
        self._landed: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._deaths: Counter[str] = Counter()
        self._n_launched = 0
        self._seen = time.monotonic()

    def __len__(self) -> int:
        return len(self._batches)

    def launch(self, batches: Sequence[Batch], *, first: bool = False) -> None:
        """Send batches to the scheduler, behind those that were sent before."""
        if not batches:
            return
        self._tally.expect(batches)
        begin = -len(batches) if first else self._n_launched
        # Batches of a table in memory travel in the graph; Dask would warn of that from 10 MB on.
        quiet = {"distributed.admin.large-graph-warning-threshold": 1 << 60}
        with annotate(priority=partial(_earlier_first, begin)), config.set(quiet):
            parts = parts_of(batches, self._work)
            futures = self._client.compute(parts, optimize_graph=False)
        for future, batch in zip(futures, batches, strict=True):
            self._batches[future.key] = batch
            self._futures[future.key] = future
            future.add_done_callback(self._landed.put)
        self._n_launched += len(batches)

    def land(self) -> None:
        """Wait for the next batch and settle it, or for a while."""
        try:
            future = self._landed.get(timeout=TICK_S)
        except queue.Empty:
            self._look_for_workers()
            return
        self._seen = time.monotonic()
        batch = self._batches.pop(future.key)
        del self._futures[future.key]
        if _is_of_a_death(future):
            self._again(batch, future.exception())
        else:
            _settle(future, batch.name, self._tally)
        future.release()  # a result that is kept is computed again if its worker dies

    def cancel(self) -> None:
        """Tell the scheduler that nobody waits any more."""
        from distributed.client import ClosedClientError  # noqa: PLC0415 - see above

        with suppress(ClosedClientError, OSError, TimeoutError):
            self._client.cancel(list(self._futures.values()))

    def _again(self, batch: Batch, error: Any) -> None:
        """Do a batch again that workers died of, or give it up."""
        self._deaths[batch.name] += 1
        if self._deaths[batch.name] > N_DEATHS:
            self._tally.raised(batch.name, error)
            return
        n_before = self._deaths[batch.name] - 1
        apart = bool(n_before or error.allowed_failures or self._filled_memory(error))
        how = "with its entities apart" if apart else "as it was"
        logger.warning("batch %s goes on, %s: a worker died of it, or at it", batch.name, how)
        self.launch([replace(batch, apart=apart)], first=True)

    def _filled_memory(self, error: Any) -> bool:
        """Tell whether the worker was ended for its memory: that is no accident."""
        events = self._client.get_events("worker-restart-memory") or ()
        return any(event["worker"] == error.last_worker.address for _, event in events)

    def _look_for_workers(self) -> None:
        if self._client.nthreads():
            self._seen = time.monotonic()
        elif time.monotonic() - self._seen > MOST_SILENT_S:
            raise StoppedError(f"the cluster has had no worker for {MOST_SILENT_S:.0f} s")


def _earlier_first(begin: int, key: tuple[str, int]) -> int:
    """Priority of a part of the bag by its position, on the scheduler's side."""
    return -begin - key[1]


def _is_of_a_death(future: Any) -> bool:
    """Tell whether Dask blames a batch for the death of workers."""
    # A future means that this is imported; without one it would only cost time.
    from distributed import KilledWorker  # noqa: PLC0415

    return future.status == "error" and isinstance(future.exception(), KilledWorker)


def _settle(future: Any, name: str, tally: Tally) -> None:
    lost = "the cluster was lost or cancelled the work"
    if future.status == "error":
        tally.raised(name, future.exception())
        return
    if future.status != "finished":
        raise StoppedError(lost)
    try:
        outcomes = future.result()
    except (asyncio.CancelledError, CancelledError, OSError) as error:
        raise StoppedError(lost) from error
    tally.tell(outcomes)
