"""Tracking of runs: a parent run for the panel, a child run for each entity.

Covers what other modules and users need of tracking. Importing it imports no MLflow: that
happens when a tracker is opened.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daskcast.tracking.base import (
        Artifact,
        ChildRun,
        Delivery,
        MetricPoint,
        ParentRun,
        RunStatus,
        Tracker,
        TrackingInfo,
        TrackingSummary,
        run_key,
    )
    from daskcast.tracking.children import child_runs
    from daskcast.tracking.cost import TrackingCost, hosted_limits, n_requests, tracking_cost
    from daskcast.tracking.find import find_runs
    from daskcast.tracking.memory import MemoryRun, MemoryTracker
    from daskcast.tracking.mlflow_client import MlflowTracker
    from daskcast.tracking.opening import open_tracker
    from daskcast.tracking.parent import (
        Aggregates,
        noted,
        parent_from,
        parent_run,
        usage_points,
    )
    from daskcast.tracking.writer import TrackingWriter

_HOMES = {
    "Aggregates": "parent",
    "Artifact": "base",
    "ChildRun": "base",
    "Delivery": "base",
    "MemoryRun": "memory",
    "MemoryTracker": "memory",
    "MetricPoint": "base",
    "MlflowTracker": "mlflow_client",
    "ParentRun": "base",
    "RunStatus": "base",
    "Tracker": "base",
    "TrackingCost": "cost",
    "TrackingInfo": "base",
    "TrackingSummary": "base",
    "TrackingWriter": "writer",
    "child_runs": "children",
    "find_runs": "find",
    "hosted_limits": "cost",
    "n_requests": "cost",
    "noted": "parent",
    "open_tracker": "opening",
    "parent_from": "parent",
    "parent_run": "parent",
    "run_key": "base",
    "tracking_cost": "cost",
    "usage_points": "parent",
}

__all__ = [
    "Aggregates",
    "Artifact",
    "ChildRun",
    "Delivery",
    "MemoryRun",
    "MemoryTracker",
    "MetricPoint",
    "MlflowTracker",
    "ParentRun",
    "RunStatus",
    "Tracker",
    "TrackingCost",
    "TrackingInfo",
    "TrackingSummary",
    "TrackingWriter",
    "child_runs",
    "find_runs",
    "hosted_limits",
    "n_requests",
    "noted",
    "open_tracker",
    "parent_from",
    "parent_run",
    "run_key",
    "tracking_cost",
    "usage_points",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
