"""The Dask graph of a run: a bag of batches, mapped to delayed tasks, reported as they finish.

Covers building the graph, the order in which batches start, collecting their receipts from any
scheduler, and doing a batch again whose worker died. Does not cover what is done with a batch
(``work``), who computes (``cluster``), or what comes after a batch (``pipeline``).

::

    graph    batches as delayed parts of a bag
    here     this process, threads, a pool of processes
    flight   a Dask cluster
    tally    which batches are done, which raised

When a worker dies, nobody knows of what. Its batch is done again as it was, then, when a worker
died of it again, or for its memory, ``apart``: in a process that dies without taking others along.
"""

from __future__ import annotations

from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from daskcast.engine.flight import run_on_cluster
from daskcast.engine.here import run_here, run_in_pool
from daskcast.engine.tally import Tally
from daskcast.errors import StoppedError
from daskcast.pool import ProcessPool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distributed import Client

    from daskcast.engine.graph import Work
    from daskcast.engine.tally import OnReceipt
    from daskcast.work import Batch

    #: ``"synchronous"``, a pool of threads or processes, or a client of a Dask cluster
    Scheduler = str | Executor | ProcessPool | Client

__all__ = ["run_batches"]


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
    tally = Tally(len(batches), on_receipt)
    try:
        if isinstance(scheduler, str | Executor):
            run_here(batches, work, scheduler, tally)
        elif isinstance(scheduler, ProcessPool):
            run_in_pool(batches, work, scheduler, tally)
        else:
            run_on_cluster(batches, work, scheduler, tally)
    except KeyboardInterrupt as error:
        raise StoppedError("interrupted") from error
    except BrokenProcessPool as error:
        raise StoppedError("a worker process died") from error
    tally.finish()
