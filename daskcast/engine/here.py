"""Batches computed on this machine without a Dask cluster.

Covers this process, threads and a pool of processes, and going on after one of those died. Does
not cover a Dask cluster (``flight``).
"""

from __future__ import annotations

import logging
import pickle
import traceback
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cloudpickle
from dask.base import compute

from daskcast.engine.graph import parts_of
from daskcast.errors import DaskcastError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daskcast.engine.graph import Work
    from daskcast.engine.tally import Tally
    from daskcast.pool import ProcessPool
    from daskcast.work import Batch

logger = logging.getLogger(__name__)

N_DEATHS = 3
"""How often processes may die without a batch that ends between."""


def run_here(batches: Sequence[Batch], work: Work, scheduler: str | Executor, tally: Tally) -> None:
    """Run in this process, in threads, or in processes that do not die."""
    tally.expect(batches)
    ordered = _as_started(batches)
    parts = parts_of(ordered, work)
    names = {part.key: batch.name for part, batch in zip(parts, ordered, strict=True)}

    def posttask(key: Any, result: Any, _dsk: Any, _state: Any, _worker: Any) -> None:
        """Tell of each part as it ends; runs in the thread that called ``compute``."""
        name = names.pop(key, None)
        if name is not None and isinstance(result, BaseException):
            tally.raised(name, result)
        elif name is not None:
            tally.tell(result)

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


def run_in_pool(batches: Sequence[Batch], work: Work, pool: ProcessPool, tally: Tally) -> None:
    """Run in processes; when one dies, go on in new ones, with what was at work there apart."""
    n_deaths, left = 0, list(batches)
    while left:
        try:
            run_here(left, work, pool.executor, tally)
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
