"""The driver of a DaskJob: how it is, and whether it has ended, as its pod and its DaskJob tell.

Covers plain dicts alone. Does not cover following it (``submit``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daskcast.k8s.parts import too_little_memory
from daskcast.k8s.pods import condition_of, container_of, status_of
from daskcast.redact import printable, redact_text

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTAINER = "driver"
_CODES = {"Succeeded": 0, "Failed": 137}
"""Of a driver of which nothing else is told."""

_OVER = ("Successful", "Failed")
"""What the operator calls a DaskJob whose driver has ended; it keeps both."""


def pod_of(job: Mapping[str, Any]) -> str:
    """Name the pod that the operator has made for a DaskJob; empty where it has not yet."""
    return str(status_of(job).get("jobRunnerPodName") or "")


def is_over(job: Mapping[str, Any]) -> bool:
    """Tell whether a DaskJob has ended, by its own word."""
    return status_of(job).get("jobStatus") in _OVER


def has_begun(pod: Mapping[str, Any]) -> bool:
    """Tell whether a driver runs, or has run: then it has a log."""
    state = _status_of_driver(pod).get("state") or {}
    return "running" in state or "terminated" in state


def ended(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Give how a driver ended; None while it goes on."""
    found: Mapping[str, Any] | None = (_status_of_driver(pod).get("state") or {}).get("terminated")
    if found is None and status_of(pod).get("phase") in _CODES:
        code = _CODES[status_of(pod)["phase"]]
        return {"reason": status_of(pod).get("reason"), "exitCode": code}
    return found


def is_taken(pod: Mapping[str, Any]) -> bool:
    """Tell whether Kubernetes took a driver from its node."""
    return condition_of(pod, "DisruptionTarget").get("status") == "True"


def why_taken(pod: Mapping[str, Any]) -> str:
    """Say why a driver was ended, after a colon; nothing where nobody says why."""
    told = condition_of(pod, "DisruptionTarget")
    words = told.get("message") or status_of(pod).get("message") or ""
    return f": {printable(redact_text(str(words)))}" if words else ""


def why_killed(pod: Mapping[str, Any]) -> str:
    """Say, after a colon, that a driver had too little memory; nothing where that was not it."""
    if (ended(pod) or {}).get("reason") != "OOMKilled":
        return ""
    return f": it {too_little_memory(pod, container_of(pod, {'name': CONTAINER}))}"


def _status_of_driver(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    for status in status_of(pod).get("containerStatuses") or ():
        if status.get("name") == CONTAINER:
            found: Mapping[str, Any] = status
            return found
    return {}
