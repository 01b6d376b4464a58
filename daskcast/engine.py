"""The Dask graph of a run: a bag of batches, mapped to delayed tasks, reported as they finish.

Covers building the graph, the order in which batches start, and collecting their receipts from
any scheduler. Does not cover what is done with a batch (``work``), who computes (``cluster``), or
what comes after a batch (``pipeline``).

The bag is mapped by ``map_partitions`` with a function that returns a list, never by ``Bag.map``,
which loses the rest of a partition without a word when an item leaks a ``StopIteration``
(dask/dask#3545). All parts are computed together: computing them one call at a time is quadratic.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import textwrap
import traceback
from concurrent.futures import CancelledError, Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
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
from daskcast.work import Batch, Computed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dask.delayed import Delayed
    from distributed import Client

    from daskcast.records import BatchReceipt

    Work = Callable[[Batch], BatchReceipt | Computed]
    OnReceipt = Callable[[BatchReceipt], None]
    #: ``"synchronous"``, a pool of threads or processes, or a client of a Dask cluster
    Scheduler = str | Executor | Client

logger = logging.getLogger(__name__)

FINAL = (ConfigError, DataError, StoreError)
"""Errors of a batch that doing it again cannot mend."""


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
    tally = _Tally(batches, on_receipt)
    try:
        if isinstance(scheduler, str | Executor):
            _run_here(batches, work, scheduler, tally)
        else:
            _run_on_cluster(batches, work, scheduler, tally)
    except KeyboardInterrupt as error:
        raise StoppedError("interrupted") from error
    except BrokenProcessPool as error:
        raise StoppedError("a worker process died") from error
    tally.finish()


class _Tally:
    """Which batches are done, which raised; checks that no entity is lost."""

    def __init__(self, batches: Sequence[Batch], on_receipt: OnReceipt) -> None:
        self._waiting = {batch.name: batch for batch in batches}
        self._on_receipt = on_receipt
        self._n_batches = len(batches)
        self._errors: dict[str, BaseException] = {}

    def done(self, outcome: BatchReceipt | Computed) -> None:
        receipt = outcome.store() if isinstance(outcome, Computed) else outcome
        batch = self._waiting.pop(receipt.batch)
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
        assert not self._waiting, f"batches without an end: {sorted(self._waiting)}"
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
    # A client means that this is imported; without one it would only cost time.
    from distributed import as_completed  # noqa: PLC0415
    from distributed.client import ClosedClientError  # noqa: PLC0415

    # Batches of a table in memory travel in the graph; Dask would warn of that from 10 MB on.
    quiet = {"distributed.admin.large-graph-warning-threshold": 1 << 60}
    with annotate(priority=_earlier_first), config.set(quiet):
        parts = _parts(batches, work)
        futures = client.compute(parts, optimize_graph=False)
    names = {future.key: batch.name for future, batch in zip(futures, batches, strict=True)}
    try:
        for future in as_completed(futures, loop=client.loop):
            _settle(future, names[future.key], tally)
            future.release()  # a result that is kept is computed again if its worker dies
    except BaseException:
        with suppress(ClosedClientError, OSError, TimeoutError):
            client.cancel(futures)
        raise


def _earlier_first(key: tuple[str, int]) -> int:
    """Priority of a part of the bag by its position, on the scheduler's side."""
    return -key[1]


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
