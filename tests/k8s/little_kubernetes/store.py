"""The objects of a cluster, and their history.

Covers: versions, changes and their subscribers, finalizers, graceful deletion of pods, garbage
collection by owner references, the end of namespaces.
Does not cover: whether an object may be kept (``registry``). Foreground and orphaning deletion
are as background deletion.

Objects that are kept are never changed: each change keeps a new one. It is not thread-safe: all
calls come from the thread of the cluster's event loop.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

from .errors import ApiError, not_found
from .objects import Object, is_done, is_leaving, key, now, owners

_REMEMBERED = 20_000


@dataclass(frozen=True)
class Change:
    """One change: `new` is None where the object is gone, `old` where it was not there."""

    version: int
    resource: str
    old: Object | None
    new: Object | None
    last: Object
    time: float = field(default_factory=time.monotonic)


class Store:
    """All objects, by resource and by namespace and name."""

    def __init__(self) -> None:
        self.version = 100
        self.history: deque[Change] = deque(maxlen=_REMEMBERED)
        self._objects: dict[str, dict[tuple[str, str], Object]] = defaultdict(dict)
        self._uids: set[str] = set()
        self._subscribers: dict[asyncio.Queue[Change], tuple[str, ...]] = {}

    def find(self, resource: str, namespace: str, name: str) -> Object | None:
        return self._objects[resource].get((namespace, name))

    def get(self, resource: str, namespace: str, name: str) -> Object:
        found = self.find(resource, namespace, name)
        if found is None:
            raise not_found(resource, name)
        return found

    def list(self, resource: str, namespace: str = "") -> list[Object]:
        objects = self._objects[resource].items()
        return [obj for (home, _), obj in objects if namespace in ("", home)]

    def subscribe(self, *resources: str) -> asyncio.Queue[Change]:
        queue: asyncio.Queue[Change] = asyncio.Queue()
        self._subscribers[queue] = resources
        return queue

    def unsubscribe(self, queue: asyncio.Queue[Change]) -> None:
        self._subscribers.pop(queue, None)

    def put(self, resource: str, obj: Object) -> Object:
        """Keep an object that is new or changed; give what is kept."""
        old = self._objects[resource].get(key(obj))
        if obj == old:
            return old
        new = self._stamped(obj, old)
        if old and is_leaving(new) and not new["metadata"].get("finalizers") and _is_due(new):
            return self._remove(resource, new)
        self._objects[resource][key(new)] = new
        self._uids.add(new["metadata"]["uid"])
        self._tell(resource, old, new, new)
        if old is None and owners(new) and not owners(new) & self._uids:
            self.delete(resource, *key(new))  # its owner went away meanwhile
        return new

    def delete(
        self, resource: str, namespace: str, name: str, grace_s: int | None = None
    ) -> Object:
        """Remove an object, or mark it as leaving where something must end before."""
        obj = self.get(resource, namespace, name)
        meta = obj["metadata"]
        if resource == "namespaces":
            return self._end_namespace(obj, grace_s)
        if resource != "pods" or not obj["spec"].get("nodeName") or is_done(obj):
            grace_s = 0
        elif grace_s is None:
            grace_s = obj["spec"].get("terminationGracePeriodSeconds", 30)
        if grace_s == 0 and not meta.get("finalizers"):
            return self._remove(resource, self._stamped(obj, obj))
        if is_leaving(obj) and meta["deletionGracePeriodSeconds"] <= grace_s:
            return obj
        marks = {"deletionTimestamp": now(grace_s), "deletionGracePeriodSeconds": grace_s}
        return self.put(resource, obj | {"metadata": meta | marks})

    def purge(self, namespace: str) -> list[str]:
        """Remove all that a namespace holds, finalizers or not; give what it was."""
        inside = self._inside(namespace)
        for resource, _, name in inside:
            if obj := self.find(resource, namespace, name):
                self._remove(resource, self._stamped(obj, obj))
        return [f"{resource}/{name}" for resource, _, name in inside]

    def _stamped(self, obj: Object, old: Object | None) -> Object:
        self.version += 1
        if old is None:
            fresh = {"uid": str(uuid.uuid4()), "creationTimestamp": now(), "generation": 1}
            meta = obj["metadata"] | fresh
        else:
            generation = old["metadata"]["generation"] + (_content(obj) != _content(old))
            meta = obj["metadata"] | {"generation": generation}
        return obj | {"metadata": meta | {"resourceVersion": str(self.version)}}

    def _tell(self, resource: str, old: Object | None, new: Object | None, last: Object) -> None:
        change = Change(self.version, resource, old, new, last)
        self.history.append(change)
        for queue, resources in self._subscribers.items():
            if resource in resources:
                queue.put_nowait(change)

    def _remove(self, resource: str, obj: Object) -> Object:
        old = self._objects[resource].pop(key(obj), None)
        self._uids.discard(obj["metadata"]["uid"])
        self._tell(resource, old, None, obj)
        self._collect(obj["metadata"]["uid"])
        home = self._objects["namespaces"].get(("", key(obj)[0]))
        if home and is_leaving(home) and not self._inside(key(home)[1]):
            self._remove("namespaces", self._stamped(home, home))
        return obj

    def _collect(self, owner: str) -> None:
        """Delete what only the owner kept alive."""
        for resource, objects in list(self._objects.items()):
            for home, obj in list(objects.items()):
                if owner not in owners(obj) or home not in objects:
                    continue
                rest = [r for r in obj["metadata"]["ownerReferences"] if r["uid"] in self._uids]
                if rest:
                    self.put(
                        resource, obj | {"metadata": obj["metadata"] | {"ownerReferences": rest}}
                    )
                else:
                    self.delete(resource, *home)

    def _inside(self, name: str) -> list[tuple[str, str, str]]:
        keys = ((r, *home) for r, objects in self._objects.items() for home in objects)
        return [found for found in keys if found[1] == name]

    def _end_namespace(self, obj: Object, grace_s: int | None) -> Object:
        if not is_leaving(obj):
            marks = {"deletionTimestamp": now(), "deletionGracePeriodSeconds": 0}
            finalizers = {"finalizers": ["kubernetes"]}
            meta = obj["metadata"] | marks | finalizers
            obj = self.put(
                "namespaces", obj | {"metadata": meta, "status": {"phase": "Terminating"}}
            )
        inside = self._inside(obj["metadata"]["name"])
        if not inside:
            return self._remove("namespaces", self._stamped(obj, obj))
        for resource, namespace, name in inside:
            if self.find(resource, namespace, name):
                self.delete(resource, namespace, name, grace_s)
        return obj


def _is_due(obj: Object) -> bool:
    return obj["metadata"].get("deletionGracePeriodSeconds", 0) == 0


def _content(obj: Object) -> dict[str, Any]:
    return {name: value for name, value in obj.items() if name not in ("metadata", "status")}


def changes_after(store: Store, resource: str, version: int) -> list[Change]:
    """Give the changes of a resource since a version; a version too old is refused."""
    oldest = store.history[0].version if store.history else 0
    if len(store.history) == _REMEMBERED and version < oldest:
        raise ApiError(410, "Expired", f"too old resource version: {version} ({oldest})")
    recent = itertools.takewhile(lambda c: c.version > version, reversed(store.history))
    return [change for change in recent if change.resource == resource][::-1]
