"""Deployments and ReplicaSets: pods that are wanted all the time.

Covers: scaling, replacement, a new ReplicaSet for a new template, conditions and events,
FailedCreate where pods are refused.
Does not cover: slow rollouts, history and rollback, StatefulSets and DaemonSets.
"""

from __future__ import annotations

import copy
import hashlib
import json
import time
from typing import Any

from .errors import ApiError
from .events import Recorder
from .loops import Loop
from .objects import (
    Object,
    is_done,
    is_leaving,
    is_ready,
    labels,
    owner_reference,
    owners,
    with_condition,
)
from .registry import Registry

_RETRY_S = 1.0


class Controller(Loop):
    """What controllers of pods share."""

    source = ""

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        super().__init__(registry, recorder)
        self._refused: dict[str, tuple[float, str]] = {}

    def owned(self, resource: str, owner: Object) -> list[Object]:
        uid = owner["metadata"]["uid"]
        found = self.store.list(resource, owner["metadata"]["namespace"])
        return [obj for obj in found if uid in owners(obj)]

    def create_pod(self, owner: Object, template: Object, **meta: Any) -> str:
        """Create a pod of a template, and tell of it; give why it was refused, if it was.

        After a refusal, nothing is tried for a second.
        """
        last_s, why = self._refused.get(owner["metadata"]["uid"], (-_RETRY_S, ""))
        if time.monotonic() < last_s + _RETRY_S:
            return why
        spec = copy.deepcopy(template["spec"])
        old = copy.deepcopy(template.get("metadata") or {})
        kept = {name: old[name] for name in ("labels", "annotations") if old.get(name)}
        more = meta.pop("labels", {})
        meta |= {"labels": kept.pop("labels", {}) | more, **kept}
        meta["ownerReferences"] = [owner_reference(owner)]
        namespace = owner["metadata"]["namespace"]
        try:
            pod = self.registry.create("pods", {"metadata": meta, "spec": spec}, namespace)
        except ApiError as err:
            message = f"Error creating: {err.message}"
            self.recorder.warning(self.source, owner, "FailedCreate", message)
            self._refused[owner["metadata"]["uid"]] = (time.monotonic(), err.message)
            return err.message
        name = pod["metadata"]["name"]
        self.recorder.normal(self.source, owner, "SuccessfulCreate", f"Created pod: {name}")
        return ""

    def delete_pods(self, pods: list[Object]) -> None:
        for pod in pods:
            if not is_leaving(pod):
                self.registry.store.delete(
                    "pods", pod["metadata"]["namespace"], pod["metadata"]["name"]
                )

    def set_status(self, resource: str, obj: Object, **status: Any) -> None:
        generation = {"observedGeneration": obj["metadata"]["generation"]}
        self.registry.set_status(resource, obj, generation | status)


class DeploymentController(Controller):
    """Keeps one ReplicaSet for the template of each Deployment."""

    resources = ("deployments.apps", "replicasets.apps")
    source = "deployment-controller"

    def sync(self) -> None:
        for deployment in self.store.list("deployments.apps"):
            if not is_leaving(deployment):
                self._sync(deployment)

    def _sync(self, deployment: Object) -> None:
        spec, meta = deployment["spec"], deployment["metadata"]
        digest = _digest(spec["template"])
        current = None
        for replica_set in self.owned("replicasets.apps", deployment):
            is_current = labels(replica_set).get("pod-template-hash") == digest
            current = replica_set if is_current else current
            self._scale(replica_set, spec.get("replicas", 1) if is_current else 0)
        if current is None:
            current = self._create(deployment, f"{meta['name']}-{digest}", digest)
        status = current.get("status", {})
        names = ("replicas", "readyReplicas", "availableReplicas")
        counts = {name: status.get(name, 0) for name in names}
        is_available = counts["availableReplicas"] >= spec.get("replicas", 1)
        conditions = with_condition(deployment, "Available", is_available)
        failures = [c for c in status.get("conditions", []) if c["type"] == "ReplicaFailure"]
        conditions = [c for c in conditions if c["type"] != "ReplicaFailure"] + failures
        self.set_status("deployments.apps", deployment, conditions=conditions, **counts)

    def _create(self, deployment: Object, name: str, digest: str) -> Object:
        mark = {"pod-template-hash": digest}
        template = copy.deepcopy(deployment["spec"]["template"])
        meta = template.get("metadata") or {}
        template["metadata"] = meta | {"labels": (meta.get("labels") or {}) | mark}
        selector = copy.deepcopy(deployment["spec"]["selector"])
        selector["matchLabels"] = (selector.get("matchLabels") or {}) | mark
        replicas = deployment["spec"].get("replicas", 1)
        body = {
            "metadata": {
                "name": name,
                "labels": template["metadata"]["labels"],
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": {"replicas": replicas, "selector": selector, "template": template},
        }
        namespace = deployment["metadata"]["namespace"]
        created = self.registry.create("replicasets.apps", body, namespace)
        message = f"Scaled up replica set {name} from 0 to {replicas}"
        self.recorder.normal(self.source, deployment, "ScalingReplicaSet", message)
        return created

    def _scale(self, replica_set: Object, replicas: int) -> None:
        if replica_set["spec"]["replicas"] != replicas:
            spec = replica_set["spec"] | {"replicas": replicas}
            self.store.put("replicasets.apps", replica_set | {"spec": spec})


class ReplicaSetController(Controller):
    """Keeps as many pods as a ReplicaSet wants."""

    resources = ("replicasets.apps", "pods")
    source = "replicaset-controller"

    def sync(self) -> None:
        for replica_set in self.store.list("replicasets.apps"):
            if not is_leaving(replica_set):
                self._sync(replica_set)

    def _sync(self, owner: Object) -> None:
        name, wanted = owner["metadata"]["name"], owner["spec"]["replicas"]
        pods = [p for p in self.owned("pods", owner) if not is_leaving(p) and not is_done(p)]
        refused = ""
        for _ in range(wanted - len(pods)):
            template = owner["spec"]["template"]
            refused = self.create_pod(owner, template, generateName=f"{name}-")
            if refused:
                break
        self.delete_pods(sorted(pods, key=is_ready, reverse=True)[wanted:])
        n_ready = sum(map(is_ready, pods))
        conditions = []
        if refused:
            more = {"reason": "FailedCreate", "message": refused}
            conditions = with_condition(owner, "ReplicaFailure", True, **more)
        counts = {"replicas": len(pods), "readyReplicas": n_ready, "availableReplicas": n_ready}
        self.set_status("replicasets.apps", owner, conditions=conditions, **counts)


def _digest(template: Object) -> str:
    text = json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
