"""Event objects: what controllers and nodes tell of the objects they work on.

Covers: core/v1 Events; the same event again raises its count.
Does not cover: their end of life, the group events.k8s.io.
"""

from __future__ import annotations

import contextlib
import uuid

from .errors import ApiError
from .objects import Object, now
from .registry import Registry


class Recorder:
    """Writes events."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[tuple[str, str, str], str] = {}

    def normal(self, source: str, obj: Object, reason: str, message: str) -> None:
        self._record("Normal", source, obj, reason, message)

    def warning(self, source: str, obj: Object, reason: str, message: str) -> None:
        self._record("Warning", source, obj, reason, message)

    def _record(self, kind: str, source: str, obj: Object, reason: str, message: str) -> None:
        meta = obj["metadata"]
        namespace = meta.get("namespace", "default")
        identity = (meta["uid"], reason, message)
        name = self._known.setdefault(identity, f"{meta['name']}.{uuid.uuid4().hex[:16]}")
        old = self._registry.store.find("events", namespace, name)
        if old:
            again = {"count": old["count"] + 1, "lastTimestamp": now()}
            self._registry.patch("events", namespace, name, again)
            return
        fields = {k: obj[k] for k in ("apiVersion", "kind")}
        fields |= {k: meta[k] for k in ("name", "namespace", "uid") if k in meta}
        event = {
            "metadata": {"name": name},
            "involvedObject": fields,
            "type": kind,
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "source": {"component": source},
            "reportingComponent": source,
        }
        with contextlib.suppress(ApiError):  # its namespace may be ending
            self._registry.create("events", event, namespace)
