"""Opening a tracker from options, and what importing costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import daskcast.tracking
from daskcast.config import RunOptions
from daskcast.errors import ConfigError
from daskcast.tracking import MlflowTracker, open_tracker


def test_no_tracking_is_no_tracker():
    """Where tracking is off, not even the address is looked at."""
    assert open_tracker(RunOptions(tracking=False, tracking_uri="foo://x")) is None


def test_options_name_store_and_experiment():
    """Address and experiment come from the options; nothing is connected yet."""
    tracker = open_tracker(RunOptions(tracking_uri="http://127.0.0.1:9", experiment="airports"))
    assert isinstance(tracker, MlflowTracker)
    assert (tracker.info.uri, tracker.info.experiment) == ("http://127.0.0.1:9", "airports")


def test_all_that_is_wrong_is_told_at_once():
    """Address, tags and experiment are named in one error, before any work."""
    options = RunOptions(tracking_uri="foo://x", experiment=" ", tags={"daskcast.kind": "a"})
    with pytest.raises(ConfigError) as caught:
        open_tracker(options)
    assert len(caught.value.problems) == 3


def test_importing_tracking_imports_no_mlflow():
    """MLflow is loaded when a tracker is opened, not before; nor with the fake and the writer."""
    code = (
        "import sys; from daskcast.tracking import MemoryTracker, TrackingWriter, child_runs; "
        "sys.exit('mlflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_exported_names_exist():
    """Each name of the package can be had, and no other."""
    for name in daskcast.tracking.__all__:
        assert getattr(daskcast.tracking, name).__name__ == name
    assert sorted(daskcast.tracking.__all__) == sorted(daskcast.tracking._HOMES)
    with pytest.raises(AttributeError, match="nothing"):
        _ = daskcast.tracking.nothing
