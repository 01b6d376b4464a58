"""Entities apart: the same results, and whoever ends its process is found and does no harm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from poison import SEEN, Poison, values

from daskcast import OwnModel, logs
from daskcast.apart import Limits, caller, run_apart
from daskcast.errors import ConfigError
from daskcast.models import family_of
from daskcast.records import EntityResult, Failure, Series, Status
from daskcast.settings import TaskSettings
from daskcast.task import run_batch
from daskcast.tune import SearchRules

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this system"),
]
PLAIN = TaskSettings(SearchRules(engine="portfolio"))
POISONED = TaskSettings(
    SearchRules(engine="portfolio"), models=("naive", family_of(OwnModel(Poison)))
)
GB = 10**9


def series(unique_id: str, act: str | None = None, level: float = 100.0) -> Series:
    y = values(act, level=level)
    return Series(unique_id, y, 59, np.arange(60, 66), freq="1", season_length=12)


def plain(result: EntityResult) -> Any:
    """Give all of a result but its seconds, comparable to the bit."""
    cast = result.forecast
    return (
        result.unique_id, result.status, result.model, repr(result.params), result.n_obs,
        repr(result.scores), repr(result.checks), result.stopped_by, result.failure, result.attempt,
        None if cast is None else [x.tobytes() for x in (cast.times, cast.mean, cast.lo, cast.hi)],
        [(t.number, t.model, repr(t.params), repr(t.tune_loss), t.weight) for t in result.trials],
    )  # fmt: skip


def test_results_are_those_of_a_batch_as_usual() -> None:
    """Good, failed and fallen back; a batch apart differs in nothing but its seconds."""
    batch = [series(f"E{i}", level=100.0 + i) for i in range(6)]
    trouble = Failure("X", "x")
    batch.append(Series("none", np.empty(0), None, np.arange(3), "1", 1, problem=trouble))
    batch.append(Series("flat", np.ones(40), 39, np.arange(40, 46), "1", 12))
    assert list(map(plain, run_apart(batch, PLAIN, 2))) == list(
        map(plain, run_batch(batch, PLAIN, 2))
    )


def test_no_entities_need_no_process() -> None:
    """An empty batch has no results."""
    assert run_apart([], PLAIN) == []


@pytest.mark.parametrize(
    ("act", "limits", "kind", "told"),
    [
        ("segfault", Limits(), "ProcessDied", "SIGSEGV"),
        ("exit", Limits(), "ProcessDied", "exit code 3"),
        ("kill", Limits(), "ProcessDied", "SIGKILL"),
        ("memory", Limits(memory=GB), "OutOfMemory", "at most 1.00 GB"),
        ("endless", Limits(seconds=1.0), "EntityTimeout", "within 1 s"),
    ],
)
def test_the_culprit_alone_has_failed(act: str, limits: Limits, kind: str, told: str) -> None:
    """In the middle of a batch, at its beginning and its end; the others are as without it."""
    ids = ["A", "culprit 1", "B", "C", "culprit 2"]
    acts = [act if "culprit" in unique_id else None for unique_id in ids]
    batch = [series(unique_id, what) for unique_id, what in zip(ids, acts, strict=True)]
    with logs.capture() as records:
        found = {result.unique_id: result for result in run_apart(batch, POISONED, 1, None, limits)}
    assert list(found) == ids
    expected = run_batch([one for one in batch if "culprit" not in one.unique_id], POISONED)
    assert [plain(found[result.unique_id]) for result in expected] == list(map(plain, expected))
    for unique_id in ("culprit 1", "culprit 2"):
        result = found[unique_id]
        assert (result.status, result.forecast) == (Status.FAILED, None)
        assert result.failure is not None
        assert result.failure.error_type == kind
        assert told in result.failure.message
        assert result.stopped_by == ("time" if act == "endless" else "")
        assert any(r["entity"] == unique_id and r["level"] == "ERROR" for r in records)


def test_what_is_known_of_a_death_is_the_stack() -> None:
    """A crash of compiled code and an endless loop both tell the line of the model they were in."""
    batch = [series("crash", "segfault"), series("loop", "endless")]
    for result in run_apart(batch, POISONED, 1, None, Limits(seconds=1.0)):
        assert result.failure is not None
        assert "in act" in result.failure.traceback
        assert "in fit" in result.failure.traceback


def test_a_death_that_does_not_repeat_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was at work when its process died is tried again, and has a forecast then."""
    monkeypatch.setenv(SEEN, str(tmp_path / "seen"))
    while caller._idle:  # a process from before does not have this variable
        caller._idle.pop().end()
    results = run_apart([series("A"), series("B", "once"), series("C")], POISONED)
    assert (tmp_path / "seen").exists()
    assert [result.status for result in results] == [Status.OK] * 3


def test_memory_of_those_before_is_not_held_against_an_entity() -> None:
    """A limit that the process holds from the beginning fails each entity, but names memory."""
    [result] = run_apart([series("A", "endless")], POISONED, 1, None, Limits(memory=1))
    assert result.failure is not None
    assert result.failure.error_type == "OutOfMemory"


def test_a_lost_warden_is_replaced() -> None:
    """The watching process is killed while it works: the batch has all its results all the same."""
    run_apart([series("A")], PLAIN)
    [warden] = caller._idle
    batch = [series(f"E{i}", level=100.0 + i) for i in range(40)]
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -9 {warden._process.pid}"])
    results = run_apart(batch, PLAIN)
    killer.wait(10)
    assert list(map(plain, results)) == list(map(plain, run_batch(batch, PLAIN)))
    assert not warden.lives


def test_a_warden_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost again and again: the error says how, and of how many entities."""
    while caller._idle:
        caller._idle.pop().end()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match=r"lost 3 times .*exit code 1.*2 entities"):
        run_apart([series("A"), series("B")], PLAIN)


def test_without_forks_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says where it works and what to leave out."""
    monkeypatch.delattr(os, "fork")
    with pytest.raises(ConfigError, match="--entity-timeout"):
        run_apart([series("A")], PLAIN)


WORKER = """
import sys
sys.path.insert(0, sys.argv[1])
from test_apart import POISONED, series
from daskcast.apart import run_apart
run_apart([series("A"), series("B", "endless")], POISONED)
"""


def test_nothing_is_left_of_a_worker_that_is_killed(tmp_path: Path) -> None:
    """An endless entity does not outlive the worker that waits for it."""
    here = str(Path(__file__).parent)
    worker = subprocess.Popen([sys.executable, "-c", WORKER, here])
    process = psutil.Process(worker.pid)
    end = time.monotonic() + 60
    while len(below := process.children(recursive=True)) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.5)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    gone, alive = psutil.wait_procs(below, 10)
    assert len(gone) == 2
    assert not alive


def test_records_of_another_process_keep_the_bounds() -> None:
    """What is adopted counts as what was logged here: the first ones of an entity are kept."""
    record = {
        "level": "WARNING",
        "entity": "A",
        "message": "m",
        "run": "",
        "batch": "b",
        "worker": "",
    }
    with logs.capture(n_per_entity=3) as records:
        logs.adopt([record] * 5)
    assert [r["message"] for r in records[:3]] == ["m"] * 3
    assert "2 more records were not kept" in records[3]["message"]
    logs.adopt([record])  # nobody collects: nothing happens
