"""What an answer of the API of a Kubernetes cluster holds, or a refusal where it is something else.

Covers the shape alone: an object with a name, a list of such, and the parts of them that are read
anywhere. Whoever is given one need not check. Does not cover having an answer (``answers``) or what
it means (``pods``, ``why``).
"""

from __future__ import annotations

from typing import Any

from daskcast.k8s.answers import STRANGE, RefusedError

_STATE = {"running": {}, "waiting": {}, "terminated": {"exitCode": int}}
_CONTAINERS = [{"state": _STATE, "lastState": _STATE, "restartCount": int}]
_OBJECT: dict[str, Any] = {
    "metadata": {"name": str, "labels": {}, "annotations": {}, "finalizers": [str]},
    "spec": {
        "containers": [{}],
        "initContainers": [{}],
        "taints": [{}],
        "tolerations": [{}],
        "worker": {"replicas": int},
    },
    "status": {
        "phase": str,
        "conditions": [{}],
        "containerStatuses": _CONTAINERS,
        "initContainerStatuses": _CONTAINERS,
        "allocatable": {},
    },
    "data": {},
    "involvedObject": {},
}
"""Each part may be lacking, or null: an empty table, a list of a kind, or a type."""


def table_of(answer: Any, shape: Any = None) -> dict[str, Any]:
    """Give the object of JSON that an answer is.

    Parameters
    ----------
    answer : httpx.Response
    shape : dict, optional
        The parts that it must have, though they may be null, and what they must be.

    Raises
    ------
    RefusedError
    """
    try:
        found = answer.json()
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _strange(answer, "is no object of JSON")
    if not (_fits(found, shape or {}) and all(part in found for part in shape or ())):
        raise _strange(answer, "is none that Kubernetes gives")
    return found


def object_of(answer: Any, *, made: bool = False) -> dict[str, Any]:
    """Give the object of Kubernetes that an answer is; one that was ``made`` has a uid as well.

    Raises
    ------
    RefusedError
    """
    found = table_of(answer)
    if not _is_object(found) or (made and not isinstance(found["metadata"].get("uid"), str)):
        raise _strange(answer, "is no object as Kubernetes has them, with a metadata.name")
    return found


def items_of(answer: Any) -> list[dict[str, Any]]:
    """Give the objects of Kubernetes that an answer lists.

    Raises
    ------
    RefusedError
    """
    found = table_of(answer).get("items", "")
    items = [] if found is None else found  # an empty list in the words of Go
    if not (isinstance(items, list) and all(map(_is_object, items))):
        told = "is no list of objects as Kubernetes has them, each with a metadata.name"
        raise _strange(answer, told)
    return items


def _is_object(found: object) -> bool:
    return (
        isinstance(found, dict)
        and _fits(found, _OBJECT)
        and bool((found.get("metadata") or {}).get("name"))
    )


def _fits(found: object, shape: Any) -> bool:
    """Tell whether a value has a shape, as far as it has the parts at all."""
    if found is None:
        return True
    if isinstance(shape, list):
        return isinstance(found, list) and all(x is not None and _fits(x, shape[0]) for x in found)
    if isinstance(shape, dict):
        return isinstance(found, dict) and all(_fits(found.get(k), s) for k, s in shape.items())
    return isinstance(found, shape)


def _strange(answer: Any, told: str) -> RefusedError:
    request = answer.request
    return RefusedError(STRANGE, f"the answer to {request.method} {request.url.path} {told}")
