"""What new objects get, and what they are refused for, kind by kind.

Covers: defaults of pods, services, secrets and the like; namespaces that end; service accounts
that are not there; ResourceQuota on ``pods``, ``requests.cpu`` and ``requests.memory``.
Does not cover: other quotas, LimitRange, pod security.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable

from .errors import forbidden
from .objects import Object, is_done, is_leaving, now, quantity, requested
from .resources import CRDS, Kind
from .store import Store

_QUOTED = {"pods": "pods", "requests.cpu": "cpu", "requests.memory": "memory"}
_QUOTED |= {"cpu": "cpu", "memory": "memory", "count/pods": "pods"}


def admitted(store: Store, kind: Kind, obj: Object) -> Object:
    """Give a new object as it is kept, or refuse it."""
    namespace = obj["metadata"].get("namespace")
    if namespace:
        home = store.get("namespaces", "", namespace)
        if is_leaving(home):
            raise forbidden(
                f'{kind.resource} "{obj["metadata"]["name"]}" is forbidden: unable to create new '
                f"content in namespace {namespace} because it is being terminated"
            )
    obj = copy.deepcopy(obj)
    if kind.resource in _PREPARE:
        _PREPARE[kind.resource](obj)
    if kind.resource == "pods":
        _check_service_account(store, obj)
        _check_quotas(store, obj)
    return rewritten(kind, obj)


def rewritten(kind: Kind, obj: Object) -> Object:
    """Give an object that is written as it is kept: the text of secrets becomes data."""
    if kind.resource != "secrets" or "stringData" not in obj:
        return obj
    new = dict(obj)
    texts = new.pop("stringData") or {}
    data = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
    return new | {"data": (obj.get("data") or {}) | data}


def follow_up(store: Store, kind: Kind, obj: Object) -> None:
    """Make what belongs to a new object: the default service account of a namespace."""
    if kind.resource == "namespaces":
        meta = {"name": "default", "namespace": obj["metadata"]["name"]}
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}
        store.put("serviceaccounts", account)


def _prepare_pod(pod: Object) -> None:
    spec = pod["spec"]
    spec["serviceAccountName"] = spec.get("serviceAccountName") or "default"
    spec["restartPolicy"] = spec.get("restartPolicy") or "Always"
    spec.setdefault("terminationGracePeriodSeconds", 30)
    for container in spec["containers"]:
        resources = container.get("resources") or {}
        requests = (resources.get("limits") or {}) | (resources.get("requests") or {})
        container["resources"] = resources | ({"requests": requests} if requests else {})
    pod["status"] = {"phase": "Pending"}


def _prepare_namespace(namespace: Object) -> None:
    namespace["status"] = {"phase": "Active"}


def _prepare_service(service: Object) -> None:
    service["spec"].setdefault("type", "ClusterIP")
    service["status"] = {"loadBalancer": {}}


def _prepare_definition(definition: Object) -> None:
    spec = definition["spec"]
    more = {"status": "True", "lastTransitionTime": now(), "message": ""}
    definition["status"] = {
        "conditions": [{"type": t, "reason": t, **more} for t in ("NamesAccepted", "Established")],
        "acceptedNames": spec["names"],
        "storedVersions": [version["name"] for version in spec["versions"]],
    }


_PREPARE: dict[str, Callable[[Object], None]] = {
    "pods": _prepare_pod,
    "namespaces": _prepare_namespace,
    "services": _prepare_service,
    CRDS: _prepare_definition,
}


def _check_service_account(store: Store, pod: Object) -> None:
    namespace, account = pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"]
    if store.find("serviceaccounts", namespace, account) is None:
        raise forbidden(
            f'pods "{pod["metadata"]["name"]}" is forbidden: error looking up service account '
            f'{namespace}/{account}: serviceaccount "{account}" not found'
        )


def _check_quotas(store: Store, pod: Object) -> None:
    namespace = pod["metadata"]["namespace"]
    pods = [other for other in store.list("pods", namespace) if not is_done(other)]
    start = f'pods "{pod["metadata"]["name"]}" is forbidden:'
    for quota in store.list("resourcequotas", namespace):
        name = quota["metadata"]["name"]
        for term, hard in quota["spec"]["hard"].items():
            if term not in _QUOTED:
                continue
            wanted, used = _share(pod, term), sum(_share(other, term) for other in pods)
            if wanted == 0:
                raise forbidden(f"{start} failed quota: {name}: must specify {term}")
            if wanted + used > quantity(hard):
                raise forbidden(
                    f"{start} exceeded quota: {name}, requested: {term}={wanted:g}, "
                    f"used: {term}={used:g}, limited: {term}={hard}"
                )


def _share(pod: Object, term: str) -> float:
    return 1 if _QUOTED[term] == "pods" else requested(pod)[_QUOTED[term]]
