"""Who computes: this process, threads, processes, a local Dask cluster, pods, or one that exists.

Covers choosing, opening, preparing and closing it, and checking that both sides of a cluster over
the network run the same versions. Does not cover the work itself (``engine``, ``task``) or how pods
are started and watched (``k8s``).

Scripts that use ``processes`` or ``local`` need the usual ``if __name__ == "__main__":`` around
what they run, because new processes import the script; notebooks and the command do not.
"""

from __future__ import annotations

import functools
import logging
import multiprocessing
import os
import secrets
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster, WorkerPlugin
from distributed.client import ClosedClientError
from distributed.core import Status
from distributed.security import Security
from distributed.system import MEMORY_LIMIT
from distributed.utils import get_mp_context
from tornado.ioloop import PeriodicCallback

from daskcast.blas import blas_at_one
from daskcast.config import KUBERNETES, RunOptions
from daskcast.errors import ClusterError, StoreError
from daskcast.kubernetes_options import KubernetesOptions
from daskcast.panel import FolderBatch
from daskcast.pool import ProcessPool
from daskcast.versions import CLOSE, EXACT, mismatches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from multiprocessing.context import BaseContext

    from daskcast.engine import Scheduler
    from daskcast.k8s.pod_logs import PodLogs
    from daskcast.panel import BatchData
    from daskcast.store import RunFolder

logger = logging.getLogger(__name__)

CONNECT_S = 20
"""How long to wait for a scheduler, and then for its first worker."""

WORKERS_SHARE = 0.75
"""Of this machine's memory, for its workers: the driver and others need some too."""

LOST_AFTER = "10s"
"""How long a worker of the local cluster that died may take to come back."""

WORKER_TTL = "60s"
"""How long a worker of the local cluster may be silent."""

PRELOAD = ("distributed", "numpy", "pandas", "pyarrow.parquet", "daskcast.engine", "daskcast.task")
"""Imported once in the fork server that worker processes come from."""

_OVER_TLS = "is each side's certificate signed by the authority of the other?"
_OVER_TCP = "a scheduler that speaks TLS is at tls://HOST:PORT"


def current_client() -> Client | None:
    """Give the Dask client that the caller already has, if any; never makes one."""
    try:
        client: Client = Client.current(allow_global=True)
    except ValueError:
        return None
    return client


def n_workers(options: RunOptions) -> int:
    """Give how many workers an executor of several gets on this machine."""
    return options.workers or max(1, CPU_COUNT // options.threads_per_worker)


def n_slots(scheduler: Scheduler) -> int:
    """Give how many batches an opened executor works on at a time."""
    if isinstance(scheduler, str):
        return 1
    if isinstance(scheduler, Client):
        n_threads: dict[str, int] = scheduler.nthreads()
        return max(1, sum(n_threads.values()))
    if isinstance(scheduler, ProcessPool):
        return scheduler.n_workers
    n: int = getattr(scheduler, "_max_workers", 1)  # as Dask itself asks
    return n


def memory_of_slot(scheduler: Scheduler) -> int:
    """Give the bytes that one batch may take: its share of the worker, or of this machine."""
    whole = round(WORKERS_SHARE * MEMORY_LIMIT) // n_slots(scheduler)
    if not isinstance(scheduler, Client):
        return whole
    workers = scheduler.scheduler_info(n_workers=-1)["workers"].values()
    shares = [w["memory_limit"] // w["nthreads"] for w in workers if w["memory_limit"]]
    return min(shares, default=whole)


@contextmanager
def open_cluster(
    options: RunOptions,
    client: Client | None = None,
    *,
    on_warm_up: Callable[[], None] = lambda: None,
) -> Iterator[Scheduler]:
    """Open the executor that the options name; close what was opened.

    Parameters
    ----------
    options : RunOptions
        ``cluster`` None counts as ``serial``.
    client : Client, optional
        An existing client is used as it is, and left open.
    on_warm_up : callable, optional
        Called when all is there but the compiled kernels, which the first run makes; a pool of
        processes does both at once, and calls it not.

    Yields
    ------
    str, Executor or Client
        What :func:`daskcast.engine.run_batches` takes as its scheduler.

    Raises
    ------
    ClusterError
        Where the cluster cannot be reached, has no worker, or runs other versions.
    """
    kind = options.cluster or "serial"
    with ExitStack() as stack:
        if client is not None:
            _use_client(client, stack, on_warm_up)
            yield client
        elif kind == "serial":
            _prepare_driver(stack, on_warm_up)
            yield "synchronous"
        elif kind == "threads":
            _prepare_driver(stack, on_warm_up)
            threads = ThreadPoolExecutor(n_workers(options), thread_name_prefix="daskcast")
            # Interrupted, a thread ends with its batch: nothing can stop it, so nobody waits.
            stack.callback(threads.shutdown, wait=False, cancel_futures=True)
            yield threads
        elif kind == "processes":
            yield _open_processes(n_workers(options), stack)
        elif kind == "local":
            yield _open_local(options, stack, on_warm_up)
        elif kind == KUBERNETES:
            pods = _open_pods(options, stack)
            _use_client(pods, stack, on_warm_up)
            yield pods
        else:
            yield _connect(kind, stack, on_warm_up)


# -- executors of this machine -----------------------------------------------------------------


def _prepare_driver(stack: ExitStack, on_warm_up: Callable[[], None]) -> None:
    on_warm_up()
    _warm_up()
    stack.enter_context(blas_at_one())


@functools.cache
def _warm_up() -> None:
    """Warm this process up, once."""
    from daskcast import task  # noqa: PLC0415 - heavy: where the work is done

    task.warm_up()


def _open_processes(n: int, stack: ExitStack) -> ProcessPool:
    pool = ProcessPool(functools.partial(_processes, n))
    stack.callback(pool.close)
    return pool


def _processes(n: int) -> ProcessPoolExecutor:
    pool = ProcessPoolExecutor(n, mp_context=_process_context(), initializer=_prepare_process)
    # One process first, so that several do not compile the same cold kernels at once.
    pool.submit(_warm_up).result()
    return pool


def _prepare_process() -> None:
    # Ctrl-C reaches the whole group: the driver decides, the batches at hand are finished.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_driver, name="daskcast-watch", daemon=True).start()
    _warm_up()
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


def _open_local(options: RunOptions, stack: ExitStack, on_warm_up: Callable[[], None]) -> Client:
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
    stack.callback(_close, client)
    _keep_complete(cluster, n)
    on_warm_up()
    _prepare_workers(client, own=True)
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


# -- pods --------------------------------------------------------------------------------------


@contextmanager
def kubernetes(
    image: str | None = None,
    *,
    workers: int | None = None,
    threads_per_worker: int = 1,
    **pods: Any,
) -> Iterator[Client]:
    """Run a Dask cluster on Kubernetes for as long as the block lasts.

    Parameters
    ----------
    image : str, optional
        Runs scheduler and workers; not needed for a cluster that exists.
    workers : int, optional
        Pods of workers; with ``adaptive`` not needed.
    threads_per_worker : int
        Batches that each of them works on at a time.
    **pods
        All else of :class:`daskcast.kubernetes_options.KubernetesOptions`: ``namespace``, ``name``,
        ``scheduler`` and ``worker`` (each a mapping of ``cpu``, ``memory``, ``env``, ``secrets``,
        ``node_selector``, ``tolerations`` ...), ``spot``, ``adaptive``, ``idle_timeout`` ...

    Yields
    ------
    distributed.Client
        Connected, with the same versions on both sides; its ``cluster`` is a
        ``dask_kubernetes.operator.KubeCluster``. Nothing of it is left afterwards.

    Raises
    ------
    ConfigError
        Names every option that is wrong.
    ClusterError
        Says in one sentence why the cluster does not start, with the last lines of the pod's log.

    Examples
    --------
    >>> with kubernetes("ghcr.io/me/daskcast:1", workers=4, namespace="forecast") as client:
    ...     run = forecast(df, h=12, client=client)  # doctest: +SKIP
    """
    options = RunOptions(
        cluster=KUBERNETES,
        workers=workers,
        threads_per_worker=threads_per_worker,
        kubernetes=KubernetesOptions.of({"image": image, **pods}),
    )
    with ExitStack() as stack:
        client = _open_pods(options, stack)
        _check_client(client)
        yield client


def _open_pods(options: RunOptions, stack: ExitStack) -> Client:
    from daskcast.k8s.opening import started  # noqa: PLC0415 - of an extra

    pods = stack.enter_context(
        started(
            options.kubernetes,
            n_workers=options.workers or options.kubernetes.least or 1,
            n_threads=options.threads_per_worker,
        )
    )
    _logs_of_pods[pods.client] = pods.logs
    client: Client = pods.client
    return client


_logs_of_pods: WeakKeyDictionary[Client, PodLogs] = WeakKeyDictionary()


def pod_logs(scheduler: Scheduler) -> Callable[[], Mapping[str, Sequence[Mapping[str, Any]]]]:
    """Give how to read what the pods of a cluster logged, also after its end; others have none."""
    if isinstance(scheduler, Client) and scheduler in _logs_of_pods:
        return _logs_of_pods[scheduler].records
    return dict


# -- clusters that exist -----------------------------------------------------------------------


def _connect(address: str, stack: ExitStack, on_warm_up: Callable[[], None]) -> Client:
    tls = address.startswith("tls://")
    if tls:
        _check_certificates(address)
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"no Dask scheduler answers at {address} within {CONNECT_S} s: start one "
            f"(`dask scheduler`) or mend the address ({_OVER_TLS if tls else _OVER_TCP})"
        ) from error
    stack.callback(_close, client)
    _use_client(client, stack, on_warm_up)
    return client


def _close(client: Client) -> None:
    """Close a client; what goes wrong in that must not hide how the run ended."""
    try:
        client.close()
    except (OSError, TimeoutError, RuntimeError):  # Dask stumbles at times over a lost scheduler
        logger.debug("the Dask client did not close cleanly", exc_info=True)


def _check_certificates(address: str) -> None:
    """Refuse TLS without certificates of ours: Dask would raise a TypeError, or try for long."""
    where = "Dask's settings distributed.comm.tls, or DASK_DISTRIBUTED__COMM__TLS__CA_FILE"
    where += ", __CLIENT__CERT and __CLIENT__KEY"
    try:
        context = Security().get_connection_args("client")["ssl_context"]
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"the certificates for {address} cannot be used: {error}; see {where}"
        ) from error
    if context is None:
        raise ClusterError(f"{address} needs certificates; give them in {where}")


def _use_client(client: Client, stack: ExitStack, on_warm_up: Callable[[], None]) -> None:
    _check_client(client)
    on_warm_up()
    _prepare_workers(client, own=False)
    stack.callback(_forget, client)


def _check_client(client: Client) -> None:
    """Refuse a client that is of no use, or whose cluster runs other versions."""
    if client.asynchronous:
        raise ClusterError(
            "the Dask client is asynchronous; give one made without asynchronous=True"
        )
    try:
        client.wait_for_workers(1, timeout=CONNECT_S)
    except TimeoutError as error:
        raise ClusterError(
            f"the Dask scheduler has no worker after {CONNECT_S} s: start one "
            f"(`dask worker ADDRESS`)"
        ) from error
    versions: Any = client.get_versions(check=False, packages=[*EXACT, *CLOSE[1:]])
    problems = mismatches(versions)
    if problems:
        raise ClusterError(*problems)


def _prepare_workers(client: Client, *, own: bool) -> None:
    """Warm each worker once, one of each machine first; workers that join later warm themselves."""
    firsts = list({_host(address): address for address in client.nthreads()}.values())
    client.run(_warm_up, workers=firsts)
    client.register_plugin(_Preparation(own=own))


def _forget(client: Client) -> None:
    """Leave the workers as they were; a client that is lost by now has none.

    Nothing is left to do, either, where another run on the same cluster ended before.
    """
    with suppress(OSError, TimeoutError, ClosedClientError, ValueError):
        client.unregister_worker_plugin(_Preparation.name)


def _host(address: str) -> str:
    return address.rpartition(":")[0]


class _Preparation(WorkerPlugin):
    """Warms the kernels and limits BLAS, on each worker there is and each that joins."""

    name = "daskcast-prepare"

    def __init__(self, *, own: bool) -> None:
        self._own = own

    async def setup(self, worker: Any) -> None:
        await worker.loop.run_in_executor(None, _warm_up)
        # In a thread that ends: while the one that set a limit is alive, threadpoolctl lets no
        # other set one, and a task could not limit what its model loads.
        setter = threading.Thread(target=self._limit)
        setter.start()
        setter.join()
        if self._own and threading.current_thread() is threading.main_thread():
            # Ctrl-C reaches the whole group: the driver decides, workers go when it closes them.
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _limit(self) -> None:
        self._limits = blas_at_one()

    def teardown(self, worker: Any) -> None:  # noqa: ARG002
        self._limits.restore_original_limits()


def shares(scheduler: Scheduler, folder: RunFolder) -> bool:
    """Tell whether all workers reach a run folder by its path: they read back a token of ours."""
    if not isinstance(scheduler, Client):
        return True
    name, token = f".token-{secrets.token_hex(8)}", secrets.token_bytes(16)
    folder.files.write(name, token)
    try:
        found = scheduler.run(_read_back, folder, name)
    finally:
        folder.files.remove(name)
    return all(read == token for read in found.values())


def check_reading(scheduler: Scheduler, data: BatchData) -> None:
    """Refuse files that workers of other machines do not see, before any work is done.

    Raises
    ------
    ClusterError
        Names the file, and what the worker said.
    """
    if not isinstance(scheduler, Client) or not isinstance(data, FolderBatch):
        return
    found = scheduler.run(_trouble, data)
    blind = {address: told for address, told in found.items() if told}
    if blind:
        raise ClusterError(
            f"{len(blind)} of {len(found)} workers cannot read the data that they are to forecast "
            f"({next(iter(blind.values()))}): put it where all of them can, such as s3://, or give "
            f"a single file or a table, which is read here"
        )


def _trouble(data: FolderBatch) -> str:
    return data.trouble()


def _read_back(folder: RunFolder, name: str) -> bytes:
    try:
        return folder.files.read(name)
    except (OSError, StoreError):  # StoreError: what opens such a place is not installed there
        return b""
