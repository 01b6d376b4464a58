"""Contract tests for those who write their own parts of daskcast. Needs pytest."""

from __future__ import annotations

from daskcast.testing.models import ModelContract
from daskcast.testing.own import OwnModelContract
from daskcast.testing.trackers import SeenRun, TrackerContract, TrackerStore

__all__ = ["ModelContract", "OwnModelContract", "SeenRun", "TrackerContract", "TrackerStore"]
