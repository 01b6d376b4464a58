"""Executors of this machine: worker processes, and a local Dask cluster.

Covers starting, preparing and closing them; a worker that dies is replaced, and none outlives its
driver. Does not cover which executor a run takes (``cluster``).
"""

from __future__ import annotations

import functools
import logging
import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster
from distributed.core import Status
from distributed.system import MEMORY_LIMIT
from distributed.utils import get_mp_context
from tornado.ioloop import PeriodicCallback

from daskcast.blas import blas_at_one
from daskcast.pool import ProcessPool
from daskcast.preparation import prepare_workers, warm_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from multiprocessing.context import BaseContext

    from daskcast.config import RunOptions

logger = logging.getLogger(__name__)

WORKERS_SHARE = 0.75
"""Of this machine's memory, for its workers: the driver and others need some too."""

LOST_AFTER = "10s"
"""How long a worker of the local cluster that died may take to come back."""

WORKER_TTL = "60s"
"""How long a worker of the local cluster may be silent."""

PRELOAD = ("distributed", "numpy", "pandas", "pyarrow.parquet", "daskcast.engine", "daskcast.task")
"""Imported once in the fork server that worker processes come from."""


def n_workers(options: RunOptions) -> int:
    """Give how many workers an executor of several gets on this machine."""
    return options.workers or max(1, CPU_COUNT // options.threads_per_worker)


def open_processes(n: int, stack: ExitStack) -> ProcessPool:
    """Open a pool of processes, and another where that one breaks; the stack closes it."""
    pool = ProcessPool(functools.partial(_processes, n))
    stack.callback(pool.close)
    return pool


def _processes(n: int) -> ProcessPoolExecutor:
    pool = ProcessPoolExecutor(n, mp_context=_process_context(), initializer=_prepare_process)
    # One process first, so that several do not compile the same cold kernels at once.
    pool.submit(warm_up).result()
    return pool


def _prepare_process() -> None:
    # Ctrl-C reaches the whole group: the driver decides, the batches at hand are finished.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_driver, name="daskcast-watch", daemon=True).start()
    warm_up()
    blas_at_one()


def _end_with_driver() -> None:
    """End this process when the driver is gone, however it went; a pool alone does not notice."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)


def _method() -> str:
    """How processes start: a fork server shares the imports, which are most of the start."""
    return "forkserver" if sys.platform == "linux" else "spawn"


def _process_context() -> BaseContext:
    with dask.config.set({"distributed.worker.multiprocessing-method": _method()}):
        get_mp_context()  # its own list of modules to preload is set once, by the first call
    context = multiprocessing.get_context(_method())
    if _method() == "forkserver":
        context.set_forkserver_preload(list(PRELOAD))
    return context


def open_local(options: RunOptions, stack: ExitStack, on_warm_up: Callable[[], None]) -> Client:
    """Open a Dask cluster of processes, with its client; the stack closes both."""
    n = n_workers(options)
    _process_context()
    settings = {
        "distributed.worker.multiprocessing-method": _method(),
        # A worker holds no batch in reserve: the longest is never stuck behind another.
        "distributed.scheduler.worker-saturation": 1.0,
        # The engine decides what becomes of a batch whose worker died.
        "distributed.scheduler.allowed-failures": 0,
        # A worker that hangs is replaced, and so is one that does not come back.
        "distributed.scheduler.worker-ttl": WORKER_TTL,
        "distributed.deploy.lost-worker-timeout": LOST_AFTER,
    }
    stack.enter_context(dask.config.set(settings))
    cluster = stack.enter_context(
        LocalCluster(
            n_workers=n,
            threads_per_worker=options.threads_per_worker,
            processes=True,
            memory_limit=round(WORKERS_SHARE * MEMORY_LIMIT) // n,
            dashboard_address="127.0.0.1:0",  # None still takes port 8787, and warns if taken
            # Closed while it works, a worker logs its lost heartbeat as an error with a traceback.
            silence_logs=logging.CRITICAL,
        )
    )
    client = Client(cluster, set_as_default=False)
    stack.callback(close_client, client)
    _keep_complete(cluster, n)
    on_warm_up()
    prepare_workers(client, own=True)
    return client


def _keep_complete(cluster: Any, n: int) -> None:
    """Open workers anew whose nannies gave up: they do when a worker dies while it starts."""

    def mend() -> None:
        for name, nanny in list(cluster.workers.items()):
            if nanny.status in (Status.failed, Status.closed):
                del cluster.workers[name]
        if len(cluster.workers) < n:
            cluster.scale(n)

    mending = PeriodicCallback(mend, 1000)
    cluster.periodic_callbacks["daskcast-mend"] = mending  # it ends with the cluster
    cluster.loop.add_callback(mending.start)


def close_client(client: Client) -> None:
    """Close a client; what goes wrong in that must not hide how the run ended."""
    try:
        client.close()
    except (OSError, TimeoutError, RuntimeError):  # Dask stumbles at times over a lost scheduler
        logger.debug("the Dask client did not close cleanly", exc_info=True)
