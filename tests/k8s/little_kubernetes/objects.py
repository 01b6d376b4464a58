"""Small facts about Kubernetes objects.

Covers: times, quantities, owners, conditions, what a pod asks for and how it is.
Does not cover: keeping them (``store``), checking them (``schemas``).
"""

from __future__ import annotations

import datetime
import re
from collections import Counter
from typing import Any

Object = dict[str, Any]

_UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_UNITS |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def now(after_s: float = 0) -> str:
    time = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=after_s)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_since(time: str) -> float:
    then = datetime.datetime.fromisoformat(time)
    return (datetime.datetime.now(datetime.UTC) - then).total_seconds()


def quantity(text: str | float) -> float:
    """Give the number of a quantity such as ``500m`` or ``2Gi``."""
    found = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?)([A-Za-z]*)", str(text))
    if not found or found[2] not in _UNITS:
        raise ValueError(f"not a quantity: {text!r}")
    return float(found[1]) * _UNITS[found[2]]


def key(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def labels(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def owner_reference(owner: Object) -> Object:
    """Give what an object notes about its controller."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owners(obj: Object) -> set[str]:
    return {reference["uid"] for reference in obj["metadata"].get("ownerReferences") or []}


def is_leaving(obj: Object) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def phase(pod: Object) -> str:
    return pod.get("status", {}).get("phase", "Pending")


def is_done(pod: Object) -> bool:
    return phase(pod) in ("Succeeded", "Failed")


def is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def with_condition(obj: Object, kind: str, is_true: bool, **more: str) -> list[Object]:
    """Give the conditions of `obj`, one of them set; its time changes only with its status."""
    old = obj.get("status", {}).get("conditions") or []
    status = "True" if is_true else "False"
    same = [c for c in old if c["type"] == kind and c["status"] == status]
    time = same[0]["lastTransitionTime"] if same else now()
    new = {"type": kind, "status": status, "lastTransitionTime": time, **more}
    return [c for c in old if c["type"] != kind] + [new]


def requested(pod: Object) -> Counter[str]:
    """Give what the containers of a pod ask for, summed."""
    total: Counter[str] = Counter()
    for container in pod["spec"]["containers"]:
        for name, amount in ((container.get("resources") or {}).get("requests") or {}).items():
            total[name] += quantity(amount)
    return total
