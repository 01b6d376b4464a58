"""Who computes: this process, threads, processes, a local Dask cluster, pods, or one that exists.

Covers choosing, opening and closing it, and checking that both sides of a cluster over the network
run the same versions. Does not cover the work itself (``engine``, ``task``), how processes of this
machine are started (``machine``), how workers are made ready (``preparation``) or how pods are
started and watched (``k8s``).

Scripts that use ``processes`` or ``local`` need the usual ``if __name__ == "__main__":`` around
what they run, because new processes import the script; notebooks and the command do not.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from distributed import Client
from distributed.security import Security
from distributed.system import MEMORY_LIMIT

from daskcast.blas import blas_at_one
from daskcast.config import KUBERNETES, RunOptions
from daskcast.errors import ClusterError
from daskcast.kubernetes_options import KubernetesOptions
from daskcast.machine import WORKERS_SHARE, close_client, n_workers, open_local, open_processes
from daskcast.pool import ProcessPool
from daskcast.preparation import forget_workers, prepare_workers, warm_up
from daskcast.versions import CLOSE, EXACT, mismatches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from daskcast.engine import Scheduler
    from daskcast.k8s.pod_logs import PodLogs

logger = logging.getLogger(__name__)

CONNECT_S = 20
"""How long to wait for a scheduler, and then for its first worker."""

_OVER_TLS = "is each side's certificate signed by the authority of the other?"
_OVER_TCP = "a scheduler that speaks TLS is at tls://HOST:PORT"


def current_client() -> Client | None:
    """Give the Dask client that the caller already has, if any; never makes one."""
    try:
        client: Client = Client.current(allow_global=True)
    except ValueError:
        return None
    return client


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
            yield open_processes(n_workers(options), stack)
        elif kind == "local":
            yield open_local(options, stack, on_warm_up)
        elif kind == KUBERNETES:
            pods = _open_pods(options, stack)
            _use_client(pods, stack, on_warm_up)
            yield pods
        else:
            yield _connect(kind, stack, on_warm_up)


def _prepare_driver(stack: ExitStack, on_warm_up: Callable[[], None]) -> None:
    on_warm_up()
    warm_up()
    stack.enter_context(blas_at_one())


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
            f"(`dask scheduler`) or mend the address ({_OVER_TLS if tls else _OVER_TCP})",
            may_pass=True,
        ) from error
    stack.callback(close_client, client)
    _use_client(client, stack, on_warm_up)
    return client


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
    prepare_workers(client, own=False)
    stack.callback(forget_workers, client)


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
            f"(`dask worker ADDRESS`)",
            may_pass=True,
        ) from error
    versions: Any = client.get_versions(check=False, packages=[*EXACT, *CLOSE[1:]])
    problems = mismatches(versions)
    if problems:
        raise ClusterError(*problems)
