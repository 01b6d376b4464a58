"""A whole little cluster in a thread of this process: ``with Cluster() as cluster: ...``.

Covers: starting and stopping everything, what tests need to look at a cluster as its
administrator, kubeconfigs of its users, faults.
Does not cover: clusters of several processes.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil
import yaml

from . import certificates
from .api import Api, Request
from .controllers import DeploymentController, ReplicaSetController
from .errors import ApiError
from .events import Recorder
from .images import Image
from .jobs import JobController
from .kubelet import Kubelet
from .network import Network
from .objects import Object, is_ready
from .patches import MERGE
from .rbac import Tokens
from .registry import Registry
from .scheduler import Scheduler
from .store import Store
from .tools import tool

T = TypeVar("T")

WATCH_DELAY_S = 0.02
_CALL_S = 30
_STOP_S = 15
_GRACE_S = 2
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # definitions of Dask are long
_ONE_NODE = {"node-0": {"cpu": "8", "memory": "32Gi"}}


class Cluster:
    """A cluster with its nodes.

    Parameters
    ----------
    nodes : dict
        By name: ``cpu``, ``memory``, maybe other resources, ``labels`` and ``taints``.
    watch_delay : float
        Seconds between a change and the watchers that see it, as with a real server.
    """

    def __init__(
        self, nodes: dict[str, Object] | None = None, watch_delay: float = WATCH_DELAY_S
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="little-kubernetes-"))
        self.kubeconfig = self.folder / "kubeconfig"
        self.url = ""
        self._nodes = nodes or _ONE_NODE
        self._watch_delay = watch_delay
        self._images: dict[str, Image] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._closing = contextlib.AsyncExitStack()

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(_CALL_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._closing.aclose(), self._loop).result(_STOP_S)
        self._sweep()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_S)
        if not self._loop.is_running():
            self._loop.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _start(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        context = certificates.make(self.folder / "pki")
        self._store, self._tokens = Store(), Tokens()
        self.registry = Registry(self._store)
        recorder = Recorder(self.registry)
        self._network = Network(self.registry, recorder, self.folder)
        self._kubelet = Kubelet(self._network, self._images, self.folder, self._account_config)
        self._jobs = JobController(self.registry, recorder)
        self._api = Api(self.registry, self._tokens, self._kubelet, self._watch_delay)
        self._closing.callback(self._network.close)
        for stop in (self._api.stop, self._kubelet.stop, self._stop_loops):
            self._closing.push_async_callback(stop)
        for name in ("default", "kube-system"):
            self.registry.create("namespaces", {"metadata": {"name": name}})
        self.url = await self._api.start(context)
        self.kubeconfig.write_text(yaml.safe_dump(self._config(self._tokens.admin)))
        for name, node in self._nodes.items():
            self._kubelet.add_node(name, node)
        plain = (Scheduler, DeploymentController, ReplicaSetController)
        loops = [kind(self.registry, recorder) for kind in plain]
        loops += [self._jobs, self._network, self._kubelet]
        self._tasks += [asyncio.create_task(loop.run()) for loop in loops]

    async def _stop_loops(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _sweep(self) -> None:
        """Kill what left the process group of its container."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("LITTLE_KUBERNETES") == str(self.folder):
                    process.send_signal(signal.SIGKILL)

    def _config(self, token: str, namespace: str = "default") -> Object:
        authority = base64.b64encode((self.folder / "pki" / "ca.crt").read_bytes()).decode()
        cluster = {"server": self.url, "certificate-authority-data": authority}
        context = {"cluster": "little", "user": "user", "namespace": namespace}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "little",
            "clusters": [{"name": "little", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "little", "context": context}],
        }

    def _account_config(self, namespace: str, account: str) -> Object:
        return self._config(self._tokens.issue(namespace, account), namespace)

    def _call(self, function: Callable[..., T], *args: Any, **options: Any) -> T:
        """Call a function in the thread of the cluster."""

        async def call() -> T:
            return function(*args, **options)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(_CALL_S)

    @property
    def requests(self) -> list[Request]:
        """All requests by HTTP so far."""
        return self._call(list, self._api.requests)

    def image(self, name: str, image: Image) -> None:
        """Let nodes know an image."""
        self._call(self._images.__setitem__, name, image)

    def apply(
        self, documents: str | Object | Iterable[Object], namespace: str = "default"
    ) -> list[Object]:
        """Create objects, or merge them into what is there; `namespace` is for those without."""
        if isinstance(documents, str):
            documents = yaml.load_all(documents, _LOADER)
        elif isinstance(documents, dict):
            documents = [documents]
        return [self._call(self._apply, document, namespace) for document in documents if document]

    def _apply(self, document: Object, namespace: str) -> Object:
        kinds = self.registry.kinds().values()
        wanted = (document["apiVersion"], document["kind"])
        found = [kind for kind in kinds if (kind.api_version, kind.kind) == wanted]
        if not found:
            raise ApiError(404, "NotFound", f"no matches for kind {wanted[1]} in {wanted[0]}")
        kind, meta = found[0], document["metadata"]
        home = meta.get("namespace", namespace) if kind.namespaced else ""
        if self._store.find(kind.resource, home, meta.get("name", "")):
            return self.registry.patch(kind.resource, home, meta["name"], document, MERGE)
        return self.registry.create(kind.resource, document, home)

    def get(self, resource: str, namespace: str, name: str) -> Object | None:
        """Give an object, or None: ``cluster.get("deployments.apps", "space", "name")``."""
        return self._call(self._store.find, resource, namespace, name)

    def list(
        self, resource: str, namespace: str = "", labels: str = "", fields: str = ""
    ) -> list[Object]:
        return self._call(self.registry.list, resource, namespace, labels, fields)

    def patch(self, resource: str, namespace: str, name: str, patch: Any, **options: Any) -> Object:
        """Merge `patch` into an object; ``part="status"`` for its status."""
        return self._call(self.registry.patch, resource, namespace, name, patch, **options)

    def delete(self, resource: str, namespace: str, name: str, grace_s: int | None = None) -> None:
        """Delete an object, if it is there."""
        with contextlib.suppress(ApiError):
            self._call(self._store.delete, resource, namespace, name, grace_s)

    def end_namespace(self, name: str, timeout_s: float) -> None:
        """Delete a namespace and wait until it is gone; what stays is removed, and told."""
        self.delete("namespaces", "", name, grace_s=_GRACE_S)
        try:
            wait_until(lambda: self.get("namespaces", "", name) is None, timeout_s)
        except TimeoutError as err:
            left = self._call(self._store.purge, name)
            raise TimeoutError(f"namespace {name} does not end; left: {left}") from err

    def pods(self, namespace: str, labels: str = "") -> list[Object]:
        return self.list("pods", namespace, labels)

    def is_ready(self, namespace: str, pod: str) -> bool:
        found = self.get("pods", namespace, pod)
        return found is not None and is_ready(found)

    def events(self, namespace: str, reason: str = "") -> list[Object]:
        return self.list("events", namespace, fields=f"reason={reason}" if reason else "")

    def logs(self, namespace: str, pod: str, container: str = "", previous: bool = False) -> str:
        """Give the log of a container, also after the pod is gone."""
        logs = self._kubelet.logs
        if container:
            files = [logs.file(namespace, pod, container, previous)]
        else:
            files = sorted(logs.folder(namespace, pod).glob("*.log"))
            files = [f for f in files if f.name.endswith(".previous.log") == previous]
        return "".join(f.read_text(errors="replace") for f in files if f.exists())

    def user_kubeconfig(self, namespace: str, service_account: str) -> Path:
        """Give the file of a kubeconfig of a service account that is there."""
        self._call(self._store.get, "serviceaccounts", namespace, service_account)
        path = self.folder / f"kubeconfig-{namespace}-{service_account}"
        path.write_text(yaml.safe_dump(self._account_config(namespace, service_account)))
        return path

    def kubectl(self, *args: str, stdin: str | None = None, kubeconfig: Path | None = None) -> str:
        """Run the real kubectl; give what it prints, or raise with it."""
        env = {"KUBECONFIG": str(kubeconfig or self.kubeconfig), "HOME": str(self.folder)}
        command = [tool("kubectl") or "kubectl", *args]
        done = subprocess.run(
            command,
            input=stdin,
            text=True,
            capture_output=True,
            env={**os.environ, **env},
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return done.stdout

    def trigger_cronjob(self, namespace: str, name: str) -> Object | None:
        """Make the Job of a CronJob as if its time had come; None where it is not to start."""
        return self._call(self._jobs.trigger, namespace, name)

    def preempt(self, node: str) -> list[str]:
        """Let a node go away: its processes die at once, its pods are removed, it is cordoned."""
        return self._call(self._kubelet.preempt, node)

    def restore(self, node: str) -> None:
        """Let a preempted node come back."""
        self._call(self._kubelet.restore, node)

    def kill_pod(self, namespace: str, name: str) -> None:
        """Kill the processes of a pod; it fails, or restarts, as its policy says."""
        self._call(self._kubelet.kill_pod, namespace, name)


def wait_until(condition: Callable[[], T], timeout_s: float = 60, every_s: float = 0.1) -> T:
    """Give the first true result of `condition`, or raise TimeoutError with the last one."""
    end = time.monotonic() + timeout_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise TimeoutError(f"not true in {timeout_s} s: last result {result!r}")
        time.sleep(every_s)
