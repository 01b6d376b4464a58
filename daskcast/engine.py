"""The Dask graph of a run: a bag of batches, mapped to delayed tasks, reported as they finish.

Covers building the graph, the order in which batches start, collecting their receipts from any
scheduler, and doing a batch again whose worker died. Does not cover what is done with a batch
(``work``), who computes (``cluster``), or what comes after a batch (``pipeline``).

The bag is mapped by ``map_partitions`` with a function that returns a list, never by ``Bag.map``,
which loses the rest of a partition without a word when an item leaks a ``StopIteration``
(dask/dask#3545). Parts are computed many together: one call for each is quadratic in a large bag.

When a worker dies, nobody knows of what. Its batch is done again as it was, then, when a worker
died of it again, or for its memory, ``apart``: in a process that dies without taking others along.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import queue
import textwrap
import time
import traceback
from collections import Counter
from concurrent.futures import CancelledError, Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import cloudpickle
from dask import bag, config
from dask.base import annotate, compute

from daskcast.errors import (
    ConfigError,
    DaskcastError,
    DataError,
    StoppedError,
    StoreError,
)
from daskcast.pool import ProcessPool
from daskcast.work import Batch, Computed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dask.delayed import Delayed
    from distributed import Client

    from daskcast.records import BatchReceipt

    Work = Callable[[Batch], BatchReceipt | Computed]
    OnReceipt = Callable[[BatchReceipt], None]
    #: ``"synchronous"``, a pool of threads or processes, or a client of a Dask cluster
    Scheduler = str | Executor | ProcessPool | Client

logger = logging.getLogger(__name__)

FINAL = (ConfigError, DataError, StoreError)
"""Errors of a batch that doing it again cannot mend."""

N_DEATHS = 10
"""How often workers may die of one batch: most of them apart, it is none of its entities."""

MOST_SILENT_S = 300.0
"""How long a cluster may be without any worker."""

_LEAST_IN_FLIGHT = 16
_TICK_S = 5.0


def run_batches(
    batches: Sequence[Batch], work: Work, scheduler: Scheduler, on_receipt: OnReceipt
) -> None:
    """Do all batches; tell each of them as it ends.

    Parameters
    ----------
    batches : sequence of Batch
        They start in this order.
    work : callable
        Takes a batch, gives its receipt (or :class:`Computed`, where workers cannot store); must
        pickle where the scheduler has other processes.
    scheduler : str, Executor or Client
        See :func:`daskcast.cluster.open_cluster`.
    on_receipt : callable
        Called in the thread of the caller, once for each finished batch, when it is durable.

    Raises
    ------
    StoppedError
        The run was interrupted, the cluster was lost, or the task of a batch raised; batches that
        finished were reported, and more may finish while the scheduler closes. A raising task never
        stops the other batches.
    DataError, ConfigError, StoreError
        What a task raised, where doing it again cannot mend it.
    """
    if not batches:
        return
    tally = _Tally(len(batches), on_receipt)
    try:
        if isinstance(scheduler, str | Executor):
            _run_here(batches, work, scheduler, tally)
        elif isinstance(scheduler, ProcessPool):
            _run_in_pool(batches, work, scheduler, tally)
        else:
            _run_on_cluster(batches, work, scheduler, tally)
    except KeyboardInterrupt as error:
        raise StoppedError("interrupted") from error
    except BrokenProcessPool as error:
        raise StoppedError("a worker process died") from error
    tally.finish()


class _Tally:
    """Which batches are done, which raised; checks that no entity is lost."""

    def __init__(self, n_batches: int, on_receipt: OnReceipt) -> None:
        self._waiting: dict[str, Batch] = {}
        self._on_receipt = on_receipt
        self._n_batches = n_batches
        self._n_done = 0
        self._errors: dict[str, BaseException] = {}

    def expect(self, batches: Sequence[Batch]) -> None:
        """Wait for batches that begin; those that begin again count once."""
        self._waiting |= {batch.name: batch for batch in batches}

    @property
    def waiting(self) -> list[Batch]:
        """Batches that began and have no end yet, in their order."""
        return list(self._waiting.values())

    def done(self, outcome: BatchReceipt | Computed) -> None:
        receipt = outcome.store() if isinstance(outcome, Computed) else outcome
        batch = self._waiting.pop(receipt.batch)
        self._n_done += 1
        told = receipt.n_ok + receipt.n_fallback + receipt.n_failed
        assert told == receipt.n_entities == batch.n_entities, (
            f"batch {batch.name} took {batch.n_entities} entities and gave back {told}"
        )
        self._on_receipt(receipt)

    def raised(self, name: str, error: BaseException) -> None:
        if isinstance(error, StoppedError):  # of a full disk: what is computed cannot be kept
            raise error
        del self._waiting[name]
        self._errors[name] = error
        # a full disk needs no traceback, a fault of the code does
        trace = None if isinstance(error, OSError) else error
        logger.error("batch %s raised %r", name, error, exc_info=trace)

    def finish(self) -> None:
        """Raise what the tasks raised, if anything; assert that every batch was told."""
        n_ended = self._n_done + len(self._errors)
        assert not self._waiting, f"batches without an end: {sorted(self._waiting)}"
        assert n_ended == self._n_batches, f"{n_ended} of {self._n_batches} batches had an end"
        if not self._errors:
            return
        first = next(iter(self._errors.values()))
        told = [f"batch {name}: {error!r}" for name, error in self._errors.items()]
        final = [error for error in self._errors.values() if isinstance(error, FINAL)]
        if final:
            raise type(final[0])(*dict.fromkeys(p for e in final for p in e.problems)) from first
        raise StoppedError(
            f"{len(told)} of {self._n_batches} batches were not finished: {_some(told)}"
        ) from first


def _some(items: Sequence[str], n_most: int = 5) -> str:
    more = f" and {len(items) - n_most} more" if len(items) > n_most else ""
    return "; ".join(textwrap.shorten(item, 400) for item in items[:n_most]) + more


def _do_part(part: Sequence[Batch], work: Work) -> list[BatchReceipt | Computed]:
    """Do the batches of one partition of the bag; the list is what keeps entities from vanishing.

    A ``StopIteration`` that leaks from ``work`` must not end an iteration of Dask's quietly.
    """
    outcomes = []
    for batch in part:
        try:
            outcomes.append(work(batch))
        except StopIteration as error:
            raise RuntimeError(f"batch {batch.name} leaked a StopIteration") from error
    return outcomes


def _parts(batches: Sequence[Batch], work: Work) -> list[Delayed]:
    """One delayed part for each batch, in the order given. Nothing is computed here."""
    held = bag.from_sequence(batches, partition_size=1)
    parts: list[Delayed] = held.map_partitions(_do_part, work=work).to_delayed()
    assert len(parts) == len(batches)
    return parts


# -- schedulers of this machine ----------------------------------------------------------------


def _run_here(
    batches: Sequence[Batch], work: Work, scheduler: str | Executor, tally: _Tally
) -> None:
    tally.expect(batches)
    ordered = _as_started(batches)
    parts = _parts(ordered, work)
    names = {part.key: batch.name for part, batch in zip(parts, ordered, strict=True)}

    def posttask(key: Any, result: Any, _dsk: Any, _state: Any, _worker: Any) -> None:
        """Tell of each part as it ends; runs in the thread that called ``compute``."""
        name = names.pop(key, None)
        if name is not None and isinstance(result, BaseException):
            tally.raised(name, result)
        elif name is not None:
            _tell(result, tally)

    compute(
        *parts,
        scheduler=scheduler,
        optimize_graph=False,
        # Given here rather than as a context, which all threads of the process would share.
        callbacks=[(None, None, None, posttask, None)],
        chunksize=1,  # otherwise several batches are told together
        pack_exception=_pack_exception,
        raise_exception=_keep_exception,
        **(_ACROSS if isinstance(scheduler, ProcessPoolExecutor) else {}),
    )


def _run_in_pool(batches: Sequence[Batch], work: Work, pool: ProcessPool, tally: _Tally) -> None:
    """Run in processes; when one dies, go on in new ones, with what was at work there apart."""
    n_deaths, left = 0, list(batches)
    while left:
        try:
            _run_here(left, work, pool.executor, tally)
        except BrokenProcessPool:
            n_deaths = n_deaths + 1 if len(tally.waiting) == len(left) else 1
            if n_deaths > N_DEATHS:
                raise
            logger.warning(
                "a worker process died; %d batches go on in new ones", len(tally.waiting)
            )
            pool.renew()
        left = _after_a_death(tally.waiting, pool.n_workers)


def _after_a_death(waiting: Sequence[Batch], n_workers: int) -> list[Batch]:
    """Set apart the batches that were at work: they began in order, one in each process."""
    return [replace(b, apart=True) if i < n_workers else b for i, b in enumerate(waiting)]


def _as_started(batches: Sequence[Batch]) -> list[Batch]:
    """Place batches so that the local schedulers start them in the order given.

    Those start independent keys in the reverse order of their text (98, 97, ..., 9, 89), and know
    no priorities. Only the speed depends on it: the longest work should start first.
    """
    slots = sorted(range(len(batches)), key=str, reverse=True)
    placed = dict(zip(slots, batches, strict=True))
    return [placed[slot] for slot in range(len(batches))]


def _tell(outcomes: Sequence[BatchReceipt | Computed], tally: _Tally) -> None:
    for outcome in outcomes:
        tally.done(outcome)


def _pack_exception(error: BaseException, dumps: Callable[[Any], Any]) -> Any:
    """Give the exception of a task back in place of its result."""
    return dumps((error, None))


def _dump(outcome: tuple[Any, Any]) -> bytes:
    """Pickle what crosses the border of a process; not every exception would survive it."""
    value, who = outcome
    if isinstance(value, Exception) and not isinstance(value, DaskcastError):
        value = RuntimeError("".join(traceback.format_exception(value)))
    pickled: bytes = cloudpickle.dumps((value, who))
    return pickled


_ACROSS = {"dumps": _dump, "loads": pickle.loads}


def _keep_exception(error: BaseException, _traceback: object) -> None:
    """Let the other batches go on; only an interruption stops them."""
    if not isinstance(error, Exception):
        raise error


# -- a Dask cluster ----------------------------------------------------------------------------


def _run_on_cluster(batches: Sequence[Batch], work: Work, client: Client, tally: _Tally) -> None:
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
    return max(4 * sum(threads.values()), _LEAST_IN_FLIGHT)


class _Flight:
    """The batches that are on a cluster, and what becomes of them."""

    def __init__(self, work: Work, client: Client, tally: _Tally) -> None:
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
            parts = _parts(batches, self._work)
            futures = self._client.compute(parts, optimize_graph=False)
        for future, batch in zip(futures, batches, strict=True):
            self._batches[future.key] = batch
            self._futures[future.key] = future
            future.add_done_callback(self._landed.put)
        self._n_launched += len(batches)

    def land(self) -> None:
        """Wait for the next batch and settle it, or for a while."""
        try:
            future = self._landed.get(timeout=_TICK_S)
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


def _settle(future: Any, name: str, tally: _Tally) -> None:
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
    _tell(outcomes, tally)
