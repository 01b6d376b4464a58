"""Reading a pod as the API tells it: what it is, where it is on its way, how its containers are.

Covers plain dicts alone. Does not cover why a pod does not run (``why``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from daskcast.k8s.spec import COMPONENT_LABEL

Object = Mapping[str, Any]
Component = Literal["scheduler", "worker", "cluster"]


def component_of(thing: Object) -> Component:
    """Give what a pod or deployment is."""
    labels = thing["metadata"].get("labels") or {}
    return "scheduler" if labels.get(COMPONENT_LABEL) == "scheduler" else "worker"


def name_of(thing: Object) -> str:
    """Give the name of an object."""
    return str(thing["metadata"]["name"])


def is_leaving(pod: Object) -> bool:
    """Tell whether a pod is being removed, or is over: another one comes in its place."""
    over = status_of(pod).get("phase") in ("Failed", "Succeeded")
    return over or bool(pod["metadata"].get("deletionTimestamp"))


def is_ready(pod: Object) -> bool:
    """Tell whether all containers of a pod run and answer."""
    return condition_of(pod, "Ready").get("status") == "True" and not is_leaving(pod)


def state_of(pod: Object, events: Sequence[Object] = ()) -> str:
    """Say in a few words where a pod is on its way."""
    if is_leaving(pod):
        return "going"
    if is_ready(pod):
        return "ready"
    if status_of(pod).get("phase") == "Running":
        return "running, and not ready yet"
    if not (pod.get("spec") or {}).get("nodeName"):
        return "waiting for a node"
    reasons = [str(waiting.get("reason")) for _, waiting in in_state(pod, "waiting")]
    told = [reason for reason in reasons if reason not in ("ContainerCreating", "None")]
    if told:
        return f"waiting ({told[0]})"
    own = [e for e in events if (e.get("involvedObject") or {}).get("name") == name_of(pod)]
    pulls = [e.get("reason") for e in own if e.get("reason") in ("Pulling", "Pulled")]
    return "pulling the image" if pulls == ["Pulling"] else "being made"


def called(pod: Object) -> str:
    """Name a pod within a sentence."""
    return f"the {component_of(pod)} (pod {name_of(pod)})"


def status_of(thing: Object) -> Object:
    """Give what is below ``status``."""
    return thing.get("status") or {}


def condition_of(thing: Object, kind: str) -> Object:
    """Give one condition of an object; empty where it has none of the kind."""
    for condition in status_of(thing).get("conditions") or ():
        if condition.get("type") == kind:
            found: Object = condition
            return found
    return {}


def statuses(pod: Object) -> list[Object]:
    """Give the statuses of all containers."""
    status = status_of(pod)
    return [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]


def in_state(pod: Object, state: str) -> list[tuple[Object, Object]]:
    """Give the containers that are in a state, each with what is told about it."""
    found = [(status, (status.get("state") or {}).get(state)) for status in statuses(pod)]
    return [(container_of(pod, status), told) for status, told in found if told is not None]


def container_of(pod: Object, status: Object) -> Object:
    """Give the container that a status is about."""
    spec = pod.get("spec") or {}
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        if container.get("name") == status.get("name"):
            found: Object = container
            return found
    return {}
