"""What a person sees in MLflow's page, in a browser without a window."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from daskcast.testing.trackers import child_of, parent_of
from daskcast.tracking import MetricPoint, MlflowTracker, RunStatus

# MLflow 3.17 asks SQLAlchemy 2.1 for a loader strategy that is to go.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"),
]

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def page_of(tmp_path):
    """Give a function that reads a page once its scripts have run."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium here")

    def read(url):
        call = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        call += [f"--user-data-dir={tmp_path / 'browser'}", "--virtual-time-budget=20000", url]
        done = subprocess.run(call, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout

    return read


def words_of(page: str) -> str:
    return re.sub(r"<[^>]*>", " ", page)


def test_children_are_below_their_parent(bulk_server, page_of, make_store):
    """By name, each with a link to its own page, where params, scores and the parent are."""
    tracker = MlflowTracker(bulk_server, "looked at")
    parent = tracker.start(parent_of())
    tracker.log_children([child_of(parent, name) for name in ("JFK", "LGA", HOSTILE)])
    used = [MetricPoint("system/cluster_cpu_percent", 10.0 * n, n, 5000 * n) for n in range(6)]
    tracker.finish(RunStatus.FINISHED, {"n_entities": 3}, (), used)
    runs = f"{bulk_server}/#/experiments/{tracker.info.experiment_id}/runs"
    children = {
        run.name: run.run_id for run in make_store(bulk_server, "looked at").children(parent)
    }
    page = page_of(f"{runs}/{parent}")
    assert "Child runs" in words_of(page)
    for name in ("JFK", "LGA"):
        assert re.search(rf'href="[^"]*/runs/{children[name]}[^"]*"[^>]*>[^<]*{name}', page)
    assert children[HOSTILE] in page
    assert HOSTILE not in page
    assert "cluster_cpu_percent" in words_of(page)
    child = words_of(page_of(f"{runs}/{children['JFK']}"))
    for word in ("Parent run", "airports", "trend", "alpha", "cv_mase", "trial_loss"):
        assert word in child
