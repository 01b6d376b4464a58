"""The verbs on objects, as the API server means them.

Covers: create, patch, status and scale subresources, list and delete, each with the checks and
defaults of its kind. Controllers and nodes call it directly, HTTP comes from ``api``.
Does not cover: who may do it (``rbac``), what a kind needs when it is new (``admission``).
"""

from __future__ import annotations

import uuid
from typing import Any

from . import admission, patches
from .errors import ApiError, bad_request, changed_meanwhile, invalid, no_such_path
from .objects import Object
from .resources import BUILT_IN, CRDS, Kind, custom_kinds
from .schemas import Schema, metadata_problems
from .selectors import selection
from .store import Store

_KEPT = ("uid", "name", "namespace", "creationTimestamp", "generation", "resourceVersion")
_KEPT_WHILE_LEAVING = ("deletionTimestamp", "deletionGracePeriodSeconds")


class Registry:
    """The objects of a cluster, changed by verbs."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._schemas: dict[tuple[str, str, str], Schema] = {}

    def kinds(self) -> dict[str, Kind]:
        """Give all kinds by their resource."""
        custom = (kind for crd in self.store.list(CRDS) for kind in custom_kinds(crd))
        return BUILT_IN | {kind.resource: kind for kind in custom}

    def kind(self, resource: str) -> Kind:
        found = self.kinds().get(resource)
        if found is None:
            raise no_such_path()
        return found

    def list(
        self, resource: str, namespace: str = "", labels: str = "", fields: str = ""
    ) -> list[Object]:
        selects = selection(labels, fields)
        return [obj for obj in self.store.list(resource, namespace) if selects(obj)]

    def create(self, resource: str, body: Object, namespace: str = "") -> Object:
        kind = self.kind(resource)
        obj = _named(kind, body, namespace)
        name = obj["metadata"]["name"]
        if kind.has_status:
            obj.pop("status", None)
        obj = self._checked(kind, obj)
        if self.store.find(resource, obj["metadata"].get("namespace", ""), name):
            raise ApiError(409, "AlreadyExists", f'{resource} "{name}" already exists')
        obj = admission.admitted(self.store, kind, obj)
        kept = self.store.put(resource, obj)
        admission.follow_up(self.store, kind, kept)
        return kept

    def patch(
        self,
        resource: str,
        namespace: str,
        name: str,
        patch: Any,
        content_type: str = patches.MERGE,
        part: str = "",
    ) -> Object:
        kind = self.kind(resource)
        old = self.store.get(resource, namespace, name)
        base = _scale_of(old) if part == "scale" else old
        new = patches.patched(base, patch, content_type)
        if isinstance(patch, dict) and "resourceVersion" not in (patch.get("metadata") or {}):
            new["metadata"] = new["metadata"] | {"resourceVersion": ""}
        return self._write(kind, old, new, part)

    def set_status(self, resource: str, obj: Object, status: Object) -> None:
        """Change the status of an object, if it is still there."""
        meta = obj["metadata"]
        home = (meta.get("namespace", ""), meta["name"])
        found = self.store.find(resource, *home)
        if found and found["metadata"]["uid"] == meta["uid"]:
            self.patch(resource, *home, {"status": status}, part="status")

    def scale(self, resource: str, namespace: str, name: str) -> Object:
        return _scale_of(self.store.get(resource, namespace, name))

    def _write(self, kind: Kind, old: Object, body: Object, part: str) -> Object:
        wanted = body.get("metadata", {}).get("resourceVersion")
        if wanted and wanted != old["metadata"]["resourceVersion"]:
            raise changed_meanwhile(kind.resource, old["metadata"]["name"])
        if part == "scale":
            spec = old["spec"] | {"replicas": body["spec"]["replicas"]}
            return _scale_of(self.store.put(kind.resource, old | {"spec": spec}))
        new = self._checked(kind, _with_part(kind, old, body, part))
        return self.store.put(kind.resource, admission.rewritten(kind, new))

    def _checked(self, kind: Kind, obj: Object) -> Object:
        """Give `obj` pruned and with defaults, or refuse it."""
        problems = metadata_problems(kind, obj)
        schema = self._schema(kind)
        if schema:
            obj = schema.completed(obj)
            problems += schema.problems(obj)
        if problems:
            raise invalid(kind.kind, obj["metadata"]["name"], problems)
        return obj

    def _schema(self, kind: Kind) -> Schema | None:
        definition = self.store.find(CRDS, "", kind.resource)
        if definition is None:
            return None
        meta = definition["metadata"]
        identity = (meta["uid"], str(meta["generation"]), kind.version)
        if identity not in self._schemas:
            versions = {v["name"]: v["schema"] for v in definition["spec"]["versions"]}
            self._schemas[identity] = Schema(versions[kind.version]["openAPIV3Schema"])
        return self._schemas[identity]


def _named(kind: Kind, body: Object, namespace: str) -> Object:
    """Give a new object that has its kind, its namespace and its name."""
    meta = dict(body.get("metadata") or {})
    for field in (*_KEPT[3:], "uid", *_KEPT_WHILE_LEAVING):
        meta.pop(field, None)
    if kind.namespaced:
        if namespace and meta.get("namespace", namespace) != namespace:
            raise bad_request("the namespace of the object does not match that of the request")
        meta["namespace"] = namespace or meta.get("namespace", "default")
    if not meta.get("name") and meta.get("generateName"):
        meta["name"] = meta["generateName"] + uuid.uuid4().hex[:5]
    if not meta.get("name"):
        raise invalid(kind.kind, "", ["metadata.name: Required value: name or generateName"])
    return {"apiVersion": kind.api_version, "kind": kind.kind} | body | {"metadata": meta}


def _with_part(kind: Kind, old: Object, body: Object, part: str) -> Object:
    """Give what a request may change of `old`: its status, or all but its status."""
    if part == "status":
        if not kind.has_status:
            raise no_such_path()
        return old | {"status": body.get("status", {})}
    new = dict(body)
    if kind.has_status:
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    meta = dict(body["metadata"])
    for field in (*_KEPT, *_KEPT_WHILE_LEAVING):
        meta.pop(field, None)
        if field in old["metadata"]:
            meta[field] = old["metadata"][field]
    return new | {"metadata": meta}


def _scale_of(obj: Object) -> Object:
    names = ("name", "namespace", "uid", "resourceVersion")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: obj["metadata"][name] for name in names},
        "spec": {"replicas": obj["spec"].get("replicas", 1)},
        "status": {"replicas": obj.get("status", {}).get("replicas", 0)},
    }
