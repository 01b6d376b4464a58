"""The nodes: they run the pods that are bound to them.

Covers: the Node objects, the life of a pod (phases, conditions, graceful end), its service account
token, its logs; faults: a node that goes away, a pod that is killed.
Does not cover: init containers, eviction by pressure, heartbeats.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import os
from collections.abc import Callable
from pathlib import Path

import yaml

from .container import Container, Sandbox
from .environment import ConfigError, Volumes
from .images import Image
from .logs import Logs
from .loops import Loop
from .network import Network
from .objects import Object, is_done, is_leaving, key, now, with_condition

_log = logging.getLogger(__name__)

PODNET = Path(__file__).parent / "podnet"
_RETRY_S = 0.5
_REPORT_EVERY_S = 0.05
_KILLED_S = 1.0


class PodRun:
    """The life of one pod on its node."""

    def __init__(self, kubelet: Kubelet, pod: Object) -> None:
        self.pod = pod
        self._kubelet = kubelet
        self._dirty = asyncio.Event()
        self._leaving = asyncio.Event()
        self._started_at = now()
        self.sandbox = kubelet.sandbox(pod, self._dirty.set)
        policy, specs = pod["spec"]["restartPolicy"], pod["spec"]["containers"]
        self.containers = [Container(self.sandbox, spec, policy) for spec in specs]
        self.task = asyncio.create_task(self._live())

    def leave(self) -> None:
        self._leaving.set()

    def kill(self) -> None:
        for container in self.containers:
            container.kill()

    async def _live(self) -> None:
        reporter = asyncio.create_task(self._report())
        work = asyncio.create_task(self._work())
        leaving = asyncio.create_task(self._leaving.wait())
        try:
            await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await self._end(work)
        finally:
            self.kill()
            for task in (work, leaving, reporter):
                task.cancel()
            ends = await asyncio.gather(work, leaving, reporter, return_exceptions=True)
        for error in ends:
            if isinstance(error, Exception):
                _log.error("pod %s", key(self.pod), exc_info=error)
        self._publish()
        if self._leaving.is_set():
            self._kubelet.forget(self.pod)

    async def _work(self) -> None:
        volumes = await self._volumes()
        self._dirty.set()
        await asyncio.gather(*(container.run(volumes) for container in self.containers))

    async def _end(self, work: asyncio.Task[None]) -> None:
        """Ask the containers to end, wait as long as is granted, then kill them."""
        found = self._kubelet.store.find("pods", *key(self.pod)) or self.pod
        grace_s = found["metadata"].get("deletionGracePeriodSeconds", 0)
        for container in self.containers:
            container.end()
        for patience_s in (grace_s, _KILLED_S):
            is_running = any(container.is_running for container in self.containers)
            await asyncio.wait({work}, timeout=patience_s if is_running else 0)
            self.kill()

    async def _volumes(self) -> Volumes:
        while True:
            try:
                return Volumes(self._kubelet.store, self.pod, self.sandbox.folder / "volumes")
            except ConfigError as err:
                message = f"MountVolume.SetUp failed for volume: {err}"
                self._kubelet.recorder.warning("kubelet", self.pod, "FailedMount", message)
                await asyncio.sleep(_RETRY_S)

    async def _report(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            self._publish()
            await asyncio.sleep(_REPORT_EVERY_S)

    def _publish(self) -> None:
        self._kubelet.registry.set_status("pods", self.pod, self._status())

    def _status(self) -> Object:
        is_ready = all(container.status["ready"] for container in self.containers)
        pod = self._kubelet.store.find("pods", *key(self.pod)) or self.pod
        for kind in ("ContainersReady", "Ready"):
            conditions = with_condition(pod, kind, is_ready)
            pod = pod | {"status": pod["status"] | {"conditions": conditions}}
        status = {
            "phase": self._phase(),
            "podIP": self.sandbox.address,
            "podIPs": [{"ip": self.sandbox.address}],
            "hostIP": "127.0.0.1",
            "startTime": self._started_at,
            "conditions": conditions,
            "containerStatuses": [container.status for container in self.containers],
        }
        return copy.deepcopy(status)

    def _phase(self) -> str:
        statuses = [container.status for container in self.containers]
        ends = [status["state"].get("terminated") for status in statuses]
        if all(ends):
            return "Failed" if any(end["exitCode"] for end in ends) else "Succeeded"
        has_run = any(s["restartCount"] or "waiting" not in s["state"] for s in statuses)
        return "Running" if has_run else "Pending"


class Kubelet(Loop):
    """All nodes of a cluster, and the pods on them."""

    resources = ("pods",)

    def __init__(
        self,
        network: Network,
        images: dict[str, Image],
        folder: Path,
        kubeconfig: Callable[[str, str], Object],
    ) -> None:
        super().__init__(network.registry, network.recorder)
        self.network = network
        self.images = images
        self.folder = folder
        self.logs = Logs(folder / "logs")
        self._kubeconfig = kubeconfig
        self._runs: dict[str, PodRun] = {}

    def add_node(self, name: str, node: Object) -> None:
        """Register a node: `node` has ``cpu``, ``memory``, and maybe ``labels`` and ``taints``."""
        marks = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
        body = {
            "metadata": {"name": name, "labels": marks | node.get("labels", {})},
            "spec": {"taints": node.get("taints", [])},
        }
        created = self.registry.create("nodes", body)
        sizes = {k: v for k, v in node.items() if k not in ("labels", "taints")} | {"pods": "110"}
        status = {
            "capacity": sizes,
            "allocatable": sizes,
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "conditions": with_condition(created, "Ready", True, reason="KubeletReady"),
        }
        self.registry.set_status("nodes", created, status)

    def sync(self) -> None:
        pods = {pod["metadata"]["uid"]: pod for pod in self.store.list("pods")}
        for uid, pod in pods.items():
            run = self._runs.get(uid)
            if run and is_leaving(pod):
                run.leave()
            elif not run and is_leaving(pod):
                self.forget(pod)
            elif not run and pod["spec"].get("nodeName") and not is_done(pod):
                self._start(uid, pod)
        for uid, run in self._runs.items():
            if uid not in pods:
                run.kill()
                run.leave()

    def _start(self, uid: str, pod: Object) -> None:
        run = self._runs[uid] = PodRun(self, pod)
        run.task.add_done_callback(lambda _: self._runs.pop(uid, None))

    def forget(self, pod: Object) -> None:
        """Remove a pod that has ended and is to be deleted."""
        found = self.store.find("pods", *key(pod))
        if found and found["metadata"]["uid"] == pod["metadata"]["uid"]:
            self.store.delete("pods", *key(pod), grace_s=0)

    def sandbox(self, pod: Object, changed: Callable[[], None]) -> Sandbox:
        """Give a pod its folders, its address and its environment."""
        meta = pod["metadata"]
        folder = self.folder / "pods" / meta["uid"]
        folder.mkdir(parents=True)
        self.logs.begin(*key(pod))
        address = self.network.address()
        pod = pod | {"status": pod["status"] | {"podIP": address, "hostIP": "127.0.0.1"}}
        env = self._environment(pod, folder)
        shared = (self.images, self.store, self.recorder, changed)
        return Sandbox(pod, address, folder, self.logs, env, *shared)

    def _environment(self, pod: Object, folder: Path) -> dict[str, str]:
        meta = pod["metadata"]
        env = {
            "HOME": str(folder),
            "HOSTNAME": meta["name"],
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(PODNET),
            "PYTHONUNBUFFERED": "1",
            "LITTLE_KUBERNETES": str(self.folder),
            "LITTLE_KUBERNETES_IP": pod["status"]["podIP"],
            "LITTLE_KUBERNETES_NAMES": str(self.network.names),
            "LITTLE_KUBERNETES_NAMESPACE": meta["namespace"],
        }
        if "NUMBA_CACHE_DIR" in os.environ:
            env["NUMBA_CACHE_DIR"] = os.environ["NUMBA_CACHE_DIR"]
        if self._mounts_token(pod):
            content = self._kubeconfig(meta["namespace"], pod["spec"]["serviceAccountName"])
            config = folder / "kubeconfig"
            config.write_text(yaml.safe_dump(content))
            env["KUBECONFIG"] = str(config)
        return env

    def _mounts_token(self, pod: Object) -> bool:
        account = self.store.find(
            "serviceaccounts", pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"]
        )
        default = (account or {}).get("automountServiceAccountToken", True)
        return pod["spec"].get("automountServiceAccountToken", default)

    def container(self, namespace: str, pod: str, name: str) -> Container | None:
        """Give a container of a pod that is being run."""
        for run in self._runs.values():
            if key(run.pod) == (namespace, pod):
                return next((c for c in run.containers if c.name == name), None)
        return None

    def kill_pod(self, namespace: str, name: str) -> None:
        """Kill the processes of a pod; its restart policy says what follows."""
        for run in self._runs.values():
            if key(run.pod) == (namespace, name):
                run.kill()

    def preempt(self, node: str) -> list[str]:
        """Let a node go away with all that is on it; give the names of its pods."""
        self._cordon(node, is_gone=True)
        runs = [run for run in self._runs.values() if run.pod["spec"]["nodeName"] == node]
        for run in runs:
            run.kill()
            run.leave()
        pods = [p for p in self.store.list("pods") if p["spec"].get("nodeName") == node]
        for pod in pods:
            self.forget(pod)
        return [pod["metadata"]["name"] for pod in pods]

    def restore(self, node: str) -> None:
        """Let a node come back, empty."""
        self._cordon(node, is_gone=False)

    def _cordon(self, name: str, is_gone: bool) -> None:
        node = self.store.get("nodes", "", name)
        spec = {k: v for k, v in node["spec"].items() if k != "unschedulable"}
        self.store.put(
            "nodes", node | {"spec": spec | ({"unschedulable": True} if is_gone else {})}
        )

    async def stop(self) -> None:
        """Kill all processes, and wait until they are gone."""
        tasks = [run.task for run in self._runs.values()]
        for run in self._runs.values():
            run.kill()
            run.leave()
        if tasks:
            await asyncio.wait(tasks, timeout=5)
