"""Clusters that start: connected, watched, adapted, interrupted, and removed."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from dask_kubernetes.operator import KubeCluster
from little_kubernetes import wait_until

from daskcast.errors import ClusterError
from daskcast.k8s import making
from daskcast.k8s.answers import RefusedError
from daskcast.k8s.making import made
from daskcast.k8s.opening import started
from daskcast.k8s.spec import cluster_manifest
from daskcast.kubernetes_options import KubernetesOptions, PodOptions

if TYPE_CHECKING:
    from little_kubernetes import Cluster

CLUSTERS = "daskclusters.kubernetes.dask.org"
SMALL = PodOptions(cpu="100m", memory="1Gi")


@pytest.fixture
def options(namespace: str) -> KubernetesOptions:
    return KubernetesOptions(
        image="daskcast:test", namespace=namespace, scheduler=SMALL, worker=SMALL
    )


def workers(kubernetes: Cluster, namespace: str) -> list[str]:
    pods = kubernetes.pods(namespace, "dask.org/component=worker")
    return [pod["metadata"]["name"] for pod in pods]


def square(number: int) -> int:
    return number**2


def test_a_cluster_from_its_start_to_its_end(
    kubernetes: Cluster,
    namespace: str,
    options: KubernetesOptions,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It computes; a worker that dies is warned about once; its lines and the others' are kept."""
    caplog.set_level(logging.INFO, "daskcast")
    with started(options, n_workers=2) as found:
        assert isinstance(found.cluster, KubeCluster)
        assert len(found.client.nthreads()) == 2
        # Only what Python brings: this file is not in the image.
        assert found.client.gather(found.client.map(abs, [-1, 2])) == [1, 2]
        [cluster] = kubernetes.list(CLUSTERS, namespace)
        assert cluster["status"]["phase"] == "Running"
        assert cluster["metadata"]["name"].startswith("daskcast-")
        logs = found.logs
        wait_until(lambda: sum(map(bool, logs.records().values())) == 3, 20)
        killed = workers(kubernetes, namespace)[0]
        before = len(logs.records()[killed])
        kubernetes.kill_pod(namespace, killed)
        wait_until(lambda: "by the signal KILL" in caplog.text, 20)
        wait_until(lambda: len(found.client.nthreads()) == 2, 30)
    assert kubernetes.pods(namespace) == []
    assert kubernetes.list(CLUSTERS, namespace) == []
    kept = logs.records()
    assert len(kept) == 3
    assert len(kept[killed]) > before, "the lines of both lives of the worker"
    assert all(record["worker"] for record in kept[killed])
    text = [record.getMessage() for record in caplog.records if record.name.startswith("daskcast")]
    assert any(line.startswith("the scheduler (pod ") for line in text)
    assert any(line.startswith("workers: 2 connected") for line in text)
    assert sum("by the signal KILL" in line for line in text) == 1


def test_a_cluster_that_exists_is_used_and_left(
    kubernetes: Cluster, namespace: str, options: KubernetesOptions
) -> None:
    theirs = cluster_manifest("theirs", options, n_workers=1)
    kubernetes.apply(theirs)
    with started(replace(options, name="theirs", image=None), n_workers=7) as found:
        assert found.cluster.name == "theirs"
        assert len(found.client.nthreads()) == 1
    assert len(kubernetes.pods(namespace)) == 2
    kubernetes.delete(CLUSTERS, namespace, "theirs")
    wait_until(lambda: not kubernetes.pods(namespace))


def test_an_adaptive_cluster_whose_phase_was_overwritten(
    kubernetes: Cluster,
    namespace: str,
    options: KubernetesOptions,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A phase that the operator overwrote (dask-kubernetes#968) is mended; Ctrl-C removes all."""
    caplog.set_level(logging.INFO, "daskcast")

    def overwrite() -> None:
        wait_until(lambda: (kubernetes.get(CLUSTERS, namespace, "mine") or {}).get("status"))
        wait_until(lambda: kubernetes.pods(namespace))
        time.sleep(0.5)
        kubernetes.patch(CLUSTERS, namespace, "mine", {"status": {"phase": "Pending"}})

    thread = threading.Thread(target=overwrite)
    thread.start()

    def use() -> None:
        with started(replace(options, name="mine", adaptive="1:2"), n_workers=5):
            thread.join()
            found.append(kubernetes.get(CLUSTERS, namespace, "mine"))
            found.extend(kubernetes.list("daskautoscalers.kubernetes.dask.org", namespace))
            raise KeyboardInterrupt

    found: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        use()
    cluster, scaler = found
    assert cluster["status"]["phase"] == "Running"
    assert (scaler["spec"]["minimum"], scaler["spec"]["maximum"]) == (1, 2)
    assert caplog.text.count("may remove workers that are at work") == 1
    assert kubernetes.pods(namespace) == []
    assert kubernetes.list("daskautoscalers.kubernetes.dask.org", namespace) == []


SCRIPT = """
import sys
from daskcast.k8s.opening import started
from daskcast.kubernetes_options import KubernetesOptions, PodOptions
small = PodOptions(cpu="100m", memory="1Gi")
options = KubernetesOptions(
    image="daskcast:test", namespace=sys.argv[1], scheduler=small, worker=small
)
with started(options, n_workers=1):
    print("started", flush=True)
"""


def test_interrupted_while_it_starts(kubernetes: Cluster, namespace: str) -> None:
    """Ctrl-C before there is a client: no pod is left, and the process ends without a word more."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, namespace],
        env={**os.environ, "KUBECONFIG": str(kubernetes.kubeconfig)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: kubernetes.pods(namespace))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert "started" not in out
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert err.count("Traceback") == 1, err
    assert kubernetes.pods(namespace) == []


# -- removing, on a cluster that is made up -----------------------------------------------------


class Slow:
    """A cluster whose pods do not go."""

    namespace, server = "team", "https://here"

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.asked: list[str] = []
        self.listing: Any = lambda: [{"metadata": {"name": "stays"}}]

    def create(self, manifest: dict[str, Any]) -> None:
        metadata = {**manifest["metadata"], "uid": "1"}
        self.objects[metadata["name"]] = {"metadata": metadata}

    def dask_cluster(self, name: str) -> Any:
        return self.objects.get(name)

    def remove(self, name: str, uid: str) -> None:
        assert self.objects[name]["metadata"]["uid"] == uid
        self.asked.append(name)
        self.objects.pop(name)

    def pods(self, _: str) -> Any:
        return self.listing()

    def sweep(self, name: str) -> None:
        self.asked.append(f"sweep {name}")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    monkeypatch.setattr(making, "REMOVED_S", 0.3)
    monkeypatch.setattr(making, "HELP_S", 0.2)
    monkeypatch.setattr(making, "EVERY_S", 0.05)
    return Slow()


def opened(slow: Slow, **more: Any) -> Any:
    options = KubernetesOptions(image="i", name="mine", **more)
    return made(slow, options, n_workers=1, n_threads=1)  # type: ignore[arg-type]


def test_what_does_not_go_is_named(slow: Slow, caplog: pytest.LogCaptureFixture) -> None:
    with opened(slow):
        pass
    assert slow.asked == ["mine", "sweep mine"]
    assert "there is left: 1 pods (stays)" in caplog.text
    assert "kubectl delete daskcluster mine -n team" in caplog.text


def test_interrupted_while_it_goes(slow: Slow, caplog: pytest.LogCaptureFixture) -> None:
    """The second Ctrl-C ends the waiting, not the removal."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    slow.listing = interrupt
    with pytest.raises(KeyboardInterrupt), opened(slow):
        pass
    assert slow.asked == ["mine"]
    assert "kubectl delete daskcluster mine" not in caplog.text, "it is gone, as far as we know"


def test_what_another_made_under_the_same_name_is_left(slow: Slow) -> None:
    def refuse(_: object) -> None:
        slow.objects["mine"] = {"metadata": {"name": "mine", "uid": "2"}}
        raise RefusedError(409, 'daskclusters "mine" already exists')

    slow.create = refuse  # type: ignore[method-assign]
    with pytest.raises(Exception, match="the name is taken in namespace team"), opened(slow):
        pass
    assert slow.asked == []


@pytest.mark.parametrize(
    ("text", "may_pass"),
    [
        ('daskclusters "mine" is forbidden: exceeded quota: small, requested: count=1', True),
        ('daskclusters "mine" is forbidden: failed quota: small: must specify cpu', False),
        ('User "me" cannot create resource "daskclusters" in API group "kubernetes"', False),
    ],
)
def test_a_quota_that_is_used_up_may_pass(slow: Slow, text: str, may_pass: bool) -> None:
    """As where no node has room: others end. Nothing was made, so nothing is removed."""

    def refuse(_: object) -> None:
        raise RefusedError(403, text)

    slow.create = refuse  # type: ignore[method-assign]
    with pytest.raises(ClusterError) as caught, opened(slow):
        pass
    assert caught.value.may_pass == may_pass
    assert slow.asked == []


def test_a_cluster_that_is_going_is_not_used(slow: Slow) -> None:
    slow.objects["mine"] = {"metadata": {"name": "mine", "deletionTimestamp": "now"}}
    with pytest.raises(Exception, match="is being removed"), opened(slow):
        pass
    assert slow.asked == []
