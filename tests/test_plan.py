"""What a run would take."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from daskcast import demo
from daskcast.config import ForecastConfig, RunOptions
from daskcast.plan import Plan, hindsight, make_plan
from daskcast.tracking import TrackingCost, tracking_cost

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = ForecastConfig(h=3, search="portfolio", cv_windows=1)


def plan(n_entities: int, entity_s: float, executor: str = "local") -> Plan:
    """Make a plan on two workers."""
    work_s = n_entities * entity_s
    seconds = {"serial": 0.5 + work_s, "threads": 0.5 + work_s / 1.1}
    seconds |= {"processes": 3 + work_s / 1.95, "local": 4 + work_s / 1.95}
    start_s = {"serial": 0.5, "threads": 0.5, "processes": 3, "local": 4}[executor]
    return Plan(
        n_rows=100 * n_entities,
        n_entities=n_entities,
        n_batches=8,
        executor=executor,
        n_slots=2,
        entity_s=entity_s,
        start_s=start_s,
        seconds=seconds,
    )


@pytest.mark.parametrize(
    ("n_entities", "executor", "told"),
    [
        (10, "local", "--cluster serial"),
        (10, "serial", "serial is fine"),
        (1500, "local", "--cluster serial takes 8 s, local 8 s"),
        (100_000, "serial", "--cluster processes"),
        (100_000, "local", "local is fine"),
    ],
)
def test_the_advice_is_the_simplest_that_is_fast(n_entities: int, executor: str, told: str) -> None:
    """Few entities are not worth a process; many are."""
    assert told in plan(n_entities, 0.005, executor).describe()


@pytest.mark.parametrize(
    ("detail", "runs", "requests"),
    [("summary", 1, 4), ("entity", 13, 40), ("trial", 13 + 12 * 24, 3 * (12 + 12 * 24) + 4)],
)
def test_runs_and_requests_are_counted(detail: str, runs: int, requests: int) -> None:
    """One run for each entity, or each trial too, below the parent."""
    options = RunOptions(cluster="serial", track_detail=detail, tracking_bulk="off")
    found = make_plan(demo.airports(12, months=40), CONFIG, options)
    assert (found.tracking.n_runs, found.tracking.n_requests) == (runs, requests)
    untracked = make_plan(demo.airports(12, months=40), CONFIG, replace(options, tracking=False))
    assert (untracked.tracking.n_runs, untracked.tracking.n_requests) == (0, 0)
    assert "none" in untracked.describe()
    bulk = make_plan(demo.airports(12, months=40), CONFIG, replace(options, tracking_bulk="auto"))
    assert (bulk.tracking.n_runs, bulk.tracking.n_requests) == (runs, 4)
    if runs > 1:
        assert bulk.tracking.seconds < found.tracking.seconds


def test_batches_and_slots_are_those_of_the_run() -> None:
    """The same packing as the run itself."""
    options = RunOptions(cluster="local", workers=3, threads_per_worker=2, batch_size=5)
    found = make_plan(demo.airports(12, months=40), CONFIG, options)
    assert (found.n_batches, found.n_slots) == (3, 6)
    assert found.n_entities == 12
    assert found.entity_s > 0


def test_nothing_is_written_and_nothing_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Entities of the sample that fail say so in the run, not here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    make_plan(demo.airports(6, months=40), CONFIG, RunOptions(cluster="serial"))
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_the_time_is_that_of_the_longer_of_work_and_tracking() -> None:
    """Both go on at the same time; what tracking adds is told, with what to do about it."""
    quick = plan(1000, 0.005, "serial")
    tracked = replace(quick, tracking=TrackingCost("sqlite:///m.db", "sqlite", 1001, 3004, 28.0))
    assert quick.total_s == quick.seconds["serial"] == 5.5
    assert tracked.total_s == 0.5 + 28.0
    told = tracked.describe()
    assert "about 28 s: start 0 s, work 5 s" in told
    assert "SQLite file, sqlite:///m.db" in told
    assert "--track-detail summary" in told
    assert "--track-detail" not in quick.describe()
    slow = replace(tracked, seconds={**quick.seconds, "serial": 100.5})
    assert slow.total_s == 100.5
    assert "--track-detail" not in slow.describe()


@pytest.mark.parametrize(
    ("uri", "kind", "named"),
    [
        ("sqlite:///m.db", "sqlite", "/m.db"),
        ("postgresql://ann:s3cret@db/mlflow", "database", "db/mlflow"),
        ("http://ann:s3cret@host:5000", "server", "host:5000"),
    ],
)
def test_the_store_that_is_assumed_is_named(uri: str, kind: str, named: str) -> None:
    """A file, a database and a server cost differently; credentials are told of none."""
    cost = tracking_cost(RunOptions(tracking_uri=uri), 100, 24)
    assert cost.kind == kind
    assert named in cost.store
    assert "s3cret" not in cost.store
    summary = tracking_cost(RunOptions(tracking_uri=uri, track_detail="summary"), 100, 24)
    assert summary.seconds < cost.seconds
    assert (cost.n_runs, summary.n_runs) == (101, 1)


def test_hindsight_names_what_would_have_been_faster() -> None:
    """Processes that cost more than they brought, tracking that took most; else nothing."""
    small = {"cluster": {"wall": 4.0}, "work": {"wall": 1.0}, "workers": {"fit": 1.5}, "total": 7}
    assert "--cluster serial" in hindsight("local", small)
    assert not hindsight("serial", small)
    assert not hindsight("tcp://host:1", small)
    large = {"cluster": {"wall": 4.0}, "work": {"wall": 50.0}, "workers": {"fit": 95.0}}
    assert not hindsight("local", large)
    assert "--track-detail" in hindsight("local", {**large, "tracking": {"wall": 90.0}})


def test_limits_of_hosted_servers_are_told_where_they_matter() -> None:
    """For a server; a run with more runs than an experiment may have is told so."""
    quick = plan(1000, 0.005, "serial")
    server = TrackingCost("http://mlflow:5000", "server", 1001, 3004, 53.0)
    told = replace(quick, tracking=server).describe()
    assert "hosted     Databricks: 120 requests a second, so at least 26 s" in told
    assert "fewer than this run makes" not in told
    many = replace(server, n_runs=500_001)
    assert "fewer than this run makes" in replace(quick, tracking=many).describe()
    of_file = TrackingCost("sqlite:///m.db", "sqlite", 1001, 4, 28.0)
    assert "hosted" not in replace(quick, tracking=of_file).describe()
