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
from daskcast.engine.watch import Watch
from daskcast.errors import StoppedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distributed import Client

    from daskcast.engine.graph import Work
    from daskcast.engine.tally import Tally
    from daskcast.records import BatchReceipt
    from daskcast.work import Batch, Computed

logger = logging.getLogger(__name__)

N_DEATHS = 10
"""How often workers may die of one batch: most of them apart, it is none of its entities."""

MOST_SILENT_S = 300.0
"""How long a cluster may be without any worker."""

TICK_S = 5.0
"""How often it is looked for workers while nothing comes back."""

QUIET_S = 60.0
"""How long nothing may come back before it is asked who still works."""

LOST = "the cluster was lost or cancelled the work"

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
        self._watch = Watch(client)
        self._seen = self._came = time.monotonic()

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
            if time.monotonic() - self._came > QUIET_S:
                self._watch.look()
            return
        self._came = time.monotonic()
        self._watch.rest()
        name = self._batches[future.key].name
        if future.status == "finished":
            outcomes = _result_of(future)
            if outcomes is None:
                self._wait_again(future)
            else:
                self._forget(future)
                self._tally.tell(outcomes)
        elif future.status == "error":
            error = future.exception()
            batch = self._forget(future)
            if _is_of_a_death(error):
                self._again(batch, error)
            else:
                self._tally.raised(name, error)
        elif future.status == "cancelled":
            raise StoppedError(LOST)
        else:
            self._wait_again(future)

    def _wait_again(self, future: Any) -> None:
        """Wait for a batch whose result went with its worker: the scheduler has it done again."""
        self._look_for_workers()
        future.add_done_callback(self._landed.put)

    def _forget(self, future: Any) -> Batch:
        """Let go of a batch that has come to an end."""
        self._seen = time.monotonic()
        del self._futures[future.key]
        future.release()  # a result that is kept is computed again if its worker dies
        return self._batches.pop(future.key)

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
        # A worker that died of a batch whose entities were apart did not die of them.
        suspect = bool(n_before or error.allowed_failures) and not batch.apart
        apart = suspect or self._filled_memory(error)
        how = "with its entities apart" if apart else "as it was"
        logger.warning("batch %s goes on, %s: a worker died of it, or at it", batch.name, how)
        self.launch([replace(batch, apart=apart)], first=True)

    def _filled_memory(self, error: Any) -> bool:
        """Tell whether the worker was ended for its memory: that is no accident."""
        events = self._client.get_events("worker-restart-memory") or ()
        return any(event["worker"] == error.last_worker.address for _, event in events)

    def _look_for_workers(self) -> None:
        from distributed.client import ClosedClientError  # noqa: PLC0415 - see above

        try:
            n_workers = len(self._client.nthreads())
        except (ClosedClientError, OSError) as error:
            raise StoppedError(LOST) from error
        if n_workers:
            self._seen = time.monotonic()
        elif time.monotonic() - self._seen > MOST_SILENT_S:
            raise StoppedError(f"the cluster has had no worker for {MOST_SILENT_S:.0f} s")


def _earlier_first(begin: int, key: tuple[str, int]) -> int:
    """Priority of a part of the bag by its position, on the scheduler's side."""
    return -begin - key[1]


def _is_of_a_death(error: BaseException) -> bool:
    """Tell whether Dask blames a batch for the death of workers."""
    # A client means that this is imported; without one it would only cost time.
    from distributed import KilledWorker  # noqa: PLC0415

    return isinstance(error, KilledWorker)


def _result_of(future: Any) -> list[BatchReceipt | Computed] | None:
    """Fetch the result of a batch; None where it is not to be had any more."""
    try:
        outcomes: list[BatchReceipt | Computed] = future.result(timeout=TICK_S)
    except TimeoutError:
        return None
    except (asyncio.CancelledError, CancelledError, OSError) as error:
        raise StoppedError(LOST) from error
    except Exception:  # whatever the batch raised: it is raised again, or done again
        if future.status == "error":  # done again, it came to another end
            return None
        raise
    return outcomes
