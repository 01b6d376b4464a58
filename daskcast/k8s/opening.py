"""A Dask cluster on Kubernetes, from its start to its end: ``KubeCluster``, with what it lacks.

Covers waiting for scheduler and workers with an end as soon as there is no hope, connecting a
client, and closing all of it whatever comes. Does not cover making and removing the object
(``making``), what is wrong with a cluster (``why``, ``watch``) or versions (``cluster``).

``KubeCluster`` connects to the cluster that is made here rather than make it: it would wait for a
state that the operator at times overwrites (dask-kubernetes#968), wait for ever where an image
cannot be pulled, and remove a scheduler that crashed before it has read why.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from daskcast.errors import ClusterError
from daskcast.k8s.answers import RefusedError
from daskcast.k8s.api import Kubernetes, in_cluster, need_dask_kubernetes
from daskcast.k8s.ending import as_error
from daskcast.k8s.making import made
from daskcast.k8s.pod_logs import PodLogs
from daskcast.k8s.pods import component_of, is_ready, name_of
from daskcast.k8s.watch import EVERY_S, Beside, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from distributed import Client

    from daskcast.kubernetes_options import KubernetesOptions

logger = logging.getLogger(__name__)
T = TypeVar("T")

CONNECT_S = 30
"""For connecting to a scheduler that is ready."""

CLOSE_S = 10
LOOK_UP_S = 5
"""For the name of the scheduler, which in a pod may be news to the cluster's name server."""

MORE_WORKERS_S = 30
"""How long the first worker waits for the others."""

PORT = 8786


@dataclass(frozen=True, slots=True)
class Started:
    """A Dask cluster that runs.

    Parameters
    ----------
    client : distributed.Client
    cluster : dask_kubernetes.operator.KubeCluster
    logs : PodLogs
        Answers also when all is over.
    """

    client: Client
    cluster: Any
    logs: PodLogs


@contextmanager
def started(options: KubernetesOptions, *, n_workers: int, n_threads: int = 1) -> Iterator[Started]:
    """Start a Dask cluster on Kubernetes, or use the one that the options name.

    Parameters
    ----------
    options : KubernetesOptions
        With an image, unless they name a cluster that exists.
    n_workers : int
        Pods of workers; an adaptive cluster begins with its fewest.
    n_threads : int
        Batches that each of them works on at a time.

    Yields
    ------
    Started
        With at least one worker. What was made here is removed at the end, however it comes, and
        none of its pods is left; only a process that is killed leaves the cluster to its idle
        time-out. Killed while the start fails, as no scheduler comes to answer, it leaves it for
        good: the operator asks the scheduler how long it has been idle. Then it is removed by
        ``kubectl delete daskcluster NAME -n NS``.

    Raises
    ------
    ClusterError
        Where it does not start; says why in a sentence, with the last lines of a log where they
        tell more, within 30 s of the reason's being there.

    Notes
    -----
    While a node is being made for a pod, ``options.start_timeout`` is how long this waits. After
    the start, crashes and evictions of workers are logged as warnings, at most one of a kind a
    minute.
    """
    need_dask_kubernetes()
    with ExitStack() as stack:
        kubernetes = _signed_in(options.namespace)
        stack.callback(kubernetes.close)
        cluster = stack.enter_context(
            made(kubernetes, options, n_workers=n_workers, n_threads=n_threads)
        )
        logs = PodLogs(kubernetes)
        beside = Beside(kubernetes, cluster.name, logs)
        kubernetes.begin(beside.look_on())
        kubernetes.begin(logs.read_on())
        stack.callback(_read_last, kubernetes, logs)
        start = _Start(kubernetes, Watch(kubernetes, cluster.name), cluster.name, options)
        kube_cluster = stack.enter_context(start.connected())
        start.wait_for_workers(kube_cluster, cluster.n_workers)
        if options.adaptive and cluster.own:
            start.adapt(kube_cluster)
        client = stack.enter_context(_client(kube_cluster))
        start.free()
        with beside.warning():
            yield Started(client, kube_cluster, logs)


def _signed_in(namespace: str | None) -> Kubernetes:
    try:
        return Kubernetes(namespace)
    except RefusedError as refused:
        where = {"namespace": namespace or "", "doing": "reach Kubernetes"}
        raise as_error(refused, **where) from refused


def _read_last(kubernetes: Kubernetes, logs: PodLogs) -> None:
    """Read what was written since the last turn; the pods are there for a moment more."""
    with suppress(TimeoutError, RuntimeError):
        kubernetes.begin(logs.read()).result(CLOSE_S)


class _Start:
    """The steps of a start, within one limit."""

    def __init__(
        self, kubernetes: Kubernetes, watch: Watch, name: str, options: KubernetesOptions
    ) -> None:
        self._kubernetes = kubernetes
        self._watch = watch
        self._name = name
        self._options = options
        self._end = time.monotonic() + options.start_timeout

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """Wait for the scheduler, and connect to it; disconnect at the end."""
        scheduler = self._scheduler()
        self.free()
        cluster = self._connect(scheduler)
        try:
            yield cluster
        finally:
            _closed("cluster", cluster.close)

    def _scheduler(self) -> str:
        while True:
            seen = self._watch.look()
            for pod in seen.pods:
                if component_of(pod) == "scheduler" and is_ready(pod):
                    return name_of(pod)
            self._watch.end_if_hopeless(seen)
            self._check_time("its scheduler does not run")
            time.sleep(EVERY_S)

    def _check_time(self, what: str) -> None:
        if time.monotonic() > self._end:
            limit_s = self._options.start_timeout
            sentences = self._watch.sentences()
            why = f": {sentences[0]}" if sentences else ""
            raise ClusterError(
                f"the Dask cluster {self._name} is not there within {limit_s:g} s, as {what}{why}",
                may_pass=True,
            )

    def free(self) -> None:
        """Mend a phase that the operator overwrote with an older one (dask-kubernetes#968)."""
        try:
            found = self._kubernetes.dask_cluster(self._name)
            if ((found or {}).get("status") or {}).get("phase") == "Pending":
                self._kubernetes.set_phase(self._name, "Running")
                logger.info("the Dask cluster %s was held to be pending, and is not", self._name)
        except RefusedError:
            logger.debug("the phase of the Dask cluster could not be mended", exc_info=True)

    def _connect(self, scheduler: str) -> Any:
        """Connect as ``KubeCluster`` does, but not for ever."""
        import kr8s  # noqa: PLC0415 - optional, and heavy
        from dask_kubernetes.operator import KubeCluster  # noqa: PLC0415 - likewise
        from dask_kubernetes.operator.kubecluster.kubecluster import CreateMode  # noqa: PLC0415

        namespace = self._kubernetes.namespace
        forward = not _is_known(self._name, namespace)
        doing = f"connect to the scheduler of the Dask cluster {self._name}"
        logger.info(
            "connects to the scheduler %s", "through the Kubernetes API" if forward else "by name"
        )
        try:
            if forward:
                self._kubernetes.try_forwarding(scheduler, PORT)
            return _within(
                CONNECT_S,
                lambda: KubeCluster(
                    name=self._name,
                    namespace=namespace,
                    create_mode=CreateMode.CONNECT_ONLY,
                    port_forward_cluster_ip=forward,
                    shutdown_on_close=False,  # that is ours; so the exit hook has no work either
                    quiet=True,
                ),
                undo=lambda cluster: cluster.close(),
            )
        except RefusedError as refused:
            raise self._watch.refused(refused, doing) from refused
        except kr8s.ServerError as error:
            raise self._watch.refused(_as_refused(error), doing) from error
        except (OSError, TimeoutError, RuntimeError, ValueError, LookupError, AttributeError,
                kr8s.NotFoundError) as error:  # fmt: skip
            text = f"cannot {doing} within {CONNECT_S} s: {error or type(error).__name__}"
            raise ClusterError(text, may_pass=True) from error

    def wait_for_workers(self, cluster: Any, n_workers: int) -> None:
        """Wait until all workers are there, or one is and the others do not come soon."""
        first_at = None
        while (n_connected := len(cluster.scheduler_info["workers"])) < max(n_workers, 1):
            now = time.monotonic()
            first_at = first_at or (now if n_connected else None)
            seen = self._watch.look(n_connected=n_connected)
            self._watch.end_if_hopeless(seen)
            if first_at is not None and now - first_at > MORE_WORKERS_S:
                why = "; ".join(self._watch.sentences()) or "they may join later"
                text = "begins with %d of %d workers: %s"
                logger.warning(text, n_connected, n_workers, why)
                return
            if n_workers == 0:
                raise ClusterError(
                    f"the Dask cluster {self._name} is to have no workers: give it some "
                    f"(kubectl scale daskworkergroup {self._name}-default --replicas=1 -n "
                    f"{self._kubernetes.namespace})"
                )
            if not n_connected:
                self._check_time("it has no worker")
            time.sleep(EVERY_S)
        self._watch.look(n_connected=n_connected)

    def adapt(self, cluster: Any) -> None:
        """Let the operator change the number of workers by what there is to do."""
        import kr8s  # noqa: PLC0415 - optional, and heavy

        least, most = self._options.least, self._options.most
        logger.warning(
            "an adaptive cluster (%d to %d workers) may remove workers that are at work: batches "
            "that are finished are kept, the others are done again; it lowers by at most a "
            "quarter at a time", least, most,
        )  # fmt: skip
        doing = f"make the Dask cluster {self._name} adaptive"
        try:
            _within(CONNECT_S, lambda: cluster.adapt(minimum=least, maximum=most))
        except kr8s.ServerError as error:
            raise self._watch.refused(_as_refused(error), doing) from error
        except (OSError, TimeoutError, RuntimeError) as error:
            raise ClusterError(
                f"cannot {doing}: {error or type(error).__name__}", may_pass=True
            ) from error


@contextmanager
def _client(cluster: Any) -> Iterator[Client]:
    from distributed import Client  # noqa: PLC0415 - heavy

    try:
        client = Client(cluster, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"the scheduler of the Dask cluster {cluster.name} does not answer: {error}",
            may_pass=True,
        ) from error
    try:
        yield client
    finally:
        _closed("client", client.close)


def _closed(what: str, close: Callable[[], object]) -> None:
    """Close something; what goes wrong in that must not hide how the run ended."""
    try:
        _within(CLOSE_S, close)
    except (OSError, TimeoutError, RuntimeError):  # Dask stumbles at times over a lost scheduler
        logger.debug("the Dask %s did not close cleanly", what, exc_info=True)


def _as_refused(error: Any) -> RefusedError:
    status = error.response.status_code if error.response is not None else 0
    return RefusedError(status, str(error))


def _is_known(name: str, namespace: str) -> bool:
    """Tell whether the scheduler can be reached by name: then this process is in the cluster."""
    end = time.monotonic() + (LOOK_UP_S if in_cluster() else 0)
    while True:
        # The short name is what KubeCluster uses; alone, it could be anybody's outside.
        hosts = [f"{name}-scheduler.{namespace}{more}" for more in (".svc", "")]
        if all(_looked_up(host) for host in hosts):
            return True
        if time.monotonic() > end:
            return False
        time.sleep(EVERY_S)


def _looked_up(host: str) -> bool:
    try:
        return bool(_within(LOOK_UP_S, lambda: socket.getaddrinfo(host, PORT)))
    except OSError:  # a name that nobody knows, or a server that does not answer
        return False


def _within(
    limit_s: float, call: Callable[[], T], undo: Callable[[T], object] = lambda _: None
) -> T:
    """Call what may not come back, and wait for it so long; undo what comes back later."""
    done: Future[T] = Future()

    def work() -> None:
        try:
            done.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            done.set_exception(error)

    def undo_late(late: Future[T]) -> None:
        if late.exception() is None:
            undo(late.result())

    threading.Thread(target=work, name="daskcast-within", daemon=True).start()
    try:
        return done.result(limit_s)
    except BaseException:
        done.add_done_callback(undo_late)
        raise
