"""The manifest of a Dask cluster, from its options: plain values, nothing is asked of anybody.

Covers the ``DaskCluster`` object and the pods of scheduler and workers in it. Does not cover
creating it (``opening``) or the manifests around it (``render``).

The commands are written out, since the operator's own defaults name two that distributed no longer
has (``dask-scheduler`` and ``dask-worker``, gone in 2026.6.0).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from daskcast.kubernetes_options import read_toleration

if TYPE_CHECKING:
    from daskcast.kubernetes_options import KubernetesOptions, PodOptions

API_VERSION = "kubernetes.dask.org/v1"
NAME_LABEL = "dask.org/cluster-name"
COMPONENT_LABEL = "dask.org/component"
LABELS = {"app.kubernetes.io/name": "daskcast", "app.kubernetes.io/managed-by": "daskcast"}
PRELOAD = "daskcast.preload"
WORKER_SHARE = 0.88
"""Of a pod's memory, for the worker: Dask acts on its limit before the kernel acts on the pod's."""

GRACE_S = 10
"""For scheduler and workers to end by themselves: what is finished is kept, so that nothing is
waited for; one that is told to end while it starts may not hear it."""

SCHEDULING = {
    # A worker holds no batch in reserve: the longest is never stuck behind another.
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION": "1.0",
    # The driver decides what becomes of a batch whose worker died.
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    # A worker that is silent is replaced.
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "60s",
}

_SECURE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def cluster_manifest(
    name: str, options: KubernetesOptions, *, n_workers: int, n_threads: int = 1
) -> dict[str, Any]:
    """Give the ``DaskCluster`` object of some options.

    Parameters
    ----------
    name : str
    options : KubernetesOptions
        With an image.
    n_workers : int
        Pods of workers; an adaptive cluster begins with its fewest.
    n_threads : int
        Batches that each of them works on at a time.
    """
    metadata: dict[str, Any] = {"name": name, "labels": LABELS}
    if options.namespace:
        metadata["namespace"] = options.namespace
    return {
        "apiVersion": API_VERSION,
        "kind": "DaskCluster",
        "metadata": metadata,
        "spec": cluster_spec(name, options, n_workers=n_workers, n_threads=n_threads),
    }


def cluster_spec(
    name: str, options: KubernetesOptions, *, n_workers: int, n_threads: int = 1
) -> dict[str, Any]:
    """Give what is below ``spec`` of a ``DaskCluster``, and of the cluster of a ``DaskJob``."""
    return {
        "idleTimeout": options.idle_timeout,
        "scheduler": {"spec": _scheduler(options), "service": _service(name)},
        "worker": {
            "replicas": options.least or n_workers,
            "spec": _worker(options, n_threads),
        },
    }


def memory_limit(pod: PodOptions) -> int:
    """Give the bytes after which a worker restarts itself."""
    return math.floor(WORKER_SHARE * pod.memory_bytes)


def _scheduler(options: KubernetesOptions) -> dict[str, Any]:
    container = {
        "name": "scheduler",
        "image": options.image,
        "args": ["dask", "scheduler", "--host", "0.0.0.0", "--preload", PRELOAD],
        "ports": [_port("tcp-comm", 8786), _port("http-dashboard", 8787)],
        "readinessProbe": {**_health(), "periodSeconds": 1, "timeoutSeconds": 5},
        "livenessProbe": {
            **_health(), "initialDelaySeconds": 30, "periodSeconds": 20, "timeoutSeconds": 10,
        },
    }  # fmt: skip
    made = pod_spec(container, options, options.scheduler, env=SCHEDULING)
    return {**made, "terminationGracePeriodSeconds": GRACE_S}


def _worker(options: KubernetesOptions, n_threads: int) -> dict[str, Any]:
    args = ["dask", "worker", "--name", "$(DASK_WORKER_NAME)", "--nthreads", str(n_threads)]
    args += ["--memory-limit", str(memory_limit(options.worker)), "--death-timeout", "120"]
    args += ["--local-directory", "/tmp", "--dashboard-address", "8788", "--preload", PRELOAD]
    container = {
        "name": "worker",
        "image": options.image,
        "args": args,
        "ports": [_port("http-dashboard", 8788)],
    }
    made = pod_spec(container, options, options.worker, n_threads=n_threads, on_spot=True)
    return {**made, "terminationGracePeriodSeconds": GRACE_S}


def pod_spec(  # noqa: PLR0913 - one pod's worth
    container: dict[str, Any],
    options: KubernetesOptions,
    pod: PodOptions,
    *,
    n_threads: int = 1,
    env: dict[str, str] | None = None,
    on_spot: bool = False,
    with_token: bool = False,
) -> dict[str, Any]:
    """Give the spec of a pod of one container: who it is, what it gets, and where it may be.

    Parameters
    ----------
    container : dict
        Its name, image and arguments.
    options : KubernetesOptions
    pod : PodOptions
    n_threads : int
        Cores that it asks for where ``pod`` does not say.
    env : dict, optional
        Beside that of ``pod``, which wins.
    on_spot : bool
        Whether nodes that may go at any time are welcome, or avoided.
    with_token : bool
        Whether it may talk to the Kubernetes API.
    """
    tolerations = [read_toleration(text) for text in pod.tolerations]
    if options.spot and on_spot:
        tolerations.append(read_toleration(options.spot))
    asked = {"cpu": pod.cpu or str(n_threads), "memory": pod.memory}
    own = {name: value.replace("$", "$$") for name, value in pod.env.items()}  # no variables
    env = {"HOME": "/tmp", **(env or {}), **own}
    sources = [{"secretRef": {"name": name}} for name in pod.secrets]
    sources += [{"configMapRef": {"name": name}} for name in pod.config_maps]
    container = {
        **container,
        "env": [*container.get("env", []), *({"name": k, "value": v} for k, v in env.items())],
        "envFrom": sources,
        "resources": {"requests": asked, "limits": {"memory": pod.memory}},
        "securityContext": _SECURE,
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
    }
    spec = {
        "containers": [_given(container)],
        "automountServiceAccountToken": with_token,
        "serviceAccountName": pod.service_account,
        "imagePullSecrets": [{"name": name} for name in options.pull_secrets],
        "nodeSelector": dict(pod.node_selector),
        "tolerations": tolerations,
        "affinity": _affinity(options.spot, on_spot=on_spot),
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "scratch", "emptyDir": {}}],
    }
    return _given(spec)


def _affinity(spot: str | None, *, on_spot: bool) -> dict[str, Any]:
    if spot is None:
        return {}
    key, _, value = spot.partition("=")
    match = {"key": key, "operator": "In" if on_spot else "NotIn", "values": [value]}
    term = {"matchExpressions": [match]}
    if on_spot:
        preferred = [{"weight": 100, "preference": term}]
        return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
    required = {"nodeSelectorTerms": [term]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def _service(name: str) -> dict[str, Any]:
    ports = (("tcp-comm", 8786), ("http-dashboard", 8787))
    return {
        "type": "ClusterIP",
        "selector": {NAME_LABEL: name, COMPONENT_LABEL: "scheduler"},
        "ports": [
            {"name": port, "protocol": "TCP", "port": number, "targetPort": port}
            for port, number in ports
        ],
    }


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def _health() -> dict[str, Any]:
    return {"httpGet": {"port": "http-dashboard", "path": "/health"}}


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is empty: the strict schemas know no nulls."""
    return {name: value for name, value in values.items() if value not in (None, {}, [], ())}
