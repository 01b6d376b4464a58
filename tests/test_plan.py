"""What a run would take."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from daskcast import demo
from daskcast.config import ForecastConfig, RunOptions
from daskcast.plan import Plan, make_plan

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = ForecastConfig(h=3, search="portfolio", cv_windows=1)


def plan(n_entities: int, entity_s: float, executor: str = "local") -> Plan:
    """Make a plan on two workers."""
    work_s = n_entities * entity_s
    seconds = {"serial": 0.5 + work_s, "threads": 0.5 + work_s / 1.1}
    seconds |= {"processes": 3 + work_s / 1.95, "local": 4 + work_s / 1.95}
    return Plan(
        n_rows=100 * n_entities,
        n_entities=n_entities,
        n_batches=8,
        executor=executor,
        n_slots=2,
        n_runs=0,
        n_requests=0,
        entity_s=entity_s,
        seconds=seconds,
    )


@pytest.mark.parametrize(
    ("n_entities", "executor", "told"),
    [
        (10, "local", "--cluster serial"),
        (10, "serial", "serial is fine"),
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
    options = RunOptions(cluster="serial", track_detail=detail)
    found = make_plan(demo.airports(12, months=40), CONFIG, options)
    assert (found.n_runs, found.n_requests) == (runs, requests)
    untracked = make_plan(demo.airports(12, months=40), CONFIG, replace(options, tracking=False))
    assert (untracked.n_runs, untracked.n_requests) == (0, 0)


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
